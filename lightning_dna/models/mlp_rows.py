"""The MLP by rows: its hidden layer, four times as wide as everything else, rarely exists whole.

Rows do not meet, so a few hundred at a time go through both products while their hidden layer is in
the cache. What the activation was given is kept for the backward pass where it is small. Elsewhere
it is computed again from the input, which costs a sixth of the MLP's arithmetic and saves most of
the memory of a block.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Approximation = Literal["none", "tanh"]

# Elements of the hidden layer that are worked on together: they fit the cache of a core. A GPU
# wants larger pieces.
ROW_ELEMENTS = {"cpu": 2**18}
ROW_ELEMENTS_ELSEWHERE = 2**26
STRIP_ELEMENTS = {"cpu": 2**16}  # of an activation, whose steps need five arrays of that size
KEPT_ELEMENTS = 2**23  # of a hidden layer that is kept for the backward pass

# GELU's approximation 0.5 h (1 + tanh u) is h * sigmoid(2 u) with 2 u = h (LINEAR + CUBIC h^2).
LINEAR = 1.5957691216057308  # 2 sqrt(2 / pi)
CUBIC = 0.044715 * LINEAR


def mlp_rows(
    x: Float[Tensor, "*batch width"],
    first: tuple[Float[Tensor, "inner width"], Float[Tensor, " inner"] | None],
    second: tuple[Float[Tensor, "width inner"], Float[Tensor, " width"] | None],
    approximation: Approximation,
) -> Float[Tensor, "*batch width"]:
    """Return ``W2 GELU(W1 x + b1) + b2``.

    Args:
        x: Input; under autocast it and the weights are rounded first, as linear layers do.
        first: Weight and bias, if it has one, of the first linear layer.
        second: Those of the second.
        approximation: GELU itself, or its tanh form.

    Returns:
        One vector for every vector of ``x``.
    """
    device = x.device.type
    tensors: tuple[Tensor | None, ...] = (x, *first, *second)
    if torch.is_autocast_enabled(device):
        lower = torch.get_autocast_dtype(device)
        tensors = tuple(None if tensor is None else tensor.to(lower) for tensor in tensors)
    small = x.shape[:-1].numel() * len(first[0]) <= KEPT_ELEMENTS
    keeps = small and torch.is_grad_enabled()
    with torch.autocast(device, enabled=False):
        out: Tensor = _MLPRows.apply(*tensors, approximation, keeps)[0]  # type: ignore[no-untyped-call]
        return out


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """Apply a linear layer, into ``out`` if there is one."""
    if bias is None:
        return torch.mm(rows, weight.T, out=out)
    return torch.addmm(bias, rows, weight.T, out=out)


def _pieces(rows: Tensor, inner: int) -> list[slice]:
    """Cut rows into pieces of about equal work."""
    step = max(1, ROW_ELEMENTS.get(rows.device.type, ROW_ELEMENTS_ELSEWHERE) // inner)
    return [slice(i, min(i + step, len(rows))) for i in range(0, len(rows), step)]


def _longest(pieces: list[slice]) -> int:
    """Return the most rows of a piece."""
    return max((piece.stop - piece.start for piece in pieces), default=0)


class _Activation:
    """GELU of pieces of a hidden layer, and its gradient, in memory that is taken once."""

    def __init__(self, hidden: Tensor, approximation: Approximation) -> None:
        self.approximation = approximation
        # In low precision the steps of the sigmoid form would round.
        exact = hidden.dtype in (torch.float32, torch.float64)
        self.by_sigmoid = approximation == "tanh" and exact
        most = STRIP_ELEMENTS.get(hidden.device.type, ROW_ELEMENTS_ELSEWHERE)
        self.strip = max(1, min(len(hidden), most // max(1, hidden.shape[1])))
        space = hidden.new_empty(3 if self.by_sigmoid else 0, self.strip, hidden.shape[1])
        self.space = list(space)
        self.linear = hidden.new_full((), LINEAR)

    def forward(self, hidden: Tensor, out: Tensor) -> Tensor:
        """Return GELU of a piece; ``out`` may be used for it, and may be the piece itself."""
        if not self.by_sigmoid:
            return functional.gelu(hidden, approximate=self.approximation)
        for h, active in zip(self._strips(hidden), self._strips(out), strict=True):
            torch.mul(h, self._opened(h), out=active)
        return out

    def backward(self, hidden: Tensor, incoming: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return GELU of a piece and, from the gradient behind it, the gradient before it.

        ``out`` and ``incoming`` may be used for them.
        """
        if not self.by_sigmoid:
            before = torch.ops.aten.gelu_backward(incoming, hidden, approximate=self.approximation)
            return self.forward(hidden, out), before
        pieces = map(self._strips, (hidden, incoming, out))
        for h, arriving, active in zip(*pieces, strict=True):
            opened = self._opened(h)
            slope, closing = (space[: len(h)] for space in self.space[1:])
            torch.mul(h, opened, out=active)
            # d(h s)/dh = s + h s (1 - s) (LINEAR + 3 CUBIC h^2)
            torch.addcmul(active, active, opened, value=-1, out=closing)
            torch.addcmul(self.linear, h, h, value=3 * CUBIC, out=slope)
            arriving.mul_(torch.addcmul(opened, slope, closing, out=slope))
        return out, incoming

    def _strips(self, piece: Tensor) -> tuple[Tensor, ...]:
        """Cut a piece into strips that fit the cache with all that is made of them."""
        return torch.split(piece, self.strip)

    def _opened(self, hidden: Tensor) -> Tensor:
        """Return the sigmoid by which the tanh form multiplies."""
        opened: Tensor = self.space[0][: len(hidden)]
        torch.addcmul(self.linear, hidden, hidden, value=CUBIC, out=opened)
        return opened.mul_(hidden).sigmoid_()


class _MLPRows(torch.autograd.Function):
    """:func:`mlp_rows` with a gradient; also returns the hidden layer, empty if it is not kept."""

    @staticmethod
    def forward(
        x: Tensor,
        w1: Tensor,
        b1: Tensor | None,
        w2: Tensor,
        b2: Tensor | None,
        approximation: Approximation,
        keeps: bool,
    ) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1])
        out = rows.new_empty(len(rows), len(w2))
        kept = rows.new_empty(len(rows) if keeps else 0, len(w1))
        pieces = _pieces(rows, len(w1))
        space = rows.new_empty(_longest(pieces), len(w1))
        activation = _Activation(space, approximation)
        for piece in pieces:
            here = space[: len(rows[piece])]
            hidden = _linear(rows[piece], w1, b1, kept[piece] if keeps else here)
            _linear(activation.forward(hidden, here), w2, b2, out[piece])
        return out.view(*x.shape[:-1], len(w2)), kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, w1, b1, w2, b2, ctx.approximation, ctx.keeps = inputs
        ctx.biases = (b1 is not None, b2 is not None)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w1, b1, w2, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 7
        x, w1, b1, w2, kept = ctx.saved_tensors
        rows, arriving = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        # Sums over pieces in float32 at least: many roundings to bfloat16 would add up.
        exact = torch.promote_types(w1.dtype, torch.float32)
        for_w1, for_w2 = torch.zeros_like(w1, dtype=exact), torch.zeros_like(w2, dtype=exact)
        for_b1 = torch.zeros(len(w1), dtype=exact, device=x.device)
        for_x = torch.empty_like(rows)
        pieces = _pieces(rows, len(w1))
        spaces = rows.new_empty(3, _longest(pieces), len(w1))
        activation = _Activation(spaces[0], ctx.approximation)
        for piece in pieces:
            again, incoming, out = spaces[:, : len(rows[piece])]
            hidden = kept[piece] if ctx.keeps else _linear(rows[piece], w1, b1, again)
            torch.mm(arriving[piece], w2, out=incoming)
            active, incoming = activation.backward(hidden, incoming, out)
            _add_product(for_w2, arriving[piece], active)
            _add_product(for_w1, incoming, rows[piece])
            for_b1 += incoming.sum(dim=0, dtype=exact)
            torch.mm(incoming, w1, out=for_x[piece])
        for_b2 = arriving.sum(dim=0, dtype=exact)
        first, second = ctx.biases
        return (
            for_x.view(x.shape),
            for_w1.to(w1.dtype),
            for_b1.to(w1.dtype) if first else None,
            for_w2.to(w2.dtype),
            for_b2.to(w2.dtype) if second else None,
            None,
            None,
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left^T right`` to a sum that may be more exact than its terms."""
    if total.dtype == left.dtype:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right
