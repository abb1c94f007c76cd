"""torch.compile gives what eager mode gives, forward and backward, for every kind of model."""

import pytest

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.variants import VARIANTS
from lightning_dna.testing.models import CompiledModelContract, toy_variant

pytestmark = [
    pytest.mark.slow,
    # torch 2.13: its own look at an autograd.Function, while it traces one.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


class TestEveryVariant(CompiledModelContract):
    @pytest.fixture(params=sorted(VARIANTS))
    def config(self, request: pytest.FixtureRequest) -> ModelConfig:
        return toy_variant(request.param)
