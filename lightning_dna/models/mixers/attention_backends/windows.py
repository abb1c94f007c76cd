"""How far every head of ALiBi has to look, with a proof: nothing else needs to be computed.

Write ``s_ij = q_i k_j / sqrt(head_width)`` for the scores of one head, ``m`` for its slope and
``w_ij = exp(s_ij - m |i - j|)`` for the weights before they are divided by their sum ``Z_i``. By
Cauchy and Schwarz ``s_ij <= U_i = |q_i| max_j |k_j| / sqrt(head_width)``. So all weights beyond a
distance ``W`` add up to at most ``2 exp(U_i - m (W + 1)) / (1 - exp(-m))``.

From below, ``log Z_i >= s_ii``, and by Jensen's inequality over the ``N`` keys within ``r`` of i,
``log Z_i >= log N + mean(s_ij) - m mean(|i - j|)``. The mean score is a product with the mean key,
which running sums give for all i at once. The larger bound of the two is taken; the second one only
for sequences long enough to repay its cost.

The window is the smallest ``W`` at which the share left out, the quotient, is at most ``epsilon``
in every row. Leaving out a share ``e`` of a row's weights moves no output of that row by more than
``2 e max_j |v_j|`` in any channel. All this costs a number of operations linear in the length.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Rounding in the bound itself: float32 sums over a head's channels stay far below this.
_SLACK = 1e-3
_TIGHTEST = 2.0**-16
_LONG = 2048  # from here on the tighter bound saves more than it costs


def share_left_out(dtype: torch.dtype) -> float:
    """Return the largest share of a row's weights that may be left out: below half a rounding.

    A quarter of the machine epsilon, so that an output moves by at most half of it times the
    largest value; ``2^-16`` for the short formats.

    Example:
        >>> share_left_out(torch.float32) == 2.0**-25
        True
    """
    return min(torch.finfo(dtype).eps / 4, _TIGHTEST)


@dataclass(frozen=True)
class Windows:
    """How far back and ahead each head looks.

    Attributes:
        past: Largest ``i - j`` per head.
        future: Largest ``j - i`` per head.
        largest_score: Bound on ``|s_ij|`` over all heads; infinite where a number is not finite.
    """

    past: tuple[int, ...]
    future: tuple[int, ...]
    largest_score: float


def windows(
    q: Float[Tensor, "heads length head_width"],
    k: Float[Tensor, "heads length head_width"],
    *,
    past: Float[Tensor, " heads"],
    future: Float[Tensor, " heads"],
    causal: bool,
    reach: int | None,
    epsilon: float,
) -> Windows:
    """Return the windows of one sequence.

    Args:
        q: Queries, already divided by ``sqrt(head_width)``; float32 or float64.
        k: Keys.
        past: Slope of every head for ``j < i``, float64; 0 for no bias.
        future: Slope of every head for ``j > i``, float64.
        causal: Whether ``j > i`` is hidden.
        reach: Distance beyond which everything is hidden, or ``None``.
        epsilon: Largest share of a row's weights to leave out.

    Returns:
        Windows no longer than ``length - 1``.

    Example:
        >>> still = torch.zeros(1, 100, 4)  # all scores are 0
        >>> half = torch.tensor([0.5], dtype=torch.float64)
        >>> settings = {"past": half, "future": half, "causal": False, "reach": None}
        >>> windows(still, still, **settings, epsilon=1e-6).past
        (30,)
    """
    longest = q.shape[1] - 1
    limit = longest if reach is None else min(longest, reach)
    above = q.norm(dim=-1) * k.norm(dim=-1).amax(dim=-1, keepdim=True)  # heads length
    above = above.double() * (1 + _SLACK)
    largest = above.max().item()
    if not math.isfinite(largest):
        return Windows((limit,) * len(q), (0 if causal else limit,) * len(q), math.inf)
    if not past.any() and not future.any():
        return Windows((limit,) * len(q), (0 if causal else limit,) * len(q), largest)
    below = (q * k).sum(dim=-1).double()  # the weight of a key at the query's own place
    if q.shape[1] >= _LONG:
        slope = torch.maximum(past, past if causal else future)  # the steeper side loses more
        near = _near_sum_bound(q, k, slope=slope, causal=causal, reach=reach)
        below = torch.maximum(below, near)
    below = below - above * _SLACK
    gap = (above - below).amax(dim=-1)  # heads
    sides = []
    for slopes in (past, future):
        # exp(gap - slope (W + 1)) / (1 - exp(-slope)) <= epsilon / 2 on each side
        needed = (gap + math.log(2 / epsilon) - torch.log(-torch.expm1(-slopes))) / slopes - 1
        needed = torch.where(slopes > 0, needed, torch.inf).clamp(min=0, max=limit)
        sides.append(tuple(int(window) for window in needed.ceil().tolist()))
    return Windows(sides[0], (0,) * len(q) if causal else sides[1], largest)


def _near_sum_bound(
    q: Float[Tensor, "heads length head_width"],
    k: Float[Tensor, "heads length head_width"],
    *,
    slope: Float[Tensor, " heads"],
    causal: bool,
    reach: int | None,
) -> Float[Tensor, "heads length"]:
    """Bound the logarithm of every row's sum of weights from below, by its near keys.

    ``r = 1 / m`` loses little in ``m mean(|i - j|) <= m (r + 1) / 2`` and takes in many keys. A
    causal row has the keys ``i - r .. i``, whose distances have a mean of at most ``r / 2``.
    """
    length = q.shape[1]
    sums = torch.nn.functional.pad(k.cumsum(dim=1, dtype=torch.float64), (0, 0, 1, 0))
    longest = length - 1 if reach is None else min(reach, length - 1)
    near = (1 / slope.clamp(min=1e-9)).clamp(max=longest).long()  # heads
    at = torch.arange(length)
    start = (at - near[:, None]).clamp(min=0)  # heads length
    stop = (at + (0 if causal else near[:, None]) + 1).clamp(max=length).expand_as(start)
    heads = torch.arange(len(q))[:, None]
    mean_key = (sums[heads, stop] - sums[heads, start]) / (stop - start)[..., None]
    mean_score = (q * mean_key).sum(dim=-1)
    far = slope * (near + 1) / 2
    return (stop - start).log() + mean_score - far[:, None]
