"""The two convolutions of the Hyena operator: as long as the sequence by FFT, and a few taps."""

import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


# torch.compile would trace through the cache, and warn.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def fast_fft_length(at_least: int) -> int:
    """Return the smallest ``2^a 3^b 5^c``, a >= 3, that is at least ``at_least``.

    Such lengths lie close together, so that a sequence of 1,026 does not pay for one of 2,048. They
    are multiples of 8 because others transform slower than the next larger multiple does: 1,350
    points take 1.4 times as long as 1,440.

    Example:
        >>> fast_fft_length(2051)
        2160
    """
    return _smooth_length(at_least)


@functools.lru_cache(maxsize=4096)
def _smooth_length(at_least: int) -> int:
    """Find that length by going through the products of threes and fives."""
    best = 8
    while best < at_least:
        best *= 2
    fives = 8
    while fives < best:
        threes = fives
        while threes < best:
            size = threes
            while size < at_least:
                size *= 2
            best = min(best, size)
            threes *= 3
        fives *= 5
    return best


class _CircularConvolution(torch.autograd.Function):
    """Circular convolution by real FFTs; autograd's backward of ``rfft`` would be complex."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: Tensor, size: int) -> Tensor:
        spectrum, response = torch.fft.rfft(signal, size), torch.fft.rfft(kernel, size)
        ctx.save_for_backward(spectrum, response)
        ctx.size, ctx.taps = size, kernel.shape[-1]
        whole: Tensor = torch.fft.irfft(spectrum * response, size)
        return whole[..., : signal.shape[-1]]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        spectrum, response = ctx.saved_tensors
        size, length = ctx.size, gradient.shape[-1]
        incoming = torch.fft.rfft(gradient, size)
        for_signal = for_kernel = None
        if ctx.needs_input_grad[0]:
            for_signal = torch.fft.irfft(incoming * response.conj(), size)[..., :length]
        if ctx.needs_input_grad[1]:
            summed = (incoming * spectrum.conj()).sum(dim=0)  # over the batch, before the way back
            for_kernel = torch.fft.irfft(summed, size)[..., : ctx.taps]
        return for_signal, for_kernel, None


def long_convolution(
    signal: Float[Tensor, "batch width length"],
    forward_filter: Float[Tensor, "width length"],
    backward_filter: Float[Tensor, "width length"] | None = None,
) -> Float[Tensor, "batch width length"]:
    """Convolve every channel with a filter as long as the sequence, in O(length log length).

    ``y[t] = sum_{s <= t} forward[t - s] u[s] + sum_{s > t} backward[s - t] u[s]``; lag 0 of the
    backward filter is not used, so that no position counts twice. Both directions go through one
    FFT: the backward filter occupies the negative lags of the same circular kernel, which needs ``2
    length - 1`` places either way.

    Args:
        signal: Channels by position. Float32 or float64.
        forward_filter: Weights of lags 0, 1, ..., length - 1 into the past.
        backward_filter: Weights of lags into the future, or ``None`` for a causal convolution.

    Returns:
        The convolved signal, same shape.
    """
    length = signal.shape[-1]
    size = fast_fft_length(2 * length - 1)
    kernel = forward_filter
    if backward_filter is not None:
        gap = forward_filter.new_zeros(len(forward_filter), size - (2 * length - 1))
        kernel = torch.cat((forward_filter, gap, backward_filter[:, 1:].flip(-1)), dim=-1)
    convolved: Tensor = _CircularConvolution.apply(signal, kernel, size)  # type: ignore[no-untyped-call]
    return convolved


def short_convolution(
    signal: Float[Tensor, "batch channels length"],
    weight: Float[Tensor, "channels taps"],
    bias: Float[Tensor, " channels"],
    *,
    causal: bool,
) -> Float[Tensor, "batch channels length"]:
    """Convolve every channel with a few taps of its own, zeros beyond the ends.

    Args:
        signal: Channels by position.
        weight: Taps; the last one is the present (causal) or the middle one is (two-sided, odd
            number of taps).
        bias: Added to every position.
        causal: Whether all taps but the last look into the past.

    Returns:
        The convolved signal, same shape.
    """
    taps = weight.shape[-1]
    left = taps - 1 if causal else taps // 2
    padded = functional.pad(signal, (left, taps - 1 - left))
    return functional.conv1d(padded, weight[:, None], bias, groups=len(weight))


def short_filter(
    signal: Float[Tensor, "batch channels length"], weight: Tensor, bias: Tensor, left: int
) -> Float[Tensor, "batch channels length"]:
    """Convolve every channel with its few taps, the first ``left`` of them in the past."""
    out = torch.addcmul(bias[:, None], signal, weight[:, left, None])
    for tap in range(weight.shape[-1]):
        later = tap - left
        if later < 0:
            out[..., -later:].addcmul_(signal[..., :later], weight[:, tap, None])
        elif later > 0:
            out[..., :-later].addcmul_(signal[..., later:], weight[:, tap, None])
    return out


def short_filter_backward(
    gradient: Float[Tensor, "batch channels length"],
    signal: Float[Tensor, "batch channels length"],
    weight: Tensor,
    left: int,
) -> tuple[Float[Tensor, "batch channels length"], Float[Tensor, "channels taps"]]:
    """Return the gradients of the signal and of the taps."""
    out = gradient * weight[:, left, None]
    for_taps = torch.empty_like(weight)
    for tap in range(weight.shape[-1]):
        later = tap - left
        incoming, seen, target = gradient, signal, out
        if later < 0:
            incoming, seen, target = gradient[..., -later:], signal[..., :later], out[..., :later]
        elif later > 0:
            incoming, seen, target = gradient[..., :-later], signal[..., later:], out[..., later:]
        if later:
            target.addcmul_(incoming, weight[:, tap, None])
        for_taps[:, tap] = torch.einsum("bcl,bcl->c", incoming, seen)
    return out, for_taps
