"""What a trunk takes for a mask, and batches without a row."""

import pytest
import torch

from lightning_dna.errors import DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.testing.models import random_tokens

MIXERS = ("attention", "hyena", "convolution", "dilated", "mamba")


@pytest.fixture(params=MIXERS)
def model(request):
    config = ModelConfig(mixer=request.param, width=8, layers=1, heads=2, max_length=16)
    return build_model(config, seed=0).eval()


@pytest.mark.parametrize("shape", [(1, 9), (2, 8), (3, 9), (9,)])
@pytest.mark.parametrize("value", [True, False])
def test_mask_of_another_shape_is_never_stretched(model, shape, value):
    mask = torch.full(shape, value)
    with pytest.raises(DataError, match=r"attention_mask has shape .* input_ids has \[2, 9\]"):
        model(random_tokens(2, 9), mask)


def test_mask_of_numbers_to_be_added_is_refused(model):
    mask = torch.zeros(2, 9)
    mask[0, 5:] = -1e9
    with pytest.raises(DataError, match="other numbers than 0 and 1"):
        model(random_tokens(2, 9), mask)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_zeros_and_ones_of_any_format(model, dtype):
    tokens, mask = random_tokens(2, 9), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 4:] = False
    expected = model(tokens, mask).logits[mask]
    assert torch.equal(model(tokens, mask.to(dtype)).logits[mask], expected)


@pytest.mark.parametrize("training", [True, False])
def test_batch_without_a_row(model, training):
    output = model.train(training)(torch.zeros(0, 9, dtype=torch.long))
    assert output.logits.shape == (0, 9, 16)
    assert output.hidden.shape == (0, 9, 8)


@pytest.mark.parametrize("shape", [(1, 9), (2, 8), (3, 9)])
def test_both_strands_name_the_mask_as_it_was_given(shape):
    config = ModelConfig(width=8, layers=1, heads=2, strand="equivariant")
    with pytest.raises(DataError, match=rf"shape \[{shape[0]}, {shape[1]}\].* has \[2, 9\]"):
        build_model(config, seed=0)(random_tokens(2, 9), torch.ones(shape, dtype=torch.bool))
