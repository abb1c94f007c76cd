"""Hidden bases of held-out chromosomes, as a task of a study."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.context_mixture import score_context_mixture
from lightning_dna.tasks.baselines.copy_oracle import score_copy_oracle
from lightning_dna.tasks.baselines.majority import score_majority
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.heldout_mlm import HeldoutMLM
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.tasks.task import Candidate, Record, Task


class HeldOutTask(Task):
    """Windows are those of the baseline arm, whatever the arm."""

    @cached_property
    def windows(self) -> HeldoutMLM:
        """The task on the study's genome."""
        around = self.around
        return HeldoutMLM(self.card, around.genome, around.split, around.window_length, self.strata)

    @cached_property
    def strata(self) -> GenomeStrata | None:
        """What is known of the bases besides the soft mask.

        Raises:
            DataError: If the card tells repeats apart by divergence, and no file states it.
        """
        known = self.around.strata
        if not self.card.repeat_divergence:
            return known
        found = None if known is None else known.by_divergence()
        if found is None:
            raise DataError(
                f"task '{self.card.name}' has repeat_divergence: true, but no divergence of repeats"
                " is known; give RepeatMasker output (.out) as data.repeat_bed, and genes as"
                " data.annotation, or set it to false."
            )
        return found

    def load(self) -> None:
        """Lay out the windows of every part."""
        for part in self.windows.parts:
            self.windows.windows(part)

    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check that a window is not longer than the model."""
        if self.windows.length > config.max_length:
            raise ConfigError(
                f"task '{self.card.name}' has windows of {self.windows.length} bases, but arm"
                f" '{arm}' has model.max_length {config.max_length}; raise model.max_length under"
                " 'shared', or set window_length on the card."
            )

    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check the windows against the checkpoint; those of longer tokens one by one."""
        where = f"arm '{arm}' on task '{self.card.name}'"
        if not encoding.by_base and config.causal:
            raise ConfigError(
                f"{where}: a next-token model over tokens of several bases is not scored on"
                " hidden bases; leave the arm out, or use a suite without this task."
            )
        if encoding.by_base:
            window = np.zeros(self.windows.length, dtype=np.uint8)
            encoding.check_lengths([window], config, where=where)
        elif encoding.longest(config) is not None:
            for part in self.windows.parts:
                for batch in self.windows.batches(part):
                    encoding.check_lengths(encoding.rows([*batch.codes]), config, where=where)

    def content(self) -> Mapping[str, Any]:
        """Return the digest of the genome, its split, the window length and the strata."""
        around = self.around
        found: dict[str, Any] = {
            "genome": around.genome.digest,
            "split": [list(around.split.train), list(around.split.test)],
            "length": self.windows.length,
        }
        return found if self.strata is None else found | {"strata": self.strata.digest}

    def bases(self) -> Mapping[str, int]:
        """Return the bases of all windows."""
        windows = self.windows
        return {"test": windows.length * sum(len(windows.windows(p)) for p in windows.parts)}

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Score the model on every hidden base; nothing is chosen."""
        scores = self.windows.score(
            candidate.weights.model().to(candidate.device),
            variant=candidate.arm,
            seed=candidate.seed,
            device=candidate.device,
            progress=candidate.progress,
            encoding=candidate.encoding,
        )
        return scores, None

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Score base frequencies, words of visible bases, or copies in the training sequence."""
        whole = {
            "majority": score_majority,
            "context_mixture": score_context_mixture,
            "copy_oracle": score_copy_oracle,
        }
        if name in whole:
            return whole[name](self.windows), {}
        return score_markov(self.windows, int(name.removeprefix("markov_"))), {}
