"""Logistic regression whose regularisation the validation examples choose."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from lightning_dna.training.loop import CLASSES

Features = npt.NDArray[np.floating] | sparse.csr_array
Labels = npt.NDArray[np.int64]

_MAX_ITERATIONS = 5_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenLogistic:
    """The fitted regression that did best on the validation examples.

    Attributes:
        regression: The fitted scikit-learn estimator.
        n_classes: Number of classes of the task, those that training lacks included.
        strength: Its inverse regularisation strength C.
        valid_metric: Its metric on the validation examples; minus the loss where that chooses.
        converged: Whether the optimizer reached its tolerance.
    """

    regression: LogisticRegression
    n_classes: int
    strength: float
    valid_metric: float
    converged: bool

    @property
    def parameters(self) -> int:
        """Number of fitted coefficients, intercepts included."""
        return int(self.regression.coef_.size + self.regression.intercept_.size)

    def predict(self, features: Features) -> npt.NDArray[np.float64]:
        """Return the probability of every class, shape ``(n, n_classes)``."""
        return _probabilities(self.regression, features, self.n_classes)


def choose_logistic(
    train_features: Features,
    train_labels: Labels,
    valid_features: Features,
    valid_labels: Labels,
    *,
    strengths: Sequence[float],
    metric: str,
    n_classes: int,
    tolerance: float = 1e-4,
) -> ChosenLogistic:
    """Fit one regression for each strength on the training examples; keep the best on validation.

    Multinomial logistic regression with an L2 penalty by L-BFGS, from small to large C, each fit
    starting from the one before it. Of equally good ones the most regularised is kept. It is not
    fitted again on training and validation examples together.

    Args:
        train_features: Dense or sparse, shape ``(n, features)``.
        train_labels: Classes from 0, shape ``(n,)``, at least two of them.
        valid_features: The same columns for the validation examples.
        valid_labels: Their classes.
        strengths: Values of C to try, inverse regularisation strengths above 0.
        metric: Name of a classification metric, or ``loss``.
        n_classes: Number of classes of the task.
        tolerance: Largest entry of the gradient of the mean loss at which a fit has converged. At
            scikit-learn's 1e-4 a weakly regularised fit still shows where it started from.

    Returns:
        The chosen regression. Non-convergence is told there, not warned about.
    """
    candidates: list[ChosenLogistic] = []
    start: dict[str, Any] = {}
    for strength in sorted(strengths):
        regression = LogisticRegression(
            C=strength, tol=tolerance, max_iter=_MAX_ITERATIONS, warm_start=True
        )
        vars(regression).update(start)
        converged = _fit(regression, train_features, train_labels)
        start = {"coef_": regression.coef_.copy(), "intercept_": regression.intercept_.copy()}
        probabilities = _probabilities(regression, valid_features, n_classes)
        value = CLASSES.value(metric, valid_labels, probabilities)
        candidates.append(
            ChosenLogistic(
                regression=regression,
                n_classes=n_classes,
                strength=strength,
                valid_metric=value,
                converged=converged,
            )
        )
    # The first of equally good ones, so the most regularised.
    return max(candidates, key=lambda candidate: candidate.valid_metric)


def _fit(regression: LogisticRegression, features: Features, labels: Labels) -> bool:
    """Fit in place; return whether the optimizer converged. Other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regression.fit(features, labels)
    others = [found for found in caught if not issubclass(found.category, ConvergenceWarning)]
    for found in others:
        warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
    return len(others) == len(caught)


def _probabilities(
    regression: LogisticRegression, features: Features, n_classes: int
) -> npt.NDArray[np.float64]:
    """Return probabilities with one column for every class, seen in training or not."""
    probabilities = np.zeros((features.shape[0], n_classes))
    probabilities[:, regression.classes_] = regression.predict_proba(features)
    return probabilities
