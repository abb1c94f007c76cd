"""Hidden states of sequences longer than the model, or the memory, takes: window by window.

A window is a chunk with ``overlap`` more positions on either side; the states of the chunk are
kept, those of the overlap are context and are computed again by the neighbours. Where every layer
reads a limited neighbourhood (convolutions, local attention) and the overlap covers what the layers
reach together, the states are those of the whole sequence to rounding. Where a layer reads
everything (Hyena, global attention, learned positions), they are those of a model that sees the
window alone: an approximation, which says so.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lightning_dna.errors import ConfigError
from lightning_dna.models.backbone import Backbone
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel

Pooling = Literal["none", "mean"]


@dataclass(frozen=True)
class Embedding:
    """What :func:`embed` returns.

    Attributes:
        states: One vector per position, or one per sequence where they are averaged.
        exact: Whether the states are those of the whole sequence; otherwise each is what the model
            makes of its window.
        windows: Number of windows read per sequence.
    """

    states: Tensor
    exact: bool
    windows: int


def reach(config: ModelConfig) -> tuple[int, int] | None:
    """Return how many positions to the left and to the right an output depends on.

    Returns:
        Both numbers, or ``None`` where there is no limit, or where order is told by counting from
        the start of the sequence, so that a window does not see what the whole would show.

    Example:
        >>> reach(ModelConfig(mixer="convolution", layers=3, convolution_taps=9))
        (12, 12)
        >>> reach(ModelConfig(mixer="hyena")) is None
        True
    """
    if config.position_scheme in ("learned", "sinusoidal"):
        return None
    left = right = 0
    for layer, name in enumerate(config.mixers):
        if name == "attention":
            if config.attention_reach is None:
                return None
            past, future = config.attention_reach, config.attention_reach
        elif name in ("convolution", "dilated"):
            step = 2 ** (layer % config.convolution_cycle) if name == "dilated" else 1
            first = config.convolution_first_taps if layer == 0 else None
            taps = config.convolution_taps if first is None else first
            past = step * (taps - 1 if config.causal else taps // 2)
            future = past
        else:
            return None
        left += past
        right += 0 if config.causal else future
    if config.strand != "single":  # the other strand is read from the other end
        left = right = max(left, right)
    return left, right


def trunk_at(backbone: Backbone, layer: int = -1) -> Backbone:
    """Return a copy of a trunk that ends at a layer, float32, all of it trainable.

    Args:
        backbone: The trunk; it is not modified.
        layer: 0 for the embeddings, ``k`` for what block ``k`` hands on, -1 or the number of
            blocks for the whole trunk with its final norm.

    Raises:
        ConfigError: There is no such layer.

    Example:
        >>> from lightning_dna.models.language_model import build_model
        >>> model = build_model(ModelConfig(width=8, layers=3, heads=2), seed=0)
        >>> [len(trunk_at(model.backbone, layer).blocks) for layer in (-1, 3, 1, 0)]
        [3, 3, 1, 0]
    """
    layers = len(backbone.blocks)
    if not -1 <= layer <= layers:
        raise ConfigError(
            f"finetune.layer is {layer}, and the model has {layers} blocks; allowed: -1 to {layers}"
        )
    trunk = copy.deepcopy(backbone).float().requires_grad_(True)
    if layer not in (-1, layers):
        trunk.blocks = trunk.blocks[:layer]
        trunk.final_norm = nn.Identity()
    return trunk


@torch.no_grad()
def embed(
    model: LanguageModel | Backbone,
    input_ids: Int[Tensor, "batch length"],
    *,
    chunk: int,
    overlap: int,
    pooling: Pooling = "none",
) -> Embedding:
    """Compute hidden states window by window, in memory that depends on the window alone.

    Args:
        model: A language model or its backbone; it is read in evaluation mode and left in the mode
            it was in.
        input_ids: Token ids, all of them real.
        chunk: Positions per window whose states are kept.
        overlap: Positions of context on either side.
        pooling: ``"none"`` returns a vector per position; ``"mean"`` averages over the sequence as
            the windows pass, so that the states of all positions never exist together.

    Returns:
        The states on the CPU, float32 at least, and whether they are exact.

    Raises:
        ConfigError: The chunk is empty, the overlap negative, or a window longer than the model
            takes.

    Example:
        >>> from lightning_dna.models.language_model import build_model
        >>> model = build_model(ModelConfig(mixer="convolution", width=8, layers=2), seed=0)
        >>> found = embed(model, torch.full((1, 100), 7), chunk=30, overlap=8)
        >>> found.states.shape, found.exact, found.windows
        (torch.Size([1, 100, 8]), True, 4)
    """
    backbone = model.backbone if isinstance(model, LanguageModel) else model
    batch, length = input_ids.shape
    _check(backbone.config, length, chunk, overlap, pooling)
    device, training = backbone.embedding.weight.device, backbone.training
    states, windows = _Collector(batch, length, pooling), 0
    backbone.eval()
    try:
        for start, stop, first, last in _windows(length, chunk, overlap):
            hidden = backbone(input_ids[:, first:last].to(device))
            states.add(hidden[:, start - first : stop - first], start)
            windows += 1
    finally:
        backbone.train(training)
    limits = reach(backbone.config)
    exact = windows == 1 or (limits is not None and overlap >= max(limits))
    return Embedding(states=states.finished(), exact=exact, windows=windows)


def _windows(length: int, chunk: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the bounds of every chunk, and of the window around it."""
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        yield start, stop, max(0, start - overlap), min(length, stop + overlap)


class _Collector:
    """The states of all positions, or their running sum."""

    def __init__(self, batch: int, length: int, pooling: Pooling) -> None:
        self.batch, self.length, self.pooling = batch, length, pooling
        self.states: Tensor | None = None

    def add(self, hidden: Float[Tensor, "batch positions width"], start: int) -> None:
        """Take the states of a chunk."""
        kept = hidden.to("cpu", torch.promote_types(hidden.dtype, torch.float32))
        if self.states is None:
            shape = (self.length,) if self.pooling == "none" else ()
            dtype = kept.dtype if self.pooling == "none" else torch.float64
            self.states = torch.zeros(self.batch, *shape, kept.shape[-1], dtype=dtype)
        if self.pooling == "none":
            self.states[:, start : start + kept.shape[1]] = kept
        else:
            self.states += kept.sum(dim=1, dtype=torch.float64)

    def finished(self) -> Tensor:
        """Return what was collected."""
        if self.states is None:
            raise RuntimeError("no window was read")
        if self.pooling == "none":
            return self.states
        return (self.states / self.length).float()


def _check(config: ModelConfig, length: int, chunk: int, overlap: int, pooling: str) -> None:
    """Refuse what cannot be cut into windows."""
    if pooling not in ("none", "mean"):
        raise ConfigError(f"pooling: found {pooling!r}; allowed: none, mean")
    if length < 1:
        raise ConfigError("input_ids: found an empty sequence; give at least one token")
    if chunk < 1:
        raise ConfigError(f"chunk: found {chunk}; it must be at least 1")
    if overlap < 0:
        raise ConfigError(f"overlap: found {overlap}; it must be at least 0")
    window = min(length, chunk + 2 * overlap)
    bounded = "hyena" in config.mixers or config.position_scheme == "learned"
    if bounded and window > config.max_length:
        raise ConfigError(
            f"chunk + 2 overlap: a window of {window} tokens is longer than the model takes, "
            f"model.max_length = {config.max_length}; use a smaller chunk or overlap"
        )
