"""The words that the settings of a model may hold, and how a single setting is checked.

No torch: the command line reads them.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Objective = Literal["masked", "next_token"]
MixerName = Literal["attention", "hyena", "convolution", "dilated", "mamba"]
PositionName = Literal["alibi", "alibi_asymmetric", "rope", "learned", "sinusoidal", "none"]
FeedForwardName = Literal["mlp", "geglu", "swiglu", "linear", "none"]
FeedForwardMatch = Literal["parameters", "width"]
NormName = Literal["layernorm", "rmsnorm"]
NormPlacement = Literal["pre", "post", "branch"]
Pooling = Literal["mean", "max", "first", "last", "attention"]  # of a sequence's states
RopeScaling = Literal["none", "linear", "ntk"]
Strand = Literal["single", "averaged", "equivariant"]
GeluApproximation = Literal["none", "tanh"]
GatedBias = Literal["none", "output", "both"]
AttentionBackend = Literal["auto", "flash", "flex", "sdpa", "eager"]
HeadName = Literal["tied", "transform", "transform_untied"]
EmbeddingName = Literal["learned", "one_hot"]
DilatedForm = Literal["gated", "projected", "plain"]
HyenaDecay = Literal["each", "spread", "none"]

# Fields younger than the first published runs. At their default they are left out of a run's
# identity, so that the runs from before keep theirs.
YOUNGER_FIELDS = (
    "norm_placement",
    "rope_base",
    "rope_scaling",
    "rope_factor",
    "convolution_taps",
    "convolution_cycle",
    "strand",
    "norm_epsilon",
    "gated_bias",
    "token_types",
    "head",
    "attention_backend",
    "hyena_features",
    "hyena_filter_layers",
    "hyena_decay",
    "hyena_fast_decay",
    "hyena_slow_decay",
    "convolution_first_taps",
    "dilated_form",
    "embedding",
    "biases",
)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "objective": get_args(Objective),
    "feedforward": get_args(FeedForwardName),
    "feedforward_match": get_args(FeedForwardMatch),
    "norm": get_args(NormName),
    "norm_placement": get_args(NormPlacement),
    "rope_scaling": get_args(RopeScaling),
    "strand": get_args(Strand),
    "gelu_approximation": get_args(GeluApproximation),
    "gated_bias": get_args(GatedBias),
    "head": get_args(HeadName),
    "attention_backend": get_args(AttentionBackend),
    "embedding": get_args(EmbeddingName),
    "dilated_form": get_args(DilatedForm),
    "hyena_decay": get_args(HyenaDecay),
}
AT_LEAST: Mapping[str, int] = {
    "width": 1,
    "layers": 1,
    "heads": 1,
    "max_length": 1,
    "vocab_size": 1,
    "hyena_order": 2,
    "hyena_filter_width": 1,
    "hyena_features": 3,
    "hyena_filter_layers": 1,
    "hyena_short_filter": 1,
    "convolution_taps": 1,
    "convolution_cycle": 1,
    "token_types": 0,
}
IN_RANGE: Mapping[str, tuple[float, float]] = {  # from the first to below the second
    "dropout": (0.0, 1.0),
    "hyena_filter_shift": (0.0, float("inf")),
    "hyena_fast_decay": (1e-6, float("inf")),
    "hyena_slow_decay": (1e-6, float("inf")),
    "initial_std": (0.0, float("inf")),
    "norm_epsilon": (0.0, 1.0),
    "rope_base": (1.0, float("inf")),
    "rope_factor": (1.0, float("inf")),
}


def checked_mixer(mixer: object, layers: int) -> MixerName | tuple[MixerName, ...]:
    """Return a mixer's name, or a hybrid's shortest repeating pattern of names."""
    pattern = tuple(mixer) if isinstance(mixer, list | tuple) else (mixer,)
    if not pattern:
        raise ConfigError(
            "model.mixer: found an empty list; give one mixer, or one or more that are repeated "
            "over the layers"
        )
    for name in pattern:
        if name not in get_args(MixerName):
            raise unknown_name("mixer", str(name), get_args(MixerName), where="model.mixer")
    size = len(pattern)
    if layers % size:
        raise ConfigError(
            f"model.mixer: a pattern of {size} mixers does not fill model.layers {layers} evenly; "
            f"name as many as divide {layers}, or change model.layers"
        )
    # Two spellings of one model must not look like two arms.
    period = next(p for p in range(1, size + 1) if pattern == pattern[:p] * (size // p))
    return pattern[0] if period == 1 else pattern[:period]


def check_integer(field: str, value: object, lowest: int) -> None:
    """Refuse anything but an integer of at least ``lowest``; ``True`` is not an integer here."""
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ConfigError(
            f"model.{field}: found {value!r}; it must be an integer of at least {lowest}"
        )


def check_range(field: str, value: object, *, low: float, below: float) -> None:
    """Refuse anything but a number with ``low <= value < below``."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value < below:
        raise ConfigError(
            f"model.{field}: found {value!r}; "
            f"it must be a number of at least {low} and below {below}"
        )


def check_hyena_filters(features: int, decay: HyenaDecay, shift: float) -> None:
    """Refuse features that do not come in pairs, and a floor under a decay that there is not."""
    if features % 2 == 0:
        raise ConfigError(
            f"model.hyena_features: {features} is even; time is one feature and every frequency "
            "two, so use an odd number"
        )
    if decay == "none" and shift:
        raise ConfigError(
            f"model.hyena_filter_shift: found {shift} with model.hyena_decay 'none', which leaves "
            "no decay to put a floor under; remove one"
        )
