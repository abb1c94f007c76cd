"""torch.compile gives what eager mode gives, forward and backward, for every kind of model."""

import pytest
import torch

from lightning_dna.models.language_model import build_model
from lightning_dna.models.variants import VARIANTS, variant_config
from lightning_dna.testing.models import random_tokens

TOY = {"width": 12, "heads": 3, "layers": 2, "max_length": 24, "hyena_filter_width": 8}

pytestmark = [
    pytest.mark.slow,
    # torch 2.13: its own look at an autograd.Function, while it traces one.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


@pytest.mark.parametrize("name", [name for name in sorted(VARIANTS) if "-" not in name])
def test_compiled_models_agree_with_eager_ones(name):
    """Traced with its gradient, without code generation, which would take minutes a row."""
    torch.compiler.reset()
    model, tokens = build_model(variant_config(name, **TOY), seed=0), random_tokens(2, 9)
    compiled = torch.compile(model, backend="aot_eager")
    table = model.backbone.embedding.weight
    found = []
    for one in (model, compiled):
        logits = one(tokens).logits
        (gradient,) = torch.autograd.grad(logits.square().sum(), table)
        found.append((logits, gradient))
    (eager, eager_gradient), (traced, traced_gradient) = found
    torch.testing.assert_close(traced, eager, rtol=0, atol=1e-6)
    torch.testing.assert_close(traced_gradient, eager_gradient, rtol=1e-4, atol=1e-6)
