"""Equal models must not differ too often, and known differences must be covered: a short grid.

Limits are the nominal rate plus three binomial standard errors. Analyses that ignore what makes the
data dependent stand beside it as negative controls: the same data must catch them. The full grid is
``lightning-dna calibrate --grid full``; its last result is in ``reports/calibration``.
"""

from dataclasses import replace

import numpy as np
import pytest

from lightning_dna.stats.calibration.gate import false_positive_limit
from lightning_dna.stats.calibration.grid import GridSpec, null_grid
from lightning_dna.stats.calibration.models import Design
from lightning_dna.stats.calibration.real_data import real_null_sources
from lightning_dna.stats.calibration.specs import grid
from lightning_dna.stats.plan import ResamplingPlan

N_SETS = 200
PLAN = ResamplingPlan(n_resamples=199, n_threads=1)

CLUSTERED = Design(family="windows", n=300, clusters=22, unequal=True, icc=0.1, unit="cluster")
SEEDED = Design(family="multiclass", n=300, minority=0.3, n_seeds=3, seed_sd=0.1, scope="procedure")
DESIGNS = (
    Design(family="binary", n=300, minority=0.1),
    Design(family="binary", n=300, minority=0.1, levels=10, correlation=0.95),
    Design(family="binary", n=300, clusters=22, icc=0.1, unit="cluster"),
    Design(family="multiclass", n=300, minority=0.1, effect=0.15),
    Design(family="regression", n=100),
    Design(family="regression", n=200, effect=0.05),
    Design(family="windows", n=100, correlation=0.0),
    Design(family="windows", n=300, effect=0.05),
    CLUSTERED,
    SEEDED,
    replace(SEEDED, seed_sd=0.0),
)
CONTROLS = (replace(CLUSTERED, unit="example"), replace(SEEDED, scope="checkpoint"))


def run(sources, *, n_sets=N_SETS, plan=PLAN, rerun_sets=1000):
    spec = GridSpec(name="short", sources=sources, methods=("se-t",), rerun_sets=rerun_sets)
    return null_grid(spec, n_sets=n_sets, plan=plan)


def shown(rows):
    return {(row.source, row.metric): (row.rate, row.n_unflagged) for row in rows}


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.key)
def test_the_default_interval_keeps_its_promise(design):
    report = run((design,))
    assert report.passed, shown(report.misses)
    assert len(report.gated) == len(design.metrics)


@pytest.mark.parametrize("design", CONTROLS, ids=lambda design: design.key)
def test_ignoring_what_makes_data_dependent_is_caught(design):
    rows = run((design,)).rows
    assert min(row.rate for row in rows) > false_positive_limit(N_SETS, 0.95), shown(rows)


def test_exchanged_real_predictions_have_no_effect_left(labelled):
    """Two quite different models on clustered data: after the exchange no test may see it."""
    rng = np.random.default_rng(11)
    cluster = np.repeat(np.arange(60), 5)
    y_true = rng.integers(0, 2, 300)
    arms = {}
    for name, skill in (("weak", 0.3), ("strong", 1.2)):
        latent = skill + 0.6 * rng.standard_normal(60)[cluster] + rng.standard_normal(300)
        arms[name] = [np.where(latent > 0, y_true, 1 - y_true)]
    task = labelled(y_true, arms, cluster=cluster)
    metrics = {"task": ("accuracy", "mcc", "f1")}
    report = run(real_null_sources({"task": task}, metrics))
    assert report.passed, shown(report.misses)
    assert {row.family for row in report.rows} == {"real predictions"}


@pytest.mark.slow
def test_the_smoke_grid_passes_with_many_data_sets():
    plan = replace(PLAN, n_resamples=499)
    report = null_grid(grid("smoke"), n_sets=1000, plan=plan, n_jobs=2)
    assert report.passed, shown(report.misses)
    controls = [r for r in report.rows if r.status == "control" and r.method == "se-t"]
    assert min(row.rate for row in controls) > false_positive_limit(1000, 0.95)
