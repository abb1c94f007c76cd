"""One logistic regression for each label, fitted together; the validation examples choose C."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna.data.regions import Labels
from lightning_dna.stats.label_lanes import over_labels, usable_labels

Features = npt.NDArray[np.float64]

_ITERATIONS = 2_000
# Of the mean gradient per example. With a large C the loss is so flat that at 1e-7 the logits of
# examples still differ from those of the optimum in the fourth decimal.
_TOLERANCE = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelRegressions:
    """Fitted regressions.

    Attributes:
        weights: (features, labels).
        intercepts: (labels,).
        strength: Inverse regularisation strength C.
        valid_metric: The metric that chose it.
        converged: Whether the optimizer reached its tolerance.
    """

    weights: Features
    intercepts: Features
    strength: float
    valid_metric: float
    converged: bool

    @property
    def parameters(self) -> int:
        """Number of coefficients, intercepts included."""
        return self.weights.size + self.intercepts.size

    def predict(self, features: Features) -> Features:
        """Return the logit of every label, shape ``(n, labels)``."""
        return features @ self.weights + self.intercepts


def choose_label_regressions(
    train_features: Features,
    train_labels: Labels,
    valid_features: Features,
    valid_labels: Labels,
    *,
    strengths: Sequence[float],
    metric: str,
    device: str = "cpu",
) -> LabelRegressions:
    """Fit all labels for each C on the training examples; keep the C that is best on validation.

    For each label the objective is scikit-learn's ``LogisticRegression``: half the squared weights
    plus C times the sum of the cross-entropies, no penalty on the intercept. All labels share one
    C, as a linear layer on frozen states shares its settings. They are minimised together by
    L-BFGS in float64, from small to large C, each starting from the one before. A label that the
    training examples have never or always gets no weight, and the logit of its share.

    Args:
        train_features: (n, features), standardised.
        train_labels: (n, labels) 0 or 1.
        valid_features: The same columns for the validation examples.
        valid_labels: Their labels.
        strengths: Values of C to try.
        metric: Row of ``LABEL_METRICS`` that chooses; of equally good ones the most regularised
            is kept.
        device: Where to compute.

    Returns:
        The chosen regressions. Non-convergence is told there.
    """
    usable = usable_labels(train_labels == 1)
    inputs = torch.from_numpy(train_features).to(device)
    targets = torch.from_numpy(train_labels[:, usable].astype(np.float64)).to(device)
    share = (train_labels.sum(axis=0) + 0.5) / (len(train_labels) + 1.0)
    intercepts = np.log(share / (1 - share))
    width = train_features.shape[1]
    start = torch.zeros(width + 1, len(usable), dtype=torch.float64, device=device)
    start[-1] = torch.from_numpy(intercepts[usable])
    candidates: list[LabelRegressions] = []
    for strength in sorted(strengths):
        start, converged = _fit(inputs, targets, strength, start)
        found = start.cpu().numpy()
        weights, constant = np.zeros((width, len(share))), intercepts.copy()
        weights[:, usable], constant[usable] = found[:-1], found[-1]
        logits = valid_features @ weights + constant
        candidates.append(
            LabelRegressions(
                weights=weights,
                intercepts=constant,
                strength=strength,
                valid_metric=over_labels(metric, valid_labels == 1, logits),
                converged=converged,
            )
        )
    # The first of equally good ones, so the most regularised.
    return max(candidates, key=lambda candidate: candidate.valid_metric)


def _fit(inputs: Tensor, targets: Tensor, strength: float, start: Tensor) -> tuple[Tensor, bool]:
    """Minimise from a start; return weights over intercepts, and whether the gradient is flat."""
    parameters = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=_ITERATIONS,
        history_size=20,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    n_examples = len(inputs)

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ parameters[:-1] + parameters[-1]
        fit = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        # Divided by a constant: the same minimum, and one tolerance for any number of examples.
        total = (fit + parameters[:-1].square().sum() / (2 * strength)) / n_examples
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    loss()
    gradient = parameters.grad
    flat = gradient is not None and float(gradient.abs().max()) <= 10 * _TOLERANCE
    return parameters.detach(), flat
