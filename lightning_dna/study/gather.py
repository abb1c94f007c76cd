"""Everything that a study's cells have left on disk, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_dna import atomic
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import PROVENANCE, ScoreJob, Scorer
from lightning_dna.study.study import Cell, Study
from lightning_dna.study.views import repeat_for_seeds
from lightning_dna.tasks.base import Scores
from lightning_dna.training.run import CURVES, RECORD

_SCORE_COLUMNS = ("task", "variant", "seed", "part", "stratum", "chrom", "example_id")
_FINETUNE_KEYS = ("arm", "seed", "task", "way")
_FINETUNE_VALUES = (
    "parameters_updated",
    "seconds",
    "best_epoch",
    "chosen_c",
    "valid_metric",
)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a study has so far.

    Attributes:
        mlm: Held-out scores of finished arms and of baselines.
        classification: Classification scores, a task name for each task and way.
        seeds: Finished seeds of each arm.
        records: Training record of each finished cell, by (arm, seed).
        finetunes: Record of each fine-tuning and probe: arm, seed, task, way, what was chosen.
        environments: Versions, commits and machines that finished cells were made with.
        curves: Learning curves with the columns ``arm`` and ``seed`` in front.
        states: State of each cell, by (arm, seed): ``planned``, ``running``, ``done``, ``failed``.
        failures: Message of each failed cell, by (arm, seed).
        notes: Remarks of the tasks that belong on the page.
    """

    mlm: pd.DataFrame
    classification: pd.DataFrame
    seeds: Mapping[str, tuple[int, ...]]
    records: Mapping[tuple[str, int], Mapping[str, Any]]
    finetunes: pd.DataFrame
    environments: tuple[Mapping[str, Any], ...]
    curves: pd.DataFrame
    states: Mapping[tuple[str, int], str]
    failures: Mapping[tuple[str, int], str]
    notes: tuple[str, ...]


def gather(study: Study, folder: Path) -> Gathered:
    """Read the scores, records and curves of every finished cell, and of the baselines."""
    scorer = Scorer(study)
    tables: dict[str, list[pd.DataFrame]] = {"mlm": [], "classification": []}
    seeds: dict[str, tuple[int, ...]] = dict.fromkeys(study.arms, ())
    records, states, failures, curves = {}, {}, {}, []
    finetunes: list[Mapping[str, Any]] = []
    environments: list[Mapping[str, Any]] = []
    for cell in study.cells():
        place = cell_folder(scorer, folder, cell)
        key = (cell.arm.name, cell.seed)
        states[key] = str(place.state())
        if not place.done():
            if failure := place.failure():
                failures[key] = f"{failure['kind']}: {failure['message']}"
            continue
        seeds[cell.arm.name] = (*seeds[cell.arm.name], cell.seed)
        records[key] = atomic.read_json(place.folder / RECORD)
        if (place.folder / CURVES).is_file():
            curve = pd.read_csv(place.folder / CURVES)
            curve.insert(0, "arm", cell.arm.name)
            curve.insert(1, "seed", cell.seed)
            curves.append(curve)
        for job in scorer.jobs(cell):
            scores = Scores.read(place.folder / job.file)
            # Two arms can share a run (they differ in fine-tuning only), so the name is set here.
            tables[scores.kind].append(scores.frame.assign(variant=cell.arm.name))
            if job.way is not None:
                finetunes.append(_finetune_row(cell, job, place.folder))
        if (place.folder / PROVENANCE).is_file():
            found = atomic.read_json(place.folder / PROVENANCE)["environments"]
            environments += [one for one in found if one not in environments]
    tables["mlm"] = [_for_every_seed(frame, study, seeds) for frame in tables["mlm"]]
    _add_baselines(study, scorer, folder, tables)
    return Gathered(
        mlm=_joined(tables["mlm"], _SCORE_COLUMNS),
        classification=_joined(tables["classification"], _SCORE_COLUMNS),
        seeds=seeds,
        records=records,
        finetunes=pd.DataFrame(finetunes, columns=[*_FINETUNE_KEYS, *_FINETUNE_VALUES]),
        environments=tuple(environments),
        curves=_joined(curves, ("arm", "seed")),
        states=states,
        failures=failures,
        notes=tuple(
            f"{card.name}: {note}"
            for card in study.cards
            if card.kind != "heldout_mlm"
            for note in scorer.labelled[card.name].notes
        ),
    )


def _for_every_seed(
    frame: pd.DataFrame, study: Study, seeds: Mapping[str, tuple[int, ...]]
) -> pd.DataFrame:
    """Give the held-out scores of a checkpoint to each of its finished seeds; they are the same."""
    name = str(frame["variant"].iloc[0])
    return frame if study.arms[name].source is None else repeat_for_seeds(frame, seeds[name])


def _add_baselines(
    study: Study, scorer: Scorer, folder: Path, tables: Mapping[str, list[pd.DataFrame]]
) -> None:
    """Add the baselines' scores, under every seed and every way of their task."""
    for card in study.cards:
        for table in scorer.baseline_tables(card):
            path = folder / scorer.baseline_folder(card) / table.file
            if not path.is_file():
                continue
            scores = Scores.read(path)
            frame = scores.frame
            if table.seed is None:
                frame = repeat_for_seeds(frame, study.recipe.seeds)
            if scores.kind == "mlm":
                tables["mlm"].append(frame)
                continue
            for way in card.ways:
                tables["classification"].append(frame.assign(task=f"{card.name}/{way}"))


def _finetune_row(cell: Cell, job: ScoreJob, folder: Path) -> dict[str, Any]:
    """Return what one fine-tuning or probe chose and cost."""
    path = (folder / job.file).with_suffix(".json")
    record = atomic.read_json(path) if path.is_file() else {}
    row = {"arm": cell.arm.name, "seed": cell.seed, "task": job.card.name, "way": job.way}
    return row | {name: record.get(name) for name in _FINETUNE_VALUES}


def _joined(frames: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Put tables below each other; ``columns`` are those of a table without rows."""
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True)
