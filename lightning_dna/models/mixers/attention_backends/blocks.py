"""Attention on a CPU by blocks of queries, each against the keys its head can see.

For ALiBi and for local attention. Time grows with length times window and memory with length:
there is no tensor of size length x length, forward or backward. The weights of a block are computed
in the forward pass and again in the backward pass; short formats are computed in float32.

Weights are powers of two without a maximum taken off first: where no score exceeds
``LARGEST_SCORE`` none of them can leave the range of float32, and neither can their sums. Where one
might, every block goes through torch's ``scaled_dot_product_attention``, which takes the maximum
off. What a window leaves out is bounded in :mod:`windows
<lightning_dna.models.mixers.attention_backends.windows>`; heads without a bound see everything.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lightning_dna.models.mixers.attention_backends.windows import share_left_out, windows
from lightning_dna.models.positions import OffsetBias

LARGEST_SCORE = 50.0  # e^50 times a million keys, and e^-50 times 2^-25, are ordinary float32
_QUERIES, _KEYS = 256, 1024  # of a block: its weights should stay in the second-level cache
_FEW_KEYS = 512  # below it a block has half the queries, so as not to compute what none may see
_LOG2_E = math.log2(math.e)


def attend_in_blocks(
    q: Float[Tensor, "batch length heads head_width"],
    k: Float[Tensor, "batch length heads head_width"],
    v: Float[Tensor, "batch length heads head_width"],
    bias: OffsetBias,
) -> Float[Tensor, "batch length heads head_width"]:
    """Attend within each row of a batch.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        bias: What is added to the scores.

    Returns:
        Mixed values. A row's weights add up to one; those left out were at most
        ``share_left_out(dtype)`` of the whole, so no channel is off by more than twice that times
        the largest value, beside rounding.
    """
    mixed: Tensor = _Blocks.apply(q, k, v, bias)  # type: ignore[no-untyped-call]
    return mixed


class _Blocks(torch.autograd.Function):
    """The function above with its gradient."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: OffsetBias) -> Tensor:
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        sums = torch.empty(v.shape[:3], dtype=_precision(v.dtype))  # batch length heads
        plans = []
        with torch.autocast("cpu", enabled=False):
            for row in range(len(q)):
                heads = _heads(q[row], k[row], bias)
                for number, head in enumerate(heads):
                    at = (row, slice(None), number)
                    out[at], sums[at] = head.forward(q[at], k[at], v[at])
                plans.append(heads)
        ctx.save_for_backward(q, k, v, out, sums)
        ctx.plans = plans
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, sums = ctx.saved_tensors
        grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
        with torch.autocast("cpu", enabled=False):
            inner = (gradient * out).sum(dim=-1, dtype=sums.dtype)  # batch length heads
            for row, heads in enumerate(ctx.plans):
                for number, head in enumerate(heads):
                    at = (row, slice(None), number)
                    found = head.backward(*(x[at] for x in (q, k, v, gradient, inner, sums)))
                    for grad, part in zip(grads, found, strict=True):
                        grad[at] = part
        return (*grads, None)


def _precision(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in."""
    return torch.promote_types(dtype, torch.float32)


def _heads(q: Tensor, k: Tensor, bias: OffsetBias) -> "list[_PowersHead | _StockHead]":
    """Bound the windows of one sequence (length heads head_width) and choose its arithmetic."""
    length, heads, head_width = q.shape
    precision, scale = _precision(q.dtype), head_width**-0.5
    past, future = bias.slopes()
    seen = windows(
        q.transpose(0, 1).to(precision) * scale,
        k.transpose(0, 1).to(precision),
        past=past,
        future=future,
        causal=bias.config.causal,
        reach=bias.config.attention_reach,
        epsilon=share_left_out(q.dtype),
    )
    powers = seen.largest_score <= LARGEST_SCORE
    table = bias.by_offset(length, precision, q.device).expand(heads, -1)
    if powers:
        table, scale = table * _LOG2_E, scale * _LOG2_E
    found: list[_PowersHead | _StockHead] = []
    for row, back, ahead in zip(table, seen.past, seen.future, strict=True):
        within = torch.full_like(row, -math.inf)
        window = slice(length - 1 - back, length + ahead)
        within[window] = row[window]
        kind = _PowersHead if powers else _StockHead
        found.append(kind(table=within, past=back, future=ahead, scale=scale))
    return found


@dataclass(frozen=True)
class _Head:
    """How one head of one sequence is computed.

    Attributes:
        table: What is added to a score, by ``key - query + length - 1``; -inf beyond the window.
        past: Largest ``query - key``.
        future: Largest ``key - query``.
        scale: Factor on the products of queries and keys.
    """

    table: Float[Tensor, " offsets"]
    past: int
    future: int
    scale: float

    @property
    def queries(self) -> int:
        """Queries of a block."""
        return _QUERIES if self.past + self.future >= _FEW_KEYS else _QUERIES // 2

    def blocks(self, length: int) -> Iterator[tuple[slice, slice]]:
        """Yield the queries and all the keys of every block."""
        for start in range(0, length, self.queries):
            stop = min(length, start + self.queries)
            keys = slice(max(0, start - self.past), min(length, stop + self.future))
            yield slice(start, stop), keys

    def bias(self, rows: slice, keys: slice) -> Float[Tensor, "queries keys"]:
        """Return the bias of a block with **its last query first**, a view of the table.

        Every row is then the row above moved by one, and nothing is copied.
        """
        queries, width = rows.stop - rows.start, keys.stop - keys.start
        first = keys.start - rows.stop + (self.table.shape[0] + 1) // 2
        return self.table[first : first + queries + width - 1].unfold(-1, width, 1)


class _PowersHead(_Head):
    """Weights as powers of two, no maximum taken off; scores in units of log 2."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed values (length head_width) and the sum of every row's weights."""
        k, v = (x.to(self.table.dtype) for x in (k, v))
        mixed, sums = torch.empty_like(v), v.new_empty(len(v))
        space = self._space(len(q))
        for rows, keys in self.blocks(len(q)):
            backwards = q[rows].to(k.dtype).flip(0)
            added, total = torch.zeros_like(backwards), sums.new_zeros(len(backwards))
            for part in _parts(keys):
                weights = self._weights(rows, part, backwards, k[part], space)
                added.addmm_(weights, v[part])
                total += weights.sum(dim=1)
            mixed[rows] = (added / total[:, None]).flip(0)
            sums[rows] = total.flip(0)
        return mixed, sums

    def backward(
        self, q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, inner: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v; ``inner`` is the output times its gradient."""
        precision = self.table.dtype
        k, v = (x.to(precision) for x in (k, v))
        q_grad, k_grad, v_grad = torch.empty_like(k), torch.zeros_like(k), torch.zeros_like(v)
        space, more = self._space(len(q)), self._space(len(q))
        for rows, keys in self.blocks(len(q)):
            backwards = q[rows].to(precision).flip(0)
            row_gradient = (gradient[rows].to(precision) / sums[rows, None]).flip(0)
            minus_inner = -(inner[rows] / sums[rows]).flip(0)[:, None]
            added = torch.zeros_like(backwards)
            for part in _parts(keys):
                weights = self._weights(rows, part, backwards, k[part], space)
                v_grad[part].addmm_(weights.T, row_gradient)
                of_scores = more[: weights.numel()].view(weights.shape)
                torch.addmm(minus_inner, row_gradient, v[part].T, out=of_scores).mul_(weights)
                added.addmm_(of_scores, k[part])
                k_grad[part].addmm_(of_scores.T, backwards)
            q_grad[rows] = added.flip(0)
        natural = self.scale / _LOG2_E
        return q_grad.mul_(natural), k_grad.mul_(natural), v_grad

    def _space(self, length: int) -> Tensor:
        """Take the memory of a block's weights once; new memory costs as much as a product."""
        keys = min(length, _KEYS, self.queries + self.past + self.future)
        return self.table.new_empty(min(length, self.queries) * keys)

    def _weights(self, rows: slice, keys: slice, q: Tensor, k: Tensor, space: Tensor) -> Tensor:
        """Return the weights of a block before they are divided by their sum."""
        bias = self.bias(rows, keys)
        out = space[: bias.numel()].view(bias.shape)
        return torch.addmm(bias, q, k.T, alpha=self.scale, out=out).exp2_()


def _parts(keys: slice) -> Iterator[slice]:
    """Cut the keys of a block so that its weights stay in the cache."""
    for start in range(keys.start, keys.stop, _KEYS):
        yield slice(start, min(keys.stop, start + _KEYS))


class _StockHead(_Head):
    """Blocks through torch's own kernel, which takes the maximum off; computed twice to train."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed values (length head_width), and ones."""
        parts = [self._attend(r, c, q[r], k[c], v[c]) for r, c in self.blocks(len(q))]
        return torch.cat(parts), self.table.new_ones(len(q))

    def backward(
        self, q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, inner: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v; the last two arguments are of no use here."""
        precision = self.table.dtype
        q_grad, k_grad, v_grad = (torch.zeros(x.shape, dtype=precision) for x in (q, k, v))
        for rows, keys in self.blocks(len(q)):
            leaves = [x.detach().to(precision) for x in (q[rows], k[keys], v[keys])]
            with torch.enable_grad():
                mixed = self._attend(rows, keys, *(x.requires_grad_() for x in leaves))
            found = torch.autograd.grad(mixed, leaves, gradient[rows].to(precision))
            q_grad[rows] += found[0]
            k_grad[keys] += found[1]
            v_grad[keys] += found[2]
        return q_grad, k_grad, v_grad

    def _attend(self, rows: slice, keys: slice, *qkv: Tensor) -> Tensor:
        """Attend from one block of queries to all its keys."""
        q, k, v = (x.to(self.table.dtype)[None, None] for x in qkv)
        bias = self.bias(rows, keys)[None, None]
        mixed = functional.scaled_dot_product_attention(
            q.flip(2), k, v, attn_mask=bias, scale=self.scale
        )
        return mixed[0, 0].flip(0)
