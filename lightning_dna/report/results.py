"""A results folder, loaded and checked: the only input of every table, figure and sentence.

The folder of a study holds ``results/`` with ``study.json``, ``arms.csv``, ``estimates.csv``,
``comparisons.csv`` and ``provenance.json``, and where they were recorded ``curves.csv``,
``chromosomes.csv``, ``finetune.csv``, ``learning_rates.csv`` and ``splits.csv``. ``study.json`` and
``provenance.json`` are described by :class:`Study` and :class:`Provenance`, the tables by the
classes of :mod:`lightning_dna.report.rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_dna import __version__
from lightning_dna.atomic import read_json
from lightning_dna.errors import ResultsError
from lightning_dna.report.rows import (
    ArmCost,
    ChromosomeEstimate,
    CurvePoint,
    Difference,
    Estimate,
    Row,
    SplitDrop,
    TriedRate,
    Tuning,
    is_gap,
    next_step,
    read_rows,
)
from lightning_dna.tasks.similarity_bins import similarity_names
from lightning_dna.tasks.strata import STRATUM_PREFIXES, annotated_names

MOST_SINGLE = 6  # labelled tasks; more are shown as one table of tasks by arms
VERDICTS = ("better", "worse", "equivalent", "inconclusive")

_STUDY_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "question": (str,),
    "baseline": (str,),
    "scope": (str,),
    "level": (int, float),
    "seeds": (list,),
    "arms": (list,),
    "planned": (list,),
    "version": (str,),
    "created": (str,),
    "recipe": (str,),
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was declared before anything ran (``study.json``).

    Attributes:
        name: Name of the study.
        question: The question in a sentence.
        baseline: The arm that every other is compared with.
        scope: ``"procedure"`` (seeds are random too) or ``"checkpoint"``.
        level: Confidence level in (0, 1).
        seeds: Training seeds.
        margins: By metric, the smallest difference that matters; the key ``""`` holds for all.
        arms: Name of every arm, in the order of the recipe, to the settings it changes.
        planned: Planned comparisons as (task, metric).
        version: Version of this package that wrote the results.
        created: When, as ISO 8601 text.
        recipe: The recipe as YAML text.
        notes: Remarks that belong on the page.
        deviations: By task, how it departs from what was published, and remarks on its data.
        neutral: Tasks of which more is neither better nor worse, such as those that measure memory.
    """

    name: str
    question: str
    baseline: str
    scope: str
    level: float
    seeds: tuple[int, ...]
    margins: Mapping[str, float]
    arms: Mapping[str, Mapping[str, Any]]
    planned: tuple[tuple[str, str], ...]
    version: str
    created: str
    recipe: str
    notes: tuple[str, ...]
    deviations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: frozenset[str] = frozenset()

    def is_neutral(self, task: str) -> bool:
        """Whether more is neither better nor worse on a task: a gap, or a task of memory."""
        return is_gap(task) or task.partition("/")[0] in self.neutral

    def margin(self, metric: str) -> float | None:
        """Return the margin of practical equivalence of a metric, in its own unit, or ``None``."""
        return self.margins.get(metric, self.margins.get(""))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from (``provenance.json``).

    Attributes:
        versions: Package name to version.
        commit: Git commit of the checkout, or ``""``.
        platform: Machine and interpreter in words.
        data: ``genome`` (name), ``digest``, ``chromosomes``, and the names of the chromosomes in
            ``train``, ``valid`` and ``test``; anything else is shown as it is.
        runs: One mapping per run: ``run_id``, ``arm``, ``seed``, ``state``, ``seconds``.
        failures: One mapping per failed run: ``arm``, ``seed``, ``message``.
    """

    versions: Mapping[str, str]
    commit: str
    platform: str
    data: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything in a results folder, and look-ups into it."""

    study: Study
    arms: tuple[ArmCost, ...]
    estimates: tuple[Estimate, ...]
    comparisons: tuple[Difference, ...]
    curves: tuple[CurvePoint, ...]
    chromosomes: tuple[ChromosomeEstimate, ...]
    provenance: Provenance
    tunings: tuple[Tuning, ...] = ()
    tried: tuple[TriedRate, ...] = ()
    drops: tuple[SplitDrop, ...] = ()
    gains: tuple[Difference, ...] = ()

    @cached_property
    def _estimates(self) -> dict[tuple[str, str, str], Estimate]:
        return {(row.variant, row.task, row.metric): row for row in self.estimates}

    @cached_property
    def _differences(self) -> dict[tuple[str, str, str], Difference]:
        return {(row.variant, row.task, row.metric): row for row in self.comparisons}

    @cached_property
    def costs(self) -> dict[str, ArmCost]:
        """Cost of each arm by name."""
        return {row.arm: row for row in self.arms}

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The trained arms, the baseline first, then in the order of the recipe."""
        references = set(self.references)
        others = [name for name in self.study.arms if name not in references]
        others.remove(self.study.baseline)
        return (self.study.baseline, *others)

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The simple baselines (majority, Markov, ...) in the order in which they appear."""
        named = [row.arm for row in self.arms if row.kind == "baseline"]
        named += [row.variant for row in self.estimates if row.kind == "baseline"]
        return tuple(dict.fromkeys(named))

    @cached_property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Metrics of each scored task, planned metrics first, in the order of the file."""
        tasks: dict[str, list[str]] = {}
        for row in self.estimates:
            metrics = tasks.setdefault(row.task, [])
            if row.metric not in metrics:
                metrics.append(row.metric)
        planned = set(self.study.planned)
        return {
            task: tuple(sorted(metrics, key=lambda name: (task, name) not in planned))
            for task, metrics in tasks.items()
        }

    @cached_property
    def primary(self) -> tuple[tuple[str, str], ...]:
        """The planned (task, metric) pairs; without any, the first metric of each whole task."""
        if self.study.planned:
            return self.study.planned
        return tuple(
            (task, metrics[0]) for task, metrics in self.tasks.items() if not is_part(task)
        )

    @cached_property
    def collapsed(self) -> frozenset[str]:
        """The labelled tasks, where there are too many of them to be shown one by one."""
        labelled = {f"{row.task}/{row.way}" for row in self.tunings}
        names = {row.task for row in self.tunings}
        return frozenset(labelled & self.tasks.keys() if len(names) > MOST_SINGLE else ())

    @cached_property
    def compared(self) -> frozenset[tuple[str, str]]:
        """The (task, metric) pairs with any comparison; others are only estimated."""
        return frozenset((row.task, row.metric) for row in self.comparisons)

    def estimate(self, variant: str, task: str, metric: str) -> Estimate | None:
        """Return the estimate of one arm, or ``None`` when it was not scored."""
        return self._estimates.get((variant, task, metric))

    def difference(self, variant: str, task: str, metric: str) -> Difference | None:
        """Return the comparison of one arm with the baseline, or ``None``."""
        return self._differences.get((variant, task, metric))


def is_part(task: str) -> bool:
    """Whether a task is a stratum, the training side or the gap of another task.

    Example:
        >>> is_part("heldout_mlm/repeat"), is_part("promoter/frozen")
        (True, False)
    """
    head, _, last = task.rpartition("/")
    parts = {"repeat", "unique", "train", "gap", "matched_gap", *similarity_names()}
    return (bool(head) and last in parts) or is_annotated(task) or "/similarity_" in task


def is_annotated(task: str) -> bool:
    """Whether a task is a stratum of another by annotation: a region, GC bin or kind of repeat.

    Example:
        >>> is_annotated("heldout_mlm/promoter"), is_annotated("promoter")
        (True, False)
    """
    head, _, last = task.rpartition("/")
    return bool(head) and (last in annotated_names() or last.startswith(STRATUM_PREFIXES))


def load_results(folder: Path) -> Results:
    """Load and check the results of a study.

    Args:
        folder: The study's folder, which holds ``results/``.

    Returns:
        The checked results.

    Raises:
        ResultsError: If something is missing, damaged, inconsistent or from another version. The
            message names the file and the next step.
    """
    place = folder / "results"
    if not (place / "study.json").is_file():
        raise ResultsError(
            f"no results in {folder}: {place / 'study.json'} is missing. Run `lightning-dna run"
            f" RECIPE --out {folder}`, or `lightning-dna report {folder}` if its runs are finished."
        )
    study = _read_study(place / "study.json")
    results = Results(
        study=study,
        arms=read_rows(place / "arms.csv", ArmCost),
        estimates=read_rows(place / "estimates.csv", Estimate),
        comparisons=tuple(
            replace(row, neutral=study.is_neutral(row.task))
            for row in read_rows(place / "comparisons.csv", Difference, may_be_empty=True)
        ),
        curves=_read_optional(place / "curves.csv", CurvePoint),
        chromosomes=_read_optional(place / "chromosomes.csv", ChromosomeEstimate),
        provenance=_read_provenance(place / "provenance.json"),
        tunings=_read_optional(place / "finetune.csv", Tuning),
        tried=_read_optional(place / "learning_rates.csv", TriedRate),
        drops=_read_optional(place / "splits.csv", SplitDrop),
        gains=_read_optional(place / "pretraining.csv", Difference),
    )
    _check_names(results, place)
    _check_rows(results, place)
    return results


def _read_optional(path: Path, row_type: type[Row]) -> tuple[Row, ...]:
    """Read a table that a study may lack."""
    return read_rows(path, row_type, may_be_empty=True) if path.exists() else ()


def _read_study(path: Path) -> Study:
    """Read ``study.json``."""
    content = read_json(path)
    version = content.get("version")
    if isinstance(version, str) and version.split(".")[:2] != __version__.split(".")[:2]:
        raise ResultsError(
            f"{path} was written by lightning_dna {version}, this is {__version__}."
            f" {next_step(path)}"
        )
    for key, types in _STUDY_KEYS.items():
        if not isinstance(content.get(key), types):
            raise ResultsError(
                f"{path}: key '{key}' should be {types[0].__name__}, found"
                f" {content.get(key, 'nothing')!r}. {next_step(path)}"
            )
    try:
        return Study(
            **{key: content[key] for key in _STUDY_KEYS if isinstance(content[key], str)},
            level=float(content["level"]),
            seeds=tuple(int(seed) for seed in content["seeds"]),
            margins=_margins(content.get("margin", content.get("margins"))),
            arms={arm["name"]: dict(arm.get("changes") or {}) for arm in content["arms"]},
            planned=tuple((str(task), str(metric)) for task, metric in content["planned"]),
            notes=tuple(str(note) for note in content.get("notes") or ()),
            deviations={
                str(task): tuple(map(str, said))
                for task, said in (content.get("deviations") or {}).items()
            },
            neutral=frozenset(map(str, content.get("neutral") or ())),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ResultsError(f"{path} is damaged: {error!r}. {next_step(path)}") from error


def _margins(content: object) -> dict[str, float]:
    """Read the margin: none, one number for every metric, or a number by metric."""
    if content is None:
        return {}
    if isinstance(content, Mapping):
        return {str(key): float(value) for key, value in content.items() if value is not None}
    if isinstance(content, int | float):
        return {"": float(content)}
    raise ValueError(f"margin {content!r} is neither a number nor a mapping of metrics to numbers")


def _read_provenance(path: Path) -> Provenance:
    """Read ``provenance.json``; absent parts are shown as absent."""
    content = read_json(path)
    try:
        return Provenance(
            versions={str(k): str(v) for k, v in (content.get("versions") or {}).items()},
            commit=str(content.get("commit") or ""),
            platform=str(content.get("platform") or ""),
            data=dict(content.get("data") or {}),
            runs=tuple(dict(run) for run in content.get("runs") or ()),
            failures=tuple(dict(failure) for failure in content.get("failures") or ()),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"{path} is damaged: {error!r}. {next_step(path)}") from error


def _check_names(results: Results, place: Path) -> None:
    """Refuse files that speak of arms that the study does not have: another recipe's results."""
    arms = set(results.study.arms)
    if results.study.baseline not in arms:
        raise _foreign(place / "study.json", "baseline", results.study.baseline, arms)
    known = arms | set(results.references)
    spoken: dict[str, Sequence[str]] = {
        "arms.csv": [row.arm for row in results.arms],
        "estimates.csv": [row.variant for row in results.estimates],
        "comparisons.csv": [row.variant for row in results.comparisons],
        "curves.csv": [row.arm for row in results.curves],
        "chromosomes.csv": [row.variant for row in results.chromosomes],
    }
    for name, variants in spoken.items():
        for variant in variants:
            if variant not in known:
                raise _foreign(place / name, "arm", variant, known)
    for row in results.comparisons:
        if row.baseline != results.study.baseline:
            raise _foreign(
                place / "comparisons.csv", "baseline", row.baseline, {results.study.baseline}
            )


def _foreign(path: Path, kind: str, name: str, allowed: set[str]) -> ResultsError:
    """Build the error for a name from another recipe."""
    return ResultsError(
        f"{path} names {kind} '{name}', which study.json does not have (it has"
        f" {', '.join(sorted(allowed))}): these are results of another recipe. {next_step(path)}"
    )


def _check_rows(results: Results, place: Path) -> None:
    """Refuse doubled rows, unknown verdicts and a scope other than the study's."""
    for name, rows in (
        ("estimates.csv", results.estimates),
        ("comparisons.csv", results.comparisons),
    ):
        seen: set[tuple[str, str, str]] = set()
        for row in rows:
            key = (row.variant, row.task, row.metric)
            if key in seen:
                raise ResultsError(
                    f"{place / name} has two rows for {', '.join(key)}. {next_step(place / name)}"
                )
            seen.add(key)
            if row.scope != results.study.scope:
                raise ResultsError(
                    f"{place / name}: {', '.join(key)} has scope '{row.scope}', the study has"
                    f" '{results.study.scope}'. {next_step(place / name)}"
                )
    path = place / "comparisons.csv"
    for row in results.comparisons:
        if row.verdict not in VERDICTS:
            raise ResultsError(
                f"{path}: verdict '{row.verdict}' of {row.variant} on {row.task}; allowed:"
                f" {', '.join(VERDICTS)}. {next_step(path)}"
            )
