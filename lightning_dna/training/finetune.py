"""Adapting a pretrained model to a labelled task: fine-tuning of all weights, and embeddings.

Other ways of using a checkpoint are in ``training/adaptation``; the loop is in ``training/loop``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples, batches_by_length
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.choices import Pooling
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.embedding import trunk_at
from lightning_dna.models.heads import ClassificationHead, pool
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune_config import TooLong
from lightning_dna.training.inputs import BATCH_TOKENS, Inputs, TokenInputs
from lightning_dna.training.loop import CLASSES, Objective, Part, Trained, predicted
from lightning_dna.training.loop import selection_metric as selection_metric
from lightning_dna.training.loop import train as train_network
from lightning_dna.training.sequences import checked_rows, in_input_order, of_bases
from lightning_dna.training.sequences import padded_batch as padded_batch

__all__ = [
    "FineTuned",
    "SequenceClassifier",
    "embed",
    "finetune",
    "padded_batch",
    "predict",
    "selection_metric",
    "train_classifier",
]


class Reader(Protocol):
    """How the sequences of one part of a task become what a network reads."""

    def __call__(self, codes: Sequence[Codes], where: str) -> Inputs:
        """Read sequences; ``where`` says what they are, for the message about a wrong one."""


class SequenceClassifier(nn.Module):
    """A trunk, one vector of its states for each sequence, and a linear layer.

    Args:
        model: The model whose trunk is copied; it is not modified.
        n_classes: Outputs.
        seed: Seed of the head.
        special_ids: Ids that stand for no base: averages over a sequence leave them out.
        config: What is read from the trunk (``layer``), and the form of the head.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        n_classes: int,
        seed: int,
        special_ids: Sequence[int] = (),
        config: FineTuneConfig = FineTuneConfig(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.special_ids = tuple(special_ids)
        self.backbone = trunk_at(model.backbone, config.layer)
        self.head = ClassificationHead(
            model.config.width,
            n_classes=n_classes,
            seed=seed,
            pooling=config.pooling,
            form=config.head,
            dropout=config.head_dropout,
        )

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        hidden = self.backbone(input_ids, attention_mask)
        logits: Tensor = self.head(hidden, self.bases(input_ids, attention_mask), attention_mask)
        return logits

    def bases(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Bool[Tensor, "batch length"]:
        """Return which positions stand for bases."""
        return of_bases(input_ids, attention_mask, self.special_ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned(Trained):
    """A trained classifier and how it came about.

    Attributes:
        classifier: Module with the weights of the best epoch, in evaluation mode.
        reader: How sequences become what it reads.
        context_length: Positions of the longest training sequence that it has read.
        objective: What it was trained for.
    """

    classifier: nn.Module
    reader: Reader
    context_length: int
    objective: Objective = CLASSES

    def predict(self, examples: Examples) -> npt.NDArray[np.float64]:
        """Return the probability of every class, shape ``(n, classes)``; labels are not read."""
        inputs = self.reader(examples.codes, "sequences to predict")
        return predicted(self.classifier, inputs, objective=self.objective)


def train_on(
    network: nn.Module,
    reader: Reader,
    train: Examples,
    valid: Examples,
    config: FineTuneConfig,
    *,
    seed: int,
    objective: Objective = CLASSES,
    device: str = "cpu",
    without_weight_decay: frozenset[str] = frozenset(),
) -> FineTuned:
    """Train a network on what a reader makes of the examples.

    Args:
        network: Called with a batch that the reader gives, and its mask; trained in place.
        reader: How sequences become what the network reads.
        train: Examples to learn from.
        valid: Examples that choose the weights that are kept.
        config: Settings.
        seed: Seed of the order of the examples and of dropout.
        objective: What is learned.
        device: Where to train.
        without_weight_decay: Names of parameters without weight decay; biases never have it.

    Returns:
        The network with its best weights. The time includes that of reading.

    Raises:
        DataError: If a part is empty, or the reader refuses a sequence.
        ConfigError: If training diverges.
    """
    started = time.perf_counter()
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise DataError(f"the {name} part holds no example; fine-tuning needs one at least.")
    inputs = reader(train.codes, "training part")
    validation = reader(valid.codes, "validation part")
    before = time.perf_counter() - started
    trained = train_network(
        network,
        Part(inputs, train.labels),
        Part(validation, valid.labels),
        config,
        seed=seed,
        objective=objective,
        device=device,
        without_weight_decay=without_weight_decay,
    )
    done = vars(trained) | {"seconds": before + trained.seconds}
    return FineTuned(
        **done,
        classifier=network,
        reader=reader,
        context_length=int(inputs.lengths.max()),
        objective=objective,
    )


def finetune(
    model: LanguageModel,
    train: Examples,
    valid: Examples,
    config: FineTuneConfig,
    *,
    n_classes: int,
    seed: int,
    device: str = "cpu",
    encoding: Encoding = CHARACTERS,
    objective: Objective = CLASSES,
) -> FineTuned:
    """Train a copy of a model and a new linear head on a labelled task.

    Args:
        model: Pretrained model, or one with initial weights; it is not modified.
        train: Examples to learn from.
        valid: Examples that choose the epoch.
        config: Settings, the same for every arm.
        n_classes: Number of classes.
        seed: Seed of the head, the order of the examples and dropout: arms with one seed see the
            same batches.
        device: Where to train, as torch names it.
        encoding: How sequences become the ids that the model reads.
        objective: What is learned.

    Returns:
        The classifier of the best epoch.

    Raises:
        DataError: If a part is empty or a sequence is longer than the model allows.
        ConfigError: If training diverges.
    """
    return train_on(
        SequenceClassifier(
            model, n_classes=n_classes, seed=seed, special_ids=encoding.special_ids, config=config
        ),
        token_reader(model.config, encoding, too_long=config.too_long),
        train,
        valid,
        config,
        seed=seed,
        objective=objective,
        device=device,
        without_weight_decay=model.without_weight_decay(),
    )


def token_reader(
    config: ModelConfig,
    encoding: Encoding,
    *,
    too_long: TooLong = "error",
    prompt_ids: Sequence[int] = (),
) -> Reader:
    """Return how sequences become the ids that a model reads, with a soft prompt in front."""
    prompt = np.asarray(prompt_ids, dtype=np.int64)

    def read(codes: Sequence[Codes], where: str) -> Inputs:
        rows = checked_rows(
            codes, config, encoding, where=where, spare=len(prompt), too_long=too_long
        )
        if len(prompt):
            rows = [np.concatenate((prompt, row)) for row in rows]
        return TokenInputs(rows, encoding.pad_id)

    return read


def train_classifier(
    classifier: nn.Module,
    train: Examples,
    valid: Examples,
    config: FineTuneConfig,
    *,
    seed: int,
    device: str = "cpu",
    without_weight_decay: frozenset[str] = frozenset(),
    encoding: Encoding = CHARACTERS,
) -> FineTuned:
    """Train any module from token ids to class logits; the validation metric chooses the epoch.

    Args:
        classifier: Called with ids and mask, both ``(batch, length)``; trained in place.
        train: Examples to learn from.
        valid: Examples that choose the epoch.
        config: Settings.
        seed: Seed of the order of the examples and of dropout.
        device: Where to train.
        without_weight_decay: Names of parameters without weight decay; biases never have it.
        encoding: How sequences become ids.

    Returns:
        The classifier with the weights of the best epoch.

    Raises:
        DataError: If a part is empty.
        ConfigError: If the loss or the validation outputs are not finite.
    """
    return train_on(
        classifier,
        lambda codes, where: TokenInputs.of(codes, encoding),
        train,
        valid,
        config,
        seed=seed,
        device=device,
        without_weight_decay=without_weight_decay,
    )


def predict(
    classifier: nn.Module, codes: Sequence[Codes], *, encoding: Encoding = CHARACTERS
) -> npt.NDArray[np.float64]:
    """Return class probabilities of sequences in their order, shape ``(n, classes)``.

    The module's training mode is left as it was. Sequences of similar length share a batch.
    """
    return predicted(classifier, TokenInputs.of(codes, encoding))


@torch.no_grad()
def embed(
    model: LanguageModel,
    codes: Sequence[Codes],
    *,
    device: str = "cpu",
    max_tokens: int = BATCH_TOKENS,
    encoding: Encoding = CHARACTERS,
    pooling: Pooling = "mean",
    layer: int = -1,
    too_long: TooLong = "error",
) -> npt.NDArray[np.float32]:
    """Return one vector for each sequence, its mean hidden state, in float32 without gradients.

    Special tokens are read, and neither averaged over nor among what a maximum is taken of.

    Args:
        model: The model; it is not modified.
        codes: Base codes of the sequences.
        device: Where to compute.
        max_tokens: Most tokens of a padded batch.
        encoding: How sequences become the ids that the model reads.
        pooling: How the states become one vector, see :func:`lightning_dna.models.heads.pool`.
        layer: Which states are read, see :func:`lightning_dna.models.embedding.trunk_at`.
        too_long: What to do with a sequence that is longer than the model.

    Returns:
        One row for each sequence in the order given, shape ``(n, width)``.

    Raises:
        DataError: If there is no sequence, or one is longer than the model allows.
        ConfigError: If there is no such layer, or the pooling has weights to learn.
    """
    rows = checked_rows(
        codes, model.config, encoding, where="sequences to embed", too_long=too_long
    )
    inputs, place = TokenInputs(rows, encoding.pad_id), torch.device(device)
    backbone = trunk_at(model.backbone, layer).to(place).eval()
    parts, order = [], []
    for batch in batches_by_length(inputs.lengths, max_tokens=max_tokens):
        input_ids, real = inputs.batch(batch, place)
        bases = of_bases(input_ids, real, encoding.special_ids)
        pooled = pool(backbone(input_ids, real), bases, real, pooling)
        parts.append(pooled.cpu().numpy())
        order.append(batch)
    return in_input_order(parts, order)
