"""Builders of small aligned tasks, so that a test shows its data and its expectation only."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from lightning_dna.stats.alignment import AlignedTask, align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import Replicates

Arms = Mapping[str, Sequence]  # predictions (or numerators) by variant: one array per seed


@pytest.fixture(scope="session")
def labelled() -> Callable[..., AlignedTask]:
    """Return a builder of a classification task from labels and predictions by variant."""

    def build(y_true, arms: Arms, *, task="task", ids=None, cluster=None, weight=None):
        ids = np.arange(len(y_true)) if ids is None else ids
        return align(
            [
                Predictions(
                    task=task,
                    variant=variant,
                    seed=seed,
                    example_id=ids,
                    y_true=y_true,
                    y_pred=predicted,
                    cluster_id=cluster,
                    weight=weight,
                )
                for variant, seeds in arms.items()
                for seed, predicted in enumerate(seeds)
            ]
        )

    return build


@pytest.fixture(scope="session")
def summed() -> Callable[..., AlignedTask]:
    """Return a builder of a ratio task from numerators by variant and one denominator."""

    def build(arms: Arms, denominator=None, *, task="task", ids=None, cluster=None, weight=None):
        size = len(next(iter(arms.values()))[0])
        return align(
            [
                Predictions(
                    task=task,
                    variant=variant,
                    seed=seed,
                    example_id=np.arange(size) if ids is None else ids,
                    numerator=numerator,
                    denominator=np.ones(size) if denominator is None else denominator,
                    cluster_id=cluster,
                    weight=weight,
                )
                for variant, seeds in arms.items()
                for seed, numerator in enumerate(seeds)
            ]
        )

    return build


@pytest.fixture(scope="session")
def scored() -> Callable[..., AlignedTask]:
    """Return a builder of a task from the truth and scores by variant."""

    def build(y_true, arms: Arms, *, task="task", ids=None, cluster=None, labels=False):
        return align(
            [
                Predictions(
                    task=task,
                    variant=variant,
                    seed=seed,
                    example_id=np.arange(len(y_true)) if ids is None else ids,
                    y_true=y_true,
                    y_score=score,
                    y_pred=(np.asarray(score) > 0).astype(int) if labels else None,
                    cluster_id=cluster,
                )
                for variant, seeds in arms.items()
                for seed, score in enumerate(seeds)
            ]
        )

    return build


@pytest.fixture(scope="session")
def resample() -> Callable[..., Replicates]:
    """Return a short form of ``bootstrap_metrics``."""

    def run(task, metrics, *, n_resamples=199, **options):
        plan = ResamplingPlan(n_resamples=n_resamples, **options)
        return bootstrap_metrics(task, metrics, plan)

    return run


@pytest.fixture(scope="session")
def all_resamples() -> Callable[[int], np.ndarray]:
    """Return a function that lists the counts of all n^n resamples of n units."""

    def enumerate_counts(n_units: int) -> np.ndarray:
        draws = np.stack(np.meshgrid(*[np.arange(n_units)] * n_units, indexing="ij"), axis=-1)
        draws = draws.reshape(-1, n_units)
        return (draws[:, :, None] == np.arange(n_units)).sum(axis=1).astype(np.float32)

    return enumerate_counts
