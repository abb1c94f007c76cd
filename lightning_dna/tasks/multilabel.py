"""Many labels for each region: chromatin profile, BEND's histone, accessibility and methylation."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.preprocessing import StandardScaler

from lightning_dna.data.encoding import Encoding
from lightning_dna.data.regions import LabelledRegions
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.config import ModelConfig
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.kmer_logistic import kmer_profiles
from lightning_dna.tasks.baselines.network import with_budget
from lightning_dna.tasks.card import PROBES
from lightning_dna.tasks.embeddings import EmbeddingCache, embeddings_of
from lightning_dna.tasks.multilabel_logistic import choose_label_regressions
from lightning_dna.tasks.region_adaptation import (
    FROM_INITIAL,
    Outputs,
    Wanted,
    adapt_regions,
    train_one_hot,
)
from lightning_dna.tasks.region_task import RegionTask, load_regions, said
from lightning_dna.tasks.task import Candidate, Record, Task
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.region_objectives import of_labels

Parts = tuple[LabelledRegions, LabelledRegions, LabelledRegions]

_KMERS = (3, 4, 5)
_KMER_STRENGTHS = (1.0, 10.0, 100.0)


class RegionsTask(Task):
    """What both kinds of tasks on regions share: reading, checks, identity."""

    @cached_property
    def task(self) -> RegionTask:
        """The regions of all parts."""
        return load_regions(self.card, self.around.tasks_root, lambda: self.around.genome)

    @property
    def notes(self) -> tuple[str, ...]:
        """Labels left out, regions left out, overlaps."""
        return tuple(f"{self.card.name}: {note}" for note in self.task.notes)

    def load(self) -> None:
        """Read the files."""
        _ = self.task

    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check that no region is longer than the model."""
        longest = max(len(codes) for codes in self.task.regions.codes)
        if longest > config.max_length:
            raise ConfigError(
                f"task '{self.card.name}' has regions of {longest} bases, but arm '{arm}' has"
                f" model.max_length {config.max_length}; raise model.max_length under 'shared', or"
                " set regions.length on the card."
            )

    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check the tokens of the longest region."""
        codes = max(self.task.regions.codes, key=len)
        where = f"arm '{arm}' on task '{self.card.name}'"
        encoding.check_lengths([encoding.row(codes)], config, where=where)

    def content(self) -> Mapping[str, Any]:
        """Return a hash of ids, clusters, labels and bases of all regions and of their parts."""
        digest = hashlib.sha256()
        regions = self.task.regions
        for names in (regions.ids, regions.clusters):
            digest.update("\0".join(names).encode())
        digest.update(np.ascontiguousarray(regions.labels).tobytes())
        for codes in regions.codes:
            digest.update(codes.tobytes() + b"\xff")
        for split in self.task.splits:
            for rows in (split.train, split.valid, split.test):
                digest.update(rows.astype(np.int64).tobytes() + b"\xff")
        return {"regions": digest.hexdigest()[:24]}

    def bases(self) -> Mapping[str, int]:
        """Return the bases of the regions of each part, over all folds."""
        lengths = np.array([len(codes) for codes in self.task.regions.codes], dtype=np.int64)
        return {
            part: sum(int(lengths[getattr(split, part)].sum()) for split in self.task.splits)
            for part in ("train", "valid", "test")
        }

    def record(self, way: str, folds: list[Record], started: float) -> Record:
        """Join the records of all folds: sums of what was spent, means of what was measured."""
        first = folds[0]
        sizes = {
            f"n_{part}": sum(len(getattr(split, part)) for split in self.task.splits)
            for part in ("train", "valid", "test")
        }
        return {
            "way": way,
            **first,
            "valid_metric": float(np.mean([fold["valid_metric"] for fold in folds])),
            "folds": [dict(fold) for fold in folds] if len(folds) > 1 else [],
            "seconds": time.perf_counter() - started,
            **sizes,
        }


class MultilabelTask(RegionsTask):
    """A table for each way; scores are logits of every label of the test regions."""

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Adapt the model in one way and score the test regions."""
        started, way, outcomes = time.perf_counter(), str(table), []
        for parts in self.task.parts():
            if way in PROBES:
                outcomes.append(self._probe(candidate, way, parts))
            else:
                outcomes.append(self._trained(candidate, way, parts))
        name = f"{self.card.name}/{way}"
        scores = self._scores(name, [found for found, _ in outcomes], candidate.arm, candidate.seed)
        return scores, self.record(way, [record for _, record in outcomes], started)

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Fit a baseline on the training regions and score the test regions."""
        started, outcomes = time.perf_counter(), []
        config = with_budget(self.around.rates)
        for parts in self.task.parts():
            if name == "majority":
                outcomes.append(_shares(parts))
            elif name == "kmer_logistic":
                outcomes.append(_kmer_logistic(parts, self.card.metrics[0]))
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
            outputs=regions.label_count,
            objective=of_labels(self.card.metrics[0]),
            hidden=regions.hidden,
        )

    def _trained(self, candidate: Candidate, way: str, parts: Parts) -> tuple[Outputs, Record]:
        """Train a network."""
        weights = candidate.weights
        start = weights.untrained() if way in FROM_INITIAL else weights.model()
        return adapt_regions(
            way,
            start,
            parts,
            self._wanted(),
            candidate.finetune,
            seed=candidate.seed,
            device=candidate.device,
            encoding=candidate.encoding,
        )

    def _probe(self, candidate: Candidate, way: str, parts: Parts) -> tuple[Outputs, Record]:
        """Fit one logistic regression for each label on frozen embeddings."""
        weights, config = candidate.weights, candidate.finetune
        model = weights.untrained() if way in FROM_INITIAL else weights.model()
        cache = None if candidate.cache is None else EmbeddingCache(folder=candidate.cache)
        train, valid, test = (
            embeddings_of(
                model,
                part.codes,
                config,
                device=candidate.device,
                encoding=candidate.encoding,
                cache=cache,
            ).astype(np.float64)
            for part in parts
        )
        scaler = StandardScaler().fit(train)
        return _fitted(
            scaler.transform(train),
            scaler.transform(valid),
            scaler.transform(test),
            parts,
            config,
            self.card.metrics[0],
            candidate.device,
        )

    def _scores(self, task: str, found: list[Outputs], variant: str, seed: int) -> Scores:
        """Put labels and logits of the test regions of all folds into a score table."""
        tests = [self.task.regions.select(split.test) for split in self.task.splits]
        frame = pd.DataFrame(
            {
                "task": task,
                "variant": variant,
                "seed": seed,
                "example_id": [name for part in tests for name in part.ids],
                "cluster_id": [name for part in tests for name in part.clusters],
                "labels": [row for part in tests for row in part.labels == 1],
                "scores": [row for logits in found for row in logits.astype(np.float32)],
            }
        )
        return Scores(frame, "multilabel")


def _fitted(
    train: npt.NDArray[np.float64],
    valid: npt.NDArray[np.float64],
    test: npt.NDArray[np.float64],
    parts: Parts,
    config: FineTuneConfig,
    metric: str,
    device: str,
) -> tuple[Outputs, Record]:
    """Fit the regressions and predict the test regions."""
    chosen = choose_label_regressions(
        train,
        parts[0].labels,
        valid,
        parts[1].labels,
        strengths=config.probe_c,
        metric=metric,
        device=device,
    )
    grid = sorted(config.probe_c)
    notes = [] if chosen.converged else ["The logistic regressions did not converge."]
    return chosen.predict(test), {
        "parameters_updated": chosen.parameters,
        "best_epoch": None,
        "epochs_run": None,
        "chosen_c": chosen.strength,
        "c_at_edge": len(grid) > 1 and chosen.strength in (grid[0], grid[-1]),
        "chosen_lr": None,
        "lr_at_edge": None,
        "tried": [],
        "valid_metric": chosen.valid_metric,
        "notes": notes,
    }


def _shares(parts: Parts) -> tuple[Outputs, Record]:
    """Score every region with the share of each label: what knows nothing of the sequence."""
    share = parts[0].labels.mean(axis=0)
    return np.tile(share, (len(parts[2]), 1)), {"valid_metric": float("nan")}


def _kmer_logistic(parts: Parts, metric: str) -> tuple[Outputs, Record]:
    """Fit the regressions on k-mer profiles; the validation regions choose k and C."""
    best: tuple[float, Outputs, Record] | None = None
    config = FineTuneConfig(probe_c=_KMER_STRENGTHS)
    for length in _KMERS:
        train, valid, test = (
            np.concatenate([*_dense_profiles(part.codes, length)]) for part in parts
        )
        found, record = _fitted(train, valid, test, parts, config, metric, "cpu")
        if best is None or record["valid_metric"] > best[0]:
            best = record["valid_metric"], found, {**record, "kmer_length": length}
    if best is None:
        raise AssertionError("there are lengths to try")
    return best[1:]


def _dense_profiles(codes: Any, length: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield k-mer profiles of some regions at a time."""
    step = 4096
    for first in range(0, len(codes), step):
        block: list[Codes] = codes[first : first + step]
        yield kmer_profiles(block, length).toarray()
