"""Adapting a pretrained model to a labelled task: fine-tuning of all weights, and embeddings.

The loop here is a plain one and not a Lightning ``Trainer``: an epoch over a labelled task takes
seconds, a study has hundreds of them, and setting up a Trainer (loggers, callbacks, checkpoints,
loaders) would cost more than the training itself. Nothing has to be resumed either: a task that was
cut short is scored again.
"""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import (
    Examples,
    batches_by_length,
    sequence_lengths,
    shuffled_batches,
)
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.heads import ClassificationHead, mean_pool
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.stats.metrics import METRICS
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.sequences import (
    checked_rows,
    in_input_order,
    labelled_batches,
    of_bases,
    padded_batch,
    padded_rows,
)

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

_PREDICTION_TOKENS = 16_384  # of a padded batch without gradients: bounds memory, fills a CPU


class SequenceClassifier(nn.Module):
    """A backbone, the mean over its real positions but special tokens, and a linear layer."""

    def __init__(
        self, model: LanguageModel, *, n_classes: int, seed: int, special_ids: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.special_ids = tuple(special_ids)
        self.backbone = copy.deepcopy(model.backbone).float().requires_grad_(True)
        self.head = ClassificationHead(model.config.width, n_classes=n_classes, seed=seed)

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        hidden = self.backbone(input_ids, attention_mask)
        logits: Tensor = self.head(hidden, of_bases(input_ids, attention_mask, self.special_ids))
        return logits


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned:
    """A trained classifier and how it came about.

    Attributes:
        classifier: Module from token ids and mask to logits, with the weights of the best epoch.
        epochs_run: Epochs trained, those after the best one included.
        best_epoch: Epoch that the validation metric chose, from 1.
        valid_metric: That metric, as named in the settings.
        seconds: Wall-clock time of the training.
        parameters_updated: Number of weights that the optimizer moved.
        encoding: How sequences become ids.
    """

    classifier: nn.Module
    epochs_run: int
    best_epoch: int
    valid_metric: float
    seconds: float
    parameters_updated: int
    encoding: Encoding = CHARACTERS

    def predict(self, examples: Examples) -> npt.NDArray[np.float64]:
        """Return the probability of every class, shape ``(n, classes)``; labels are not read."""
        return predict(self.classifier, examples.codes, encoding=self.encoding)


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

    Returns:
        The classifier of the best epoch.

    Raises:
        DataError: If a part is empty or a sequence is longer than the model allows.
        ConfigError: If training diverges.
    """
    for name, part in (("training", train), ("validation", valid)):
        checked_rows(part.codes, model.config, encoding, where=f"{name} part")
    classifier = SequenceClassifier(
        model, n_classes=n_classes, seed=seed, special_ids=encoding.special_ids
    )
    return train_classifier(
        classifier,
        train,
        valid,
        config,
        seed=seed,
        device=device,
        without_weight_decay=model.without_weight_decay(),
        encoding=encoding,
    )


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

    AdamW with linear warm-up and cosine decay to zero over all epochs, gradient clipping, and
    bfloat16 autocast where a GPU supports it. Training stops when ``config.patience`` epochs in a
    row were no better than the best one.

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
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise DataError(f"the {name} part holds no example; fine-tuning needs one at least.")
    started = time.perf_counter()
    classifier.to(device)
    optimizer = _optimizer(classifier, config, without_weight_decay)
    rate_at = _schedule(config, steps=config.epochs * -(-len(train) // config.batch_size))
    best_epoch, best_metric, best_weights = 0, -math.inf, classifier.state_dict()
    rows = encoding.rows(train.codes)
    epoch, step, lengths = 0, 0, sequence_lengths(rows)
    with _own_random_stream(seed, device):
        while epoch < config.epochs and epoch - best_epoch < config.patience:
            epoch += 1
            batches = shuffled_batches(
                lengths, batch_size=config.batch_size, seed=seed, epoch=epoch
            )
            place = torch.device(device)
            padded = labelled_batches(rows, train.labels, batches, encoding.pad_id, place)
            step = _train_epoch(classifier, padded, optimizer, config, rate_at, step)
            metric = _validate(classifier, valid, config, encoding, epoch)
            if metric > best_metric:
                best_epoch, best_metric = epoch, metric
                best_weights = copy.deepcopy(classifier.state_dict())
    classifier.load_state_dict(best_weights)
    classifier.eval()
    return FineTuned(
        classifier=classifier,
        epochs_run=epoch,
        best_epoch=best_epoch,
        valid_metric=best_metric,
        seconds=time.perf_counter() - started,
        parameters_updated=sum(part.numel() for part in classifier.parameters()),
        encoding=encoding,
    )


@torch.no_grad()
def predict(
    classifier: nn.Module, codes: Sequence[Codes], *, encoding: Encoding = CHARACTERS
) -> npt.NDArray[np.float64]:
    """Return class probabilities of sequences in their order, shape ``(n, classes)``.

    The module's training mode is left as it was. Sequences of similar length share a batch.
    """
    device = next(classifier.parameters()).device
    was_training = classifier.training
    classifier.eval()
    parts, order, rows = [], [], encoding.rows(codes)
    for batch in batches_by_length(sequence_lengths(rows), max_tokens=_PREDICTION_TOKENS):
        with _autocast(device):
            logits = classifier(*padded_rows(rows, batch, encoding.pad_id, device))
        parts.append(torch.softmax(logits.double(), dim=-1).cpu().numpy())
        order.append(batch)
    classifier.train(was_training)
    if not parts:
        raise DataError("there is no sequence to predict; give one at least.")
    return in_input_order(parts, order)


@torch.no_grad()
def embed(
    model: LanguageModel,
    codes: Sequence[Codes],
    *,
    device: str = "cpu",
    max_tokens: int = _PREDICTION_TOKENS,
    encoding: Encoding = CHARACTERS,
) -> npt.NDArray[np.float32]:
    """Return the mean hidden state over each sequence, in float32 without gradients.

    Special tokens are read and not averaged over.

    Args:
        model: The model; it is not modified.
        codes: Base codes of the sequences.
        device: Where to compute.
        max_tokens: Most tokens of a padded batch.
        encoding: How sequences become the ids that the model reads.

    Returns:
        One row for each sequence in the order given, shape ``(n, width)``.

    Raises:
        DataError: If there is no sequence, or one is longer than the model allows.
    """
    rows = checked_rows(codes, model.config, encoding, where="sequences to embed")
    backbone = copy.deepcopy(model.backbone).float().to(device).eval()
    parts, order = [], []
    for batch in batches_by_length(sequence_lengths(rows), max_tokens=max_tokens):
        input_ids, real = padded_rows(rows, batch, encoding.pad_id, torch.device(device))
        averaged = of_bases(input_ids, real, encoding.special_ids)
        pooled = mean_pool(backbone(input_ids, real), averaged)
        parts.append(pooled.cpu().numpy())
        order.append(batch)
    return in_input_order(parts, order)


def selection_metric(
    name: str, labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]
) -> float:
    """Return a classification metric of ``lightning_dna.stats.metrics`` over plain label arrays.

    Example:
        >>> selection_metric("accuracy", np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
        0.75
    """
    n_classes = int(max(labels.max(), predictions.max())) + 1
    hits = labels[labels == predictions]
    counts = [np.bincount(part, minlength=n_classes) for part in (hits, predictions, labels)]
    return float(METRICS[name].value(np.concatenate(counts).astype(np.float64)))


def _train_epoch(
    classifier: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    config: FineTuneConfig,
    rate_at: Callable[[int], float],
    step: int,
) -> int:
    """Take one step for each batch; return the number of steps taken so far."""
    device = next(classifier.parameters()).device
    classifier.train()
    losses = []
    for input_ids, attention_mask, labels in batches:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        with _autocast(device):
            logits = classifier(input_ids, attention_mask)
        loss = functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.gradient_clip > 0:
            nn.utils.clip_grad_norm_(classifier.parameters(), config.gradient_clip)
        optimizer.step()
        losses.append(loss.detach())
        step += 1
    if not torch.isfinite(torch.stack(losses)).all():  # looked at once: looking stalls a GPU
        raise _diverged("loss", config)
    return step


def _validate(
    classifier: nn.Module, valid: Examples, config: FineTuneConfig, encoding: Encoding, epoch: int
) -> float:
    """Return the validation metric after an epoch."""
    probabilities = predict(classifier, valid.codes, encoding=encoding)
    if not np.isfinite(probabilities).all():
        raise _diverged(f"validation output of epoch {epoch}", config)
    return selection_metric(config.metric, valid.labels, probabilities.argmax(axis=1))


def _diverged(what: str, config: FineTuneConfig) -> ConfigError:
    """Build the error for numbers that are no longer finite."""
    return ConfigError(
        f"fine-tuning diverged: the {what} is not finite; lower finetune.lr (it is {config.lr}), "
        f"raise finetune.warmup_fraction ({config.warmup_fraction}) or set finetune.gradient_clip "
        f"({config.gradient_clip}; 0 is off)."
    )


def _optimizer(
    classifier: nn.Module, config: FineTuneConfig, without_weight_decay: frozenset[str]
) -> torch.optim.AdamW:
    """Return AdamW with two groups: matrices with weight decay, everything else without."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in classifier.named_parameters():
        plain = name in without_weight_decay or parameter.ndim < 2
        (spared if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def _schedule(config: FineTuneConfig, *, steps: int) -> Callable[[int], float]:
    """Return the learning rate by step: linear warm-up, then half a cosine down to zero."""
    warmup = max(1, round(config.warmup_fraction * steps))

    def rate_at(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup)
        progress = max(0, step + 1 - warmup) / max(1, steps - warmup + 1)
        return config.lr * rise * 0.5 * (1.0 + math.cos(math.pi * progress))

    return rate_at


@contextlib.contextmanager
def _own_random_stream(seed: int, device: str) -> Iterator[None]:
    """Give dropout a stream that depends on the seed alone; the global one is restored after."""
    place = torch.device(device)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return bfloat16 autocast on a GPU that has it, and nothing elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
