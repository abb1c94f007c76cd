"""Labelled sequences, from files or simulated, as a task of a study."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import numpy as np

from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import Way
from lightning_dna.tasks.classification import score_baseline, score_classification
from lightning_dna.tasks.embeddings import EmbeddingCache
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.split_views import resplit
from lightning_dna.tasks.task import Candidate, Record, Task
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.sequences import checked_rows


class ClassificationTask(Task):
    """A table for each way of using the weights."""

    @cached_property
    def examples(self) -> LabelledTask:
        """Train, validation and test examples, under the split of the card."""
        task = load_examples(self.card, self.around.tasks_root)
        split = self.card.split
        genome = self.around.genome if split == "chromosome" else None
        return resplit(task, split, name=self.card.name, genome=genome)

    @property
    def notes(self) -> tuple[str, ...]:
        """Carved parts, examples left out, sequences that stand in two parts."""
        return self.examples.notes

    def load(self) -> None:
        """Read the files, or simulate."""
        _ = self.examples

    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check nothing here: which lengths are allowed is a matter of fine-tuning too."""

    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check nothing here, as for any arm."""

    def check_use(
        self, arm: str, config: ModelConfig, encoding: Encoding, finetune: FineTuneConfig
    ) -> None:
        """Check that no sequence is too long for any way, and that the ways go with the settings.

        Raises:
            ConfigError: If a sequence of bases is too long, or a probe is to have learned pooling.
            DataError: If one has more tokens than a checkpoint takes.
        """
        ways = set(self.card.ways)
        if finetune.pooling == "attention" and ways & {"frozen", "random"}:
            raise ConfigError(
                f"arm '{arm}' on task '{self.card.name}': finetune.pooling 'attention' has weights "
                "to learn, and the ways 'frozen' and 'random' have none; choose another pooling, or"
                " leave those ways out (tasks.ways)."
            )
        prompt = finetune.prompt_length if "soft_prompt" in ways else 0
        parts = (self.examples.train, self.examples.valid, self.examples.test)
        if finetune.too_long == "error" and encoding.by_base:
            longest = max(int(part.lengths.max()) for part in parts)
            if longest + prompt > config.max_length:
                more = f" and a prompt of {prompt} (finetune.prompt_length)" if prompt else ""
                raise ConfigError(
                    f"task '{self.card.name}' has sequences of {longest} bases{more}, but arm "
                    f"'{arm}' has model.max_length {config.max_length}; raise model.max_length "
                    "under 'shared', or keep the middle of long ones (finetune.too_long: "
                    "truncate_center)."
                )
        where = f"arm '{arm}' on task '{self.card.name}'"
        for part in parts:
            checked_rows(
                part.codes,
                config,
                encoding,
                where=where,
                spare=prompt,
                too_long=finetune.too_long,
            )

    def content(self) -> Mapping[str, Any]:
        """Return a hash of ids, labels and bases of every part."""
        return {"examples": digest_examples(self.examples)}

    def bases(self) -> Mapping[str, int]:
        """Return the bases of the examples of each part."""
        parts = {"train": self.examples.train, "valid": self.examples.valid}
        parts["test"] = self.examples.test
        return {name: int(part.lengths.sum()) for name, part in parts.items()}

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Adapt the model in one way and score the test examples."""
        return score_classification(
            self.card,
            self.examples,
            way=cast(Way, table),
            model=candidate.weights.model(),
            untrained=candidate.weights.untrained(),
            variant=candidate.arm,
            seed=candidate.seed,
            config=candidate.finetune,
            device=candidate.device,
            encoding=candidate.encoding,
            cache=None if candidate.cache is None else EmbeddingCache(folder=candidate.cache),
        )

    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Fit a baseline on the training examples and score the test examples."""
        return score_baseline(self.card, self.examples, name, seed=seed, rates=self.around.rates)


def digest_examples(task: LabelledTask) -> str:
    """Hash ids, labels and bases of every part."""
    digest = hashlib.sha256()
    for part in (task.train, task.valid, task.test):
        digest.update("\0".join(part.ids).encode())
        digest.update(np.ascontiguousarray(part.labels, dtype=np.int64).tobytes())
        for codes in part.codes:
            digest.update(codes.tobytes() + b"\xff")
    return digest.hexdigest()[:24]
