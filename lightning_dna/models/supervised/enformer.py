"""A classifier on a trunk in Enformer's order: a stem, a tower that pools, and attention.

As published: a stem of 15 taps, then stages of five taps, each with a residual convolution of one
tap and attention pooling of every two positions, channels growing from half the width to all of it;
then blocks of attention over the bins, pre-norm, with a feed-forward of twice the width.

Differences: 128 channels, four halvings (bins of 16 bases) and three blocks of attention, where the
published model has 1,536, seven (128 bases) and eleven; norms over the channels of a position in
place of batch norm, so that an output depends on its own sequence alone; RoPE in place of the basis
of relative positions; exact GELU; no dropout; padding is masked; the class comes from the mean over
the bins, in place of tracks for each of them. Hence *like*.

References:
    Avsec et al., Effective gene expression prediction from sequence by integrating long-range
    interactions (Enformer), Nature Methods 2021.
"""

import itertools

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.backbone import Block
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.heads import mean_pool
from lightning_dna.models.supervised.inputs import (
    base_codes,
    left_aligned,
    one_hot,
    weights_of_seed,
)

LETTERS = 4  # N is a row of zeros
WIDTH = 128
HALVINGS = 4
ATTENTION_LAYERS = 3
HEADS = 4
STEM_TAPS, TOWER_TAPS = 15, 5
POOLING_START = 2.0  # times the identity: pooling begins close to a maximum


def tower_widths(width: int, halvings: int) -> list[int]:
    """Return the channels of the stem and of each stage: equal ratios from half to full width.

    Example:
        >>> tower_widths(128, 4)
        [64, 80, 104, 128]
    """
    ratio = 2.0 ** (1 / (halvings - 1))
    return [8 * round(width / 2 * ratio**stage / 8) for stage in range(halvings)]


class ConvolutionBlock(nn.Module):
    """Norm, GELU, convolution; padding is zero before it."""

    def __init__(self, inputs: int, outputs: int, taps: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.convolution = nn.Conv1d(inputs, outputs, taps, padding="same")

    def forward(
        self,
        x: Float[Tensor, "batch length inputs"],
        real: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length outputs"]:
        """Mix neighbours."""
        signal = functional.gelu(self.norm(x)).masked_fill(~real[..., None], 0.0)
        mixed: Tensor = self.convolution(signal.transpose(1, 2))
        return mixed.transpose(1, 2)


class AttentionPool(nn.Module):
    """Every two positions become one: their mean, weighted by channel with a softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            self.scores.weight.copy_(POOLING_START * torch.eye(width))

    def forward(
        self, x: Float[Tensor, "batch length width"], real: Bool[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch bins width"], Bool[Tensor, "batch bins"]]:
        """Return the bins and which of them hold a real position; padding has no weight."""
        batch, length, width = x.shape
        odd = length % 2
        pairs = functional.pad(x, (0, 0, 0, odd)).reshape(batch, -1, 2, width)
        held = functional.pad(real, (0, odd)).reshape(batch, -1, 2)  # batch bins 2
        scores = self.scores(pairs)
        scores = scores.masked_fill(~held[..., None], torch.finfo(scores.dtype).min)
        return (pairs * scores.softmax(dim=2)).sum(dim=2), held.any(dim=2)


class Stage(nn.Module):
    """A convolution to more channels, a residual one of one tap, and pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.widen = ConvolutionBlock(inputs, outputs, TOWER_TAPS)
        self.refine = ConvolutionBlock(outputs, outputs, 1)
        self.pool = AttentionPool(outputs)

    def forward(
        self, x: Float[Tensor, "batch length inputs"], real: Bool[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch bins outputs"], Bool[Tensor, "batch bins"]]:
        """Return half as many positions."""
        x = self.widen(x, real)
        pooled: tuple[Tensor, Tensor] = self.pool(x + self.refine(x, real), real)
        return pooled


class EnformerLike(nn.Module):
    """The network, from token ids to the logits of every class; 0.6 M parameters.

    Args:
        n_classes: Number of classes.
        seed: Seed of the initial weights, drawn by torch's own rules.
        width: Channels of the attention, an even multiple of 8.
        halvings: Poolings, at least 2; a bin holds ``2^halvings`` bases.
        layers: Blocks of attention.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        seed: int,
        width: int = WIDTH,
        halvings: int = HALVINGS,
        layers: int = ATTENTION_LAYERS,
    ) -> None:
        super().__init__()
        widths = tower_widths(width, halvings)
        config = ModelConfig(
            position="rope", width=width, heads=HEADS, layers=layers, feedforward_width=2 * width
        )
        with weights_of_seed(seed):
            self.stem = nn.Conv1d(LETTERS, widths[0], STEM_TAPS, padding="same")
            self.stem_refine = ConvolutionBlock(widths[0], widths[0], 1)
            self.stem_pool = AttentionPool(widths[0])
            self.tower = nn.ModuleList(
                Stage(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)
            )
            self.blocks = nn.ModuleList(Block(config, layer) for layer in range(layers))
            self.norm = nn.LayerNorm(width)
            self.output = nn.Linear(width, n_classes)

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        ids, real = left_aligned(input_ids, attention_mask)
        codes = base_codes(ids).masked_fill(~real, LETTERS)
        letters = one_hot(codes, channels=LETTERS, dtype=self.output.weight.dtype)
        x = self.stem(letters).transpose(1, 2)
        x, real = self.stem_pool(x + self.stem_refine(x, real), real)
        for stage in self.tower:
            x, real = stage(x, real)
        for block in self.blocks:
            x = block(x, real)
        logits: Tensor = self.output(mean_pool(self.norm(x), real))
        return logits
