"""torch.compile gives what eager mode gives, forward and backward, for every kind of model."""

import pytest
import torch

from lightning_dna.models.language_model import build_model
from lightning_dna.models.variants import VARIANTS
from lightning_dna.testing.models import random_tokens, toy_variant

pytestmark = [
    pytest.mark.slow,
    # torch 2.13: its own look at an autograd.Function, while it traces one.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_compiled_models_agree_with_eager_ones(name):
    """Traced with its gradient, without code generation, which would take minutes a row."""
    torch.compiler.reset()
    model, tokens = build_model(toy_variant(name), seed=0), random_tokens(2, 9)
    compiled = torch.compile(model, backend="aot_eager")
    first = next(model.parameters())
    found = []
    for one in (model, compiled):
        logits = one(tokens).logits
        (gradient,) = torch.autograd.grad(logits.square().sum(), first)
        found.append((logits, gradient))
    (eager, eager_gradient), (traced, traced_gradient) = found
    torch.testing.assert_close(traced, eager, rtol=0, atol=1e-6)
    torch.testing.assert_close(traced_gradient, eager_gradient, rtol=1e-4, atol=1e-6)
