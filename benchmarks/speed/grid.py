"""A grid of tiny cells on two workers: what a cell costs beyond its training.

Each cell trains a small model for a few steps on a simulated genome and scores it on a few windows.
Two worker processes share the cells. Of each worker its first cell, with which it opens the genome
and the task, is left out. Reported for each further cell: seconds of a worker from the end of the
cell before to its own end, the seconds that training itself took of these, and the rest: claims,
start, data, scoring, files. Of the finished study: CPU time and peak memory (MiB) of the processes
`lightning-dna status` and `lightning-dna report`, start-up included.

    python benchmarks/speed/grid.py --cells 1000 --out reports/speed/grid.md
"""

import argparse
import itertools
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from lightning_dna import atomic
from lightning_dna.study.run import execute
from lightning_dna.study.study import Study, load_study

ARMS: dict[str, Any] = {"attention": {}, "hyena": {"model": {"mixer": "hyena"}}}
CARD = {
    "name": "bases",
    "kind": "heldout_mlm",
    "title": "Hidden bases",
    "baselines": ["majority"],
    "max_windows": 8,
    "cluster_length": 256,
}


def grid(root: Path, cells: int, steps: int) -> Study:
    """Write the recipe of a grid and resolve it."""
    (root / "card.yaml").write_text(yaml.safe_dump(CARD))
    (root / "suite.yaml").write_text(yaml.safe_dump({"description": "x", "tasks": ["card.yaml"]}))
    simulation = {"chromosomes": 3, "chromosome_length": 5000, "genes_per_chromosome": 1}
    recipe = {
        "question": "What does a cell cost?",
        "baseline": "attention",
        "suite": str(root / "suite.yaml"),
        "seeds": list(range(max(1, cells // len(ARMS)))),
        "shared": {
            "data": {
                "genome": "simulated",
                "simulation": simulation,
                "length": 64,
                "split": {"valid": ["chr2"], "test": ["chr3"]},
                "validation_windows": 8,
            },
            "model": {"width": 16, "layers": 1, "heads": 2, "max_length": 64},
            "budget": {"tokens": steps * 256, "tokens_per_step": 256},
            "trainer": {"validate_every": 1.0, "points": 2, "accelerator": "cpu", "threads": 1},
        },
        "arms": ARMS,
        "comparison": {"scope": "checkpoint", "planned": ["bases:mlm_accuracy"]},
    }
    (root / "grid.yaml").write_text(yaml.safe_dump(recipe))
    return load_study(root / "grid.yaml")


def spans(folder: Path) -> tuple[list[float], list[float]]:
    """Return, for every cell but the first of each worker, its seconds and those of training."""
    by_worker: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for run in (folder / "runs").iterdir():
        found = [json.loads(path.read_text()) for path in run.rglob("attempts/*.json")]
        training = json.loads((run / "fit.json").read_text())["seconds"]
        if len(found) != 2 or len({attempt["pid"] for attempt in found}) != 1:
            continue  # its table was scored by the other worker
        by_worker[found[0]["pid"]].append((max(one["ended"] for one in found), training))
    whole, trained = [], []
    for cells in by_worker.values():
        cells.sort()
        for (before, _), (end, training) in itertools.pairwise(cells):
            whole.append(end - before)
            trained.append(training)
    return whole, trained


def command_cost(*words: str) -> tuple[float, float]:
    """Run one command of the program; return its CPU seconds and its peak memory in MiB."""
    command = [sys.executable, "-m", "lightning_dna", *words]
    process = subprocess.Popen(  # noqa: S603 - our own module, no shell
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)  # of this child alone
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"{shlex.join(words)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measured(cells: int, steps: int, workers: int) -> str:
    """Run one grid and return its row."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        study = grid(root, cells, steps)
        count = len(study.cells())
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        own = time.process_time()
        outcome = execute(study, root / "out", workers=workers)
        elapsed, own = time.perf_counter() - began, time.process_time() - own
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if (outcome.done, outcome.failed) != (count + 1, 0):
            raise AssertionError(f"of {count} cells {outcome.done - 1} were done")
        attempts = len([*(root / "out" / "runs").glob("*/attempts/*.json")])
        if attempts != count:
            raise AssertionError(f"{count} cells were begun {attempts} times")
        whole, training = spans(root / "out")
        looks = [*command_cost("status", str(root / "out"))]
        looks += [*command_cost("report", str(root / "out"))]
    crew = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rest = [one - other for one, other in zip(whole, training, strict=True)]
    numbers = (
        statistics.median(whole),
        statistics.median(training),
        statistics.median(rest),
        statistics.quantiles(rest, n=20)[-1],
        crew / count,
        own / count,
    )
    row = [f"{count:,}", f"{elapsed:,.0f}", *(f"{number:.3f}" for number in numbers)]
    return f"| {' | '.join([*row, *(f'{look:,.1f}' for look in looks)])} |"


def main() -> None:
    """Measure, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    rows = []
    for count in options.cells:
        rows.append(measured(count, options.steps, options.workers))
        print(rows[-1], flush=True)  # a long grid after it may be stopped
    text = "\n".join(
        (
            "# A grid of tiny cells, seconds for each cell",
            "",
            *(line for line in __doc__.splitlines()[2:] if not line.startswith("    ")),
            "",
            "| cells | elapsed, all | cell, median | training | rest | rest, 95 % below "
            "| CPU of the workers | CPU of the runner "
            "| CPU of `status` | MiB | CPU of `report` | MiB |",
            f"|{'---|' * 12}",
            *rows,
            "",
            f"{options.workers} workers, {options.steps} steps each, {os.cpu_count()} cores shared "
            f"with other work, Python {platform.python_version()}; every cell was done, and begun "
            "once. CPU: mean over cells, start of the processes included. "
            f"`python benchmarks/speed/grid.py --cells {' '.join(map(str, options.cells))}`",
        )
    ).replace("\n\n\n", "\n\n")
    print(text)
    if options.out:
        atomic.write_text(options.out, text + "\n")


if __name__ == "__main__":
    main()
