"""Networks with many outputs: labels of a whole region, or of every base or bin of it.

The head is BEND's (Marin et al., BEND, ICLR 2024): two convolutions with GELU, the mean over bins
of positions, or over all of them, and one linear layer; or that linear layer alone. In BEND's own
code only the first convolution finds zeros beyond a short sequence of a batch; here both do, so
that padding never changes an output.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.heads import mean_pool
from lightning_dna.models.supervised.inputs import base_codes, one_hot, weights_of_seed
from lightning_dna.training.adaptation.cnn import TwoConvolutions
from lightning_dna.training.sequences import of_bases

_BASES = 4


class RegionHead(nn.Module):
    """From the states of every base to outputs.

    Args:
        width: Channels of a state.
        outputs: Number of outputs, of a region or of each bin.
        seed: Seed of the initial weights.
        convolutions: Channels and taps of the two convolutions; ``None``: the linear layer alone.
        bin: Bases of a bin; ``None``: one set of outputs for the whole region.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        seed: int,
        convolutions: tuple[int, int] | None = None,
        bin: int | None = None,
    ) -> None:
        super().__init__()
        self.bin = bin
        self.convolutions: TwoConvolutions | None = None
        if convolutions is not None:
            channels, taps = convolutions
            self.convolutions = TwoConvolutions(width, channels=channels, taps=taps, seed=seed)
            width = channels
        with weights_of_seed(seed):
            self.linear = nn.Linear(width, outputs)

    def forward(
        self, hidden: Float[Tensor, "batch length width"], real: Bool[Tensor, "batch length"]
    ) -> Tensor:
        """Return logits: (batch, outputs), or (batch, whole bins, outputs)."""
        x = hidden if self.convolutions is None else self.convolutions(hidden, real)
        x = x * real[..., None]
        if self.bin is None:
            pooled: Tensor = self.linear(mean_pool(x, real))
            return pooled
        bins = x.shape[1] // self.bin
        x = x[:, : bins * self.bin].reshape(len(x), bins, self.bin, -1).mean(dim=2)
        logits: Tensor = self.linear(x)
        return logits


class RegionNetwork(nn.Module):
    """A trunk that reads tokens, and a head on the states of its bases.

    Args:
        backbone: From ids and mask to states, such as a pretrained trunk or :class:`OneHot`.
        head: What stands on it.
        special_ids: Ids that stand for no base; their states are left out.
    """

    def __init__(
        self, backbone: nn.Module, head: RegionHead, special_ids: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.special_ids = tuple(special_ids)

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Tensor:
        """Return the logits of the head."""
        hidden = self.backbone(input_ids, attention_mask)
        bases = of_bases(input_ids, attention_mask, self.special_ids)
        if self.special_ids:  # bases to the front, in their order
            order = (~bases).long().argsort(dim=1, stable=True)
            hidden = hidden.gather(1, order[..., None].expand_as(hidden))
            bases = bases.gather(1, order)
        logits: Tensor = self.head(hidden, bases)
        return logits


class OneHot(nn.Module):
    """A trunk without weights: A, C, G and T as four channels, and zeros for every other token."""

    width = _BASES

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length 4"]:
        """Return the channels of every position."""
        del attention_mask  # the head takes care of padding
        return one_hot(base_codes(input_ids), channels=_BASES, dtype=torch.float32).transpose(1, 2)
