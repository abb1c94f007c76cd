"""What stands on a backbone: next-base or masked-base logits, and the class of a whole sequence."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.errors import ConfigError
from lightning_dna.models.choices import Pooling
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import GeneratorFor, draw_normal, parameter_generator
from lightning_dna.models.norms import make_norm


def tied_logits(
    hidden: Float[Tensor, "batch length width"], embedding: nn.Embedding
) -> Float[Tensor, "batch length vocabulary"]:
    """Score every token by its own embedding: no parameter beyond the table, and no bias."""
    return functional.linear(hidden, embedding.weight)


class TransformHead(nn.Module):
    """``table norm(GELU(W hidden + b)) + bias``, as BERT and ESM score tokens.

    The table is the token embedding, or one of its own where the config's ``head`` says untied.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width, bias=config.biases)
        self.norm = make_norm(config)
        untied = config.head == "transform_untied"
        self.table = nn.Linear(config.width, config.vocab_size, bias=False) if untied else None
        self.bias = nn.Parameter(torch.zeros(config.vocab_size)) if config.biases else None

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Set the bias to zero; the layers follow the general rule."""
        if self.bias is not None:
            self.bias.zero_()

    def forward(
        self, hidden: Float[Tensor, "batch length width"], embedding: nn.Embedding
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Score every token at every position."""
        transformed = self.norm(functional.gelu(self.dense(hidden)))
        table = embedding.weight if self.table is None else self.table.weight
        return functional.linear(transformed, table, self.bias)


def mean_pool(
    hidden: Float[Tensor, "batch length width"],
    attention_mask: Bool[Tensor, "batch length"] | None = None,
) -> Float[Tensor, "batch width"]:
    """Average over the real positions of each row; a row without any gives zeros.

    Example:
        >>> hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
        >>> mean_pool(hidden, torch.tensor([[True, True, False]])).tolist()
        [[2.0]]
    """
    if attention_mask is None:
        return hidden.mean(dim=1)
    real = attention_mask[..., None].to(hidden.dtype)  # batch length 1
    return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def pool(
    hidden: Float[Tensor, "batch length width"],
    bases: Bool[Tensor, "batch length"],
    real: Bool[Tensor, "batch length"],
    how: Pooling,
) -> Float[Tensor, "batch width"]:
    """Make one vector of the states of each row, without anything learned.

    Args:
        hidden: States.
        bases: True at positions that stand for bases: what ``mean`` and ``max`` read. A row without
            any gives zeros.
        real: True at those and at special tokens: what ``first`` and ``last`` are looked up among.
        how: ``mean``, ``max``, ``first`` or ``last``.

    Raises:
        ConfigError: The pooling is ``attention``, which has weights to learn.

    Example:
        >>> hidden = torch.tensor([[[9.0], [1.0], [3.0], [7.0]]])  # [CLS], two bases, padding
        >>> bases = torch.tensor([[False, True, True, False]])
        >>> real = torch.tensor([[True, True, True, False]])
        >>> [pool(hidden, bases, real, how).item() for how in ("mean", "max", "first", "last")]
        [2.0, 3.0, 9.0, 3.0]
    """
    if how == "mean":
        return mean_pool(hidden, bases)
    if how == "max":
        highest = hidden.masked_fill(~bases[..., None], -torch.inf).amax(dim=1)
        return highest.masked_fill(~bases.any(dim=1)[:, None], 0.0)
    if how == "attention":
        raise ConfigError(
            "finetune.pooling: 'attention' has weights to learn, which a probe on fixed states "
            "has no place for; allowed here: mean, max, first, last"
        )
    numbers = torch.arange(hidden.shape[1], device=hidden.device).expand_as(real)
    if how == "first":
        at = numbers.masked_fill(~real, hidden.shape[1] - 1).amin(dim=1)
    else:
        at = numbers.masked_fill(~real, 0).amax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), at]


class AttentionPool(nn.Module):
    """A mean over bases whose weights are ``softmax(hidden . query / sqrt(width))``.

    The query starts at zero, so that training starts from the plain mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))

    def forward(
        self, hidden: Float[Tensor, "batch length width"], bases: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch width"]:
        """Average each row; one without any base gives zeros."""
        scores = hidden @ self.query / self.query.numel() ** 0.5  # batch length
        lowest = torch.finfo(scores.dtype).min  # finite: a row without any base has a gradient too
        weights = scores.masked_fill(~bases, lowest).softmax(dim=1) * bases
        return torch.einsum("bl,blw->bw", weights, hidden)


class ClassificationHead(nn.Module):
    """One vector of each sequence, then one linear layer: what fine-tuning puts on a backbone.

    Its initial weights depend on the seed alone, so all arms start from the same head.

    Args:
        width: Channels of the states.
        n_classes: Outputs.
        seed: Seed of the initial weights.
        std: Standard deviation of the initial weights; biases are zero.
        pooling: How the states become one vector, see :func:`pool`.
        form: ``linear``, or ``pooler``: ``tanh(W x + b)`` before it, as BERT has.
        dropout: Dropout before the last layer.
    """

    def __init__(
        self,
        width: int,
        *,
        n_classes: int,
        seed: int,
        std: float = 0.02,
        pooling: Pooling = "mean",
        form: Literal["linear", "pooler"] = "linear",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.attention = AttentionPool(width) if pooling == "attention" else None
        self.pooler = _drawn_linear(width, width, std, seed, "pooler") if form == "pooler" else None
        self.dropout = nn.Dropout(dropout)
        self.linear = _drawn_linear(width, n_classes, std, seed, "weight")

    def forward(
        self,
        hidden: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        real: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class.

        Args:
            hidden: States.
            attention_mask: True at bases; ``None`` means everywhere.
            real: True at bases and special tokens; ``None`` means at bases.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(hidden[..., 0], dtype=torch.bool)
        if self.attention is not None:
            vector = self.attention(hidden, attention_mask)
        else:
            known = attention_mask if real is None else real
            vector = pool(hidden, attention_mask, known, self.pooling)
        if self.pooler is not None:
            vector = torch.tanh(self.pooler(vector))
        logits: Tensor = self.linear(self.dropout(vector))
        return logits


@torch.no_grad()
def _drawn_linear(inputs: int, outputs: int, std: float, seed: int, name: str) -> nn.Linear:
    """Return a linear layer drawn from its own random stream."""
    linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    draw_normal(linear.weight, std, parameter_generator(seed, f"classification_head.{name}"))
    linear.bias.zero_()
    return linear
