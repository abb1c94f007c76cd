"""What a model costs before it runs: parameters by part, and floating-point operations per base."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lightning_dna.errors import ConfigError
from lightning_dna.models.backbone import Block
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel

# Backward over forward. Matrix products: 2. Fused attention computes its scores again: 5 products
# to 2. Long convolution: the gradient there, the signal's back; the filters' is once per batch.
_BACKWARD = {
    "projection": 2.0,
    "attention": 2.5,
    "fft": 1.0,
    "short_convolution": 2.0,
    "convolution": 2.0,
    "scan": 2.0,
    "feedforward": 2.0,
    "head": 2.0,
}


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """Trained numbers by part.

    Attributes:
        embedding: Token table, and position table where positions are learned.
        mixer: All sequence mixers.
        feedforward: All feed-forwards.
        norm: All norms, the final one included.
        head: The language-model head's own: 0 where it uses the token table alone.
        trunk: Those of the blocks: mixers, feed-forwards and their norms. What arms are matched by.
    """

    embedding: int
    mixer: int
    feedforward: int
    norm: int
    head: int
    trunk: int

    @property
    def total(self) -> int:
        """All trained numbers."""
        return self.embedding + self.mixer + self.feedforward + self.norm + self.head

    def __str__(self) -> str:
        return (
            f"{self.total:,} parameters: embedding {self.embedding:,}, mixer {self.mixer:,}, "
            f"feed-forward {self.feedforward:,}, norm {self.norm:,}, head {self.head:,}"
        )


@dataclass(frozen=True, kw_only=True)
class FlopsPerBase:
    """Floating-point operations per token of one sequence, a multiply-add being two.

    Attributes:
        forward: Forward operations by kind: ``projection`` (the mixers' matrices), ``attention``
            (scores and weighted sums, proportional to the length), ``fft`` (Hyena's long
            convolutions), ``short_convolution`` (Hyena's, with the gates, and Mamba's),
            ``convolution`` (of the convolution mixers), ``scan`` (Mamba's states), ``feedforward``,
            ``head``.
        backward: Backward operations, same kinds.
    """

    forward: Mapping[str, float]
    backward: Mapping[str, float]

    @property
    def forward_total(self) -> float:
        """One forward pass."""
        return sum(self.forward.values())

    @property
    def backward_total(self) -> float:
        """One backward pass."""
        return sum(self.backward.values())

    @property
    def training_total(self) -> float:
        """One training step, forward and backward."""
        return self.forward_total + self.backward_total


def parameter_counts(config: ModelConfig) -> ParameterCounts:
    """Count the parameters of a model by part, without memory or weights.

    Example:
        >>> print(parameter_counts(ModelConfig(width=128, layers=2, feedforward="geglu")))
        398,848 parameters: embedding 2,048, mixer 132,096, feed-forward 263,424, norm 1,280, head 0
    """
    model = _shape_only(config)
    blocks = _blocks(model)
    norms: list[nn.Module] = [model.backbone.embedding_norm, model.backbone.final_norm]
    heads: list[nn.Module] = [] if model.head is None else [model.head]
    embeddings: list[nn.Module] = [model.backbone.embedding]
    if model.backbone.token_types is not None:
        embeddings.append(model.backbone.token_types)
    if model.backbone.positions is not None:
        embeddings.append(model.backbone.positions)
    for block in blocks:
        norms += [block.mixer_norm, block.feedforward_norm]
    return ParameterCounts(
        embedding=_count(embeddings),
        mixer=_count([block.mixer for block in blocks]),
        feedforward=_count([block.feedforward for block in blocks]),
        norm=_count(norms),
        head=_count(heads),
        trunk=_count(blocks),
    )


def flops_per_base(config: ModelConfig, length: int) -> FlopsPerBase:
    """Count operations per token from the shapes; nothing is run.

    Norms, activations, softmax and the embedding look-up are left out. A model that reads both
    strands always counts twice; one that does so in evaluation alone counts as in training.

    Args:
        config: The model's settings.
        length: Tokens per sequence, on which attention and convolution depend.

    Returns:
        Operations by kind, with forward, backward and training totals.

    Raises:
        ConfigError: ``length`` is not positive, or beyond what the model takes.

    Example:
        >>> flops = flops_per_base(ModelConfig(width=128, layers=2), 512)
        >>> flops.forward["attention"], flops.forward["projection"]
        (524288.0, 262144.0)
    """
    if length < 1:
        raise ConfigError(f"length: found {length}; a sequence has at least one token")
    if "hyena" in config.mixers or config.position_scheme == "learned":
        config.check_length(length, part="the model")
    forward: dict[str, float] = {}
    for block in _blocks(_shape_only(config)):
        for part in (block.mixer, block.feedforward):
            for kind, flops in part.flops_per_base(length).items():
                forward[kind] = forward.get(kind, 0.0) + flops
    forward["head"] = 2.0 * config.width * config.vocab_size
    if config.head != "tied":
        forward["head"] += 2.0 * config.width**2
    if config.strand == "equivariant":
        forward = {kind: 2.0 * flops for kind, flops in forward.items()}
    backward = {kind: _BACKWARD[kind] * flops for kind, flops in forward.items()}
    return FlopsPerBase(forward=forward, backward=backward)


@functools.lru_cache(maxsize=8)
def _shape_only(config: ModelConfig) -> LanguageModel:
    """Build the model on torch's meta device, where tensors have shapes and no storage."""
    with torch.device("meta"):
        return LanguageModel(config)


def _blocks(model: LanguageModel) -> list[Block]:
    """Return the blocks, typed."""
    return [block for block in model.backbone.blocks if isinstance(block, Block)]


def _count(modules: Sequence[nn.Module]) -> int:
    """Count the trained numbers of some modules."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
