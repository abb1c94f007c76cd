import numpy as np
import pytest
import torch

from lightning_dna.models.mixers.convolution import (
    fast_fft_length,
    long_convolution,
    short_convolution,
)
from lightning_dna.testing.models import random_normal

LENGTHS = [1, 2, 3, 7, 16, 37]


def is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def test_fft_length_is_the_smallest_smooth_multiple_of_eight():
    smooth = [n for n in range(8, 8000, 8) if is_smooth(n)]
    for wanted in range(1, 7000):
        assert fast_fft_length(wanted) == next(n for n in smooth if n >= wanted)


@pytest.mark.parametrize("length", [1_026, 32_770, 160_002, 450_002, 1_000_002])
def test_no_cliff_behind_a_power_of_two(length):
    assert 2 * length - 1 <= fast_fft_length(2 * length - 1) <= 1.06 * 2 * length


def direct(signal: np.ndarray, past: np.ndarray, future: np.ndarray | None) -> np.ndarray:
    """The definition, by loops."""
    out = np.zeros_like(signal)
    length = signal.shape[-1]
    for t in range(length):
        for s in range(length):
            if s <= t:
                out[..., t] += past[..., t - s] * signal[..., s]
            elif future is not None:
                out[..., t] += future[..., s - t] * signal[..., s]
    return out


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("two_sided", [False, True])
def test_long_convolution_is_the_double_sum(length, two_sided):
    signal, past, future = (
        random_normal(2, 3, length, dtype=torch.float64),
        random_normal(3, length, seed=1, dtype=torch.float64),
        random_normal(3, length, seed=2, dtype=torch.float64),
    )
    expected = direct(signal.numpy(), past.numpy(), future.numpy() if two_sided else None)
    out = long_convolution(signal, past, future if two_sided else None)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)
    single = long_convolution(signal.float(), past.float(), future.float() if two_sided else None)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("place", [0, 3, 8])
def test_an_impulse_draws_both_filters(place):
    signal = torch.zeros(1, 1, 9, dtype=torch.float64)
    signal[0, 0, place] = 1.0
    past, future = torch.arange(1.0, 10.0).double()[None], torch.arange(101.0, 110.0).double()[None]
    out = long_convolution(signal, past, future)[0, 0]
    expected = [float(1 + t - place) if t >= place else float(101 + place - t) for t in range(9)]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("two_sided", [False, True])
def test_long_convolution_gradients(length, two_sided):
    arguments = [
        random_normal(2, 2, length, dtype=torch.float64).requires_grad_(),
        random_normal(2, length, seed=1, dtype=torch.float64).requires_grad_(),
    ]
    if two_sided:
        arguments.append(random_normal(2, length, seed=2, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(long_convolution, arguments)


def test_long_convolution_gradient_of_the_filter_alone():
    """Frozen inputs, for example behind a frozen embedding, cost no gradient and break none."""
    past = random_normal(2, 5, dtype=torch.float64).requires_grad_()
    signal = random_normal(3, 2, 5, seed=1, dtype=torch.float64)
    long_convolution(signal, past).sum().backward()
    # d/dh[k] of the sum of all outputs: the sum of the first length - k inputs.
    expected = torch.stack([signal[..., : 5 - k].sum(dim=(0, 2)) for k in range(5)], dim=-1)
    torch.testing.assert_close(past.grad, expected)


@pytest.mark.parametrize("taps", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 8])
def test_causal_short_convolution(taps, length):
    signal = random_normal(2, 3, length, dtype=torch.float64)
    weight = random_normal(3, taps, seed=1, dtype=torch.float64)
    bias = random_normal(3, seed=2, dtype=torch.float64)
    out = short_convolution(signal, weight, bias, causal=True)
    for row in range(2):
        for channel in range(3):
            full = np.convolve(signal[row, channel], weight[channel].flip(0))[:length]
            np.testing.assert_allclose(out[row, channel], full + bias[channel].item(), atol=1e-12)


@pytest.mark.parametrize("taps", [1, 3, 5])
def test_two_sided_short_convolution_is_centred(taps):
    signal = random_normal(1, 2, 8, dtype=torch.float64)
    weight = random_normal(2, taps, seed=1, dtype=torch.float64)
    out = short_convolution(signal, weight, torch.zeros(2, dtype=torch.float64), causal=False)
    for channel in range(2):
        full = np.convolve(signal[0, channel], weight[channel].flip(0), mode="full")
        centred = full[taps // 2 : taps // 2 + 8]
        np.testing.assert_allclose(out[0, channel], centred, atol=1e-12)
