"""Predictions from files: one file per model, or one long file with a column of models.

The walk: ``read_table`` -> roles of columns -> one ``Entry`` per task, model and seed, checked
against each other with file, column and row in every message.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files import checks
from lightning_dna.stats.files.cells import (
    alike,
    missing_rows,
    names_in,
    numbers_in,
    seeds_in,
    single_score,
    whole_column,
)
from lightning_dna.stats.files.checks import TASK, Entry, Source
from lightning_dna.stats.files.columns import USUAL_NAMES, ColumnNames, assign_roles, flag_of
from lightning_dna.stats.files.labels import Threshold, cut_scores, read_labels
from lightning_dna.stats.files.tables import TableFile, read_table
from lightning_dna.stats.metrics import Metric, resolve_metrics
from lightning_dna.stats.predictions import PLAIN, Array, Floats, Integers, Predictions

_NATS_PER_BIT = math.log(2)
# Named sums over a count: role, the metric it is the numerator of, and its unit.
_SUMS = (
    ("nats", "cross_entropy", 1.0),
    ("nats", "bits_per_base", 1 / _NATS_PER_BIT),
    ("bits", "bits_per_base", 1.0),
    ("correct", "mlm_accuracy", 1.0),
)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How files become predictions, beyond the names of their columns.

    Attributes:
        by_row: Row k of every file is the same example; only for files without ids.
        threshold: Scores from here on are predicted as 1; ``"argmax"`` predicts the class with the
            largest of several scores; ``None`` cuts nothing.
        positive: Label that counts as 1; all others count as 0.
        models: Name of the model of each file, instead of its stem.
        seeds: Training seed of each file, instead of 0.
        inner: Whether examples that some model lacks are left out, instead of refused.
    """

    by_row: bool = False
    threshold: Threshold | None = None
    positive: str | None = None
    models: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    inner: bool = False


def read_predictions(
    paths: Sequence[Path | str],
    columns: ColumnNames | None = None,
    options: ReadingOptions | None = None,
) -> list[Predictions]:
    """Read the predictions of some models on the same examples.

    Columns are recognised by their usual names in any case (``USUAL_NAMES``). Ids keep their text.
    Without a column of models a model is called like its file without the endings; without one of
    tasks the task is ``"task"``; without one of seeds the seed is 0. Labels are whole numbers if
    all labels and predictions of the task are, else real numbers, else text.

    Args:
        paths: Parquet, CSV, TSV or JSON-lines files; text may be compressed (``.csv.gz``).
        columns: Names of columns that differ from the usual ones.
        options: See ``ReadingOptions``.

    Returns:
        One entry per task, model and seed, in the order of the files.

    Raises:
        StatsError: If a file, a column or a value cannot be used, or files disagree about the
            examples; the message names file, column and first rows.
    """
    return [entry.predictions for entry in read_entries(paths, columns, options)]


def read_entries(
    paths: Sequence[Path | str],
    columns: ColumnNames | None = None,
    options: ReadingOptions | None = None,
    metrics: Sequence[str] | None = None,
) -> list[Entry]:
    """Read predictions and keep where each came from; see ``read_predictions``.

    Args:
        paths: The files.
        columns: Names of columns that differ from the usual ones.
        options: See ``ReadingOptions``.
        metrics: Metrics that will be computed, if that is known: scores or predicted labels that
            none of them needs are left out where some model of a task lacks them.

    Returns:
        One entry per task, model and seed, in the order of the files.

    Raises:
        LightningDNAError: As for ``read_predictions``, or if a metric is unknown.
    """
    given, how = columns or ColumnNames(), options or ReadingOptions()
    wanted = None if metrics is None else resolve_metrics(metrics)
    files = [Path(path) for path in paths]
    _check_files(files, how)
    sources = [
        source for number, path in enumerate(files) for source in _sources(path, number, given, how)
    ]
    checks.check_keys(sources)
    ids = _ids(sources, how)
    tasks: dict[str, list[int]] = {}
    for position, source in enumerate(sources):
        tasks.setdefault(source.task, []).append(position)
    entries: dict[int, Entry] = {}
    for positions in tasks.values():
        members = [sources[at] for at in positions]
        if wanted is not None and how.threshold is None:  # which makes labels of scores
            members = _without_spare_answers(members, wanted)
        made = _entries(members, [ids[at] for at in positions], how)
        checks.check_agreement(made, inner=how.inner, by_row=how.by_row)
        entries.update(zip(positions, made, strict=True))
    return [entries[position] for position in sorted(entries)]


def _check_files(files: Sequence[Path], how: ReadingOptions) -> None:
    """Refuse no file, a file given twice, and names or seeds that do not go with the files."""
    if not files:
        raise StatsError("no file of predictions was given")
    twice = sorted({str(path) for path in files if files.count(path) > 1})
    if twice:
        raise StatsError(f"{', '.join(twice)} was given twice; give each file once.")
    for option, values in (("--models", how.models), ("--training-seeds", how.seeds)):
        if values is not None and len(values) != len(files):
            entries = "1 entry" if len(values) == 1 else f"{len(values)} entries"
            raise StatsError(
                f"{option} has {entries} for {checks.counted(len(files), 'file')}; give one for "
                "each."
            )


def _sources(path: Path, number: int, given: ColumnNames, how: ReadingOptions) -> Iterator[Source]:
    """Cut a file into its tasks, models and seeds, in order of first appearance."""
    roles: dict[str, tuple[str, ...]] = {}

    def choose(found: Sequence[str]) -> list[str]:
        roles.update(assign_roles(path, found, given))
        return list(dict.fromkeys(name for names in roles.values() for name in names))

    file = read_table(path, choose)
    for role, option, values in (
        ("model", "--models", how.models),
        ("seed", "--training-seeds", how.seeds),
    ):
        if values is not None and role in roles:
            raise StatsError(
                f"{path} has the column '{roles[role][0]}', and {option} was given; leave the "
                f"option out, or pass {flag_of(role)} none."
            )
    keys: list[Array] = [
        names_in(whole_column(file, roles["task"][0])) if "task" in roles else np.array([TASK])
    ]
    if "model" in roles:
        keys.append(names_in(whole_column(file, roles["model"][0])))
    else:
        keys.append(np.array([_stem(path) if how.models is None else how.models[number]]))
    if "seed" in roles:
        keys.append(seeds_in(whole_column(file, roles["seed"][0])))
    else:
        keys.append(np.array([0 if how.seeds is None else how.seeds[number]]))
    for rows, (task, model, seed) in _groups(len(file.places), keys):
        empty = _empty(file, roles, rows, given)
        yield Source(
            file=file,
            roles={role: names for role, names in roles.items() if role not in empty},
            rows=rows,
            task=str(task),
            model=str(model),
            seed=int(seed),
            empty=empty,
        )


def _stem(path: Path) -> str:
    """Return a file's name without the endings that say its format.

    Example:
        >>> _stem(Path("runs/hyena.v2.csv.gz"))
        'hyena.v2'
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _empty(
    file: TableFile, roles: Mapping[str, tuple[str, ...]], rows: Integers, given: ColumnNames
) -> dict[str, tuple[str, ...]]:
    """Return the columns of scores if they hold nothing on these rows, as where there are none.

    A column that the user named is kept where it is empty throughout: that is a mistake.
    """
    names = roles.get("score", ())
    if not names or not _all_missing(file, names, rows):
        return {}
    everywhere = given.score is not None and _all_missing(file, names, np.arange(len(file.places)))
    return {} if everywhere else {"score": names}


def _all_missing(file: TableFile, names: Sequence[str], rows: Integers) -> bool:
    """Say whether some columns are empty on some rows."""
    return all(
        len(missing_rows(file.columns[name][part])) == len(part)
        for part in (rows[:1], rows)  # one cell is enough to see that most columns are not empty
        for name in names
    )


def _without_spare_answers(sources: Sequence[Source], metrics: Sequence[Metric]) -> list[Source]:
    """Leave out scores or predictions that some source of a task lacks and no metric needs."""
    scored = any(metric.kind in ("values", "ranked") for metric in metrics)
    complete = all("score" in source.roles for source in sources)
    needed = {
        "score": scored,
        # Predicted values stand in for scores that are not there.
        "prediction": any(metric.kind == "cells" for metric in metrics)
        or (scored and not complete),
    }
    spare = [
        role
        for role, is_needed in needed.items()
        if not is_needed and not all(role in source.roles for source in sources)
    ]
    return [
        replace(source, roles={role: n for role, n in source.roles.items() if role not in spare})
        for source in sources
    ]


def _groups(size: int, keys: Sequence[Array]) -> Iterator[tuple[Integers, tuple[Any, ...]]]:
    """Yield the rows of each combination of keys; a key of one value holds for all rows."""
    codes = np.zeros(size, dtype=np.int64)
    for key in keys:
        if len(key) == size:
            values, inverse = np.unique(key, return_inverse=True)
            codes = codes * len(values) + inverse
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    for group in np.argsort(first):
        rows = parts[group]
        yield rows, tuple(key[rows[0] if len(key) == size else 0] for key in keys)


def _ids(sources: Sequence[Source], how: ReadingOptions) -> list[Array]:
    """Return the ids of each source, all of one kind, each of them once."""
    without = [source for source in sources if "id" not in source.roles]
    if how.by_row:
        for source in sources:
            if "id" in source.roles:
                raise StatsError(
                    f"{source.file.path} has ids in column '{source.roles['id'][0]}'; leave "
                    "--by-row out, or pass --id-column none to match by row all the same."
                )
        return [np.arange(len(source.rows)) for source in sources]
    if without:
        file = without[0].file
        found = ", ".join(name or "(unnamed)" for name in file.names)
        raise StatsError(
            f"{file.path} has no column of ids ({', '.join(USUAL_NAMES['id'])}); its columns: "
            f"{found}. Add one, name it with --id-column, or pass --by-row if row k of every file "
            "is the same example."
        )
    ids = alike([names_in(source.cells("id")) for source in sources])
    for source, values in zip(sources, ids, strict=True):
        checks.check_unique(source, values)
    return ids


def _entries(sources: Sequence[Source], ids: Sequence[Array], how: ReadingOptions) -> list[Entry]:
    """Turn the sources of one task into predictions."""
    scores = [_scores(source) for source in sources]
    labels, predicted, kind = read_labels(sources, how.positive)
    clusters = _clusters(sources)
    entries = []
    for at, source in enumerate(sources):
        numerators, denominators = _sums(source)
        y_pred = predicted[at]
        if how.threshold is not None:
            y_pred = cut_scores(source, labels[at], y_pred, scores[at], how.threshold)
        found = scores[at]
        predictions = Predictions(
            task=source.task,
            variant=source.model,
            seed=source.seed,
            example_id=ids[at],
            y_true=labels[at],
            y_pred=y_pred,
            y_score=None if found is None else single_score(found),
            weight=_numbers(source, "weight"),
            numerator=numerators or None,
            denominator=denominators or None,
            cluster_id=clusters[at],
        )
        entries.append(Entry(predictions=predictions, source=source, kind=kind))
    return entries


def _scores(source: Source) -> Floats | None:
    """Return the scores of a source, (n,) or (n, classes)."""
    if "score" not in source.roles:
        return None
    numbers = range(len(source.roles["score"]))
    columns = [numbers_in(source.cells("score", number)) for number in numbers]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def _numbers(source: Source, role: str) -> Floats | None:
    """Return the numbers of a role; a weight or count below 0 is an error."""
    if role not in source.roles:
        return None
    values = numbers_in(source.cells(role))
    if role in ("weight", "denominator", "count"):
        wrong = np.flatnonzero(values < 0)
        if len(wrong):
            raise source.cells(role).refuse(wrong, "below 0; it must be 0 or more.")
    return values


def _clusters(sources: Sequence[Source]) -> list[Array | None]:
    """Return the clusters of each source, all of one kind."""
    given = [at for at, source in enumerate(sources) if "cluster" in source.roles]
    columns = alike([names_in(sources[at].cells("cluster")) for at in given])
    found: dict[int, Array] = dict(zip(given, columns, strict=True))
    return [found.get(at) for at in range(len(sources))]


def _sums(source: Source) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return numerators and denominators by metric; plain ones under ``PLAIN``."""
    numerators: dict[str, Floats] = {}
    denominators: dict[str, Floats] = {}
    for role, into in (("numerator", numerators), ("denominator", denominators)):
        values = _numbers(source, role)
        if values is not None:
            into[PLAIN] = values
    count = _numbers(source, "count")
    for role, metric, factor in _SUMS:
        if count is not None and role in source.roles:
            values = _numbers(source, role)
            if values is not None and metric not in numerators:
                numerators[metric], denominators[metric] = values * factor, count
    return numerators, denominators
