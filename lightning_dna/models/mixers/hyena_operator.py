"""Hyena's short convolutions, gates and long convolutions in one pass over groups of channels.

Written op by op, the operator would put some fifteen arrays of the size of the sequence through
memory and keep most of them for the backward pass. Channels do not meet between the two
projections, so here a group of them goes through all steps while it is in the cache. Backward the
cheap steps (short convolutions, gates, transforms of signals) are computed again; kept are the
projected input, the output of every long convolution and the transform of its filter. The filters
are written by group too, so that no array of taps for all channels exists.

Everything between the projections is computed in float32 at least, whatever the model's dtype.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_dna.models.mixers.convolution import (
    fast_fft_length,
    short_filter,
    short_filter_backward,
)
from lightning_dna.models.mixers.long_filters import (
    FilterGradients,
    Filters,
    LongFilters,
    Operator,
)

Parts = Float[Tensor, "batch channels length"]

# Elements of one padded group: large enough that planning a transform is a small part of it, small
# enough for the cache of a core; a GPU wants the work in few large pieces.
GROUP_ELEMENTS = {"cpu": 2**20}
GROUP_ELEMENTS_ELSEWHERE = 2**27
LEAST_CHANNELS = 8


def channel_groups(batch: int, width: int, size: int, device: torch.device) -> list[slice]:
    """Split channels into equal groups (but for the last) of about ``GROUP_ELEMENTS``."""
    elements = GROUP_ELEMENTS.get(device.type, GROUP_ELEMENTS_ELSEWHERE)
    most = max(LEAST_CHANNELS, elements // (batch * size))
    count = -(-width // most)
    step = -(-width // count)
    return [slice(start, min(start + step, width)) for start in range(0, width, step)]


def hyena_operator(
    operator: Operator,
    parts: Parts,
    short_weight: Float[Tensor, "channels taps"],
    short_bias: Float[Tensor, " channels"],
    filters: Filters,
    mask: Bool[Tensor, "batch length"] | None,
    responses: list[list[Tensor]] | None = None,
) -> Float[Tensor, "batch width length"]:
    """Return ``x_0 * conv(x_1 * conv(... x_n * v))``, parts being ``x_0 ... x_n, v``.

    Without a gradient to come, the result takes the place of ``x_0`` in ``parts``.

    Args:
        operator: Order, direction and floor of the decay.
        parts: Projected input, the parts one below the other.
        short_weight: Taps of the short filters.
        short_bias: Their biases.
        filters: The long filters.
        mask: True at real positions.
        responses: Transforms of the filters, by group and convolution, if at hand; see
            :func:`filter_responses`.

    Returns:
        The gated convolutions.
    """
    given = (parts, short_weight, short_bias, *filters[:3])
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        out, *_ = _GatedConvolutions.apply(operator, *given, *filters[3:], mask)  # type: ignore[no-untyped-call]
        gated: Tensor = out
        return gated
    run = _Pass(operator, parts, short_weight, short_bias, filters, mask)
    out = parts[:, : run.width]
    for number, group in enumerate(run.groups):
        ready = None if responses is None else responses[number]
        for last in run.convolved(group, run.short(group), ready):
            state = last
        torch.mul(state, run.short_part(0, group), out=out[:, group])
    return out


def filter_responses(
    operator: Operator, filters: Filters, batch: int
) -> Iterator[list[Complex[Tensor, "group frequencies"]]]:
    """Yield the transforms of all filters by group of channels, as the operator takes them."""
    size = fast_fft_length(2 * len(filters.time) - 1)
    width = len(filters.rates)
    for group in channel_groups(batch, width, size, filters.hidden.device):
        taps = LongFilters(operator, filters, size)
        yield [taps.response(step, group) for step in range(operator.convolutions)]


class _Pass:
    """One pass over a batch, forward or backward; its methods work on a group of channels."""

    def __init__(
        self,
        operator: Operator,
        parts: Tensor,
        short_weight: Tensor,
        short_bias: Tensor,
        filters: Filters,
        mask: Tensor | None,
    ) -> None:
        self.operator, self.parts = operator, parts
        self.width, self.length = len(filters.rates), parts.shape[-1]
        self.size = fast_fft_length(2 * self.length - 1)
        self.precision = filters.hidden.dtype
        self.short_weight = short_weight.to(self.precision)
        self.short_bias = short_bias.to(self.precision)
        self.left = operator.left(short_weight.shape[-1])
        self.mask = None if mask is None else mask[:, None].to(self.precision)
        self.taps = LongFilters(operator, filters, self.size)
        self.groups = channel_groups(len(parts), self.width, self.size, parts.device)

    def masked(self, signal: Tensor) -> Tensor:
        """Return the signal with zeros at padded positions."""
        return signal if self.mask is None else signal * self.mask

    def places(self, part: int, group: slice) -> slice:
        """Return the rows of a group within a part."""
        return slice(part * self.width + group.start, part * self.width + group.stop)

    def given(self, part: int, group: slice) -> Tensor:
        """Return the projected input of a part."""
        return self.masked(self.parts[:, self.places(part, group)].to(self.precision))

    def short_part(self, part: int, group: slice) -> Tensor:
        """Return one part after its short convolution."""
        places = self.places(part, group)
        weight, bias = self.short_weight[places], self.short_bias[places]
        return short_filter(self.given(part, group), weight, bias, self.left)

    def short(self, group: slice) -> dict[int, Tensor]:
        """Return all parts but the first gate after their short convolutions."""
        return {part: self.short_part(part, group) for part in range(1, self.operator.order + 1)}

    def gate(self, step: int) -> int:
        """Return the part that gates the input of a convolution; the last gates come first."""
        return self.operator.order - 1 - step

    def transform(self, signal: Tensor) -> Tensor:
        """Return the spectrum of a signal with zeros behind it."""
        padded = signal.new_empty(*signal.shape[:2], self.size)
        padded[..., self.length :] = 0.0
        padded[..., : self.length] = signal
        spectrum: Tensor = torch.fft.rfft(padded)
        return spectrum

    def gated(self, state: Tensor, gate: Tensor) -> Tensor:
        """Return the spectrum of the product of the two, zero at padded positions."""
        padded = state.new_empty(*state.shape[:2], self.size)
        padded[..., self.length :] = 0.0
        torch.mul(state, gate, out=padded[..., : self.length])
        if self.mask is not None:
            padded[..., : self.length] *= self.mask
        spectrum: Tensor = torch.fft.rfft(padded)
        return spectrum

    def back(self, spectrum: Tensor) -> Tensor:
        """Return the signal of a spectrum."""
        signal: Tensor = torch.fft.irfft(spectrum, self.size)[..., : self.length]
        return signal

    def convolved(
        self, group: slice, short: dict[int, Tensor], responses: list[Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Yield the output of every long convolution."""
        state = short[self.operator.order]
        for step in range(self.operator.convolutions):
            response = self.taps.response(step, group) if responses is None else responses[step]
            spectrum = self.gated(state, short[self.gate(step)])
            state = self.back(spectrum.mul_(response))
            yield state


class _GatedConvolutions(torch.autograd.Function):
    """:func:`hyena_operator` with a gradient."""

    @staticmethod
    def forward(
        operator: Operator,
        parts: Tensor,
        short_weight: Tensor,
        short_bias: Tensor,
        hidden: Tensor,
        last: Tensor,
        skip: Tensor,
        time: Tensor,
        rates: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, ...]:
        filters = Filters(hidden, last, skip, time, rates)
        run = _Pass(operator, parts, short_weight, short_bias, filters, mask)
        out = parts.new_empty(len(parts), run.width, run.length)
        states = [
            out.new_empty(out.shape, dtype=run.precision) for _ in range(operator.convolutions)
        ]
        responses: list[Tensor] = []
        for group in run.groups:
            found = [run.taps.response(step, group) for step in range(operator.convolutions)]
            convolved = run.convolved(group, run.short(group), found)
            for state, kept in zip(convolved, states, strict=True):
                kept[:, group] = state
            responses += found
            torch.mul(states[-1][:, group], run.short_part(0, group), out=out[:, group])
        return out, *states, *responses

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        operator, *tensors = inputs
        ctx.operator, ctx.given = operator, len(tensors)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        parts, weight, bias, *written, mask = saved[: ctx.given]
        convolutions = ctx.operator.convolutions
        states = saved[ctx.given : ctx.given + convolutions]
        responses = saved[ctx.given + convolutions :]
        filters = Filters(*written)
        run = _Pass(ctx.operator, parts, weight, bias, filters, mask)
        sums = FilterGradients(filters, causal=ctx.operator.causal)
        for_parts = torch.empty_like(parts)
        for_weight, for_bias = torch.empty_like(run.short_weight), torch.empty_like(run.short_bias)
        for number, group in enumerate(run.groups):
            incoming = gradient[:, group].to(run.precision)
            kept = [state[:, group] for state in states]
            ready = responses[number * convolutions : (number + 1) * convolutions]
            for part, one in _backward_of_group(run, group, incoming, kept, ready, sums):
                places = run.places(part, group)
                back, for_weight[places] = short_filter_backward(
                    one, run.given(part, group), run.short_weight[places], run.left
                )
                for_bias[places] = one.sum(dim=(0, 2))
                for_parts[:, places] = run.masked(back)
        for_short = (for_weight.to(weight.dtype), for_bias.to(bias.dtype))
        return None, for_parts, *for_short, *sums.finished(), None, None, None


def _backward_of_group(
    run: _Pass,
    group: slice,
    gradient: Tensor,
    states: list[Tensor],
    responses: Sequence[Tensor],
    sums: FilterGradients,
) -> Iterator[tuple[int, Tensor]]:
    """Yield part and gradient of its short convolution's output; sum those of the filters."""
    yield 0, gradient * states[-1]
    incoming = gradient * run.short_part(0, group)
    short = run.short(group)
    before = [short[run.operator.order], *states[:-1]]
    for step in reversed(range(run.operator.convolutions)):
        gate = short[run.gate(step)]
        spectrum, arriving = run.gated(before[step], gate), run.transform(incoming)
        product = spectrum.conj_physical_().mul_(arriving)
        summed = product[0] if len(product) == 1 else product.sum(dim=0)  # over the batch
        run.taps.backward(step, group, torch.fft.irfft(summed, run.size), sums)
        arriving.mul_(responses[step].conj_physical())  # a lazy conjugate takes twice as long
        passed = run.masked(run.back(arriving))
        yield run.gate(step), passed * before[step]
        incoming = passed * gate
    yield run.operator.order, incoming
