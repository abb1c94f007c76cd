"""Zero-shot variant effects, as a task of a study: no weight is fitted, every variant is scored."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import pandas as pd

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.task import Candidate, Record, Task
from lightning_dna.tasks.variant_data import VariantData
from lightning_dna.tasks.variant_scores import Floats, check_scores, score_variants
from lightning_dna.tasks.variant_source import CardScore, VariantScore, read_control
from lightning_dna.tasks.variant_windows import pair_of


class VariantEffectTask(Task):
    """A table for each score of the card; label 1 is the damaging class.

    Controls (``untrained_llr``) are the same scores of the arm's initial weights.

    Log-likelihood ratios are turned round, so that a greater score means less likely sequence and
    AUROC above one half that a model finds damaging variants less likely.
    """

    @cached_property
    def data(self) -> VariantData:
        """The variants and what belongs to them."""
        return VariantData(
            self.card,
            tasks_root=self.around.tasks_root,
            genome=lambda: self.around.genome,
            length=self.card.window_length or self.around.window_length,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        return tuple(f"{self.card.name}: {note}" for note in self.data.variants.notes)

    @property
    def _scores_asked(self) -> tuple[VariantScore, ...]:
        """Which scores models are asked for, trained or not."""
        return tuple({read_control(name)[0]: None for name in self.card.scores})

    def load(self) -> None:
        """Read the variants, and what baselines and clusters need."""
        _ = self.data.clusters
        for name in self.card.baselines:
            self.data.baseline(name)

    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check that the model takes a window, and gives the card's scores."""
        if self.data.length > config.max_length:
            raise ConfigError(
                f"task '{self.card.name}' has windows of {self.data.length} bases, but arm '{arm}' "
                f"has model.max_length {config.max_length}; raise model.max_length under 'shared', "
                f"or set window_length on the card."
            )
        if "unmasked_llr" in self._scores_asked and config.causal:
            raise ConfigError(
                f"arm '{arm}' on task '{self.card.name}': unmasked_llr is of masked models; leave "
                f"it out of the card's scores."
            )

    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check the scores, and the tokens of every reference window."""
        where = f"arm '{arm}' on task '{self.card.name}'"
        check_scores(self._scores_asked, config, encoding, where=where)
        genome = self.data.variants.genome
        for one in self.data.variants.variants:
            row = encoding.row(pair_of(genome, one, self.data.length).ref.codes)
            encoding.check_lengths([row], config, where=where)

    def content(self) -> Mapping[str, Any]:
        """Return the genome's digest, the window length, and a hash of the variants."""
        rows = [
            (one.chrom, one.start, one.ref, one.alt, one.name, one.label, cluster)
            for one, cluster in zip(self.data.variants.variants, self.data.clusters, strict=True)
        ]
        return {
            "genome": self.data.variants.genome.digest,
            "length": self.data.length,
            "variants": hashlib.sha256(repr(rows).encode()).hexdigest()[:24],
        }

    def bases(self) -> Mapping[str, int]:
        """Return the bases of a window with either allele of every variant."""
        return {"test": 2 * self.data.length * len(self.data.variants.variants)}

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Score every variant in one way; nothing is chosen."""
        name, control = read_control(cast(CardScore, table))
        model = candidate.weights.untrained() if control else candidate.weights.model()
        found = score_variants(
            self.data.variants,
            model.to(candidate.device),
            candidate.encoding,
            length=self.data.length,
            scores=[name],
            device=candidate.device,
            progress=candidate.progress,
            label=f"{candidate.arm}, {table}",
        )
        task = f"{self.card.name}/{table}"
        return self._scores(damaging(name, found[name]), task, candidate.arm, candidate.seed), None

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Score every variant by what is known without a model."""
        return self._scores(self.data.baseline(name), self.card.name, name, seed), {}

    def _scores(self, values: Floats, task: str, variant: str, seed: int) -> Scores:
        """Make the table of one arm."""
        variants = self.data.variants.variants
        frame = pd.DataFrame(
            {
                "task": task,
                "variant": variant,
                "seed": seed,
                "example_id": [one.name for one in variants],
                "cluster_id": list(self.data.clusters),
                "label": [one.label for one in variants],
                "score": values,
            }
        )
        return Scores(frame, "ranking")


def damaging(name: str, values: Floats) -> Floats:
    """Turn a score so that greater means more damaging: ratios change their sign, not sizes."""
    return -values if name in ("llr", "unmasked_llr") else values
