"""How a study resamples: clusters where its scores have them, by the recipe's seed and number."""

from collections.abc import Sequence

from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import Replicates
from lightning_dna.study.recipe_sections import ComparisonConfig


def bootstrap(
    predictions: Sequence[Predictions], metrics: Sequence[str | Metric], config: ComparisonConfig
) -> Replicates:
    """Bootstrap one task.

    Args:
        predictions: Of one task, one for each variant and seed.
        metrics: Metrics to resample.
        config: How the study compares.
    """
    clustered = predictions[0].cluster_id is not None
    plan = ResamplingPlan(
        n_resamples=config.resamples, unit="cluster" if clustered else "example", seed=config.seed
    )
    return bootstrap_metrics(align(predictions), list(metrics), plan)
