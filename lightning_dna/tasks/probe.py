"""A linear probe: logistic regression on the standardised embeddings of a model left as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.embeddings import EmbeddingCache, embeddings_of
from lightning_dna.tasks.logistic import choose_logistic
from lightning_dna.training.config import FineTuneConfig

Features = npt.NDArray[np.float64]

_TOLERANCE = 1e-6  # at the optimum, so that a refit elsewhere gives the same labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """A model that is read and not trained.

    Attributes:
        model: The model.
        config: Pooling and layer, and what the probe chooses among.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.
        cache: Where embeddings are kept.
    """

    model: LanguageModel
    config: FineTuneConfig
    device: str = "cpu"
    encoding: Encoding = CHARACTERS
    cache: EmbeddingCache | None = None

    def __call__(self, codes: Sequence[Codes]) -> Features:
        """Return the embeddings of sequences, float64, shape ``(n, width)``."""
        found = embeddings_of(
            self.model,
            codes,
            self.config,
            device=self.device,
            encoding=self.encoding,
            cache=self.cache,
        )
        return found.astype(np.float64)


def fit_probe(
    features: tuple[Features, Features, Features],
    train: Examples,
    valid: Examples,
    config: FineTuneConfig,
    *,
    n_classes: int,
) -> tuple[Features, dict[str, Any]]:
    """Fit on the training embeddings; the validation examples choose C.

    Columns are standardised with the mean and deviation of the training part. Anyone can repeat it
    on exported embeddings with scikit-learn's ``StandardScaler`` and ``LogisticRegression`` at a
    ``tol`` of 1e-6.

    Args:
        features: Embeddings of training, validation and test examples.
        train: Labels to learn from.
        valid: Labels that choose.
        config: Values of C, and the metric that chooses.
        n_classes: Number of classes.

    Returns:
        Class probabilities of the test examples, shape ``(n, n_classes)``, and a record.
    """
    scaler = StandardScaler().fit(features[0])
    train_features, valid_features, test_features = map(scaler.transform, features)
    chosen = choose_logistic(
        train_features,
        train.labels,
        valid_features,
        valid.labels,
        strengths=config.probe_c,
        tolerance=_TOLERANCE,
        metric=config.metric,
        n_classes=n_classes,
    )
    notes = [] if chosen.converged else ["The logistic regression did not converge."]
    grid = sorted(config.probe_c)
    return chosen.predict(test_features), {
        "parameters_updated": chosen.parameters,
        "best_epoch": None,
        "epochs_run": None,
        "chosen_c": chosen.strength,
        "c_at_edge": len(grid) > 1 and chosen.strength in (grid[0], grid[-1]),
        "chosen_lr": None,
        "lr_at_edge": None,
        "tried": [],
        "valid_metric": chosen.valid_metric,
        "notes": notes,
    }
