"""The trunk of every model: blocks with two axes, sequence mixer and feed-forward."""

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.mixers.attention import Attention
from lightning_dna.models.mixers.dilated import Convolution, DilatedConvolution
from lightning_dna.models.mixers.hyena import Hyena
from lightning_dna.models.norms import make_norm
from lightning_dna.models.positions import LearnedPositions, SinusoidalPositions

MIXERS: Mapping[
    str, type[Attention] | type[Hyena] | type[Convolution] | type[DilatedConvolution]
] = {
    "attention": Attention,
    "hyena": Hyena,
    "convolution": Convolution,
    "dilated": DilatedConvolution,
}
VECTORS_BY_POSITION: Mapping[str, type[LearnedPositions] | type[SinusoidalPositions]] = {
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
}


class Block(nn.Module):
    """``x + mixer(norm(x))``, then ``x + feedforward(norm(x))``; post-norm ``norm(x + mixer(x))``.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0, which decides the mixer of a hybrid.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.pre_norm = config.norm_placement == "pre"
        self.mixer_norm = make_norm(config)
        self.mixer = MIXERS[config.mixers[layer]](config, layer)
        self.feedforward_norm = make_norm(config)
        self.feedforward = FEEDFORWARDS[config.feedforward](config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Add both branches to the residual stream."""
        if not self.pre_norm:
            x = self.mixer_norm(x + self.dropout(self.mixer(x, attention_mask)))
            added: Tensor = self.feedforward_norm(x + self.dropout(self.feedforward(x)))
            return added
        mixed: Tensor = x + self.dropout(self.mixer(self.mixer_norm(x), attention_mask))
        out: Tensor = mixed + self.dropout(self.feedforward(self.feedforward_norm(mixed)))
        return out


class Backbone(nn.Module):
    """Token ids to one vector per position: embedding, positions, blocks, final norm.

    A post-norm trunk has no final norm, as each block ends with one, but one after the embedding.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.token_types = (
            nn.Embedding(config.token_types, config.width) if config.token_types else None
        )
        vectors = VECTORS_BY_POSITION.get(config.position_scheme)
        self.positions = None if vectors is None else vectors(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config, layer) for layer in range(config.layers)])
        pre_norm = config.norm_placement == "pre"
        self.embedding_norm = nn.Identity() if pre_norm else make_norm(config)
        self.final_norm = make_norm(config) if pre_norm else nn.Identity()

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
            One vector per position; those of padded positions mean nothing.

        Raises:
            ConfigError: The batch is longer than learned positions or Hyena filters reach.
        """
        if (
            attention_mask is not None
            and attention_mask.device.type == "cpu"
            and attention_mask.all()
        ):
            attention_mask = (
                None  # the kernels without a mask are faster; looking would stall a GPU
            )
        x = self.embedding(input_ids)  # batch length width
        if self.token_types is not None:
            x = x + self.token_types.weight[0]
        if self.positions is not None:
            x = x + self.positions(input_ids, attention_mask).to(x.dtype)
        x = self.dropout(self.embedding_norm(x))
        for block in self.blocks:
            x = block(x, attention_mask)
        hidden: Tensor = self.final_norm(x)
        return hidden
