"""Hyena's long filters by groups of channels: never are the taps of all channels in memory."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@dataclass(frozen=True)
class Operator:
    """What stays the same from call to call of one mixer.

    Attributes:
        order: Number of gates.
        causal: One filter per convolution, or two, one for each direction.
        shift: Floor under the filters' decay.
    """

    order: int
    causal: bool
    shift: float

    @property
    def convolutions(self) -> int:
        """Number of long convolutions."""
        return self.order - 1

    def left(self, taps: int) -> int:
        """Return how many taps of a short filter lie in the past."""
        return taps - 1 if self.causal else taps // 2


class Filters(NamedTuple):
    """What the long filters are written from.

    Attributes:
        hidden: Last hidden layer of the filter network, at every lag.
        last: Its output layer, filters one below the other: those into the past, then those into
            the future.
        skip: What is added to lag 0.
        time: Time of every lag.
        rates: Decay rate of every channel in every convolution, both directions alike.
    """

    hidden: Float[Tensor, "length inner"]
    last: Float[Tensor, "channels inner"]
    skip: Float[Tensor, "convolutions width"]
    time: Float[Tensor, " length"]
    rates: Float[Tensor, "width convolutions"]


class LongFilters:
    """The long filters as circular kernels, a group of channels at a time, and their gradient."""

    def __init__(self, operator: Operator, filters: Filters, size: int) -> None:
        self.operator, self.filters, self.size = operator, filters, size
        self.length, self.width = len(filters.time), len(filters.rates)
        # Negative lags of the circular kernel, as they lie there: the furthest first.
        self.turned = None if operator.causal else filters.hidden[1:].flip(0)

    def response(self, step: int, group: slice) -> Complex[Tensor, "group frequencies"]:
        """Return the transform of the kernels of one convolution."""
        hidden, length = self.filters.hidden, self.length
        kernel = hidden.new_empty(group.stop - group.start, self.size)
        kernel[:, length : self._future(length)] = 0.0
        torch.mul(
            self._rows(step, group) @ hidden.T, self._decay(step, group), out=kernel[:, :length]
        )
        kernel[:, 0] += self.filters.skip[step, group]
        if self.turned is not None:
            rows = self._rows(self.operator.convolutions + step, group)
            future = kernel[:, self._future(length) :]
            torch.mul(rows @ self.turned.T, self._decay(step, group, turned=True), out=future)
        response: Tensor = torch.fft.rfft(kernel)
        return response

    def backward(self, step: int, group: slice, kernel: Tensor, into: "FilterGradients") -> None:
        """Add what the gradient of the kernels means for the filter network and the skip."""
        into.skip[step, group] = kernel[:, 0]
        past = kernel[:, : self.length] * self._decay(step, group)
        into.last[self._places(step, group)] = past @ self.filters.hidden
        into.hidden.addmm_(past.T, self._rows(step, group))
        if self.turned is not None and into.turned is not None:
            other = self.operator.convolutions + step
            decay = self._decay(step, group, turned=True)
            future = kernel[:, self._future(self.length) :] * decay
            into.last[self._places(other, group)] = future @ self.turned
            into.turned.addmm_(future.T, self._rows(other, group))

    def _future(self, length: int) -> int:
        """Return where the negative lags begin."""
        return self.size if self.operator.causal else self.size - length + 1

    def _places(self, number: int, group: slice) -> slice:
        start = number * self.width
        return slice(start + group.start, start + group.stop)

    def _rows(self, number: int, group: slice) -> Tensor:
        return self.filters.last[self._places(number, group)]

    def _decay(
        self, step: int, group: slice, *, turned: bool = False
    ) -> Float[Tensor, "group length"]:
        time = self.filters.time[1:].flip(0) if turned else self.filters.time
        falling = torch.mul(-self.filters.rates[group, step, None], time).exp_()
        return falling.add_(self.operator.shift)


class FilterGradients:
    """Gradients of :class:`Filters`, being summed."""

    def __init__(self, filters: Filters, *, causal: bool) -> None:
        self.hidden = torch.zeros_like(filters.hidden)
        self.turned = None if causal else torch.zeros_like(filters.hidden[1:])
        self.last, self.skip = torch.empty_like(filters.last), torch.empty_like(filters.skip)

    def finished(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of hidden layer, output layer and skip."""
        if self.turned is not None:
            self.hidden[1:] += self.turned.flip(0)
        return self.hidden, self.last, self.skip
