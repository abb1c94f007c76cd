"""Whether a training was steady: loss spikes, gradient norms, and the variance that Adam keeps.

References:
    Li et al., The Stability-Efficiency Dilemma: Sequence Length Warmup, NeurIPS 2022.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from lightning_dna.training.ranks import ALONE, Ranks

_MOST_PENDING = 1000  # steps whose scalars may lie on the device
_SPIKES = {"loss_ratio_above_1_2": 1.2, "loss_ratio_above_1_5": 1.5}
_PERCENTILES = (50, 95, 99)
Values = NDArray[np.float64]


class StepLog:
    """The loss, accuracy and gradient norm of every step.

    A step hands over scalars that are on the device already; they are read together, when a point
    of the curve is due, so that no step waits for the device. The loss ratio of a step is its
    unweighted loss over the lowest of all steps before it (Li et al.); a step without targets has
    none.
    """

    def __init__(self) -> None:
        self.ranks = ALONE  # of several processes each hands over its part of loss and accuracy
        self._pending: list[tuple[Tensor, Tensor]] = []  # loss and accuracy of each step
        self._pending_norms: list[Tensor] = []
        self._interval = np.empty((0, 2))  # loss and accuracy since the last point
        self._norms = np.empty(0, dtype=np.float32)  # of all steps
        self._counted = 0  # norms before the last point
        self._lowest = math.inf
        self._ratios = 0  # steps that have a loss ratio
        self._spikes = dict.fromkeys(_SPIKES, 0)
        self._highest = {"loss_ratio_max": math.nan, "adam_variance_max": math.nan}
        self._highest["adam_variance_norm_max"] = math.nan

    def add(self, loss: Tensor, accuracy: Tensor) -> None:
        """Keep what a step gave; scalars without a gradient."""
        self._pending.append((loss, accuracy))
        if len(self._pending) >= _MOST_PENDING:
            self._read()

    def add_norm(self, norm: Tensor) -> None:
        """Keep the Euclidean norm of a step's gradient before clipping."""
        self._pending_norms.append(norm)

    def _read(self) -> None:
        """Fetch what is pending, in one transfer of each kind."""
        if self._pending:
            flat = torch.stack([value for step in self._pending for value in step])
            steps = self.ranks.total(flat.cpu().numpy()).reshape(-1, 2)
            self._interval = np.concatenate((self._interval, steps))
            self._pending.clear()
        if self._pending_norms:
            norms = torch.stack(self._pending_norms).float().cpu().numpy()
            self._norms = np.concatenate((self._norms, norms))
            self._pending_norms.clear()

    def point(self, optimizer: Optimizer | None) -> dict[str, float]:
        """Return the columns of a point of the curve: of the steps since the last one.

        Args:
            optimizer: Whose variance to look at, which costs about as much as half its step;
                ``None`` for a point without.

        Returns:
            Mean loss and accuracy; the largest loss ratio; median and largest gradient norm;
            largest element and L1 norm of the square root of AdamW's second moment, now.
        """
        self._read()
        losses, accuracies = self._interval.T
        norms = self._norms[self._counted :]
        ratio = self._follow(losses)
        variance = (math.nan, math.nan)
        if optimizer is not None:
            variance = adam_variance(optimizer, self.ranks)
        row = {
            "train_loss": _of(np.mean, losses),
            "train_accuracy": _of(np.mean, accuracies),
            "loss_ratio_max": ratio,
            "gradient_norm": _of(np.median, norms),
            "gradient_norm_max": _of(np.max, norms),
            "adam_variance_max": variance[0],
            "adam_variance_norm": variance[1],
        }
        for name, value in (
            ("loss_ratio_max", ratio),
            ("adam_variance_max", variance[0]),
            ("adam_variance_norm_max", variance[1]),
        ):
            self._highest[name] = float(np.fmax(self._highest[name], value))
        self._interval, self._counted = self._interval[:0], len(self._norms)
        return row

    def _follow(self, losses: Values) -> float:
        """Count the spikes among new losses and return the largest ratio."""
        losses = losses[losses > 0]
        lowest = np.fmin.accumulate(np.concatenate(([self._lowest], losses)))
        ratios = losses[np.isfinite(lowest[:-1])] / lowest[:-1][np.isfinite(lowest[:-1])]
        self._lowest = float(lowest[-1])
        self._ratios += len(ratios)
        for name, limit in _SPIKES.items():
            self._spikes[name] += int((ratios > limit).sum())
        return _of(np.max, ratios)

    def summary(self) -> dict[str, float | None]:
        """Return what the whole training was like; ``None`` where nothing was measured.

        Returns:
            Shares of steps with a loss ratio above 1.2 and 1.5, and the largest; percentiles of the
            gradient norm over all steps, and the largest; the largest of AdamW's variance measures
            at any point of the curve.
        """
        self._read()
        found: dict[str, float] = {
            name: count / self._ratios if self._ratios else math.nan
            for name, count in self._spikes.items()
        }
        for percent in _PERCENTILES:
            found[f"gradient_norm_p{percent}"] = _of(np.percentile, self._norms, percent)
        found["gradient_norm_max"] = _of(np.max, self._norms)
        found |= self._highest
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        self._read()
        return {
            "interval": torch.from_numpy(self._interval.copy()),
            "norms": torch.from_numpy(self._norms.copy()),
            "counted": self._counted,
            "lowest": self._lowest,
            "ratios": self._ratios,
            "spikes": dict(self._spikes),
            "highest": dict(self._highest),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._interval, self._norms = state["interval"].numpy(), state["norms"].numpy()
        self._counted, self._lowest = state["counted"], state["lowest"]
        self._ratios, self._spikes = state["ratios"], dict(state["spikes"])
        self._highest = dict(state["highest"])


def adam_variance(optimizer: Optimizer, ranks: Ranks = ALONE) -> tuple[float, float]:
    """Return the largest element and the L1 norm of the square root of Adam's second moment.

    The moment is taken as it is kept, without the correction for its start at zero.

    Args:
        optimizer: An optimizer of Adam's kind that has made a step; others give NaN.
        ranks: The processes of this training, which must all ask: each may keep a part.
    """
    moments = [state["exp_avg_sq"] for state in optimizer.state.values() if "exp_avg_sq" in state]
    if not moments:
        return math.nan, math.nan
    if isinstance(moments[0], DTensor):
        local = [part for part in (moment.to_local() for moment in moments) if part.numel()]
        found = ranks.gather(_largest_and_sum(local) if local else (0.0, 0.0))
        return float(found[:, 0].max()), float(found[:, 1].sum())
    return _largest_and_sum(moments)


def _largest_and_sum(moments: list[Tensor]) -> tuple[float, float]:
    """Return the largest element and the L1 norm of the square roots of some tensors."""
    roots = torch._foreach_sqrt(moments)
    norms = torch.stack(torch._foreach_norm(roots, 1))
    highest = torch.stack(torch._foreach_norm(roots, math.inf))
    return tuple(torch.stack((highest.max(), norms.double().sum())).tolist())


def _of(measure: Any, values: NDArray[Any], *arguments: float) -> float:
    """Return a measure of some values, or NaN of none."""
    return float(measure(values, *arguments)) if len(values) else math.nan
