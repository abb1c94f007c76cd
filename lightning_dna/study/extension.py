"""What a results folder has of a study already, and the hours that the rest would take."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_dna import atomic
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import Study, read_record, refuse_other_study
from lightning_dna.training.run import RECORD


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the cells of a study are.

    Attributes:
        done: Cells that owe nothing.
        trained: Cells that owe tables of scores alone.
        begun: Whether the folder holds the study at all.
        hours: By arm, the mean hours that its trainings took, where there are any.
    """

    done: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    begun: bool = False
    hours: Mapping[str, float]


def standing(study: Study, folder: Path | None) -> Standing:
    """Return how far a study is in a folder; a folder that is not there holds nothing of it.

    Raises:
        ResultsError: If the folder holds another study.
    """
    if folder is None or not (folder / "study.json").is_file():
        return Standing(hours={})
    refuse_other_study(study, read_record(folder), folder)
    scorer, done, trained = Scorer(study), [], []
    measured: dict[str, list[float]] = {}
    for cell in study.cells():
        place = cell_folder(scorer, folder, cell)
        if place.done():
            done.append(cell.name)
        elif (place.folder / RECORD).is_file():
            trained.append(cell.name)
        else:
            continue
        seconds = atomic.read_json(place.folder / RECORD).get("seconds")
        if cell.arm.source is None and seconds is not None:
            measured.setdefault(cell.arm.name, []).append(seconds / 3600)
    return Standing(
        done=tuple(done),
        trained=tuple(trained),
        begun=True,
        hours={name: sum(found) / len(found) for name, found in measured.items()},
    )


def hours_left(study: Study, frame: pd.DataFrame, found: Standing) -> dict[str, float]:
    """Return the hours of every cell that is left to do, in the order in which they are run.

    Args:
        study: The study.
        frame: Its plan, see :func:`lightning_dna.study.plan.plan_frame`. Where trainings of an arm
            are done, the time they took counts and not the plan's.
        found: How far it is.
    """
    each = study.trainings
    training = dict(zip(frame["arm"], frame["hours"] / each, strict=True)) | {**found.hours}
    scoring = dict.fromkeys(study.arms, 0.0)
    if "scoring_hours" in frame:
        priced = frame["scoring_hours"].fillna(0.0) / each
        scoring |= dict(zip(frame["arm"], priced, strict=True))
    return {
        cell.name: scoring[cell.arm.name]
        + (0.0 if cell.name in found.trained else training[cell.arm.name])
        for cell in study.cells()
        if cell.name not in found.done
    }
