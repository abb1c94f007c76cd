"""What a training step and a forward pass hold in memory, from the program itself.

Nothing here is a formula of some layer. The model's own forward and backward run on tensors that
have shapes and no storage (torch's fake tensors), and every tensor made is counted while it lives.
So the numbers follow the implementation: what a fused function does not keep is not counted, what a
kernel keeps for its backward is. A model whose program depends on the values of its tensors cannot
run so; it is run for real on one row and on two, and the rest is a straight line, which is exact
for what is kept and close for the peak. So are large batches.

Not counted: what a kernel allocates and frees within itself, and what the interpreter and the
libraries of the process take.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model

Precision = Literal["32", "bf16"]

# From rows, and whether tensors are fake, to bytes kept and the peak.
Measure = Callable[[int, bool], tuple[int, int]]

MOMENTS = 2  # numbers that AdamW keeps beside each weight
_WHOLE_TOKENS = 32_768  # batches of more are not run whole


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes of a training step with AdamW; weights, gradients and moments are 32-bit.

    Attributes:
        weights: The parameters.
        gradients: One number for each.
        optimizer: Two moments for each.
        activations: What is kept between forward and backward, logits and, in bfloat16, the
            weights' casts included.
        peak: The most that lives at once: all of the above, and what is in work.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int


@dataclass(frozen=True, kw_only=True)
class InferenceMemory:
    """Bytes of a forward pass without gradients. A sequence is read whole: no cache of keys.

    Attributes:
        weights: The parameters.
        activations: The most that lives at once beside them: one layer's, whatever the depth, and
            what layers keep for the next sequence; in bfloat16 the weights' casts too.
    """

    weights: int
    activations: int

    @property
    def peak(self) -> int:
        """Weights and activations."""
        return self.weights + self.activations


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors made under it, from the making of a storage to its end.

    Args:
        known: Tensors from before, which do not count, nor do views of them.

    Attributes:
        now: Bytes alive.
        peak: The most so far; set it to ``now`` to begin again.

    Example:
        >>> with LiveBytes() as live:
        ...     kept = torch.ones(10)
        ...     _ = (torch.ones(100) + 1).sum()
        >>> live.now < live.peak, live.peak
        (True, 840)
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = {id(storage): storage for storage in map(_storage, known)}
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return made

    def _count(self, tensor: Tensor) -> None:
        """Count a storage that is new."""
        storage = _storage(tensor)
        key, size = id(storage), storage.nbytes()
        if key in self._alive or key in self._known:
            return

        def freed(_: Any) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    """Return what views of one tensor share: the same object for all, while any of them lives."""
    return tensor.untyped_storage()


def training_memory(
    config: ModelConfig,
    *,
    rows: int,
    length: int,
    precision: Precision = "32",
    checkpointing: bool = False,
    device: str = "cpu",
) -> TrainingMemory:
    """Count the bytes of a training step: forward, loss of every position, backward.

    A loss of some positions only takes less.

    Args:
        config: The model's settings.
        rows: Sequences of the batch.
        length: Tokens of each.
        precision: ``"32"``, or ``"bf16"`` for bfloat16 autocast over 32-bit weights.
        checkpointing: Whether blocks keep their input only and are computed again in the backward.
        device: Kind of device whose kernels are asked. Other than ``"cpu"`` it needs a torch that
            is built for it.

    Returns:
        Bytes by kind, and the peak.

    Raises:
        ConfigError: The batch is empty, or longer than the model takes.

    Example:
        >>> config = ModelConfig(width=64, layers=2)
        >>> whole = training_memory(config, rows=4, length=256)
        >>> whole.optimizer == 2 * whole.weights
        True
        >>> half = training_memory(config, rows=4, length=256, precision="bf16")
        >>> half.activations < 0.75 * whole.activations
        True
    """
    _check(config, rows, length)

    def step(rows: int, fake: bool) -> tuple[int, int]:
        with _tensors(fake=fake):
            model = _build(config, fake=fake, device=device)
            if checkpointing:
                model.backbone.checkpointing = True
            tokens = torch.zeros((rows, length), dtype=torch.long, device=device)
            return _step(model, tokens, precision)

    activations, beside = _measured(step, rows, length)
    weights = 4 * _numbers(config)
    return TrainingMemory(
        weights=weights,
        gradients=weights,
        optimizer=MOMENTS * weights,
        activations=activations,
        peak=(1 + MOMENTS) * weights + max(beside, weights),
    )


def inference_memory(
    config: ModelConfig,
    *,
    rows: int,
    length: int,
    precision: Precision = "32",
    device: str = "cpu",
) -> InferenceMemory:
    """Count the bytes of a forward pass in evaluation mode, logits included.

    Arguments and errors are those of :func:`training_memory`.

    Example:
        >>> shallow, deep = (
        ...     inference_memory(ModelConfig(width=64, layers=layers), rows=4, length=256)
        ...     for layers in (2, 8)
        ... )
        >>> deep.activations < 1.1 * shallow.activations
        True
    """
    _check(config, rows, length)

    def forward(rows: int, fake: bool) -> tuple[int, int]:
        with _tensors(fake=fake), torch.no_grad():
            model = _build(config, fake=fake, device=device).eval()
            tokens = torch.zeros((rows, length), dtype=torch.long, device=device)
            with LiveBytes(_given(model, tokens)) as live, _autocast(device, precision):
                model(tokens)
            return live.peak, live.peak

    return InferenceMemory(
        weights=4 * _numbers(config), activations=_measured(forward, rows, length)[1]
    )


def _step(model: LanguageModel, tokens: Tensor, precision: Precision) -> tuple[int, int]:
    """Return the bytes kept for the backward, and the peak beside weights and moments.

    As in training, the gradients of the step before are there while the forward runs.
    """
    with LiveBytes(_given(model, tokens)) as live:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        before = live.now
        with _autocast(tokens.device.type, precision):
            logits = model(tokens).logits
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
        del logits
        kept = live.now - before
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        del loss
    return kept, live.peak


def _given(model: LanguageModel, tokens: Tensor) -> list[Tensor]:
    """List the tensors that are there before a step."""
    return [*model.parameters(), *model.buffers(), tokens]


def _measured(measure: Measure, rows: int, length: int) -> tuple[int, int]:
    """Measure on fake tensors; large batches, and where it must be real ones, on a line.

    Programs that go through a batch in pieces take as long as it is large, fake or not.
    """
    largest = max(2, _WHOLE_TOKENS // length)
    try:
        if rows <= largest:
            return measure(rows, True)
        return _on_line(measure, largest // 2, largest, rows, fake=True)
    except (DataDependentOutputException, DynamicOutputShapeException):
        return _on_line(measure, 1, 2, rows, fake=False)


def _on_line(measure: Measure, few: int, more: int, rows: int, *, fake: bool) -> tuple[int, int]:
    """Measure two batches and go on straight."""
    low, high = measure(few, fake), measure(more, fake)
    steps = (rows - few) / (more - few)
    kept, peak = (round(a + steps * (b - a)) for a, b in zip(low, high, strict=True))
    return kept, peak


@contextlib.contextmanager
def _tensors(*, fake: bool) -> Iterator[None]:
    """Make tensors without storage, or real ones; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]), FakeTensorMode() if fake else contextlib.nullcontext():
        yield


def _build(config: ModelConfig, *, fake: bool, device: str) -> LanguageModel:
    """Build the model; one that will really run gets weights, which may decide how it does."""
    if not fake:
        return build_model(config, seed=0).to(device)
    with torch.device(device):
        return LanguageModel(config)


def _autocast(device: str, precision: Precision) -> torch.autocast:
    """Return the precision's context."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")


def _numbers(config: ModelConfig) -> int:
    """Count the parameters."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in LanguageModel(config).parameters())


def _check(config: ModelConfig, rows: int, length: int) -> None:
    """Refuse a batch that is none."""
    for name, value in (("rows", rows), ("length", length)):
        if value < 1:
            raise ConfigError(f"{name}: found {value}; a batch has at least one")
    if "hyena" in config.mixers or config.position_scheme == "learned":
        config.check_length(length, part="the model")
