"""Every way of training something on a checkpoint for a labelled task, as one table.

The linear probe, which is no gradient descent, is not among them: see ``tasks/classification``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.errors import unknown_name
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.training.adaptation.cnn import StateCNN, state_reader
from lightning_dna.training.adaptation.prompts import (
    PROMPT_WITHOUT_WEIGHT_DECAY,
    PromptedClassifier,
)
from lightning_dna.training.adaptation.weight_adapters import add_ia3, add_lora
from lightning_dna.training.finetune import (
    FineTuned,
    Reader,
    SequenceClassifier,
    token_reader,
    train_on,
)
from lightning_dna.training.finetune_config import FineTuneConfig
from lightning_dna.training.inputs import StateInputs
from lightning_dna.training.loop import CLASSES, Objective


@dataclass(frozen=True, kw_only=True)
class Start:
    """What every way begins with.

    Attributes:
        model: Pretrained model, or one with initial weights; it is not modified.
        config: Settings.
        n_classes: Outputs.
        seed: Seed of everything that is drawn.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.
        kept: Hidden states of the model that were computed before; new ones are added.
    """

    model: LanguageModel
    config: FineTuneConfig
    n_classes: int
    seed: int
    device: str
    encoding: Encoding
    kept: dict[str, StateInputs] | None

    def classifier(self) -> SequenceClassifier:
        """Return a copy of the trunk under a new head, all of it trainable."""
        return SequenceClassifier(
            self.model,
            n_classes=self.n_classes,
            seed=self.seed,
            special_ids=self.encoding.special_ids,
            config=self.config,
        )

    def reader(self, prompt_ids: tuple[int, ...] = ()) -> Reader:
        """Return how sequences become token ids."""
        return token_reader(
            self.model.config,
            self.encoding,
            too_long=self.config.too_long,
            prompt_ids=prompt_ids,
        )


Prepared = tuple[nn.Module, Reader]


def _all_weights(start: Start) -> Prepared:
    """Train every weight."""
    return start.classifier(), start.reader()


def _lora(start: Start) -> Prepared:
    """Train LoRA's factors and the head."""
    classifier, config = start.classifier(), start.config
    add_lora(
        classifier.backbone,
        config.lora_targets,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        seed=start.seed,
    )
    return classifier, start.reader()


def _ia3(start: Start) -> Prepared:
    """Train IA3's factors and the head."""
    classifier = start.classifier()
    add_ia3(classifier.backbone, start.config.lora_targets)
    return classifier, start.reader()


def _soft_prompt(start: Start) -> Prepared:
    """Train a prompt and the head, and the trunk if the settings say so."""
    classifier = PromptedClassifier(
        start.model,
        n_classes=start.n_classes,
        seed=start.seed,
        special_ids=start.encoding.special_ids,
        config=start.config,
    )
    return classifier, start.reader(classifier.prompt_ids)


def _frozen_cnn(start: Start) -> Prepared:
    """Train a small CNN on hidden states that are computed once."""
    network = StateCNN(
        start.model.config.width, start.config, n_classes=start.n_classes, seed=start.seed
    )
    reader = state_reader(
        start.model, start.config, start.encoding, device=start.device, kept=start.kept
    )
    return network, reader


TRAINED_WAYS: Mapping[str, Callable[[Start], Prepared]] = {
    "frozen_cnn": _frozen_cnn,
    "full": _all_weights,
    "lora": _lora,
    "ia3": _ia3,
    "soft_prompt": _soft_prompt,
    "scratch": _all_weights,
}
"""Way to the network that is trained and what it reads. Which model a way starts from, the
pretrained one or one with initial weights, is the caller's to say: see ``STARTS_FRESH``."""

STARTS_FRESH = frozenset({"scratch", "random"})
"""Ways that begin with initial weights and not with the pretrained ones."""


def adapt(
    model: LanguageModel,
    way: str,
    train: Examples,
    valid: Examples,
    config: FineTuneConfig,
    *,
    n_classes: int,
    seed: int,
    device: str = "cpu",
    encoding: Encoding = CHARACTERS,
    objective: Objective = CLASSES,
    kept: dict[str, StateInputs] | None = None,
) -> FineTuned:
    """Train what a way trains, on a copy of a model.

    Args:
        model: Where the way starts: the pretrained model, or one with initial weights for
            ``scratch``; it is not modified.
        way: A row of :data:`TRAINED_WAYS`.
        train: Examples to learn from.
        valid: Examples that choose the epoch.
        config: Settings, with one learning rate; the same for every arm.
        n_classes: Number of outputs.
        seed: Seed of head, adapters, order of the examples and dropout.
        device: Where to train, as torch names it.
        encoding: How sequences become the ids that the model reads.
        objective: What is learned; one class for each sequence by default.
        kept: A dictionary that several calls with one model share, for example those of several
            learning rates: frozen states are then computed once.

    Returns:
        The classifier with its best weights, and what it cost.

    Raises:
        ConfigError: If the way is unknown or does not go with the model, or training diverges.
        DataError: If a part is empty or a sequence is longer than the model allows.
    """
    if way not in TRAINED_WAYS:
        raise unknown_name("way", way, TRAINED_WAYS)
    start = Start(
        model=model,
        config=config,
        n_classes=n_classes,
        seed=seed,
        device=device,
        encoding=encoding,
        kept=kept,
    )
    network, reader = TRAINED_WAYS[way](start)
    return train_on(
        network,
        reader,
        train,
        valid,
        config,
        seed=seed,
        objective=objective,
        device=device,
        without_weight_decay=model.without_weight_decay() | PROMPT_WITHOUT_WEIGHT_DECAY,
    )
