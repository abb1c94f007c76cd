"""The grids that ship: ``smoke`` for every change, ``full`` and ``methods`` for a release."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal, get_args

from lightning_dna.errors import unknown_name
from lightning_dna.stats.alignment import align
from lightning_dna.stats.calibration.grid import GridSpec
from lightning_dna.stats.calibration.models import Design, Family
from lightning_dna.stats.calibration.real_data import real_null_sources
from lightning_dna.stats.files.columns import ColumnNames
from lightning_dna.stats.files.metrics import choose_metrics
from lightning_dna.stats.files.reading import ReadingOptions, read_entries
from lightning_dna.stats.intervals import Method
from lightning_dna.stats.plan import Unit

SIZES = (100, 300, 1000, 5000)
CORRELATIONS = (0.0, 0.7, 0.95)
MINORITIES: dict[Family, tuple[float, ...]] = {
    "binary": (0.5, 0.1, 0.03),
    "multiclass": (0.3, 0.1, 0.03),
    "regression": (0.5,),
    "windows": (0.5,),
}
"""Frequency of the rarest class; the families without classes have one entry that is not used."""
EFFECT: dict[Family, float] = {
    "binary": 0.15,
    "multiclass": 0.15,
    "regression": 0.05,
    "windows": 0.05,
}
"""Difference in skill on the power side."""
TIES = 10
"""Levels of tied scores."""


def grid(name: str) -> GridSpec:
    """Return a grid by name.

    Args:
        name: One of ``GRIDS``. ``"full"`` is ``"independent"`` examples, ``"clusters"`` and random
            ``"seeds"`` together; ``"methods"`` tries every interval method on small test sets.

    Returns:
        What to run.

    Raises:
        ConfigError: If there is no such grid.
    """
    if name == "smoke":
        return GridSpec(name=name, sources=tuple(_smoke()), rerun_sets=1000)
    if name in PARTS:
        sources = tuple(source for part in PARTS[name] for source in part())
        return GridSpec(name=name, sources=sources, large_share=0.5, rerun_sets=1000)
    if name == "methods":
        return GridSpec(
            name=name,
            sources=tuple(_few_examples()),
            methods=get_args(Method),
            reported_sets=10_000,
            rerun_sets=0,
        )
    raise unknown_name("grid", name, GRIDS)


def grid_of_files(
    files: Sequence[Path],
    *,
    metrics: Sequence[str] | None = None,
    columns: ColumnNames | None = None,
    options: ReadingOptions | None = None,
    unit: Unit | None = None,
) -> GridSpec:
    """Return the grid of equal arms that real predictions allow.

    Args:
        files: Prediction files, as ``lightning-dna compare`` takes them.
        metrics: Names of metrics; ``None`` for those that the columns allow.
        columns: Names of columns that differ from the usual ones.
        options: How to read the files.
        unit: What is resampled; ``None`` is clusters where the files have them.

    Returns:
        What to run: exchanges of every two variants, splits of seeds where there are four.

    Raises:
        StatsError: If a file cannot be read, or holds one variant with fewer than four seeds.
    """
    entries = read_entries(files, columns, options)
    chosen = choose_metrics(entries, metrics)
    how: Literal["strict", "inner"] = "inner" if options is not None and options.inner else "strict"
    tasks = {
        name: align([e.predictions for e in entries if e.predictions.task == name], how=how)
        for name in chosen
    }
    names = {name: tuple(row.name for row in rows) for name, rows in chosen.items()}
    return GridSpec(name="real predictions", sources=real_null_sources(tasks, names, unit=unit))


def _smoke() -> Iterator[Design]:
    """Yield one design for every kind of noise, both sides, and two analyses that must fail."""
    for family in MINORITIES:
        plain = Design(family=family, n=300, minority=MINORITIES[family][0])
        yield plain
        yield replace(plain, effect=EFFECT[family])
    yield Design(family="binary", n=300, minority=0.1)
    for scope_of in ("binary", "windows"):
        clustered = Design(family=scope_of, n=300, clusters=22, icc=0.1, unit="cluster")
        yield clustered
        yield Design(family=scope_of, n=300, n_seeds=3, seed_sd=0.1, scope="procedure")
    yield Design(family="binary", n=300, clusters=22, icc=0.1)
    yield Design(family="binary", n=300, n_seeds=3, seed_sd=0.1)


def _few_examples() -> Iterator[Design]:
    """Yield small test sets, with and without rare classes and an effect."""
    for family, n in product(MINORITIES, (100, 300)):
        for minority in MINORITIES[family][:2]:
            design = Design(family=family, n=n, minority=minority)
            yield design
            yield replace(design, effect=EFFECT[family])


def _independent() -> Iterator[Design]:
    """Yield independent examples: all sizes, class frequencies, ties and correlations."""
    for family, n in product(MINORITIES, SIZES):
        for minority, correlation in product(MINORITIES[family], CORRELATIONS):
            plain = Design(family=family, n=n, minority=minority, correlation=correlation)
            designs = [plain]
            if family in ("binary", "regression"):
                designs.append(replace(plain, levels=TIES))
            yield from designs
            if correlation == 0.7:
                yield from (replace(design, effect=EFFECT[family]) for design in designs)


def _clustered() -> Iterator[Design]:
    """Yield clusters with effects of their own in each arm, of equal and of unequal sizes."""
    for family, clusters, unequal in product(MINORITIES, (22, 100), (False, True)):
        for n, minority in product((300, 1000, 5000), MINORITIES[family][:2]):
            design = Design(
                family=family,
                n=n,
                minority=minority,
                clusters=clusters,
                unequal=unequal,
                icc=0.1,
                unit="cluster",
            )
            yield design
            if n == 1000:
                yield replace(design, effect=EFFECT[family])
                if not unequal:
                    yield replace(design, icc=0.0)
                    yield replace(design, n_seeds=3, seed_sd=0.03, scope="procedure")
    for clusters, unequal in product((22, 100), (False, True)):  # analysed as if independent
        yield Design(family="binary", n=1000, clusters=clusters, unequal=unequal, icc=0.1)


def _seeded() -> Iterator[Design]:
    """Yield random training seeds: few and many, without effect, small and large."""
    for family, n_seeds, seed_sd in product(MINORITIES, (2, 3, 5, 10), (0.0, 0.03, 0.1)):
        design = Design(
            family=family,
            n=1000,
            minority=MINORITIES[family][0],
            n_seeds=n_seeds,
            seed_sd=seed_sd,
            scope="procedure",
        )
        yield design
        if n_seeds in (3, 10):
            yield replace(design, effect=EFFECT[family])
        if n_seeds == 3:
            yield replace(design, n=300)
            if family in ("binary", "multiclass"):
                yield replace(design, minority=0.1)
    for n_seeds in (3, 10):  # analysed as if the seeds were fixed
        yield Design(family="binary", n=1000, n_seeds=n_seeds, seed_sd=0.1)


PARTS: Mapping[str, tuple[Callable[[], Iterator[Design]], ...]] = {
    "independent": (_independent,),
    "clusters": (_clustered,),
    "seeds": (_seeded,),
    "full": (_independent, _clustered, _seeded),
}
"""The full grid and the parts in which it may be run."""
GRIDS = ("smoke", *PARTS, "methods")
"""Names of the grids."""
