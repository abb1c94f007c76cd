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
from lightning_dna.study.heldout_similarity import window_tables
from lightning_dna.study.homology_views import matched_tasks, with_clusters
from lightning_dna.study.kfold import fold_rows
from lightning_dna.study.matched_gap import MatchedStrata
from lightning_dna.study.run import cell_folder, study_jobs
from lightning_dna.study.scoring import PROVENANCE, Scorer
from lightning_dna.study.sealed_scores import read_sealed
from lightning_dna.study.similarity_views import strata_of
from lightning_dna.study.study import Cell, Study
from lightning_dna.study.views import repeat_for_seeds, table_name
from lightning_dna.tasks.base import ScoresKind
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
        windows: By held-out task, what is known of its windows, where the card asks for it.
        matched: By held-out task with a matched gap, its scores by stratum, and the strata.
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
    windows: Mapping[str, pd.DataFrame]
    matched: Mapping[str, tuple[pd.DataFrame, MatchedStrata]]


def gather(study: Study, folder: Path) -> Gathered:
    """Read the scores, records and curves of every finished cell, and of the baselines."""
    scorer = Scorer(study)
    jobs = {job.name: job for job in study_jobs(scorer, folder)}
    tables: dict[ScoresKind, list[pd.DataFrame]] = {kind: [] for kind in get_args(ScoresKind)}
    seeds: dict[str, tuple[int, ...]] = dict.fromkeys(study.arms, ())
    states: dict[tuple[str, int], str] = {}
    records, failures, curves = {}, {}, []
    finetunes: list[Mapping[str, Any]] = []
    tried: list[Mapping[str, Any]] = []
    environments: list[Mapping[str, Any]] = []
    places = {cell.name: cell_folder(scorer, folder, cell) for cell in study.cells()}
    done = {name: place.done() for name, place in places.items()}
    waiting = {(one.arm.name, one.seed) for one in study.cells() if not done[one.name]}
    for cell in study.cells():
        place = places[cell.name]
        key = (cell.arm.name, cell.seed)
        if states.get(key, "done") == "done":  # of several folds the first that is not done
            states[key] = str(jobs[cell.name].state())
        if not done[cell.name] and (failure := jobs[cell.name].failure()):
            failures[key] = _failure_text(failure)
        if key in waiting:
            continue
        if not cell.fold:
            seeds[cell.arm.name] = (*seeds[cell.arm.name], cell.seed)
            records[key] = atomic.read_json(place.folder / RECORD)
            curves += _curve(place.folder / CURVES, cell)
        for job in scorer.of(cell).jobs(cell):
            scores = read_sealed(place.folder / job.file)
            # Two arms can share a run (they differ in fine-tuning only), so the name is set here.
            rows = fold_rows(scores.frame, cell.fold).assign(variant=cell.arm.name)
            tables[scores.kind].append(rows)
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
    windows = window_tables([part.tasks for part in scorer.parts], folder)
    mlm = with_clusters(_joined(tables["mlm"], _SCORE_COLUMNS), windows)
    return Gathered(
        mlm=mlm,
        windows=windows,
        matched=matched_tasks(mlm, windows, study.cards),
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
        curves=_joined(curves, ()),  # checkpoints have none, and then no columns
        states=states,
        failures=failures,
        similarity=strata_of(scorer.tasks) if study.recipe.tasks.similarity_strata else {},
        deviations={
            name: tuple(note.removeprefix(f"{name}: ") for note in task.notes)
            for name, task in scorer.tasks.items()
            if task.notes
        },
    )


def _failure_text(failure: Mapping[str, Any]) -> str:
    """Say at which stage a cell failed, and why."""
    stage = f"{failure['stage']}: " if "stage" in failure else ""
    return f"{stage}{failure['kind']}: {failure['message']}"


def _curve(path: Path, cell: Cell) -> list[pd.DataFrame]:
    """Read the learning curve of a cell, if it has one."""
    if not path.is_file():
        return []
    curve = pd.read_csv(path)
    curve.insert(0, "arm", cell.arm.name)
    curve.insert(1, "seed", cell.seed)
    return [curve]


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
            homes = [folder / part.baseline_folder(card) for part in scorer.parts]
            if not all((home / table.file).is_file() for home in homes):
                continue
            path = homes[0] / table.file
            scores = read_sealed(path)
            frame = scores.frame
            if len(homes) > 1:
                found = [read_sealed(home / table.file).frame for home in homes]
                frame = pd.concat([fold_rows(rows, fold) for fold, rows in enumerate(found)])
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
