"""The shipped contracts, over every row of the variant table and every combination of the axes."""

import itertools

import pytest
from torch import nn

from lightning_dna.models.backbone import MIXERS
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.variants import VARIANTS
from lightning_dna.testing.models import (
    LanguageModelContract,
    MixerContract,
    filled,
    toy_variant,
)

TOY = {"width": 12, "heads": 3, "layers": 2, "max_length": 24, "hyena_filter_width": 8}
ADDED = ("learned", "sinusoidal", "none")
POSITIONS = {"attention": ("alibi", "alibi_asymmetric", "rope", *ADDED)}
OBJECTIVES = ("masked", "next_token")


def possible(changes: dict[str, object]) -> bool:
    """Asymmetric ALiBi has two sides to tell apart in two-sided models alone."""
    return (changes["position"], changes["objective"]) != ("alibi_asymmetric", "next_token")


# Every position and objective with every mixer under the MLP, and every other feed-forward once.
COMBINATIONS = [
    {"mixer": mixer, "position": position, "feedforward": feedforward, "objective": objective}
    for mixer in MIXERS
    for position, feedforward, objective in itertools.product(
        POSITIONS.get(mixer, ADDED), FEEDFORWARDS, OBJECTIVES
    )
    if feedforward == "mlp" or (position, objective) == ("none", "masked")
]
COMBINATIONS = [changes for changes in COMBINATIONS if possible(changes)]
PLACES = [
    {"mixer": "attention", "norm": "rmsnorm", "norm_placement": "post"},
    {"mixer": "attention", "norm": "layernorm", "norm_placement": "post"},
    {"mixer": "hyena", "norm": "rmsnorm", "norm_placement": "post"},
    {"mixer": "dilated", "norm": "rmsnorm", "norm_placement": "pre"},
    {"mixer": "attention", "norm": "rmsnorm", "norm_placement": "branch"},
    {"mixer": ("hyena", "convolution"), "norm": "layernorm", "norm_placement": "branch"},
]
STRANDS = [
    {"mixer": "attention", "strand": "equivariant", "position": "learned"},
    {"mixer": "convolution", "strand": "averaged", "position": "sinusoidal"},
    {"mixer": "dilated", "strand": "equivariant", "position": "none"},
]


def label(changes: dict[str, object]) -> str:
    return "-".join(str(value) for value in changes.values())


class TestEveryVariant(LanguageModelContract):
    @pytest.fixture(params=sorted(VARIANTS))
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return toy_variant(request.param)


class TestEveryCombination(LanguageModelContract):
    @pytest.fixture(params=COMBINATIONS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)


class TestEveryNorm(LanguageModelContract):
    @pytest.fixture(params=PLACES, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)


class TestBothStrands(LanguageModelContract):
    @pytest.fixture(params=STRANDS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)


ATTENTIONS = [
    {"position": position, "objective": objective, "attention_reach": reach}
    for position in POSITIONS["attention"]
    for objective in OBJECTIVES
    for reach in (None, 3)
    if possible({"position": position, "objective": objective})
]


class TestAttention(MixerContract):
    @pytest.fixture(params=ATTENTIONS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)

    @pytest.fixture
    def mixer(self, config: ModelConfig) -> nn.Module:
        return filled(MIXERS["attention"](config))


HYENAS = [
    {"objective": objective, "hyena_order": order, "hyena_short_filter": taps}
    for objective in OBJECTIVES
    for order in (2, 3, 4)
    for taps in (1, 3)
]


class TestHyena(MixerContract):
    @pytest.fixture(params=HYENAS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(mixer="hyena", **TOY, **request.param)

    @pytest.fixture
    def mixer(self, config: ModelConfig) -> nn.Module:
        return filled(MIXERS["hyena"](config))

    def flops_once_per_batch(self, config: ModelConfig) -> int:
        """The filters are written once, whatever the batch."""
        hidden = config.hyena_filter_width
        filters = (config.hyena_order - 1) * (1 if config.causal else 2)
        unused = 0 if config.causal else (config.hyena_order - 1) * config.width  # lag 0 ahead
        units = self.length * (5 + 2 * hidden + filters * config.width) - unused
        return 2 * hidden * units


CONVOLUTIONS = [
    {"mixer": mixer, "objective": objective, "convolution_taps": taps}
    for mixer in ("convolution", "dilated")
    for objective in OBJECTIVES
    for taps in (1, 3, 4)
    if taps % 2 or objective == "next_token"
] + [
    {"mixer": "dilated", "dilated_form": form, "biases": biases, "convolution_first_taps": 5}
    for form in ("gated", "projected", "plain")
    for biases in (True, False)
]


class TestConvolutions(MixerContract):
    @pytest.fixture(params=CONVOLUTIONS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)

    @pytest.fixture
    def mixer(self, config: ModelConfig) -> nn.Module:
        return filled(MIXERS[config.mixers[self.layer]](config, self.layer))


class TestMamba(MixerContract):
    @pytest.fixture(params=OBJECTIVES)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(mixer="mamba", objective=request.param, **TOY)

    @pytest.fixture
    def mixer(self, config: ModelConfig) -> nn.Module:
        return filled(MIXERS["mamba"](config))


class TestConvolutionsOfTheSecondLayer(TestConvolutions):
    layer = 1
