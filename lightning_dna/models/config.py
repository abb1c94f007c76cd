"""The settings of a model, checked when they are made. No torch: the command line reads them."""

from dataclasses import dataclass
from typing import get_args

from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.models.choices import (
    AT_LEAST,
    CHOICES,
    IN_RANGE,
    AttentionBackend,
    DilatedForm,
    EmbeddingName,
    FeedForwardMatch,
    FeedForwardName,
    GatedBias,
    GeluApproximation,
    HeadName,
    HyenaDecay,
    MixerName,
    NormName,
    NormPlacement,
    Objective,
    PositionName,
    RopeScaling,
    Strand,
    check_hyena_filters,
    check_integer,
    check_range,
    checked_mixer,
)

CONVOLUTIONS = ("convolution", "dilated")  # mixers that see a few taps around a position
_WITHOUT_INNER_WIDTH = ("linear", "none")
_ON_SCORES = ("alibi", "alibi_asymmetric", "rope")  # positions that only attention can use
_BASE_TOKENS = (12, 16)  # sizes of the character vocabulary, as it is and padded


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One model: what it predicts, how positions mix, how each is transformed, how large it is.

    Attributes:
        objective: ``"masked"`` lets every position see every other; ``"next_token"`` makes every
            mixer causal.
        mixer: ``"attention"``, ``"hyena"``, ``"convolution"`` (a plain CNN), ``"dilated"``
            (convolutions whose taps lie twice as far apart in every layer), ``"mamba"`` (slow on
            CPU), or a list of them that is repeated until every layer has one: ``["hyena",
            "attention"]`` alternates. Its length must divide ``layers``.
        position: How order is told. ``None`` means ALiBi where there is attention and none
            elsewhere: Hyena's filters and convolutions are functions of distance already. ALiBi
            (symmetric or asymmetric) and RoPE act on attention only, in a hybrid on its attention
            layers.
        feedforward: ``"mlp"`` (GELU), ``"geglu"``, ``"swiglu"``, ``"linear"`` (one matrix and
            GELU, without an inner width), or ``"none"``: blocks are their mixers alone.
        feedforward_width: Inner width of the MLP; ``None`` means four times ``width``.
        feedforward_match: ``"parameters"`` gives a gated feed-forward the inner width at which it
            has as many parameters as that MLP (to the nearest integer width); ``"width"`` gives it
            the same inner width, and so about half as many parameters again.
        width: Channels of the residual stream.
        layers: Number of blocks, each a mixer and a feed-forward.
        heads: Attention heads; must divide ``width``. Other mixers ignore it.
        max_length: Longest input. A hard limit for Hyena (its filters are functions of position /
            max_length) and for learned positions; everything else goes beyond it.
        attention_reach: Local attention: position i sees j only where ``|i - j| <=
            attention_reach``. ``None`` sees everything.
        hyena_order: Number of gates of the Hyena operator; there are ``hyena_order - 1`` long
            filters.
        hyena_filter_width: Inner width of the network that generates the filters.
        hyena_features: Inputs of that network, odd: time, and two for every frequency.
        hyena_filter_layers: Sine layers of that network; a linear one follows.
        hyena_decay: Decay rates of the filters' channels: ``"each"`` filter has the whole range,
            or it is ``"spread"`` over all ``hyena_order - 1`` filters as in the published code
            (the same at order 2), or ``"none"``: filters do not decay.
        hyena_fast_decay: Share of ``max_length`` at which the fastest channel has decayed to 1 %.
        hyena_slow_decay: The same of the slowest channel.
        hyena_short_filter: Length of the short depthwise convolution; odd when the model is
            two-sided.
        hyena_filter_shift: Floor under the filters' exponential decay. 0 is the published default,
            0.05 is what the released HyenaDNA checkpoints use.
        dropout: Dropout of the embedding and of both branches of every block, in [0, 1).
        vocab_size: Rows of the embedding table; the 12 character ids are padded to 16.
        norm: ``"layernorm"`` or ``"rmsnorm"``.
        norm_placement: ``"pre"`` normalises the input of each branch, and the residual stream once
            at the end; ``"post"`` normalises the stream after each branch is added, and once after
            the embedding (as BERT does). Both have the same number of norms. ``"branch"``
            normalises what each branch adds, and the stream never.
        gelu_approximation: ``"none"`` is exact GELU; ``"tanh"`` its approximation, as in HyenaDNA,
            slower on CPU.
        initial_std: Standard deviation of the initial weights of projections and embeddings.
        rope_base: Base of RoPE's frequencies; larger bases turn more slowly.
        rope_scaling: How RoPE is stretched by ``rope_factor``: ``"linear"`` divides positions by
            it; ``"ntk"`` raises the base so that the slowest pair turns that much more slowly while
            the fastest keeps its speed; ``"none"``.
        rope_factor: How many times longer than with plain RoPE a sequence may be, at least 1.
        convolution_taps: Taps of the convolution and dilated mixers; odd when the model is
            two-sided.
        convolution_cycle: Layers after which the dilated mixer's distances start again: 1, 2, 4,
            ..., ``2^(cycle - 1)``, 1, ...
        strand: ``"single"`` reads a sequence as it is given. ``"averaged"`` trains so, and in
            evaluation averages over the sequence and its reverse complement. ``"equivariant"`` does
            that in training too: two passes through the same weights. Augmentation by reverse
            complements is ``data.reverse_complement``.
        norm_epsilon: Added to the variance (LayerNorm) or mean square (RMSNorm) of every norm.
        gated_bias: Biases of GEGLU and SwiGLU: ``"none"``, on the ``"output"`` (DNABERT-2), or on
            ``"both"`` projections.
        token_types: Rows of a table whose first is added to every token, as BERT does for texts in
            one segment; 0 for no table.
        head: ``"tied"`` scores a token by its embedding; ``"transform"`` puts a linear layer, GELU
            and a norm before that and a bias after it; ``"transform_untied"`` has its own table.
        attention_backend: Program that computes attention: ``"flash"`` (flash-attn 2, CUDA),
            ``"flex"`` (FlexAttention, CUDA), ``"sdpa"`` (torch's own, any device), ``"eager"``
            (written out, any device), or ``"auto"``, the first of them that can. The function is
            the same, to rounding.
        convolution_first_taps: Taps of layer 0 where they differ from ``convolution_taps``.
        dilated_form: What the dilated mixer adds: ``"gated"``, ``W (value * sigmoid(gate))`` of two
            convolutions; ``"projected"``, ``W GELU(convolution)``; ``"plain"``,
            ``GELU(convolution)``.
        embedding: ``"learned"`` table, or ``"one_hot"``: token i is 1 in channel i, nothing is
            trained.
        biases: Whether the linear maps, convolutions and norms of a convolutional model have them.

    Raises:
        ConfigError: A value is unknown, out of range, or at odds with another one.

    Example:
        >>> ModelConfig(mixer="hyena").position_scheme
        'none'
        >>> ModelConfig(width=128, feedforward="geglu").inner_width
        343
    """

    objective: Objective = "masked"
    mixer: MixerName | tuple[MixerName, ...] = "attention"
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
    hyena_features: int = 5
    hyena_filter_layers: int = 3
    hyena_decay: HyenaDecay = "each"
    hyena_fast_decay: float = 0.3
    hyena_slow_decay: float = 1.5
    dropout: float = 0.0
    vocab_size: int = 16
    norm: NormName = "layernorm"
    gelu_approximation: GeluApproximation = "none"
    initial_std: float = 0.02
    norm_placement: NormPlacement = "pre"
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling = "none"
    rope_factor: float = 1.0
    convolution_taps: int = 5
    convolution_cycle: int = 8
    strand: Strand = "single"
    norm_epsilon: float = 1e-5
    gated_bias: GatedBias = "none"
    token_types: int = 0
    head: HeadName = "tied"
    attention_backend: AttentionBackend = "auto"
    convolution_first_taps: int | None = None
    dilated_form: DilatedForm = "gated"
    embedding: EmbeddingName = "learned"
    biases: bool = True

    def __post_init__(self) -> None:
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise unknown_name(
                    field, str(getattr(self, field)), choices, where=f"model.{field}"
                )
        if self.position is not None and self.position not in get_args(PositionName):
            raise unknown_name(
                "position", self.position, get_args(PositionName), where="model.position"
            )
        for field, lowest in AT_LEAST.items():
            check_integer(field, getattr(self, field), lowest)
        object.__setattr__(self, "mixer", checked_mixer(self.mixer, self.layers))
        if self.feedforward_width is not None:
            check_integer("feedforward_width", self.feedforward_width, 1)
        if self.attention_reach is not None:
            check_integer("attention_reach", self.attention_reach, 0)
        if self.convolution_first_taps is not None:
            check_integer("convolution_first_taps", self.convolution_first_taps, 1)
        for field, (low, below) in IN_RANGE.items():
            check_range(field, getattr(self, field), low=low, below=below)
        check_hyena_filters(self.hyena_features, self.hyena_decay, self.hyena_filter_shift)
        if "attention" in self.mixers:
            self._check_attention()
        else:
            self._check_without_attention()
        self._check_convolutions()
        self._check_centres()
        self._check_strand()
        self._check_feedforward()

    @property
    def causal(self) -> bool:
        """Whether a position may see only itself and what comes before it."""
        return self.objective == "next_token"

    @property
    def position_scheme(self) -> PositionName:
        """The position scheme in force: ``position``, else the mixer's default."""
        if self.position is not None:
            return self.position
        return "alibi" if "attention" in self.mixers else "none"

    @property
    def mixers(self) -> tuple[MixerName, ...]:
        """The mixer of every layer."""
        pattern = (self.mixer,) if isinstance(self.mixer, str) else self.mixer
        return pattern * (self.layers // len(pattern))

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
        if self.feedforward in _WITHOUT_INNER_WIDTH:
            return self.width if self.feedforward == "linear" else 0
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
        if self.position_scheme == "rope":
            self._check_rope()
        if self.position_scheme == "alibi_asymmetric" and self.causal:
            raise ConfigError(
                "model.position: 'alibi_asymmetric' treats what follows unlike what precedes, and "
                "with model.objective next_token nothing that follows is seen; use alibi, or "
                "model.objective masked"
            )

    def _check_rope(self) -> None:
        if self.head_width % 2:
            raise ConfigError(
                f"model.position: RoPE turns pairs of channels, but model.width {self.width} over "
                f"model.heads {self.heads} gives an odd head width of {self.head_width}; "
                "choose heads so that width / heads is even, or another position"
            )
        if self.rope_scaling == "none" and self.rope_factor != 1.0:
            raise ConfigError(
                f"model.rope_factor: found {self.rope_factor} with model.rope_scaling 'none', "
                "which would not use it; set model.rope_scaling to linear or ntk, or the factor "
                "to 1"
            )
        if self.rope_scaling == "ntk" and self.head_width == 2:
            raise ConfigError(
                "model.rope_scaling: 'ntk' slows the slower pairs of channels, and a head width of "
                "2 has one pair, the fastest; use wider heads, or rope_scaling linear"
            )

    def _check_without_attention(self) -> None:
        found = " and ".join(dict.fromkeys(self.mixers))
        if self.position in _ON_SCORES:
            raise ConfigError(
                f"model.position: '{self.position}' acts on attention scores, and model.mixer is "
                f"'{found}'; allowed with {found}: learned, none, sinusoidal, or null"
            )
        if self.attention_reach is not None:
            raise ConfigError(
                f"model.attention_reach: found {self.attention_reach}, but model.mixer is "
                f"'{found}', which has no attention to limit; remove it or use model.mixer "
                "attention"
            )

    def _check_centres(self) -> None:
        filters = {
            "hyena_short_filter": ("hyena",),
            "convolution_taps": CONVOLUTIONS,
            "convolution_first_taps": CONVOLUTIONS,
        }
        for field, users in filters.items():
            taps = getattr(self, field) or 1  # the first layer's may be left open
            if not self.causal and taps % 2 == 0 and not set(users).isdisjoint(self.mixers):
                raise ConfigError(
                    f"model.{field}: {taps} is even: a two-sided model needs a centre; "
                    "use an odd length, or model.objective next_token"
                )

    def _check_convolutions(self) -> None:
        """Refuse settings of convolutional models where they would do nothing, or half of it."""
        found = " and ".join(dict.fromkeys(self.mixers))
        if self.convolution_first_taps is not None and self.mixers[0] not in CONVOLUTIONS:
            raise ConfigError(
                f"model.convolution_first_taps: found {self.convolution_first_taps}, but layer 0 "
                f"is '{self.mixers[0]}', which has no taps; remove it, or begin with one of "
                f"{', '.join(CONVOLUTIONS)}"
            )
        if self.dilated_form != "gated" and "dilated" not in self.mixers:
            raise ConfigError(
                f"model.dilated_form: found '{self.dilated_form}', but model.mixer is '{found}'; "
                "remove it, or use model.mixer dilated"
            )
        if not isinstance(self.biases, bool):
            raise ConfigError(f"model.biases: found {self.biases!r}; allowed: true, false")
        if not self.biases and not set(self.mixers) <= set(CONVOLUTIONS):
            raise ConfigError(
                f"model.biases: found false, but model.mixer is '{found}'; only models of "
                f"{' and '.join(CONVOLUTIONS)} can do without; remove it"
            )
        if self.embedding == "one_hot" and self.vocab_size > self.width:
            raise ConfigError(
                f"model.embedding: 'one_hot' needs a channel for each of model.vocab_size "
                f"{self.vocab_size} tokens, but model.width is {self.width}; widen the model, or "
                "use embedding learned"
            )
        if self.embedding == "one_hot" and self.head != "transform_untied":
            raise ConfigError(
                f"model.embedding: 'one_hot' trains no table for model.head '{self.head}' to score "
                "tokens by; use head transform_untied, or embedding learned"
            )

    def _check_feedforward(self) -> None:
        """Refuse settings that the feed-forward would not use."""
        if self.feedforward not in ("geglu", "swiglu") and self.gated_bias != "none":
            raise ConfigError(
                f"model.gated_bias: found '{self.gated_bias}', but model.feedforward is "
                f"'{self.feedforward}', whose biases it does not decide; remove it, or use geglu "
                "or swiglu"
            )
        if not self.biases and self.gated_bias != "none":
            raise ConfigError(
                f"model.gated_bias: found '{self.gated_bias}' with model.biases false; remove one"
            )
        if self.feedforward in _WITHOUT_INNER_WIDTH and self.feedforward_width is not None:
            raise ConfigError(
                f"model.feedforward_width: found {self.feedforward_width}, but model.feedforward "
                f"'{self.feedforward}' has no inner width; remove it, or use mlp, geglu or swiglu"
            )

    def _check_strand(self) -> None:
        if self.strand == "single":
            return
        if self.causal:
            raise ConfigError(
                f"model.strand: '{self.strand}' reads the sequence from both ends, which would "
                "show a next-token model what it is to predict; use model.objective masked, or "
                "strand single"
            )
        if not _BASE_TOKENS[0] <= self.vocab_size <= _BASE_TOKENS[1]:
            raise ConfigError(
                f"model.strand: '{self.strand}' needs one token per base, to complement it, but "
                f"model.vocab_size is {self.vocab_size}; allowed: "
                f"{_BASE_TOKENS[0]} to {_BASE_TOKENS[1]}, or strand single"
            )
