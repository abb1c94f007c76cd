"""How order is told: ALiBi and masks as functions of distance, RoPE, and a learned table."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.config import ModelConfig


def alibi_slopes(heads: int) -> Float[Tensor, " heads"]:
    """Return the published ALiBi slopes, for any number of heads.

    For n a power of two: ``2^(-8 i / n)``, i = 1..n. Otherwise the slopes of the nearest lower
    power of two, then every second slope of the doubled one.

    Example:
        >>> alibi_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    slopes += [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (heads - power), 2)]
    return torch.tensor(slopes, dtype=torch.float64)


def offset_bias(config: ModelConfig, length: int) -> Float[Tensor, "heads_or_one offsets"]:
    """Return what is added to the score of query i and key j, a function of ``j - i`` alone.

    ALiBi adds ``-slope * |j - i|``; a causal model adds -inf where j > i; local attention adds -inf
    beyond its reach. All three depend on the distance only, so a table of ``2 length - 1`` numbers
    per head holds the ``length x length`` matrix.

    Args:
        config: The model's settings.
        length: Longest sequence that the table serves.

    Returns:
        Float64 table, entry ``k`` for offset ``j - i = k - (length - 1)``.
    """
    alibi = config.position_scheme == "alibi"
    offset = torch.arange(-(length - 1), length)
    slopes = alibi_slopes(config.heads) if alibi else torch.zeros(1, dtype=torch.float64)
    bias = -slopes[:, None] * offset.abs()
    if config.causal:
        bias = bias.masked_fill(offset > 0, -math.inf)
    if config.attention_reach is not None:
        bias = bias.masked_fill(offset.abs() > config.attention_reach, -math.inf)
    return bias


class OffsetBias(nn.Module):
    """The bias of attention scores, one small table that grows with the longest sequence seen.

    The table is no part of the state dict, since it follows from the settings. It is a plain
    attribute and no buffer, since ``module.double()`` would make float64 of its float32 numbers.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.table: Tensor | None = None

    def forward(
        self, length: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "heads_or_one length length"]:
        """Return the bias with its **rows reversed**: row r belongs to query ``length - 1 - r``.

        So reversed, every row is the row above moved by one, and the matrix is a view of the table:
        nothing of size length x length is stored. The caller reverses its queries, and its result
        back.
        """
        table = self.table
        if table is None or not _serves(table, 2 * length - 1, dtype, device):
            longest = max(length, self.config.max_length)
            with torch.inference_mode(False):  # the table outlives this call; training may follow
                table = offset_bias(self.config, longest).to(device, dtype)
            self.table = table
        middle = table.shape[-1] // 2  # offset 0
        return table[:, middle - length + 1 : middle + length].unfold(-1, length, 1)


class RotaryEmbedding(nn.Module):
    """RoPE: channels ``c`` and ``c + pairs`` of a head turn by ``position * base^(-c / pairs)``.

    The score of a query and a key then depends on their distance and its sign. The turn is computed
    in float32 at least, whatever the dtype of the input; the table grows with the longest sequence
    seen.
    """

    def __init__(self, head_width: int, *, max_length: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.pairs = head_width // 2
        self.max_length = max_length
        self.base = base
        self.table: Tensor | None = None

    def forward(
        self, x: Float[Tensor, "batch length heads head_width"]
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Turn every head of every position by that position's angles."""
        length, precision = x.shape[1], torch.promote_types(x.dtype, torch.float32)
        table = self.table
        if table is None or not _serves(table, length, precision, x.device):
            with torch.inference_mode(False):  # the table outlives this call; training may follow
                table = self._cosine_and_sine(max(length, self.max_length)).to(x.device, precision)
            self.table = table
        cosine, sine = table[:, :length, None]  # each: length 1 pairs
        first, second = x.chunk(2, dim=-1)  # each: batch length heads pairs
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.cat(turned, dim=-1).to(x.dtype)

    def _cosine_and_sine(self, length: int) -> Float[Tensor, "2 length pairs"]:
        """Tabulate positions 0..length-1 in float64."""
        frequency = self.base ** (-torch.arange(self.pairs, dtype=torch.float64) / self.pairs)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
        return torch.stack((angle.cos(), angle.sin()))


def _serves(table: Tensor, entries: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Say whether a kept table is long enough and of the right kind (positions on axis 1)."""
    return table.shape[1] >= entries and table.dtype == dtype and table.device == device


class LearnedPositions(nn.Module):
    """One trained vector per position, added to the token embedding.

    Padding has no position: the first real token of a row is at 0, wherever the padding stands.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.max_length, config.width)

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch_or_one length width"]:
        """Return the vectors of a batch's positions.

        Raises:
            ConfigError: The batch is longer than the table.
        """
        length = input_ids.shape[1]
        self.config.check_length(length, part="the table of learned positions")
        if attention_mask is None:
            return self.table.weight[None, :length]
        vectors: Tensor = self.table((attention_mask.cumsum(dim=1) - 1).clamp(min=0))
        return vectors
