"""The settings of a model, checked when they are made. No torch: the command line reads them."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Objective = Literal["masked", "next_token"]
MixerName = Literal["attention", "hyena"]
PositionName = Literal["alibi", "rope", "learned", "none"]
FeedForwardName = Literal["mlp", "geglu", "swiglu"]
FeedForwardMatch = Literal["parameters", "width"]
NormName = Literal["layernorm", "rmsnorm"]
GeluApproximation = Literal["none", "tanh"]

_CHOICES = {
    "objective": get_args(Objective),
    "mixer": get_args(MixerName),
    "feedforward": get_args(FeedForwardName),
    "feedforward_match": get_args(FeedForwardMatch),
    "norm": get_args(NormName),
    "gelu_approximation": get_args(GeluApproximation),
}
_AT_LEAST = {
    "width": 1,
    "layers": 1,
    "heads": 1,
    "max_length": 1,
    "vocab_size": 1,
    "hyena_order": 2,
    "hyena_filter_width": 1,
    "hyena_short_filter": 1,
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One model: what it predicts, how positions mix, how each is transformed, how large it is.

    Attributes:
        objective: ``"masked"`` lets every position see every other; ``"next_token"`` makes every
            mixer causal.
        mixer: ``"attention"`` or ``"hyena"``.
        position: How order is told. ``None`` means ALiBi for attention and none for Hyena, whose
            filters are functions of distance already. ALiBi and RoPE act on attention only.
        feedforward: ``"mlp"`` (GELU), ``"geglu"`` or ``"swiglu"``.
        feedforward_width: Inner width of the MLP; ``None`` means four times ``width``.
        feedforward_match: ``"parameters"`` gives a gated feed-forward the inner width at which it
            has as many parameters as that MLP (to the nearest integer width); ``"width"`` gives it
            the same inner width, and so about half as many parameters again.
        width: Channels of the residual stream.
        layers: Number of blocks, each a mixer and a feed-forward.
        heads: Attention heads; must divide ``width``. Hyena ignores it.
        max_length: Longest input. A hard limit for Hyena (its filters are functions of position /
            max_length) and for learned positions; attention with ALiBi, RoPE or no position goes
            beyond it.
        attention_reach: Local attention: position i sees j only where ``|i - j| <=
            attention_reach``. ``None`` sees everything.
        hyena_order: Number of gates of the Hyena operator; there are ``hyena_order - 1`` long
            filters.
        hyena_filter_width: Inner width of the network that generates the filters.
        hyena_short_filter: Length of the short depthwise convolution; odd when the model is
            two-sided.
        hyena_filter_shift: Floor under the filters' exponential decay. 0 is the published default,
            0.05 is what the released HyenaDNA checkpoints use.
        dropout: Dropout of the embedding and of both branches of every block, in [0, 1).
        vocab_size: Rows of the embedding table; the 12 character ids are padded to 16.
        norm: ``"layernorm"`` or ``"rmsnorm"``, before each branch and once at the end.
        gelu_approximation: ``"none"`` is exact GELU; ``"tanh"`` its approximation, as in HyenaDNA,
            slower on CPU.
        initial_std: Standard deviation of the initial weights of projections and embeddings.

    Raises:
        ConfigError: A value is unknown, out of range, or at odds with another one.

    Example:
        >>> ModelConfig(mixer="hyena").position_scheme
        'none'
        >>> ModelConfig(width=128, feedforward="geglu").inner_width
        343
    """

    objective: Objective = "masked"
    mixer: MixerName = "attention"
    position: PositionName | None = None
    feedforward: FeedForwardName = "mlp"
    feedforward_width: int | None = None
    feedforward_match: FeedForwardMatch = "parameters"
    width: int = 128
    layers: int = 4
    heads: int = 4
    max_length: int = 1024
    attention_reach: int | None = None
    hyena_order: int = 2
    hyena_filter_width: int = 64
    hyena_short_filter: int = 3
    hyena_filter_shift: float = 0.0
    dropout: float = 0.0
    vocab_size: int = 16
    norm: NormName = "layernorm"
    gelu_approximation: GeluApproximation = "none"
    initial_std: float = 0.02

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise unknown_name(
                    field, str(getattr(self, field)), choices, where=f"model.{field}"
                )
        if self.position is not None and self.position not in get_args(PositionName):
            raise unknown_name(
                "position", self.position, get_args(PositionName), where="model.position"
            )
        for field, lowest in _AT_LEAST.items():
            _check_integer(field, getattr(self, field), lowest)
        if self.feedforward_width is not None:
            _check_integer("feedforward_width", self.feedforward_width, 1)
        if self.attention_reach is not None:
            _check_integer("attention_reach", self.attention_reach, 0)
        _check_range("dropout", self.dropout, low=0.0, below=1.0)
        _check_range("hyena_filter_shift", self.hyena_filter_shift, low=0.0, below=float("inf"))
        _check_range("initial_std", self.initial_std, low=0.0, below=float("inf"))
        if self.mixer == "attention":
            self._check_attention()
        else:
            self._check_hyena()

    @property
    def causal(self) -> bool:
        """Whether a position may see only itself and what comes before it."""
        return self.objective == "next_token"

    @property
    def position_scheme(self) -> PositionName:
        """The position scheme in force: ``position``, else the mixer's default."""
        if self.position is not None:
            return self.position
        return "alibi" if self.mixer == "attention" else "none"

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @property
    def mlp_width(self) -> int:
        """Inner width of the MLP, the size that gated feed-forwards are matched to."""
        return 4 * self.width if self.feedforward_width is None else self.feedforward_width

    @property
    def inner_width(self) -> int:
        """Inner width of the feed-forward in force.

        An MLP of width ``m`` over ``d`` channels has ``2dm + m + d`` parameters with its biases, a
        gated feed-forward of width ``h`` has ``3dh`` and no bias. Matching takes the ``h`` nearest
        to equality, which leaves at most ``1.5 d`` parameters of difference per block.
        """
        if self.feedforward == "mlp" or self.feedforward_match == "width":
            return self.mlp_width
        mlp_parameters = 2 * self.width * self.mlp_width + self.mlp_width + self.width
        return max(1, round(mlp_parameters / (3 * self.width)))

    def check_length(self, length: int, *, part: str) -> None:
        """Refuse a sequence that ``part`` of the model cannot take.

        Raises:
            ConfigError: ``length`` is above ``max_length``.
        """
        if length > self.max_length:
            raise ConfigError(
                f"a sequence of {length} tokens is longer than {part}, "
                f"model.max_length = {self.max_length}; "
                f"set model.max_length to at least {length}, or use shorter sequences"
            )

    def _check_attention(self) -> None:
        if self.width % self.heads:
            divisors = [n for n in range(1, self.width + 1) if self.width % n == 0]
            raise ConfigError(
                f"model.heads: {self.heads} heads do not divide model.width {self.width}; "
                f"use one of {', '.join(map(str, divisors))} heads, or change model.width"
            )
        if self.position_scheme == "rope" and self.head_width % 2:
            raise ConfigError(
                f"model.position: RoPE turns pairs of channels, but model.width {self.width} over "
                f"model.heads {self.heads} gives an odd head width of {self.head_width}; "
                "choose heads so that width / heads is even, or another position"
            )

    def _check_hyena(self) -> None:
        if self.position in ("alibi", "rope"):
            raise ConfigError(
                f"model.position: '{self.position}' acts on attention scores, and model.mixer is "
                "'hyena'; allowed with hyena: learned, none, or null"
            )
        if self.attention_reach is not None:
            raise ConfigError(
                f"model.attention_reach: found {self.attention_reach}, but model.mixer is 'hyena', "
                "which has no attention to limit; remove it or use model.mixer attention"
            )
        if not self.causal and self.hyena_short_filter % 2 == 0:
            raise ConfigError(
                f"model.hyena_short_filter: {self.hyena_short_filter} is even: a two-sided model "
                "needs a centre; use an odd length, or model.objective next_token"
            )


def _check_integer(field: str, value: object, lowest: int) -> None:
    """Refuse anything but an integer of at least ``lowest``; ``True`` is not an integer here."""
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ConfigError(
            f"model.{field}: found {value!r}; it must be an integer of at least {lowest}"
        )


def _check_range(field: str, value: object, *, low: float, below: float) -> None:
    """Refuse anything but a number with ``low <= value < below``."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value < below:
        raise ConfigError(
            f"model.{field}: found {value!r}; "
            f"it must be a number of at least {low} and below {below}"
        )
