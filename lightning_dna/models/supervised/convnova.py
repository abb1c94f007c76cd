"""A classifier on ConvNova's trunk: dilated convolutions gated by a second branch.

As published: two branches, the sequence and its complement (not reversed), each begin with a
convolution of nine taps and GELU. In every layer the second branch's convolution, through a
sigmoid, gates the first one's and is added to its own stream; a linear layer follows on the first
branch, and a small network at the end. Five layers of nine taps, 1, 1, 1, 2 and 4 bases apart, are
the defaults of the published code; it takes the width from settings by task, and the 128 channels
here stay under two million parameters.

Differences: padding is masked, where the published code has none; no dropout; the class comes from
the mean over the bases, and there is no pretraining. Hence *like*.

References:
    Bo et al., Revisiting convolution architecture in DNA foundation models (ConvNova), ICLR 2025;
    ``aim-uofa/ConvNova``.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.heads import mean_pool
from lightning_dna.models.supervised.inputs import N_BASES, base_codes, one_hot, weights_of_seed

WIDTH = 128
LAYERS = 5
TAPS = 9
EXPANSION = 2


def dilations(layers: int) -> list[int]:
    """Return the distance between taps by layer: 1 three times, then doubling.

    Example:
        >>> dilations(6)
        [1, 1, 1, 2, 4, 8]
    """
    return [2 ** max(0, layer - 2) for layer in range(layers)]


class DualBranchLayer(nn.Module):
    """One layer: the second branch gates the first, and both go on.

    Args:
        width: Channels of each branch.
        dilation: Bases between taps.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.value_norm, self.gate_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.value = nn.Conv1d(width, width, TAPS, dilation=dilation, padding="same")
        self.gate = nn.Conv1d(width, width, TAPS, dilation=dilation, padding="same")
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch length width"],
        gates: Float[Tensor, "batch length width"],
        real: Float[Tensor, "batch length 1"],
    ) -> tuple[Float[Tensor, "batch length width"], Float[Tensor, "batch length width"]]:
        """Return both streams; ``real`` is 1 at bases and 0 at padding, which stays unseen."""
        gate = self._mixed(self.gate, self.gate_norm(gates) * real).sigmoid()
        value = functional.gelu(self._mixed(self.value, self.value_norm(values) * real))
        values = values + value * gate
        values = values + self.transform_norm(functional.gelu(self.transform(values)))
        return values, gates + gate

    @staticmethod
    def _mixed(
        convolution: nn.Conv1d, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Convolve along the sequence."""
        mixed: Tensor = convolution(x.transpose(1, 2))
        return mixed.transpose(1, 2)


class ConvNovaLike(nn.Module):
    """The network, from token ids to the logits of every class; 1.8 M parameters.

    Args:
        n_classes: Number of classes.
        seed: Seed of the initial weights, drawn by torch's own rules as published.
        width: Channels of each branch.
        layers: Number of layers.
    """

    def __init__(
        self, n_classes: int, *, seed: int, width: int = WIDTH, layers: int = LAYERS
    ) -> None:
        super().__init__()
        inner = EXPANSION * width
        with weights_of_seed(seed):
            self.stem = nn.Conv1d(N_BASES, width, TAPS, padding="same")
            self.gate_stem = nn.Conv1d(N_BASES, width, TAPS, padding="same")
            self.layers = nn.ModuleList(DualBranchLayer(width, step) for step in dilations(layers))
            self.last = nn.Sequential(
                nn.Linear(width, inner),
                nn.GELU(),
                nn.Linear(inner, inner),
                nn.LayerNorm(inner),
                nn.Linear(inner, inner),
                nn.GELU(),
                nn.Linear(inner, width),
                nn.LayerNorm(width),
            )
            self.output = nn.Linear(width, n_classes)

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        hidden = self.trunk(input_ids, attention_mask)
        logits: Tensor = self.output(mean_pool(hidden, attention_mask))
        return logits

    def trunk(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """Return a vector for every position; those of padding mean nothing."""
        codes = base_codes(input_ids).masked_fill(~attention_mask, N_BASES)  # padding: all zeros
        complements = torch.where(codes < 4, 3 - codes, codes)
        real = attention_mask[..., None].to(self.output.weight.dtype)
        values, gates = (
            functional.gelu(stem(one_hot(read, channels=N_BASES, dtype=real.dtype))).transpose(1, 2)
            for stem, read in ((self.stem, codes), (self.gate_stem, complements))
        )
        for layer in self.layers:
            values, gates = layer(values, gates, real)
        hidden: Tensor = values + self.last(values)
        return hidden
