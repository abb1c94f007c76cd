"""Paired resampling statistics: every number of a report, its interval, its test, its verdict.

The walk: ``Predictions`` -> ``align`` -> ``bootstrap_metrics`` -> ``estimates``, ``compare`` and
``aggregate``. The names below load on first use.

Example:
    >>> from lightning_dna.stats import (
    ...     Predictions, ResamplingPlan, align, bootstrap_metrics, compare,
    ... )
    >>> truth = [0, 1, 1, 0, 1, 0, 1, 1] * 20
    >>> wrong = {"a": 3, "b": 5}  # every so manieth answer
    >>> entries = [
    ...     Predictions(
    ...         task="toy", variant=name, seed=0, example_id=range(160), y_true=truth,
    ...         y_pred=[t ^ (i % step == 0) for i, t in enumerate(truth)],
    ...     )
    ...     for name, step in wrong.items()
    ... ]
    >>> reps = bootstrap_metrics(align(entries), ["accuracy"], ResamplingPlan(n_resamples=999))
    >>> row = compare({"toy": reps}, baseline="a", scope="checkpoint").rows[0]
    >>> round(row.delta, 4), row.verdict
    (0.1375, 'better')
"""

import importlib
from typing import Any

_HOMES = {
    "adjust_pvalues": "adjust",
    "max_t": "adjust",
    "max_t_critical": "adjust",
    "AlignedTask": "alignment",
    "align": "alignment",
    "bootstrap_metrics": "bootstrap",
    "CalibrationReport": "calibration.grid",
    "null_grid": "calibration.grid",
    "GridSpec": "calibration.grid",
    "Design": "calibration.models",
    "grid": "calibration.specs",
    "compare": "comparison",
    "estimates": "comparison",
    "ColumnNames": "files.columns",
    "compare_files": "files.comparison",
    "ReadingOptions": "files.reading",
    "read_predictions": "files.reading",
    "DeLongResult": "hypothesis_tests.classical",
    "McNemarResult": "hypothesis_tests.classical",
    "delong_test": "hypothesis_tests.classical",
    "mcnemar_from_counts": "hypothesis_tests.classical",
    "mcnemar_test": "hypothesis_tests.classical",
    "contrast_permutation_test": "hypothesis_tests.permutation",
    "permutation_test": "hypothesis_tests.permutation",
    "PermutationResult": "hypothesis_tests.swaps",
    "Interval": "intervals",
    "confidence_interval": "intervals",
    "p_value": "intervals",
    "METRICS": "metrics",
    "Metric": "metrics",
    "resolve_metrics": "metrics",
    "NoiseModel": "noise_model",
    "ResamplingPlan": "plan",
    "detectable_effects": "planning",
    "optimal_split": "planning",
    "paired_accuracy_se": "planning",
    "required_seeds": "planning",
    "unpaired_accuracy_se": "planning",
    "design_effect": "power",
    "equivalence_power": "power",
    "minimum_detectable_effect": "power",
    "non_inferiority": "power",
    "power_of": "power",
    "required_units": "power",
    "tost": "power",
    "Predictions": "predictions",
    "Replicates": "replicates",
    "subtract": "replicates",
    "aggregate": "suites.aggregation",
    "ComparisonRow": "tables",
    "ComparisonTable": "tables",
    "EstimateRow": "tables",
    "EstimateTable": "tables",
    "VarianceComponents": "variance",
    "variance_components": "variance",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lightning_dna.stats' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
