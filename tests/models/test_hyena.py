"""The Hyena operator against a float64 reference: the published formulas, by direct sums."""

import numpy as np
import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import parameter_counts
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.hyena import Hyena
from lightning_dna.testing.models import filled, random_normal, random_tokens


def config_of(**changes) -> ModelConfig:
    settings = {
        "mixer": "hyena",
        "width": 4,
        "layers": 2,
        "max_length": 20,
        "hyena_filter_width": 6,
    }
    return ModelConfig(**{**settings, **changes})


def reference_filters(mixer: Hyena, config: ModelConfig, length: int) -> np.ndarray:
    """(filters, width, length) from the published description of the implicit filter."""
    weights = {name: value.detach().numpy() for name, value in mixer.filter.named_parameters()}
    n = config.max_length
    t = np.linspace(0, 1, n)[:, None]
    w = 2 * np.pi * np.arange(n)[:, None] / n
    bands = (config.hyena_features - 1) // 2
    turning = np.exp(-1j * np.linspace(1e-4, bands - 1, bands)[None] * w)
    h = np.concatenate([t, turning.real, turning.imag], axis=1)
    for layer in ("first", "second", "third", "layer_4")[: config.hyena_filter_layers]:
        h = np.sin(
            weights["frequency"] * (h @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])
        )
    h = h @ weights["last.weight"].T  # n, filters * width
    convolutions = config.hyena_order - 1
    ends = np.log(1e-2) / config.hyena_slow_decay, np.log(1e-2) / config.hyena_fast_decay
    if config.hyena_decay == "spread":
        rates = np.abs(np.linspace(*ends, convolutions * config.width))
    else:
        rates = np.tile(np.abs(np.linspace(*ends, config.width)), convolutions)
    decay = np.exp(-t * rates[None]) + config.hyena_filter_shift  # n, convolutions * width
    decay = np.tile(decay, 1 if config.causal else 2)  # the same in both directions
    if config.hyena_decay == "none":
        decay = np.ones_like(decay)
    taps = (h * decay).reshape(n, -1, config.width)
    return taps.transpose(1, 2, 0)[..., :length]


def reference(mixer: Hyena, config: ModelConfig, x: np.ndarray) -> np.ndarray:
    """One sequence (length, width)."""
    own = {name: value.detach().numpy() for name, value in mixer.named_parameters()}
    length, d, order = len(x), config.width, config.hyena_order
    z = x @ own["input.weight"].T + own["input.bias"]
    taps = own["short_weight"].shape[1]
    left = taps - 1 if config.causal else taps // 2
    padded = np.pad(z, ((left, taps - 1 - left), (0, 0)))
    z = sum(padded[i : i + length] * own["short_weight"][:, i] for i in range(taps))
    z = z + own["short_bias"]
    *gates, v = (z[:, i * d : (i + 1) * d] for i in range(order + 1))
    filters = reference_filters(mixer, config, length)
    for step, gate in enumerate(reversed(gates[1:])):
        v = v * gate
        out = own["skip"][step] * v
        for i in range(length):
            for j in range(length):
                if j <= i:
                    out[i] += filters[step, :, i - j] * v[j]
                elif not config.causal:
                    out[i] += filters[order - 1 + step, :, j - i] * v[j]
        v = out
    return (v * gates[0]) @ own["output.weight"].T + own["output.bias"]


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("shift", [0.0, 0.05])
@pytest.mark.parametrize("length", [1, 9, 20])
def test_equals_the_reference(objective, order, shift, length):
    config = config_of(objective=objective, hyena_order=order, hyena_filter_shift=shift)
    mixer = filled(Hyena(config)).double()
    x = random_normal(2, length, 4, dtype=torch.float64)
    expected = np.stack([reference(mixer, config, row.numpy()) for row in x])
    with torch.no_grad():
        np.testing.assert_allclose(mixer(x).numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize(
    "changes",
    [
        {"hyena_order": 3, "hyena_decay": "spread"},
        {"hyena_order": 4, "hyena_decay": "spread", "hyena_fast_decay": 0.1},
        {"hyena_order": 3, "hyena_decay": "none"},
        {"hyena_filter_layers": 1, "hyena_features": 3, "hyena_slow_decay": 4.0},
        {"hyena_filter_layers": 4, "hyena_features": 9},
    ],
)
def test_other_filters_equal_the_reference(objective, changes):
    """Forward as written by group, and the taps and gradients as written in one piece."""
    config = config_of(objective=objective, **changes)
    mixer = filled(Hyena(config)).double()
    x = random_normal(2, 9, 4, dtype=torch.float64)
    expected = np.stack([reference(mixer, config, row.numpy()) for row in x])
    with torch.no_grad():
        np.testing.assert_allclose(mixer(x).numpy(), expected, atol=1e-11)
        taps = reference_filters(mixer, config, 9)
        np.testing.assert_allclose(mixer.filter(9).numpy(), taps, atol=1e-12)
    by_group = torch.autograd.grad(mixer(x).square().sum(), mixer.parameters())
    plain = mixer._plain(
        torch.nn.functional.linear(x, mixer.input.weight, mixer.input.bias).mT, None
    )
    out = torch.nn.functional.linear(plain.mT, mixer.output.weight, mixer.output.bias)
    for one, other in zip(
        by_group, torch.autograd.grad(out.square().sum(), mixer.parameters()), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_spread_is_each_at_order_2():
    one, other = (filled(Hyena(config_of(hyena_decay=decay))) for decay in ("each", "spread"))
    assert torch.equal(one.filter(20), other.filter(20))


def test_time_is_that_of_max_length_not_of_the_sequence():
    mixer = filled(Hyena(config_of()))
    torch.testing.assert_close(mixer.filter(7), mixer.filter(20)[..., :7])
    longer = filled(Hyena(config_of(max_length=40)))
    assert (longer.filter(20) - mixer.filter(20)).abs().max() > 1e-3


def test_decay_spans_the_published_rates():
    """The fastest channel is at 1 % after 30 % of max_length, the slowest at 4.6 % at its end."""
    config = config_of(max_length=1001, width=8)
    decay = Hyena(config).filter._decay(torch.linspace(0, 1, 1001, dtype=torch.float64))[0]
    assert decay[-1, 300].item() == pytest.approx(0.01, rel=1e-6)
    assert decay[0, 1000].item() == pytest.approx(0.01 ** (1 / 1.5), rel=1e-6)


@pytest.mark.parametrize("length", [2, 11, 24])
def test_every_position_reaches_every_other(length):
    """All pairs of a two-layer masked model: the gradient is nowhere zero."""
    model = filled(build_model(config_of(max_length=24), seed=0)).double()
    vectors = random_normal(1, length, 4, dtype=torch.float64).requires_grad_()
    hidden = vectors
    for block in model.backbone.blocks:
        hidden = block(hidden, None)
    for position in range(length):
        (gradient,) = torch.autograd.grad(hidden[0, position, 0], vectors, retain_graph=True)
        assert (gradient.abs().amax(dim=-1) > 1e-9).all()


def test_own_neighbourhood_is_seen_in_one_layer():
    """The published two-sided convolution reads only inputs half a sequence away: ours does not."""
    mixer = filled(Hyena(config_of())).double()
    x = random_normal(1, 20, 4, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(mixer(x)[0, 10].sum(), x)
    near = gradient[0, 8:13].abs().amax(dim=-1)
    far = gradient[0, [0, 19]].abs().amax(dim=-1)
    assert (near > far.max()).all()


def test_longer_than_the_filters_is_an_error():
    model = build_model(config_of(), seed=0)
    with pytest.raises(ConfigError, match=r"21 tokens.*Hyena filters.*model\.max_length = 20"):
        model(random_tokens(1, 21))


def test_filters_are_written_in_float32_under_autocast():
    mixer = filled(Hyena(config_of()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mixer.filter(20), mixer.filter(20).float())
        inside = mixer.filter(20)
    assert torch.equal(inside, mixer.filter(20))


def test_published_mixer_sizes():
    """One causal mixer, by width, as counted in the published code."""
    for width, count in ((128, 84_672), (256, 291_648), (512, 1_098_816), (768, 2_430_272)):
        config = ModelConfig(mixer="hyena", objective="next_token", width=width, layers=1)
        assert parameter_counts(config).mixer == count


def test_second_direction_costs_one_output_layer():
    causal = parameter_counts(config_of(objective="next_token", layers=1)).mixer
    two_sided = parameter_counts(config_of(layers=1)).mixer
    assert two_sided - causal == 6 * 4  # filter width x channels
