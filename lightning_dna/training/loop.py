"""The loop that trains a network on labelled examples; what it learns is an objective's business.

A plain loop and not a Lightning ``Trainer``: an epoch over a labelled task takes seconds, a study
has hundreds of them, and setting up a Trainer (loggers, callbacks, checkpoints, loaders) would cost
more than the training itself. Nothing has to be resumed either: a task that was cut short is scored
again.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.data.examples import Indices, batches_by_length, shuffled_batches
from lightning_dna.errors import DataError, DivergedError
from lightning_dna.stats.metrics import METRICS
from lightning_dna.training.finetune_config import FineTuneConfig
from lightning_dna.training.inputs import BATCH_TOKENS, Inputs
from lightning_dna.training.sequences import in_input_order

Labels = npt.NDArray[Any]
Outputs = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs with their labels.

    Attributes:
        inputs: What the network reads.
        labels: One entry for each sequence along the first axis.
    """

    inputs: Inputs
    labels: Labels


@dataclass(frozen=True, eq=False)
class Objective:
    """What is minimised, and what chooses the weights that are kept.

    Attributes:
        loss: From the network's outputs in float32 and a batch of labels to one number.
        outputs: From the network's outputs in float64 to what :func:`predicted` returns.
        value: From a metric's name, labels and those outputs to its value; more is better.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    outputs: Callable[[Tensor], Tensor]
    value: Callable[[str, Labels, Outputs], float]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training went.

    Attributes:
        epochs_run: Epochs trained, those after the best one included; the last may be cut short.
        best_epoch: Epoch that the validation metric chose, from 1.
        best_step: Steps taken when it was best.
        valid_metric: That metric; minus the loss where that chooses.
        seconds: Wall-clock time, validation included.
        parameters_updated: Number of weights that the optimizer moved.
        examples_per_second: Training examples read per second of the whole.
    """

    epochs_run: int
    best_epoch: int
    best_step: int
    valid_metric: float
    seconds: float
    parameters_updated: int
    examples_per_second: float


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


def _class_value(name: str, labels: Labels, probabilities: Outputs) -> float:
    """Return a metric of class probabilities."""
    if name == "loss":
        of_label = probabilities[np.arange(len(labels)), labels]
        return float(np.log(np.maximum(of_label, np.finfo(np.float64).tiny)).mean())
    return selection_metric(name, labels, probabilities.argmax(axis=1))


CLASSES = Objective(
    loss=functional.cross_entropy,
    outputs=lambda logits: torch.softmax(logits, dim=-1),
    value=_class_value,
)
"""One class for each sequence: cross-entropy, and class probabilities."""


def train(
    network: nn.Module,
    train: Part,
    valid: Part,
    config: FineTuneConfig,
    *,
    seed: int,
    objective: Objective = CLASSES,
    device: str = "cpu",
    without_weight_decay: frozenset[str] = frozenset(),
) -> Trained:
    """Train whatever a network has to train; the validation metric chooses the weights it keeps.

    AdamW with linear warm-up and the scheduler of the settings, gradient clipping, and bfloat16
    autocast where a GPU supports it. Training stops when ``config.patience`` epochs in a row were
    no better than the best one.

    Args:
        network: Called with a batch of its inputs and their mask; trained in place. Parameters
            without ``requires_grad`` are left as they are.
        train: Examples to learn from.
        valid: Examples that choose.
        config: Settings.
        seed: Seed of the order of the examples and of dropout.
        objective: What is learned.
        device: Where to train.
        without_weight_decay: Names of parameters without weight decay; biases never have it.

    Returns:
        How it went; the network holds the best weights and is in evaluation mode.

    Raises:
        DataError: If a part is empty.
        ConfigError: If the loss or the validation outputs are not finite.
    """
    for name, part in (("training", train), ("validation", valid)):
        if not len(part.labels):
            raise DataError(f"the {name} part holds no example; fine-tuning needs one at least.")
    started, n_train = time.perf_counter(), len(train.labels)
    network.to(device)
    optimizer = _optimizer(network, config, without_weight_decay)
    last = min(config.epochs * -(-n_train // config.batch_size), config.max_steps or sys.maxsize)
    rate_at, best = _schedule(config, steps=last), _Best(network)
    lengths, epoch, step, read = train.inputs.lengths, 0, 0, 0
    with _own_random_stream(seed, device):
        while step < last and (not best.step or epoch - best.epoch < config.patience):
            epoch += 1
            batches = shuffled_batches(
                lengths, batch_size=config.batch_size, seed=seed, epoch=epoch
            )
            for chunk, validates in _chunks([*batches], step, last, config.validate_every_steps):
                _take_steps(network, train, chunk, optimizer, config, objective, rate_at, step)
                step += len(chunk)
                read += sum(len(batch) for batch in chunk)
                if validates:
                    metric = _validate(network, valid, config, objective, epoch)
                    best.offer(metric, epoch, step)
    best.restore()
    network.eval()
    seconds = time.perf_counter() - started
    return Trained(
        epochs_run=epoch,
        best_epoch=best.epoch,
        best_step=best.step,
        valid_metric=best.metric,
        seconds=seconds,
        parameters_updated=sum(p.numel() for p in network.parameters() if p.requires_grad),
        examples_per_second=read / seconds,
    )


@torch.no_grad()
def predicted(network: nn.Module, inputs: Inputs, *, objective: Objective = CLASSES) -> Outputs:
    """Return a network's outputs for sequences in their order, float64.

    The network's training mode is left as it was. Sequences of similar length share a batch.

    Raises:
        DataError: There is no sequence.
    """
    device, was_training = next(network.parameters()).device, network.training
    network.eval()
    parts, order = [], []
    for batch in batches_by_length(inputs.lengths, max_tokens=BATCH_TOKENS):
        with _autocast(device):
            logits = network(*inputs.batch(batch, device))
        parts.append(objective.outputs(logits.double()).cpu().numpy())
        order.append(batch)
    network.train(was_training)
    if not parts:
        raise DataError("there is no sequence to predict; give one at least.")
    return in_input_order(parts, order)


class _Best:
    """The best weights so far: what is trained, and buffers, which some networks count in."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        fixed = {name for name, part in network.named_parameters() if not part.requires_grad}
        self.names = [name for name in network.state_dict() if name not in fixed]
        self.epoch, self.step, self.metric = 0, 0, -math.inf
        self.weights = self._copied()

    def offer(self, metric: float, epoch: int, step: int) -> None:
        """Keep the present weights if they are better than those kept."""
        if metric > self.metric:
            self.metric, self.epoch, self.step = metric, epoch, step
            self.weights = self._copied()

    def restore(self) -> None:
        """Put the best weights back."""
        now = self.network.state_dict()
        with torch.no_grad():
            for name, value in self.weights.items():
                now[name].copy_(value)

    def _copied(self) -> dict[str, Tensor]:
        """Copy the present weights."""
        now = self.network.state_dict()
        return {name: now[name].clone() for name in self.names}


def _chunks(
    batches: list[Indices], step: int, last: int, every: int | None
) -> Iterator[tuple[list[Indices], bool]]:
    """Cut an epoch after the steps that are followed by a validation.

    Without ``every`` it is one piece. The last step of the training is always followed by one.
    """
    batches = batches[: last - step]
    start = 0
    for stop in range(1, len(batches) + 1):
        taken, ends = step + stop, stop == len(batches)
        validates = taken == last or (ends if every is None else taken % every == 0)
        if validates or ends:
            yield batches[start:stop], validates
            start = stop


def _take_steps(
    network: nn.Module,
    train: Part,
    batches: list[Indices],
    optimizer: torch.optim.Optimizer,
    config: FineTuneConfig,
    objective: Objective,
    rate_at: Callable[[int], float],
    step: int,
) -> None:
    """Take one step for each batch, the first of them being number ``step`` from 0."""
    device = next(network.parameters()).device
    moved = [part for part in network.parameters() if part.requires_grad]
    network.train()
    losses = []
    for number, batch in enumerate(batches, start=step):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(number)
        with _autocast(device):
            logits = network(*train.inputs.batch(batch, device))
        labels = torch.from_numpy(train.labels[batch]).to(device)
        loss = objective.loss(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.gradient_clip > 0:
            nn.utils.clip_grad_norm_(moved, config.gradient_clip)
        optimizer.step()
        losses.append(loss.detach())
    if not torch.isfinite(torch.stack(losses)).all():  # looked at once: looking stalls a GPU
        raise _diverged("loss", config)


def _validate(
    network: nn.Module, valid: Part, config: FineTuneConfig, objective: Objective, epoch: int
) -> float:
    """Return the validation metric."""
    outputs = predicted(network, valid.inputs, objective=objective)
    if not np.isfinite(outputs).all():
        raise _diverged(f"validation output of epoch {epoch}", config)
    return objective.value(config.metric, valid.labels, outputs)


def _diverged(what: str, config: FineTuneConfig) -> DivergedError:
    """Build the error for numbers that are no longer finite."""
    warmup = "warmup_fraction" if config.warmup_steps is None else "warmup_steps"
    return DivergedError(
        f"fine-tuning diverged: the {what} is not finite; lower finetune.lr (it is {config.rate}), "
        f"raise finetune.{warmup} ({getattr(config, warmup)}) or set finetune.gradient_clip "
        f"({config.gradient_clip}; 0 is off)."
    )


def _optimizer(
    network: nn.Module, config: FineTuneConfig, without_weight_decay: frozenset[str]
) -> torch.optim.AdamW:
    """Return AdamW with two groups: matrices with weight decay, everything else without."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        plain = name in without_weight_decay or parameter.ndim < 2
        if parameter.requires_grad:
            (spared if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.rate)


def _schedule(config: FineTuneConfig, *, steps: int) -> Callable[[int], float]:
    """Return the learning rate by step: linear warm-up, then the scheduler of the settings."""
    warmup = max(1, round(config.warmup_fraction * steps))
    if config.warmup_steps is not None:
        warmup = max(1, config.warmup_steps)
    floor = config.final_lr_fraction

    def rate_at(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup)
        progress = min(1.0, max(0, step + 1 - warmup) / max(1, steps - warmup + 1))
        if config.scheduler == "constant":
            return config.rate * rise
        straight = config.scheduler == "linear"
        left = 1.0 - progress if straight else 0.5 * (1.0 + math.cos(math.pi * progress))
        return config.rate * rise * (floor + (1.0 - floor) * left)

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
