"""How fast a paired bootstrap is, beside scipy.stats.bootstrap with scikit-learn metrics.

Ours is the public call, ``bootstrap_metrics`` on aligned predictions: checks, columns, influence
values and 10,000 replicates of two models. The peer is what a careful user writes today:
``scipy.stats.bootstrap(..., paired=True, method="percentile", vectorized=False)`` on the difference
of two scikit-learn (or scipy) metrics. It would take minutes to hours, so it runs a few replicates
and is extrapolated in proportion, which favours it: its start-up is not counted.

Before anything is timed, our observed difference is compared with scikit-learn's.

Also measured: a table of 20 models x 5 seeds x 18 tasks x 6 metrics with its comparison, the memory
of a bootstrap at 100,000 examples, and the command ``lightning-dna compare`` from a cold start.

    python benchmarks/speed/bootstrap.py --out reports/speed/bootstrap.md
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from sklearn import metrics as sk

from lightning_dna.stats.alignment import AlignedTask, align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import compare
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions

Score = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Case:
    """One metric: its name here, its peer, what kind of data it needs, and the goal."""

    name: str
    score: Score
    data: str
    goal: int

    @property
    def title(self) -> str:
        """Name in the table."""
        return f"{self.name}, 18 classes" if self.data == "18 classes" else self.name


CASES = (
    Case("accuracy", sk.accuracy_score, "labels", 5_000),
    Case("f1", sk.f1_score, "labels", 10_000),
    Case("mcc", sk.matthews_corrcoef, "labels", 10_000),
    Case("auroc", sk.roc_auc_score, "scores", 300),
    Case("auprc", sk.average_precision_score, "scores", 200),
    Case("spearman", lambda t, p: scipy.stats.spearmanr(t, p).statistic, "values", 30),
    Case("mcc", sk.matthews_corrcoef, "18 classes", 60),
    Case("macro_f1", lambda t, p: sk.f1_score(t, p, average="macro"), "18 classes", 0),
    Case("pearson", lambda t, p: scipy.stats.pearsonr(t, p).statistic, "values", 0),
    Case("r2", sk.r2_score, "values", 0),
    Case("mse", sk.mean_squared_error, "values", 0),
)


def columns_of(kind: str, n: int, models: int, seed: int = 0) -> tuple[Any, list[Any]]:
    """Return the truth, and one column of predictions for each model."""
    rng = np.random.default_rng(seed)
    if kind == "values":
        truth = rng.standard_normal(n)
        return truth, [truth + rng.standard_normal(n) for _ in range(models)]
    if kind == "18 classes":
        truth = rng.integers(0, 18, n)
        other = [rng.integers(0, 18, n) for _ in range(models)]
        return truth, [np.where(rng.random(n) < 0.7, truth, column) for column in other]
    truth = (rng.random(n) < 0.3).astype(int)
    score = [1.5 * truth + rng.standard_normal(n) for _ in range(models)]
    return truth, [(s > 0.75).astype(int) for s in score] if kind == "labels" else score


def task_of(kind: str, n: int, models: int = 2, seeds: int = 1, name: str = "task") -> AlignedTask:
    """Return aligned predictions."""
    truth, columns = columns_of(kind, n, models * seeds)
    role = "y_score" if kind in ("scores", "values") else "y_pred"
    entries = [
        Predictions(
            task=name,
            variant=f"model{number // seeds}",
            seed=number % seeds,
            example_id=np.arange(n),
            y_true=truth,
            **{role: column},
        )
        for number, column in enumerate(columns)
    ]
    return align(entries)


def clocks(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def peer_seconds(case: Case, n: int, resamples: int, seconds: float) -> tuple[float, float]:
    """Return the wall and CPU seconds that scipy would take for all resamples."""
    truth, (first, second) = columns_of(case.data, n, 2)

    def difference(t: Any, a: Any, b: Any) -> float:
        return case.score(t, a) - case.score(t, b)

    def some() -> None:
        scipy.stats.bootstrap(
            (truth, first, second),
            difference,
            paired=True,
            vectorized=False,
            method="percentile",
            n_resamples=16,
            batch=16,
        )

    spent, done = np.zeros(2), 0
    while spent[1] < seconds:
        spent += clocks(some)
        done += 17  # and the value of the data
    wall, cpu = spent / done * resamples
    return float(wall), float(cpu)


def our_seconds(task: AlignedTask, metric: str, plan: ResamplingPlan) -> tuple[float, float]:
    """Return the best wall and CPU seconds of five calls, the first of which is not counted."""
    calls = [clocks(lambda: bootstrap_metrics(task, [metric], plan)) for _ in range(6)][1:]
    return min(wall for wall, _ in calls), min(cpu for _, cpu in calls)


def agree(case: Case, task: AlignedTask, n: int) -> None:
    """Stop unless both programs see the same difference in the data."""
    truth, (first, second) = columns_of(case.data, n, 2)
    observed = bootstrap_metrics(task, [case.name], ResamplingPlan(n_resamples=2)).observed
    expected = case.score(truth, first) - case.score(truth, second)
    assert abs(observed[0, 0, 0] - observed[1, 0, 0] - expected) < 1e-12, case


def metric_rows(options: argparse.Namespace) -> list[str]:
    """Measure and print the table of metrics."""
    heads = ["metric", "N", "scipy s", "default s", "ratio", "ratio, CPU", "numpy s", "ratio"]
    heads += ["by cell s", "ratio", "goal"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    print("\n".join(lines), flush=True)
    for n in options.sizes:
        for case in CASES:
            task = task_of(case.data, n)
            agree(case, task, n)
            default = our_seconds(task, case.name, ResamplingPlan(n_resamples=options.resamples))
            peer = peer_seconds(case, n, options.resamples, options.seconds)
            plan = ResamplingPlan(n_resamples=options.resamples, backend="numpy")
            plain = clocks(lambda t=task, c=case, p=plan: bootstrap_metrics(t, [c.name], p))
            cells = [case.title, f"{n:,}", f"{peer[0]:,.1f}"]
            cells += [f"{default[0]:.4f}", f"{peer[0] / default[0]:,.0f}x"]
            cells += [f"{peer[1] / default[1]:,.0f}x"]
            cells += [f"{plain[0]:.3f}", f"{peer[0] / plain[0]:,.0f}x"]
            if case.data == "labels":
                plan = ResamplingPlan(n_resamples=options.resamples, draws="cell")
                by_cell = our_seconds(task, case.name, plan)
                cells += [f"{by_cell[0]:.4f}", f"{peer[0] / by_cell[0]:,.0f}x"]
            else:
                cells += ["", ""]
            goal = f"{case.goal:,}x" if case.goal and n == 20_000 else ""
            lines.append(f"| {' | '.join([*cells, goal])} |")
            print(lines[-1], flush=True)
    return lines


def big_table(resamples: int) -> str:
    """Measure a whole suite: 20 models x 5 seeds x 18 tasks x 6 metrics at 2,000 examples."""
    metrics = ["accuracy", "balanced_accuracy", "f1", "mcc", "auroc", "auprc"]
    truth, scores = columns_of("scores", 2_000, 100)

    def run() -> int:
        reps = {}
        for number in range(18):
            entries = [
                Predictions(
                    task=f"task{number}",
                    variant=f"model{column // 5}",
                    seed=column % 5,
                    example_id=np.arange(2_000),
                    y_true=truth,
                    y_pred=(score > 0.75).astype(int),
                    y_score=score,
                )
                for column, score in enumerate(scores)
            ]
            plan = ResamplingPlan(n_resamples=resamples)
            reps[f"task{number}"] = bootstrap_metrics(align(entries), metrics, plan)
        return len(compare(reps, baseline="model0", scope="procedure").rows)

    wall, cpu = clocks(run)
    return (
        "20 models x 5 seeds x 18 tasks x 6 metrics at N = 2,000, replicates and all 2,052 "
        f"comparisons with max-T: {wall:.1f} s ({cpu:.1f} s of CPU)."
    )


MEMORY = """
import sys
from pathlib import Path
from bootstrap import task_of
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.plan import ResamplingPlan

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

task, metric, backend = task_of(sys.argv[2], 100_000), sys.argv[1], sys.argv[3]
small = ResamplingPlan(n_resamples=9, backend=backend)
bootstrap_metrics(task_of(sys.argv[2], 640), [metric], small)  # compiled code is no growth
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
before = megabytes("VmRSS")
bootstrap_metrics(task, [metric], ResamplingPlan(n_resamples=2_000, backend=backend))
print(megabytes("VmHWM") - before)
"""


def memory_rows() -> list[str]:
    """Measure (on Linux) what a bootstrap at 100,000 examples adds to the memory at its peak."""
    lines = ["| metric | numba, MB | numpy, MB |", "|---|---|---|"]
    for metric, kind in (("mcc", "labels"), ("auroc", "scores"), ("spearman", "values")):
        cells = [metric]
        for backend in ("numba", "numpy"):
            command = [sys.executable, "-c", MEMORY, metric, kind, backend]
            here = str(Path(__file__).parent)
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=True, cwd=here
            )
            cells.append(f"{float(done.stdout):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cold_start() -> str:
    """Measure the command on two files of 20,000 examples, each time in a new process."""
    truth, scores = columns_of("scores", 20_000, 2)
    with tempfile.TemporaryDirectory() as folder:
        for name, score in zip("AB", scores, strict=True):
            rows = zip(truth, (score > 0.75).astype(int), score, strict=True)
            text = "".join(f"{i},{t},{p},{s:.6f}\n" for i, (t, p, s) in enumerate(rows))
            Path(folder, f"{name}.csv").write_text("id,label,pred,score\n" + text)
        command = [sys.executable, "-m", "lightning_dna.cli", "compare"]
        command += [f"{folder}/A.csv", f"{folder}/B.csv", "--baseline", "A", "--format", "json"]
        command += ["--metrics", "accuracy,mcc,auroc", "--scope", "checkpoint"]
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
            seconds.append(time.perf_counter() - start)
    return (
        "`lightning-dna compare A.csv B.csv --metrics accuracy,mcc,auroc` on 20,000 examples, new "
        f"process: {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})."
    )


def described(options: argparse.Namespace) -> list[str]:
    """Return the lines above the table."""
    packages = ("numpy", "scipy", "scikit-learn", "numba")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return [
        "# Paired bootstrap of two models",
        "",
        "    python benchmarks/speed/bootstrap.py --out reports/speed/bootstrap.md",
        "",
        f"{options.resamples:,} replicates of the difference of two models. scipy: "
        "`scipy.stats.bootstrap(paired=True, method='percentile', vectorized=False)` with "
        f"scikit-learn metrics, at least {options.seconds:g} s of it and extrapolated. default: "
        "`bootstrap_metrics` with the default plan (a count for every example, so that a model "
        "added later changes no digit; numba, all cores). numpy: the same without numba. by cell: "
        "`draws='cell'` (counts of joint cells, digits depend on the set of models). Ratios are "
        "scipy's time over ours, wall time unless they say CPU.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{versions}. Load average when it started: {os.getloadavg()[0]:.1f}.",
        "",
    ]


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Seconds of a paired bootstrap")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3, help="CPU time of the peer per row")
    parser.add_argument("--out", type=Path, help="Markdown file to write the tables to")
    options = parser.parse_args()
    lines = described(options)
    print("\n".join(lines), flush=True)
    lines += metric_rows(options)
    for title, more in (
        ("A whole suite", lambda: [big_table(options.resamples)]),
        ("Growth of the peak memory at 100,000 examples, two models", memory_rows),
        ("From a cold start", lambda: [cold_start()]),
    ):
        section = ["", f"## {title}", "", *more()]
        print("\n".join(section), flush=True)
        lines += section
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
