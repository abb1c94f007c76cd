"""A class for every base, or for every bin of bases: BEND's gene finding and enhancer annotation.

The positions of a sequence are no independent examples: the unit is the sequence, and the table has
a row for each, with counts from which any classification metric of all positions can be resampled
exactly. Metrics of rank have no such sums: their table has a row for each bin, and the sequence is
its cluster.
"""

import time

import numpy as np
import pandas as pd

from lightning_dna.data.regions import IGNORED, LabelledRegions
from lightning_dna.errors import unknown_name
from lightning_dna.tasks.base import Scores, ScoresKind
from lightning_dna.tasks.baselines.network import with_budget
from lightning_dna.tasks.multilabel import Parts, RegionsTask
from lightning_dna.tasks.region_adaptation import (
    FROM_INITIAL,
    Outputs,
    Wanted,
    adapt_regions,
    train_one_hot,
)
from lightning_dna.tasks.region_task import said
from lightning_dna.tasks.regions import RANKED
from lightning_dna.tasks.task import Candidate, Record
from lightning_dna.training.region_objectives import (
    of_positions,
    output_count,
    position_counts,
    predicted_classes,
)


class PerPositionTask(RegionsTask):
    """A table for each way: counts by sequence, or scores by bin."""

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Adapt the model in one way and score the test sequences."""
        started, way, outcomes = time.perf_counter(), str(table), []
        weights = candidate.weights
        for parts in self.task.parts():
            start = weights.untrained() if way in FROM_INITIAL else weights.model()
            outcomes.append(
                adapt_regions(
                    way,
                    start,
                    parts,
                    self._wanted(),
                    candidate.finetune,
                    seed=candidate.seed,
                    device=candidate.device,
                    encoding=candidate.encoding,
                )
            )
        name = f"{self.card.name}/{way}"
        scores = self._scores(name, [found for found, _ in outcomes], candidate.arm, candidate.seed)
        return scores, self.record(way, [record for _, record in outcomes], started)

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Fit a baseline on the training sequences and score the test sequences."""
        started, outcomes = time.perf_counter(), []
        config = with_budget(self.around.rates)
        for parts in self.task.parts():
            if name == "majority":
                outcomes.append(self._majority(parts))
            elif name == "onehot_cnn":
                outcomes.append(train_one_hot(parts, self._wanted(), config, seed=seed))
            else:
                raise unknown_name("baseline", name, self.card.rules.baselines)
        scores = self._scores(self.card.name, [found for found, _ in outcomes], name, seed)
        return scores, self.record(name, [record for _, record in outcomes], started)

    def _wanted(self) -> Wanted:
        """Say what a network puts out."""
        regions = said(self.card)
        return Wanted(
            outputs=output_count(regions.label_count),
            objective=of_positions(
                self.card.metrics[0],
                classes=regions.label_count,
                bins=self.task.regions.labels.shape[1],
                positive_weight=regions.positive_weight,
            ),
            hidden=regions.hidden,
            bin=regions.bin,
        )

    def _majority(self, parts: Parts) -> tuple[Outputs, Record]:
        """Predict the class that most training positions have."""
        train = parts[0].labels
        counts = np.bincount(train[train != IGNORED], minlength=said(self.card).label_count)
        shape = (len(parts[2]), train.shape[1])
        two = len(counts) == 2
        value = counts.argmax() - 0.5 if two else counts.argmax()  # of two classes, a logit's sign
        return np.full(shape, float(value)), {"valid_metric": float("nan")}

    def _scores(self, task: str, found: list[Outputs], variant: str, seed: int) -> Scores:
        """Put the test sequences of all folds into a score table."""
        tests = [self.task.regions.select(split.test) for split in self.task.splits]
        make = _ranked if self.card.metrics[0] in RANKED else _counted
        classes = said(self.card).label_count
        frames = [make(part, outputs, classes) for part, outputs in zip(tests, found, strict=True)]
        frame = pd.concat(frames, ignore_index=True)
        kind: ScoresKind = "ranking" if self.card.metrics[0] in RANKED else "per_position"
        return Scores(frame.assign(task=task, variant=variant, seed=seed), kind)


def _counted(part: LabelledRegions, outputs: Outputs, classes: int) -> pd.DataFrame:
    """Return counts of each sequence."""
    counts = position_counts(part.labels, predicted_classes(outputs, classes), classes)
    return pd.DataFrame(
        {
            "example_id": part.ids,
            "cluster_id": part.clusters,
            "hits": [*counts[:, 0]],
            "predicted": [*counts[:, 1]],
            "true": [*counts[:, 2]],
        }
    )


def _ranked(part: LabelledRegions, outputs: Outputs, classes: int) -> pd.DataFrame:
    """Return label and score of each bin; of two classes."""
    del classes
    rows, bins = np.nonzero(part.labels != IGNORED)
    return pd.DataFrame(
        {
            "example_id": [f"{part.ids[row]}/{bin_}" for row, bin_ in zip(rows, bins, strict=True)],
            "cluster_id": [part.clusters[row] for row in rows],
            "label": part.labels[rows, bins].astype(np.int64),
            "score": outputs[rows, bins],
        }
    )
