"""The trunk of every model: pre-norm blocks with two axes, sequence mixer and feed-forward."""

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.mixers.attention import Attention
from lightning_dna.models.mixers.hyena import Hyena
from lightning_dna.models.norms import make_norm
from lightning_dna.models.positions import LearnedPositions

MIXERS: Mapping[str, type[Attention] | type[Hyena]] = {
    "attention": Attention,
    "hyena": Hyena,
}


class Block(nn.Module):
    """``x + mixer(norm(x))``, then ``x + feedforward(norm(x))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mixer_norm = make_norm(config)
        self.mixer = MIXERS[config.mixer](config)
        self.feedforward_norm = make_norm(config)
        self.feedforward = FEEDFORWARDS[config.feedforward](config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Add both branches to the residual stream."""
        mixed: Tensor = x + self.dropout(self.mixer(self.mixer_norm(x), attention_mask))
        out: Tensor = mixed + self.dropout(self.feedforward(self.feedforward_norm(mixed)))
        return out


class Backbone(nn.Module):
    """Token ids to one vector per position: embedding, positions, blocks, final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.positions = LearnedPositions(config) if config.position_scheme == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.final_norm = make_norm(config)

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
        if self.positions is not None:
            x = x + self.positions(input_ids, attention_mask)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, attention_mask)
        hidden: Tensor = self.final_norm(x)
        return hidden
