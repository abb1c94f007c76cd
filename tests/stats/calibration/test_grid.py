"""The null grid: its arithmetic, its memory, and that it tells a wrong method from a right one."""

import json
import math
from dataclasses import asdict, replace

import pytest
from scipy import stats

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.calibration import grid as grid_module
from lightning_dna.stats.calibration.cells import Job, tally
from lightning_dna.stats.calibration.gate import (
    Tally,
    binomial_interval,
    coverage_band,
    false_positive_limit,
    is_doubtful,
    judge,
)
from lightning_dna.stats.calibration.grid import GridSpec, null_grid
from lightning_dna.stats.calibration.models import Design
from lightning_dna.stats.calibration.specs import grid
from lightning_dna.stats.plan import ResamplingPlan

PLAN = ResamplingPlan(n_resamples=99, n_threads=1)
SMALL = GridSpec(
    name="small",
    sources=(
        Design(family="multiclass", n=60, minority=0.3),
        Design(family="windows", n=60),
        Design(family="windows", n=60, effect=0.05),
    ),
    methods=("se-t", "percentile"),
    reported_sets=4,
    rerun_sets=10,
)


def found(report):
    """Rows as values that compare equal where both are NaN."""
    return [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(row).items()}
        for row in report.rows
    ]


def counted(n, missed):
    return Tally(n_sets=n, n_intervals=n, n_unflagged=n, missed=missed, missed_unflagged=missed)


def status(tally_, **changes):
    asked = {"method": "se-t", "level": 0.95, "equal_arms": True, "is_control": False} | changes
    return judge(tally_, **asked)


def test_limits_are_those_of_the_specification():
    assert false_positive_limit(2000, 0.95) == pytest.approx(0.0646, abs=5e-5)
    assert coverage_band(2000, 0.95) == pytest.approx((0.935, 0.965))
    assert coverage_band(200, 0.95) == pytest.approx((0.9038, 0.9962), abs=1e-4)


@pytest.mark.parametrize(("count", "n_sets"), [(0, 50), (3, 50), (50, 50), (129, 2000)])
def test_binomial_interval_is_that_of_clopper_and_pearson(count, n_sets):
    expected = stats.binomtest(count, n_sets).proportion_ci(0.95, method="exact")
    assert binomial_interval(count, n_sets) == pytest.approx((expected.low, expected.high))


def test_equal_arms_are_judged_by_the_upper_limit_only():
    assert status(counted(2000, 129)) == "held"  # 0.0645
    assert status(counted(2000, 130)) == "liberal"  # 0.0650
    assert status(counted(2000, 0)) == "held"


def test_known_differences_are_judged_on_both_sides():
    assert status(counted(2000, 130), equal_arms=False) == "held"  # coverage 0.935
    assert status(counted(2000, 131), equal_arms=False) == "liberal"
    assert status(counted(2000, 70), equal_arms=False) == "held"  # coverage 0.965
    assert status(counted(2000, 69), equal_arms=False) == "conservative"


def test_other_methods_controls_and_flagged_cells_are_not_judged():
    assert status(counted(2000, 2000), method="bca") == "reported"
    assert status(counted(2000, 2000), is_control=True) == "control"
    assert status(counted(49, 49)) == "flagged"


def test_a_cell_that_looks_liberal_gets_a_second_look():
    # Nominal .05, 400 data sets: standard error .0109, so two of them end at .0718.
    assert is_doubtful("held", 0.072, 400, 0.95)
    assert not is_doubtful("held", 0.0715, 400, 0.95)
    assert not is_doubtful("held", 0.0, 400, 0.95)
    assert is_doubtful("conservative", 0.0, 400, 0.95)
    assert not is_doubtful("flagged", 0.5, 40, 0.95)
    assert not is_doubtful("control", 0.5, 400, 0.95)


def test_oracle_width_is_that_of_the_true_standard_deviation():
    errors = [0.1, -0.3, 0.2, 0.4]
    total = Tally(n_unflagged=4, error=sum(errors), error_squares=sum(e**2 for e in errors))
    expected = 2 * stats.norm.ppf(0.975) * stats.tstd(errors)
    assert total.oracle_width(0.95) == pytest.approx(expected)


def test_processes_order_of_sources_and_backend_change_no_digit():
    one = null_grid(SMALL, n_sets=8, plan=PLAN)
    two = null_grid(SMALL, n_sets=8, plan=PLAN, n_jobs=2)
    assert found(one) == found(two)
    turned = null_grid(replace(SMALL, sources=SMALL.sources[::-1]), n_sets=8, plan=PLAN)
    by_name = {(row["source"], row["metric"], row["method"]): row for row in found(turned)}
    for row in found(one):
        assert by_name[row["source"], row["metric"], row["method"]] == row
    plain = null_grid(SMALL, n_sets=8, plan=replace(PLAN, backend="numpy", n_threads=None))
    assert found(plain) == found(one)
    other = null_grid(SMALL, n_sets=8, plan=replace(PLAN, seed=1))
    assert found(other) != found(one)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    expected = null_grid(SMALL, n_sets=8, plan=PLAN)
    done = []

    def interrupted(job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job.source.key)
        return tally(job)

    monkeypatch.setattr(grid_module, "tally", interrupted)
    with pytest.raises(KeyboardInterrupt):
        null_grid(SMALL, n_sets=8, plan=PLAN, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    again = []
    monkeypatch.setattr(grid_module, "tally", lambda job: again.append(job) or tally(job))
    seen = []
    resumed = null_grid(
        SMALL, n_sets=8, plan=PLAN, folder=tmp_path, progress=lambda *at: seen.append(at)
    )
    assert [job.source.key for job in again] == [SMALL.sources[2].key]
    assert seen == [(2, 3), (3, 3)]
    assert found(resumed) == found(expected)


def test_counts_of_another_run_and_damaged_ones_are_not_used(tmp_path, monkeypatch):
    null_grid(SMALL, n_sets=4, plan=PLAN, folder=tmp_path)
    calls = []
    monkeypatch.setattr(grid_module, "tally", lambda job: calls.append(job) or tally(job))
    null_grid(SMALL, n_sets=4, plan=PLAN, folder=tmp_path)
    assert calls == []
    null_grid(SMALL, n_sets=5, plan=PLAN, folder=tmp_path)
    assert len(calls) == 3
    for path in tmp_path.iterdir():
        path.write_text(path.read_text()[:40])
    null_grid(SMALL, n_sets=5, plan=PLAN, folder=tmp_path)
    assert len(calls) == 6
    assert all(json.loads(path.read_text()) for path in tmp_path.iterdir())


def test_a_cell_outside_its_limits_is_run_again_and_the_second_answer_counts(monkeypatch):
    design = Design(family="windows", n=60)
    spec = GridSpec(name="one", sources=(design,), methods=("se-t",), rerun_sets=2000)
    jobs = []

    def fake(job):
        jobs.append((job.attempt, job.n_sets))
        unlucky, fine = (30, 10) if job.attempt == 0 else (100, 300)
        return {
            "se-t": {
                "bits_per_base": counted(job.n_sets, unlucky),
                "mlm_accuracy": counted(job.n_sets, fine),
            }
        }

    monkeypatch.setattr(grid_module, "tally", fake)
    report = null_grid(spec, n_sets=200, plan=PLAN)
    assert jobs == [(0, 200), (1, 2000)]
    again, kept = report.rows
    assert (again.rate, again.first_rate, again.status) == (0.05, 0.15, "held")
    assert (kept.rate, kept.status, kept.n_sets) == (0.05, "held", 200)  # it had not failed
    assert math.isnan(kept.first_rate)
    assert report.passed


def test_the_second_run_has_streams_of_its_own():
    job = Job(
        source=Design(family="windows", n=60),
        plan=PLAN,
        methods=("se-t",),
        reported_sets=0,
        level=0.95,
        n_sets=6,
    )
    first, again, second = tally(job), tally(job), tally(replace(job, attempt=1))
    assert first == again
    assert first["se-t"]["bits_per_base"].width != second["se-t"]["bits_per_base"].width


def rates(design, n_sets, *methods, n_resamples=199):
    """Share of wrong answers by metric, flagged data sets included, for each method."""
    job = Job(
        source=design,
        plan=replace(PLAN, n_resamples=n_resamples),
        methods=("se-t", *methods),
        reported_sets=n_sets,
        level=0.95,
        n_sets=n_sets,
    )
    counts = tally(job)
    return [{name: one.rate_all for name, one in counts[m].items()} for m in job.methods]


def test_it_catches_percentile_limits_of_five_clusters_and_passes_the_default():
    design = Design(family="windows", n=200, clusters=5, icc=0.1, unit="cluster")
    limit = false_positive_limit(500, 0.95)
    default, percentile = rates(design, 500, "percentile")
    assert min(percentile.values()) > limit
    assert max(default.values()) <= limit


def test_percentile_limits_of_the_row_are_those_of_the_method():
    """They are counted from the row of the default; asking for the method gives the same."""
    design = Design(family="windows", n=60)
    counts = tally(
        Job(
            source=design,
            plan=PLAN,
            methods=("se-t", "percentile", "basic"),
            reported_sets=20,
            level=0.95,
            n_sets=20,
        )
    )
    # Basic limits mirror percentile limits, so their widths are equal.
    for metric in design.metrics:
        widths = [counts[method][metric].width for method in ("percentile", "basic", "se-t")]
        assert widths[0] == pytest.approx(widths[1], rel=1e-12)
        assert widths[0] != pytest.approx(widths[2], rel=1e-3)


def test_it_catches_clusters_taken_for_independent_examples():
    design = Design(family="windows", n=400, clusters=22, unequal=True, icc=0.1)
    assert design.is_control
    assert min(rates(design, 200)[0].values()) > false_positive_limit(200, 0.95)


def test_it_catches_training_seeds_taken_for_fixed():
    design = Design(family="multiclass", n=300, minority=0.3, n_seeds=3, seed_sd=0.1)
    assert design.is_control
    assert rates(design, 200)[0]["accuracy"] > false_positive_limit(200, 0.95)


def test_it_catches_arms_that_are_resampled_apart(monkeypatch):
    """An unpaired interval is far too wide, so a known difference is covered too often."""
    from lightning_dna.stats.calibration import cells

    real = cells.bootstrap_metrics

    def unpaired(task, metrics, plan):
        reps = real(task, metrics, plan)
        values = reps.values.copy()
        values[:, 1] = values[::-1, 1]
        return replace(reps, values=values)

    design = Design(family="multiclass", n=300, minority=0.3, correlation=0.95, effect=0.15)
    right = 1 - rates(design, 300)[0]["accuracy"]
    monkeypatch.setattr(cells, "bootstrap_metrics", unpaired)
    wrong = 1 - rates(design, 300)[0]["accuracy"]
    low, high = coverage_band(300, 0.95)
    assert low <= right <= high < wrong


def test_shipped_grids_have_distinct_sources_and_both_sides():
    smoke, full = grid("smoke"), grid("full")
    assert len(full.sources) > 300 > len(smoke.sources)
    judged = {name for source in full.sources for name in source.metrics}
    assert len(judged) == 14
    for spec in (smoke, full):
        assert {source.effect > 0 for source in spec.sources} == {True, False}
        assert {source.unit for source in spec.sources} == {"example", "cluster"}
        assert {source.scope for source in spec.sources} == {"checkpoint", "procedure"}
        assert any(source.is_control for source in spec.sources)


def test_an_unknown_grid_is_named_with_those_that_exist():
    with pytest.raises(ConfigError, match="clusters, full, independent, methods"):
        grid("huge")


@pytest.mark.parametrize("changes", [{"n_sets": 1}, {"n_jobs": 0}])
def test_numbers_out_of_range_are_refused(changes):
    with pytest.raises(StatsError, match=next(iter(changes))):
        null_grid(SMALL, **({"n_sets": 4, "plan": PLAN} | changes))


def test_a_grid_needs_different_sources_and_the_judged_method():
    source = Design(family="windows", n=60)
    with pytest.raises(StatsError, match="different keys"):
        GridSpec(name="twice", sources=(source, source))
    with pytest.raises(StatsError, match="se-t"):
        GridSpec(name="none", sources=(source,), methods=("percentile",))
