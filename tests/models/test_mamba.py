"""Mamba against its recurrence, one position and one state after another, in float64."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.initialisation import initialise
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.mamba import Mamba, scan
from lightning_dna.models.variants import variant_config
from lightning_dna.testing.models import filled, random_normal, random_tokens


def config_of(**changes) -> ModelConfig:
    settings = {"mixer": "mamba", "width": 5, "layers": 2, "max_length": 40}
    return ModelConfig(**{**settings, **changes})


def silu(x: np.ndarray) -> np.ndarray:
    return x * expit(x)


def recurrence(x: np.ndarray, part: nn.Module, *, rank: int) -> np.ndarray:
    """One sequence (length, channels) through one scan, by loops."""
    w = {name: value.detach().numpy() for name, value in part.named_parameters()}
    length, channels = x.shape
    out = np.zeros_like(x)
    state = np.zeros((channels, 16))
    for t in range(length):
        seen = w["short_bias"].copy()
        for tap in range(4):
            if t - 3 + tap >= 0:
                seen += w["short_weight"][:, tap] * x[t - 3 + tap]
        u = silu(seen)
        low, write, read = np.split(w["select.weight"] @ u, [rank, rank + 16])
        step = np.log1p(np.exp(w["step.weight"] @ low + w["step.bias"]))
        for channel in range(channels):
            for n in range(16):
                decay = np.exp(-step[channel] * np.exp(w["log_rate"][channel, n]))
                state[channel, n] *= decay
                state[channel, n] += step[channel] * write[n] * u[channel]
        out[t] = state @ read + w["skip"] * u
    return out


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("length", [1, 2, 13, 17])
@pytest.mark.parametrize("width", [5, 20])
def test_equals_the_recurrence(objective, length, width):
    mixer = filled(Mamba(config_of(objective=objective, width=width, heads=1))).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for part in mixer.scans:
            for parameter in (part.log_rate, part.skip):
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator).double()
    x = random_normal(2, length, width, dtype=torch.float64)
    rank = 1 if width <= 16 else 2
    for row, out in zip(x.numpy(), mixer(x).detach().numpy(), strict=True):
        signal, gate = np.split(row @ mixer.input.weight.detach().numpy().T, 2, axis=1)
        mixed = recurrence(signal, mixer.scans[0], rank=rank)
        if objective == "masked":
            mixed += recurrence(signal[::-1], mixer.scans[1], rank=rank)[::-1]
        expected = (mixed * silu(gate)) @ mixer.output.weight.detach().numpy().T
        np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 10, 24, 25, 26, 100])
def test_the_scan_of_chunks_is_the_scan_of_positions(length):
    decay = random_normal(2, length, 3, 4, dtype=torch.float64).sigmoid().requires_grad_()
    intake = random_normal(2, length, 3, 4, seed=1, dtype=torch.float64).requires_grad_()
    state, expected = torch.zeros(2, 3, 4, dtype=torch.float64), []
    for t in range(length):
        state = decay[:, t] * state + intake[:, t]
        expected.append(state)
    expected = torch.stack(expected, dim=1)
    found = scan(decay, intake)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    probe = random_normal(*found.shape, seed=2, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((out * probe).sum(), (decay, intake)) for out in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_scan_forgets_completely_without_a_nan():
    """Decays of zero, where dividing by their product would fail."""
    decay = torch.zeros(1, 50, 1, 1)
    intake = torch.arange(50.0).view(1, 50, 1, 1)
    assert torch.equal(scan(decay, intake), intake)


def test_initial_steps_and_rates_are_the_published_ones():
    mixer = Mamba(config_of(width=64, heads=1))
    initialise(mixer, seed=0, std=0.02)
    for part in mixer.scans:
        step = nn.functional.softplus(part.step.bias)
        assert step.min() >= 1e-3 * 0.999
        assert step.max() <= 1e-1 * 1.001
        assert step.log().mean().item() == pytest.approx(np.log(1e-2), abs=0.3)
        assert part.step.weight.abs().max() <= 4**-0.5  # rank 64 / 16
        torch.testing.assert_close(part.log_rate.exp()[0], torch.arange(1.0, 17.0))
        assert part.skip.tolist() == [1.0] * 128
    assert not torch.equal(mixer.scans[0].short_weight, mixer.scans[1].short_weight)


def test_caduceus_has_the_published_470_thousand_parameters():
    """Four layers of 118 channels: one projection in and out, two scans of 236 channels each."""
    d, e, rank, states = 118, 236, 8, 16
    one = (4 * e + e) + e * (rank + 2 * states) + (rank * e + e) + e * states + e
    layer = d * 2 * e + 2 * one + e * d + d
    for name in ("caduceus-ph-like", "caduceus-ps-like"):
        counts = parameter_counts(variant_config(name))
        assert counts.total == 16 * d + 4 * layer + d
        assert counts.feedforward == 0
        assert 460_000 < counts.total < 480_000


def test_flops_in_closed_form():
    config = config_of(width=32, layers=1, heads=1, feedforward="none")
    flops = flops_per_base(config, 100).forward
    e, rank, states = 64, 2, 16
    per_scan = e * (rank + 2 * states) + rank * e
    assert flops["projection"] == 2 * (32 * 2 * e + e * 32 + 2 * per_scan)
    assert flops["short_convolution"] == 2 * 2 * 4 * e
    assert flops["scan"] == 2 * 6 * e * states
    assert "feedforward" not in flops


def test_rates_and_skips_are_spared_from_decay_and_no_input_is_too_long():
    model = build_model(config_of(layers=1), seed=0)
    spared = model.without_weight_decay()
    own = "backbone.blocks.0.mixer.scans.0."
    assert {own + "log_rate", own + "skip", own + "short_weight", own + "step.bias"} <= spared
    assert own + "select.weight" not in spared
    assert model(random_tokens(1, 90)).logits.isfinite().all()
