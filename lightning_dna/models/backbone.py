"""The trunk of every model: blocks with two axes, sequence mixer and feed-forward."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_dna.errors import DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.mixers.attention import Attention
from lightning_dna.models.mixers.attention_backends.base import Layout
from lightning_dna.models.mixers.dilated import Convolution, DilatedConvolution
from lightning_dna.models.mixers.hyena import Hyena
from lightning_dna.models.mixers.mamba import Mamba
from lightning_dna.models.norms import make_norm
from lightning_dna.models.packing import Packing, packing_of
from lightning_dna.models.positions import LearnedPositions, SinusoidalPositions

MIXERS: Mapping[
    str, type[Attention] | type[Hyena] | type[Convolution] | type[DilatedConvolution] | type[Mamba]
] = {
    "attention": Attention,
    "hyena": Hyena,
    "convolution": Convolution,
    "dilated": DilatedConvolution,
    "mamba": Mamba,
}
FEW_SHAPES = 64  # packed rows come in multiples of it where every number of rows costs time
VECTORS_BY_POSITION: Mapping[str, type[LearnedPositions] | type[SinusoidalPositions]] = {
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
}


class Block(nn.Module):
    """``x + mixer(norm(x))``, then ``x + feedforward(norm(x))``.

    With the norm after the sum it is ``norm(x + mixer(x))``, on the branch ``x + norm(mixer(x))``.
    A block without a feed-forward is its first half.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0, which decides the mixer of a hybrid.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.placement = config.norm_placement
        self.mixer_norm = make_norm(config)
        self.mixer = MIXERS[config.mixers[layer]](config, layer)
        self.whole = config.feedforward != "none"
        self.feedforward_norm = make_norm(config) if self.whole else nn.Identity()
        self.feedforward = FEEDFORWARDS[config.feedforward](config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Layout = None,
    ) -> Float[Tensor, "batch length width"]:
        """Add both branches to the residual stream.

        Args:
            x: The stream.
            attention_mask: True at real positions; for attention it may be the packing of a row.
        """
        mixed = self._added(x, self.mixer_norm, lambda given: self.mixer(given, attention_mask))
        return self._added(mixed, self.feedforward_norm, self.feedforward) if self.whole else mixed

    def _added(
        self,
        x: Float[Tensor, "batch length width"],
        norm: nn.Module,
        branch: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "batch length width"]:
        """Add one branch to the residual stream, with its norm where the settings put it."""
        out: Tensor
        if self.placement == "pre":
            out = x + self.dropout(branch(norm(x)))
        elif self.placement == "post":
            out = norm(x + self.dropout(branch(x)))
        else:  # under autocast a branch is in bfloat16, and the stream and the norms are not
            out = x + self.dropout(norm(branch(x).to(x.dtype)))
        return out


class OneHotEmbedding(nn.Embedding):
    """A table that is not trained: token ``i`` is 1 in channel ``i`` and 0 in every other one."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__(vocab_size, width)
        del self.weight
        self.register_buffer("weight", torch.eye(vocab_size, width), persistent=False)


def checked_mask(
    attention_mask: Tensor | None, input_ids: Int[Tensor, "batch length"]
) -> Bool[Tensor, "batch length"] | None:
    """Return a mask of zeros and ones, in any format, as true and false.

    Raises:
        DataError: It is of another shape than the batch (nothing is broadcast), or adds numbers to
            scores instead of saying what is real.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise DataError(
            f"attention_mask has shape {[*attention_mask.shape]}, but input_ids has "
            f"{[*input_ids.shape]}; give one value for every token, or no mask."
        )
    if (
        attention_mask.is_floating_point()
        and not ((attention_mask == 0) | (attention_mask == 1)).all()
    ):
        raise DataError(
            "attention_mask holds other numbers than 0 and 1; give 1 (or True) at real positions "
            "and 0 at padded ones, and not numbers to be added to the scores."
        )
    return attention_mask.bool()


class Backbone(nn.Module):
    """Token ids to one vector per position: embedding, positions, blocks, final norm.

    A post-norm trunk has no final norm, as each block ends with one, but one after the embedding.
    With its norms on the branches, a trunk has neither.

    Attributes:
        checkpointing: Whether training keeps no more than the input of every block and computes the
            rest again for the backward pass, which takes about a third longer. The gradients are
            the same, dropout included.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.embedding = (
            OneHotEmbedding(config.vocab_size, config.width)
            if config.embedding == "one_hot"
            else nn.Embedding(config.vocab_size, config.width)
        )
        self.token_types = (
            nn.Embedding(config.token_types, config.width) if config.token_types else None
        )
        vectors = VECTORS_BY_POSITION.get(config.position_scheme)
        self.positions = None if vectors is None else vectors(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config, layer) for layer in range(config.layers)])
        placement = config.norm_placement
        self.embedding_norm = make_norm(config) if placement == "post" else nn.Identity()
        self.final_norm = make_norm(config) if placement == "pre" else nn.Identity()

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Return the hidden states after the final norm.

        Args:
            input_ids: Token ids below ``vocab_size``.
            attention_mask: True at real positions; ``None`` means that all are.

        Returns:
            One vector per position; those of padded positions mean nothing. Where every mixer is
            attention, padding is dropped on the way, and they are zeros.

        Raises:
            ConfigError: The batch is longer than learned positions or Hyena filters reach, or the
                attention backend that the config names cannot work here.
            DataError: The mask does not fit the batch.
        """
        attention_mask = checked_mask(attention_mask, input_ids)
        if (
            attention_mask is not None
            and attention_mask.device.type == "cpu"
            and attention_mask.all()
        ):
            attention_mask = (
                None  # the kernels without a mask are faster; looking would stall a GPU
            )
        x: Tensor = self.embedding(input_ids)  # batch length width
        if not len(input_ids):  # no kernel is asked what it does with nothing
            return x
        if self.token_types is not None:
            x = x + self.token_types.weight[0]
        if self.positions is not None:
            x = x + self.positions(input_ids, attention_mask).to(x.dtype)
        x = self.dropout(self.embedding_norm(x))
        packing = None if attention_mask is None else self._packing(attention_mask)
        if packing is not None:
            x = packing.pack(x)
        where = attention_mask if packing is None else packing
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, where, use_reentrant=False) if again else block(x, where)
        hidden: Tensor = self.final_norm(x)
        return hidden if packing is None else packing.unpack(hidden)

    def _packing(self, attention_mask: Bool[Tensor, "batch length"]) -> Packing | None:
        """Say how to drop the padding, where every mixer had better be without it."""
        device = attention_mask.device
        if torch.compiler.is_compiling() or not all(
            isinstance(block.mixer, Attention) and block.mixer.packs(device)
            for block in self.blocks
        ):
            return None
        low = torch.is_autocast_enabled("cpu") or self.embedding.weight.dtype == torch.bfloat16
        # For short formats torch's CPU kernels prepare themselves anew for every number of rows.
        multiple = FEW_SHAPES if device.type == "cpu" and low else 1
        return packing_of(attention_mask, multiple=multiple)
