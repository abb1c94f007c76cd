"""The shipped contracts, over every row of the variant table and every combination of the axes."""

import itertools

import pytest
from torch import nn

from lightning_dna.models.backbone import MIXERS
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.variants import VARIANTS, variant_config
from lightning_dna.testing.models import LanguageModelContract, MixerContract, filled

TOY = {"width": 12, "heads": 3, "layers": 2, "max_length": 24, "hyena_filter_width": 8}
POSITIONS = {"attention": ("alibi", "rope", "learned", "none"), "hyena": ("learned", "none")}
OBJECTIVES = ("masked", "next_token")

COMBINATIONS = [
    {"mixer": mixer, "position": position, "feedforward": feedforward, "objective": objective}
    for mixer in MIXERS
    for position, feedforward, objective in itertools.product(
        POSITIONS[mixer], FEEDFORWARDS, OBJECTIVES
    )
]


def label(changes: dict[str, object]) -> str:
    return "-".join(str(value) for value in changes.values())


class TestEveryVariant(LanguageModelContract):
    @pytest.fixture(params=sorted(VARIANTS))
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        reach = {"attention_reach": 3} if request.param == "attention_local" else {}
        return variant_config(request.param, **TOY, **reach)


class TestEveryCombination(LanguageModelContract):
    @pytest.fixture(params=COMBINATIONS, ids=label)
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return ModelConfig(**TOY, **request.param)


ATTENTIONS = [
    {"position": position, "objective": objective, "attention_reach": reach}
    for position in POSITIONS["attention"]
    for objective in OBJECTIVES
    for reach in (None, 3)
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
        return 2 * self.length * hidden * (5 + 2 * hidden + filters * config.width)
