"""Convolution mixers against sums over taps, written with loops."""

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.dilated import Convolution, DilatedConvolution
from lightning_dna.testing.models import filled, random_normal, random_tokens


def config_of(**changes) -> ModelConfig:
    settings = {"mixer": "dilated", "width": 4, "layers": 6, "max_length": 40}
    return ModelConfig(**{**settings, **changes})


def neighbourhoods(
    x: np.ndarray, layer: nn.Linear, *, taps: int, dilation: int, causal: bool
) -> np.ndarray:
    """One sequence (length, width) to (length, outputs)."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    weight = weight.reshape(len(weight), taps, -1)
    out = np.tile(bias, (len(x), 1))
    for i in range(len(x)):
        for tap in range(taps):
            j = i + (tap - (taps - 1 if causal else taps // 2)) * dilation
            if 0 <= j < len(x):
                out[i] += weight[:, tap] @ x[j]
    return out


def projected(mixer: nn.Module, x: np.ndarray) -> np.ndarray:
    return x @ mixer.output.weight.detach().numpy().T + mixer.output.bias.detach().numpy()


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("layer", [0, 1, 2, 3, 5])
def test_dilated_equals_the_sum_over_taps(objective, taps, layer):
    config = config_of(objective=objective, convolution_taps=taps, convolution_cycle=3)
    mixer = filled(DilatedConvolution(config, layer)).double()
    x = random_normal(2, 15, 4, dtype=torch.float64)
    for row, out in zip(x.numpy(), mixer(x).detach().numpy(), strict=True):
        both = neighbourhoods(
            row,
            mixer.gate_and_value,
            taps=taps,
            dilation=(1, 2, 4, 1, 2, 4)[layer],
            causal=config.causal,
        )
        expected = projected(mixer, both[:, 4:] * expit(both[:, :4]))
        np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("layer", [0, 3])
def test_plain_convolution_equals_the_sum_over_taps(objective, layer):
    config = config_of(mixer="convolution", objective=objective)
    mixer = filled(Convolution(config, layer)).double()
    x = random_normal(1, 9, 4, dtype=torch.float64)
    seen = neighbourhoods(x[0].numpy(), mixer.input, taps=5, dilation=1, causal=config.causal)
    expected = projected(mixer, seen * 0.5 * (1 + erf(seen / np.sqrt(2))))
    np.testing.assert_allclose(mixer(x)[0].detach().numpy(), expected, atol=1e-12)


def reach(model: nn.Module, length: int) -> int:
    """Furthest position whose token moves the hidden state in the middle."""
    tokens, middle = random_tokens(1, length), length // 2
    model = filled(model).double()
    with torch.no_grad():
        before = model(tokens).hidden[0, middle]
        moved = []
        for place in range(length):
            changed = tokens.clone()
            changed[0, place] = 7 + (int(tokens[0, place]) - 6) % 4
            moved.append(not torch.equal(model(changed).hidden[0, middle], before))
    return max(abs(place - middle) for place in np.flatnonzero(moved))


def test_reach_doubles_with_every_dilated_layer_and_grows_by_steps_in_a_plain_tower():
    """Three layers of three taps: 1 + 2 + 4 to each side, against 1 + 1 + 1."""
    small = {"layers": 3, "convolution_taps": 3}
    assert reach(build_model(config_of(**small), seed=0), 25) == 7
    assert reach(build_model(config_of(mixer="convolution", **small), seed=0), 25) == 3
    assert reach(build_model(config_of(convolution_cycle=1, **small), seed=0), 25) == 3


def test_sizes_in_closed_form():
    d, taps = 8, 5
    plain = config_of(mixer="convolution", width=d, layers=1)
    gated = config_of(width=d, layers=1)
    assert parameter_counts(plain).mixer == (taps * d * d + d) + (d * d + d)
    assert parameter_counts(gated).mixer == 2 * (taps * d * d + d) + (d * d + d)
    assert flops_per_base(gated, 10).forward["convolution"] == 2 * 2 * taps * d * d
    assert flops_per_base(gated, 10).forward["projection"] == 2 * d * d
    assert flops_per_base(gated, 10).backward["convolution"] == 2 * 2 * 2 * taps * d * d


def test_convolutions_decay_like_other_matrices_and_know_no_longest_input():
    model = build_model(config_of(layers=1), seed=0)
    spared = model.without_weight_decay()
    assert "backbone.blocks.0.mixer.gate_and_value.weight" not in spared
    assert "backbone.blocks.0.mixer.gate_and_value.bias" in spared
    assert model(random_tokens(1, 90)).logits.isfinite().all()
