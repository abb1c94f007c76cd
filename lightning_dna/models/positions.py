"""How order is told: ALiBi and masks as functions of distance, RoPE, and vectors by position."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lightning_dna.models.choices import RopeScaling
from lightning_dna.models.config import ModelConfig

ALIBI = ("alibi", "alibi_asymmetric")
ASYMMETRY = 4.0  # how much steeper the steep side of a lopsided head is


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


def asymmetric_slopes(heads: int) -> tuple[Float[Tensor, " heads"], Float[Tensor, " heads"]]:
    """Return slopes towards the past and towards the future, unlike in every second head.

    Heads 1, 3, 5, ... keep the published slope on both sides. Heads 0, 4, 8, ... are four times as
    steep towards the future, heads 2, 6, 10, ... towards the past, so that the model as a whole
    looks as far one way as the other. There is no published rule for this; the factor is ours.

    Example:
        >>> [side.tolist() for side in asymmetric_slopes(2)]
        [[0.0625, 0.00390625], [0.25, 0.00390625]]
    """
    past = alibi_slopes(heads)
    future = past.clone()
    future[0::4] *= ASYMMETRY
    past[2::4] *= ASYMMETRY
    return past, future


def offset_bias(config: ModelConfig, length: int) -> Float[Tensor, "heads_or_one offsets"]:
    """Return what is added to the score of query i and key j, a function of ``j - i`` alone.

    ALiBi adds ``-slope * |j - i|``, asymmetric ALiBi with a slope for each side; a causal model
    adds -inf where j > i; local attention adds -inf beyond its reach. All of them depend on the
    offset only, so a table of ``2 length - 1`` numbers per head holds the ``length x length``
    matrix.

    Args:
        config: The model's settings.
        length: Longest sequence that the table serves.

    Returns:
        Float64 table, entry ``k`` for offset ``j - i = k - (length - 1)``.
    """
    offset = torch.arange(-(length - 1), length)
    past = future = torch.zeros(1, dtype=torch.float64)
    if config.position_scheme == "alibi":
        past = future = alibi_slopes(config.heads)
    elif config.position_scheme == "alibi_asymmetric":
        past, future = asymmetric_slopes(config.heads)
    bias = -torch.where(offset > 0, future[:, None], past[:, None]) * offset.abs()
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
        return self.by_offset(length, dtype, device).unfold(-1, length, 1)

    def by_offset(
        self, length: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "heads_or_one offsets"]:
        """Return the part of the table that a sequence needs, see :func:`offset_bias`."""
        table = self.table
        if table is None or not _serves(table, 2 * length - 1, dtype, device):
            longest = max(length, self.config.max_length)
            with torch.inference_mode(False):  # the table outlives this call; training may follow
                table = offset_bias(self.config, longest).to(device, dtype)
            self.table = table
        middle = table.shape[-1] // 2  # offset 0
        return table[:, middle - length + 1 : middle + length]

    @property
    def by_distance(self) -> bool:
        """Whether scores depend on distance: by ALiBi, or because of a reach."""
        return self.config.position_scheme in ALIBI or self.config.attention_reach is not None

    def slopes(self) -> tuple[Float[Tensor, " heads"], Float[Tensor, " heads"]]:
        """Return the slopes towards past and future in float64, zeros where there is no ALiBi."""
        heads = self.config.heads
        if self.config.position_scheme == "alibi":
            return alibi_slopes(heads), alibi_slopes(heads)
        if self.config.position_scheme == "alibi_asymmetric":
            return asymmetric_slopes(heads)
        return torch.zeros(heads, dtype=torch.float64), torch.zeros(heads, dtype=torch.float64)


class RotaryEmbedding(nn.Module):
    """RoPE: channels ``c`` and ``c + pairs`` of a head turn by ``position * base^(-c / pairs)``.

    The score of a query and a key then depends on their distance and its sign. The turn is computed
    in float32 at least, whatever the dtype of the input; the table grows with the longest sequence
    seen.

    Args:
        head_width: Channels of a head, even.
        max_length: Positions tabulated on first use.
        base: Base of the frequencies.
        scaling: ``"linear"`` divides positions by ``factor``; ``"ntk"`` multiplies the base by
            ``factor^(pairs / (pairs - 1))``, so that the slowest pair turns ``factor`` times more
            slowly and the fastest as before.
        factor: How far RoPE is stretched.
    """

    def __init__(
        self,
        head_width: int,
        *,
        max_length: int,
        base: float = 10_000.0,
        scaling: RopeScaling = "none",
        factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.pairs = head_width // 2
        self.max_length = max_length
        self.base = base * factor ** (self.pairs / (self.pairs - 1)) if scaling == "ntk" else base
        self.stretch = factor if scaling == "linear" else 1.0
        self.table: Tensor | None = None

    def forward(
        self,
        x: Float[Tensor, "batch length heads head_width"],
        positions: Int[Tensor, " length"] | None = None,
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Turn every head of every position by that position's angles.

        Args:
            x: Queries or keys.
            positions: Position of each token where it is not its place, each below ``length``.
        """
        length, precision = x.shape[1], torch.promote_types(x.dtype, torch.float32)
        table = self.table
        if table is None or not _serves(table, length, precision, x.device):
            with torch.inference_mode(False):  # the table outlives this call; training may follow
                table = self._cosine_and_sine(max(length, self.max_length)).to(x.device, precision)
            self.table = table
        chosen = table[:, :length] if positions is None else table[:, positions]
        cosine, sine = chosen[:, :, None]  # each: length 1 pairs
        first, second = x.chunk(2, dim=-1)  # each: batch length heads pairs
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.cat(turned, dim=-1).to(x.dtype)

    def _cosine_and_sine(self, length: int) -> Float[Tensor, "2 length pairs"]:
        """Tabulate positions 0..length-1 in float64."""
        frequency = self.base ** (-torch.arange(self.pairs, dtype=torch.float64) / self.pairs)
        position = torch.arange(length, dtype=torch.float64) / self.stretch
        angle = position[:, None] * frequency
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
        vectors: Tensor = self.table(_positions_of(attention_mask))
        return vectors


class SinusoidalPositions(nn.Module):
    """One fixed vector per position, added to the token embedding: sines and cosines by channel.

    Channels ``2c`` and ``2c + 1`` hold sine and cosine of ``position * 10000^(-2c / width)``. The
    vectors are scaled to the size of freshly drawn token vectors; the Transformer scales its tokens
    up instead. Padding has no position, as with :class:`LearnedPositions`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.table: Tensor | None = None

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch_or_one length width"]:
        """Return the vectors of a batch's positions, in float32 at least."""
        length, device = input_ids.shape[1], input_ids.device
        table = self.table
        if table is None or table.shape[1] < length or table.device != device:
            with torch.inference_mode(False):  # the table outlives this call; training may follow
                table = self._vectors(max(length, self.config.max_length)).to(device)
            self.table = table
        if attention_mask is None:
            return table[:, :length]
        return table[0, _positions_of(attention_mask)]

    def _vectors(self, length: int) -> Float[Tensor, "1 length width"]:
        """Tabulate positions 0..length-1 in float64."""
        channel = torch.arange(self.config.width, dtype=torch.float64)
        frequency = 10_000.0 ** (-(channel - channel % 2) / self.config.width)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
        wave = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        return self.config.initial_std * math.sqrt(2) * wave[None]


def _positions_of(attention_mask: Bool[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Number the real positions of every row from 0."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
