"""Everything that a study's cells have left on disk, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from lightning_dna import atomic
from lightning_dna.study.finetune_tables import (
    KEYS,
    TRIED_COLUMNS,
    VALUES,
    finetune_row,
    read_record,
    tried_rows,
)
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import PROVENANCE, Scorer
from lightning_dna.study.similarity_views import strata_of
from lightning_dna.study.study import Study
from lightning_dna.study.views import repeat_for_seeds, table_name
from lightning_dna.tasks.base import Scores, ScoresKind
from lightning_dna.training.run import CURVES, RECORD

_SCORE_COLUMNS = ("task", "variant", "seed", "part", "stratum", "chrom", "example_id")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a study has so far.

    Attributes:
        mlm: Held-out scores of finished arms and of baselines.
        examples: Scores of examples by kind of table, a task name for each task and way.
        seeds: Finished seeds of each arm.
        records: Training record of each finished cell, by (arm, seed).
        finetunes: Record of each fine-tuning and probe: arm, seed, task, way, what was chosen.
        environments: Versions, commits and machines that finished cells were made with.
        curves: Learning curves with the columns ``arm`` and ``seed`` in front.
        states: State of each cell, by (arm, seed): ``planned``, ``running``, ``done``, ``failed``.
        failures: Message of each failed cell, by (arm, seed).
        tried: Every learning rate that an arm or a baseline tried, and what came of it.
        deviations: How each task departs from what was published, and what a reader must know of
            its data, in sentences.
        similarity: By task, the stratum of similarity to training of each test example, where the
            recipe asks for it.
    """

    mlm: pd.DataFrame
    examples: Mapping[ScoresKind, pd.DataFrame]
    seeds: Mapping[str, tuple[int, ...]]
    records: Mapping[tuple[str, int], Mapping[str, Any]]
    finetunes: pd.DataFrame
    environments: tuple[Mapping[str, Any], ...]
    curves: pd.DataFrame
    states: Mapping[tuple[str, int], str]
    failures: Mapping[tuple[str, int], str]
    tried: pd.DataFrame
    deviations: Mapping[str, tuple[str, ...]]
    similarity: Mapping[str, Mapping[str, str]]


def gather(study: Study, folder: Path) -> Gathered:
    """Read the scores, records and curves of every finished cell, and of the baselines."""
    scorer = Scorer(study)
    tables: dict[ScoresKind, list[pd.DataFrame]] = {kind: [] for kind in get_args(ScoresKind)}
    seeds: dict[str, tuple[int, ...]] = dict.fromkeys(study.arms, ())
    records, states, failures, curves = {}, {}, {}, []
    finetunes: list[Mapping[str, Any]] = []
    tried: list[Mapping[str, Any]] = []
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
            if job.card.rules.tuned:
                name = {"arm": cell.arm.name, "seed": cell.seed}
                name |= {"task": job.card.name, "way": job.way}
                record = read_record(place.folder / job.file)
                finetunes.append(finetune_row(name, record))
                tried += tried_rows(name, record)
        if (place.folder / PROVENANCE).is_file():
            found = atomic.read_json(place.folder / PROVENANCE)["environments"]
            environments += [one for one in found if one not in environments]
    for frames in tables.values():
        frames[:] = [_for_every_seed(frame, study, seeds) for frame in frames]
    _add_baselines(study, scorer, folder, tables, tried)
    return Gathered(
        mlm=_joined(tables["mlm"], _SCORE_COLUMNS),
        examples={
            kind: _joined(frames, _SCORE_COLUMNS)
            for kind, frames in tables.items()
            if kind != "mlm" and frames
        },
        seeds=seeds,
        records=records,
        finetunes=pd.DataFrame(finetunes, columns=[*KEYS, *VALUES]),
        tried=pd.DataFrame(tried, columns=[*TRIED_COLUMNS]),
        environments=tuple(environments),
        curves=_joined(curves, ("arm", "seed")),
        states=states,
        failures=failures,
        similarity=strata_of(scorer.tasks) if study.recipe.tasks.similarity_strata else {},
        deviations={
            name: tuple(note.removeprefix(f"{name}: ") for note in task.notes)
            for name, task in scorer.tasks.items()
            if task.notes
        },
    )


def _for_every_seed(
    frame: pd.DataFrame, study: Study, seeds: Mapping[str, tuple[int, ...]]
) -> pd.DataFrame:
    """Give untrained scores of a checkpoint to each of its finished seeds; they are the same."""
    name, task = str(frame["variant"].iloc[0]), str(frame["task"].iloc[0])
    tuned = any(card.rules.tuned for card in study.cards if card.name == task.partition("/")[0])
    if tuned or study.arms[name].source is None:
        return frame
    return repeat_for_seeds(frame, seeds[name])


def _add_baselines(
    study: Study,
    scorer: Scorer,
    folder: Path,
    tables: Mapping[ScoresKind, list[pd.DataFrame]],
    tried: list[Mapping[str, Any]],
) -> None:
    """Add the baselines' scores, under every seed and every way of their task."""
    for card in study.cards:
        for table in scorer.baseline_tables(card):
            path = folder / scorer.baseline_folder(card) / table.file
            if not path.is_file():
                continue
            scores = Scores.read(path)
            frame = scores.frame
            name = {"arm": table.name, "seed": table.seed, "task": card.name, "way": ""}
            tried += tried_rows(name, read_record(path))
            if table.seed is None:
                frame = repeat_for_seeds(frame, study.recipe.seeds)
            if scores.kind == "mlm":
                tables["mlm"].append(frame)
                continue
            for entry in card.tables:
                renamed = frame.assign(task=table_name(card.name, entry))
                tables[scores.kind].append(renamed)


def _joined(frames: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Put tables below each other; ``columns`` are those of a table without rows."""
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True)
