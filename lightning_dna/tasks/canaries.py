"""Canaries: does a model give what was planted in its training a smaller loss than the like?

Every canary of the study's ``data.canaries`` is ranked by its loss among references of the same law
that were planted nowhere; the exposure is ``log2 R - log2 rank`` (see
:mod:`lightning_dna.stats.exposure`, also for its exact null). Canaries of the control group were
planted nowhere either. A card says whether canary and references are read alone, or in the training
window that the canary was planted in: a model may know it by heart and only say it there. An arm
that was trained without canaries is scored on those of the others, and so is a published
checkpoint: all of their exposures follow the null law.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.data.canaries import CanaryConfig, CanarySet
from lightning_dna.data.encoding import Encoding
from lightning_dna.data.windows import Windows
from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.config import ModelConfig
from lightning_dna.stats.exposure import combined_p_value, exposure, null_mean
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.markov import (
    Tables,
    context_tables,
    log_probabilities,
    word_counts,
)
from lightning_dna.tasks.heldout_mlm import WindowBases
from lightning_dna.tasks.task import Candidate, Record, Task
from lightning_dna.training.canary_losses import RankedCanary, hidden_sets, rank_by, rank_canaries
from lightning_dna.training.run import Checkpoint

_METHOD = 1  # raised when canaries are ranked in another way than before


class CanariesTask(Task):
    """One table: a row for each canary, with its rank and its exposure."""

    @property
    def config(self) -> CanaryConfig:
        """The canaries of the study.

        Raises:
            ConfigError: If no arm was trained with any.
        """
        found = self.around.canaries
        if found is None:
            raise ConfigError(
                f"task '{self.card.name}' ranks canaries that were planted in the training windows,"
                " and no arm has data.canaries; give it under 'shared', such as `canaries: {length:"
                " 64}`, or use a suite without this task."
            )
        return found

    @cached_property
    def canaries(self) -> CanarySet:
        """The canaries and their references."""
        return CanarySet(self.config, self.around.genome, self.around.split.train)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of exposures should know."""
        config, places = self.config, self.references + 1
        return (
            f"{self.card.name}: exposure among {places:,} sequences of {config.length} bases is "
            f"{null_mean(places):.2f} bits on average where nothing was learned by heart, and "
            f"{np.log2(places):.1f} bits at most.",
        )

    @property
    def in_place(self) -> bool:
        """Whether canaries are read in the windows that they were planted in."""
        return self.card.reading == "in_place"

    @property
    def references(self) -> int:
        """References of each canary: fewer in place, where each canary has its own to be read."""
        return self.config.tracked_references if self.in_place else self.config.references

    def load(self) -> None:
        """Draw the canaries."""
        _ = self.canaries.canaries

    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check that a canary is not longer than the model."""
        if self.config.length > config.max_length:
            raise ConfigError(
                f"task '{self.card.name}' has canaries of {self.config.length} bases, but arm"
                f" '{arm}' has model.max_length {config.max_length}; raise model.max_length, or"
                " lower data.canaries.length."
            )

    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check the canaries against the model's length with its own tokens."""
        if self.in_place:
            sequences = [host.codes for host in self.around.canary_hosts(arm).values()]
        else:
            sequences = [one.codes for one in self.canaries.canaries]
        rows = encoding.rows(sequences)
        encoding.check_lengths(rows, config, where=f"arm '{arm}' on task '{self.card.name}'")

    def content(self) -> Mapping[str, Any]:
        """Return the digest of the canaries, how many references there are, and the method."""
        found: dict[str, Any] = {
            "canaries": self.canaries.digest(),
            "references": self.references,
            "method": _METHOD,
        }
        if self.in_place:  # the windows are an arm's own, and so in the name of its run
            around = self.around
            found |= {"genome": around.genome.digest, "train": list(around.split.train)}
            found |= {"length": around.window_length}
        return found

    def bases(self) -> Mapping[str, int]:
        """Return the bases of all passes over canaries and references."""
        config = self.config
        sets, groups = len(config.kinds) * config.per_count, len(config.groups)
        bases = sets * (self.references + groups) * config.length
        if self.in_place:
            bases = sets * groups * (self.references + 1) * self.around.window_length
        passes = int(hidden_sets(config.length, self.card.mask_fraction).max()) + 1
        return {"test": bases * passes}

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Rank every canary, and say how likely each group's mean exposure is by chance.

        Raises:
            ResultsError: If a run of our own was trained with other canaries.
        """
        self._refuse_others(candidate)
        ranked = rank_canaries(
            candidate.weights.model().to(candidate.device),
            self.canaries,
            candidate.encoding,
            mask_fraction=self.card.mask_fraction,
            references=self.references,
            hosts=self.around.canary_hosts(candidate.arm) if self.in_place else None,
            device=candidate.device,
            progress=candidate.arm if candidate.progress else None,
        )
        frame = exposure_table(ranked)
        scores = frame.assign(task=self.card.name, variant=candidate.arm, seed=candidate.seed)
        return Scores(scores, "canaries"), {"groups": group_table(ranked)}

    def _refuse_others(self, candidate: Candidate) -> None:
        """Refuse a run whose record names other canaries than these."""
        run = candidate.weights
        if not isinstance(run, Checkpoint):
            return
        planted = run.record.get("canaries", {}).get("digest")
        if planted not in (None, self.canaries.digest()):
            raise ResultsError(
                f"{run.folder} was trained with canaries {planted}, and those of its settings are"
                f" now {self.canaries.digest()}; score it with the version that trained it, or"
                " train it again."
            )

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Rank by a Markov chain of the genome: it has seen no canary, so it follows the null.

        It reads them alone whatever the card says.
        """
        order = 0 if name == "majority" else int(name.removeprefix("markov_"))
        counts = word_counts(self.around.genome, self.around.split.train, 2 * order + 1)
        tables = context_tables(counts, order)
        fraction = self.card.mask_fraction
        ranked = rank_by(
            lambda codes: counted_losses(tables, order, codes, fraction),
            self.canaries,
            references=self.references,
        )
        scores = exposure_table(ranked).assign(task=self.card.name, variant=name, seed=seed)
        return Scores(scores, "canaries"), {"groups": group_table(ranked)}


def counted_losses(
    tables: Tables, order: int, codes: Codes, mask_fraction: float
) -> npt.NDArray[np.float64]:
    """Return the loss of sequences under a two-sided Markov chain, every base hidden once.

    Args:
        tables: What `context_tables` returns for the order.
        order: Longest context on each side; 0 for base frequencies.
        codes: Base codes, shape ``(sequences, length)``.
        mask_fraction: Share of the bases that a pass hides, as for a model.
    """
    count, length = codes.shape
    sets = hidden_sets(length, mask_fraction)
    zeros = np.zeros(count, dtype=np.int64)
    windows = Windows(("",), zeros.astype(np.int32), zeros, zeros + length, 0, 0)
    total = np.zeros(count)
    for number in range(int(sets.max()) + 1):
        hidden = np.broadcast_to(sets == number, codes.shape)
        batch = WindowBases(windows=windows, codes=codes, repeat=hidden, hidden=hidden)
        log_p = log_probabilities(tables, batch, order)
        row, column = np.nonzero(hidden)
        total -= np.bincount(row, log_p[np.arange(len(row)), codes[row, column]], minlength=count)
    return total


def exposure_table(ranked: list[RankedCanary]) -> pd.DataFrame:
    """Return one row for each canary: what it is, its loss, its place and its exposure."""
    ranks = np.array([one.rank for one in ranked], dtype=np.int64)
    places = ranked[0].places
    names = [one.canary.name for one in ranked]
    return pd.DataFrame(
        {
            "example_id": names,
            "cluster_id": names,
            "kind": [one.canary.kind for one in ranked],
            "repetitions": [one.canary.repetitions for one in ranked],
            "nats": [one.nats for one in ranked],
            "rank": ranks,
            "places": places,
            "exposure": exposure(ranks, places),
            "p_value": ranks / places,
        }
    )


def group_table(ranked: list[RankedCanary]) -> list[dict[str, Any]]:
    """Return mean exposure and exact p-value of every kind and number of repetitions.

    Canaries of a group have references of their own, so their ranks are independent where nothing
    was learned.
    """
    found: dict[tuple[str, int], list[int]] = {}
    for one in ranked:
        found.setdefault((one.canary.kind, one.canary.repetitions), []).append(one.rank)
    places = ranked[0].places
    return [
        {
            "kind": kind,
            "repetitions": repetitions,
            "canaries": len(ranks),
            "exposure": float(exposure(np.array(ranks), places).mean()),
            "null": null_mean(places),
            "p_value": combined_p_value(np.array(ranks), places),
        }
        for (kind, repetitions), ranks in found.items()
    ]
