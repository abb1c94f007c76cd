"""Which program runs the inner loops: numpy always, numba where installed. The digits are equal."""

from functools import cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.plan import Backend


@cache
def compiled_kernels(backend: Backend) -> ModuleType | None:
    """Return the module ``compiled``, or ``None`` for numpy.

    Args:
        backend: As in ``ResamplingPlan``.

    Raises:
        StatsError: If ``"numba"`` is asked for and not installed.
    """
    if backend == "numpy":
        return None
    if find_spec("numba") is None:
        if backend == "numba":
            raise StatsError(
                "backend='numba' needs numba, which is not installed: "
                "pip install 'lightning-dna[fast]', or use backend='auto'"
            )
        return None
    from lightning_dna.stats import compiled

    return compiled


def warm_up() -> None:
    """Compile every kernel now and keep the result beside the module, for the first user."""
    from lightning_dna.stats.alignment import align
    from lightning_dna.stats.bootstrap import bootstrap_metrics
    from lightning_dna.stats.plan import ResamplingPlan
    from lightning_dna.stats.predictions import Predictions

    labels = np.arange(640) % 2
    one = Predictions(
        task="warm-up",
        variant="any",
        seed=0,
        example_id=np.arange(640),
        y_true=labels,
        y_pred=labels,
        y_score=np.arange(640) / 640,
    )
    plan = ResamplingPlan(n_resamples=64, backend="numba")
    for metrics in (["accuracy"], ["auroc", "auprc", "spearman", "accuracy"]):
        bootstrap_metrics(align([one]), metrics, plan)
