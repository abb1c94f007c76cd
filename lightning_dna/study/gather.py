"""Everything that a study's cells have left on disk, as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_dna import atomic
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import RANDOM_BASELINES, Scorer
from lightning_dna.study.study import Study
from lightning_dna.study.views import repeat_for_seeds
from lightning_dna.tasks.base import Scores
from lightning_dna.training.run import CURVES, RECORD


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a study has so far.

    Attributes:
        mlm: Held-out scores of finished arms and of baselines.
        classification: Classification scores, a task name for each task and way.
        seeds: Finished seeds of each arm.
        records: Training record of each finished cell, by (arm, seed).
        curves: Learning curves with the columns ``arm`` and ``seed`` in front.
        states: State of each cell, by (arm, seed): ``planned``, ``running``, ``done``, ``failed``.
        failures: Message of each failed cell, by (arm, seed).
        notes: Remarks of the tasks that belong on the page.
    """

    mlm: pd.DataFrame
    classification: pd.DataFrame
    seeds: Mapping[str, tuple[int, ...]]
    records: Mapping[tuple[str, int], Mapping[str, Any]]
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
    for cell in study.cells():
        place = cell_folder(scorer, folder, cell)
        key = (cell.arm.name, cell.seed)
        states[key] = str(place.state())
        if failure := place.failure():
            failures[key] = f"{failure['kind']}: {failure['message']}"
        if not place.done():
            continue
        seeds[cell.arm.name] = (*seeds[cell.arm.name], cell.seed)
        records[key] = atomic.read_json(place.folder / RECORD)
        if (place.folder / CURVES).is_file():
            curve = pd.read_csv(place.folder / CURVES)
            curve.insert(0, "arm", cell.arm.name)
            curve.insert(1, "seed", cell.seed)
            curves.append(curve)
        for job in scorer.jobs(cell.arm):
            scores = Scores.read(place.folder / job.file)
            # Two arms can share a run (they differ in fine-tuning only), so the name is set here.
            tables[scores.kind].append(scores.frame.assign(variant=cell.arm.name))
    _add_baselines(study, scorer, folder, tables)
    return Gathered(
        mlm=_joined(tables["mlm"]),
        classification=_joined(tables["classification"]),
        seeds=seeds,
        records=records,
        curves=_joined(curves),
        states=states,
        failures=failures,
        notes=tuple(
            note
            for card in study.cards
            if card.kind != "heldout_mlm"
            for note in scorer.labelled[card.name].notes
        ),
    )


def _add_baselines(
    study: Study, scorer: Scorer, folder: Path, tables: Mapping[str, list[pd.DataFrame]]
) -> None:
    """Add the baselines' scores, under every seed and every way of their task."""
    for card in study.cards:
        for name in card.baselines:
            path = folder / scorer.baseline_folder(card) / f"{name}.parquet"
            if not path.is_file():
                continue
            scores = Scores.read(path)
            frame = scores.frame
            if name not in RANDOM_BASELINES:
                frame = repeat_for_seeds(frame, study.recipe.seeds)
            if scores.kind == "mlm":
                tables["mlm"].append(frame)
                continue
            for way in card.ways:
                tables["classification"].append(frame.assign(task=f"{card.name}/{way}"))


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Put tables below each other."""
    if not frames:
        return pd.DataFrame(
            columns=["task", "variant", "seed", "part", "stratum", "chrom", "example_id"]
        )
    return pd.concat(frames, ignore_index=True)
