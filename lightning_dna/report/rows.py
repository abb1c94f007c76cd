"""The rows of the results files, and a reader that checks every field of every line."""

import csv
import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lightning_dna.errors import ResultsError


@dataclass(frozen=True, kw_only=True)
class ArmCost:
    """One line of ``arms.csv``: what an arm cost. NaN where something was not measured.

    Attributes:
        arm: Name.
        kind: ``"model"`` or ``"baseline"`` (a reference that is not trained, such as Markov).
        parameters: Trainable parameters.
        flops_per_base: Floating-point operations of a forward pass, per base.
        tokens: Training tokens spent per seed.
        train_seconds: Mean wall time of training per seed.
        tokens_per_second: Mean training throughput.
        peak_memory_mib: Largest memory of any seed.
        padding_fraction: Share of padded positions, in [0, 1].
        seeds_done: Finished seeds.
        seeds_failed: Failed seeds.
        training_flops_per_base: Operations of a training step, per base; like what follows, absent
            from files of the first versions.
        training_flops: Operations of the training of one seed.
        activation_mib: Predicted bytes between forward and backward.
        predicted_memory_mib: Predicted peak of a training step, without the process itself.
        steps: Steps of one training.
        tokens_per_base: Tokens that the model reads for each base; ``tokens`` are bases.
        truncated_bases: Bases of the windows read that truncation dropped.
        loss_ratio_above_1_2: Share of steps whose loss is above 1.2 times the lowest before it;
            like the percentiles, a mean over seeds.
        loss_ratio_above_1_5: The same above 1.5 times.
        loss_ratio_max: The largest ratio of any step and seed, as are all that end in ``max``.
        gradient_norm_p50: Median over steps of the gradient's norm before clipping.
        gradient_norm_p95: 95th percentile.
        gradient_norm_p99: 99th percentile.
        gradient_norm_max: Largest.
        adam_variance_max: Largest element of the square root of AdamW's second moment at any point
            of the curve.
        adam_variance_norm_max: Largest L1 norm of the same.
    """

    arm: str
    kind: str
    parameters: float
    flops_per_base: float
    tokens: float
    train_seconds: float
    tokens_per_second: float
    peak_memory_mib: float
    padding_fraction: float
    seeds_done: int
    seeds_failed: int
    training_flops_per_base: float = math.nan
    training_flops: float = math.nan
    activation_mib: float = math.nan
    predicted_memory_mib: float = math.nan
    steps: float = math.nan
    tokens_per_base: float = math.nan
    truncated_bases: float = math.nan
    loss_ratio_above_1_2: float = math.nan
    loss_ratio_above_1_5: float = math.nan
    loss_ratio_max: float = math.nan
    gradient_norm_p50: float = math.nan
    gradient_norm_p95: float = math.nan
    gradient_norm_p99: float = math.nan
    gradient_norm_max: float = math.nan
    adam_variance_max: float = math.nan
    adam_variance_norm_max: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One line of ``estimates.csv``: a metric of one arm on one task, with its interval."""

    variant: str
    kind: str
    task: str
    metric: str
    estimate: float
    se: float
    df: float
    low: float
    high: float
    n_units: int
    n_examples: int
    n_seeds: int
    unit: str
    scope: str
    flags: tuple[str, ...]
    signature: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One line of ``comparisons.csv``: an arm minus the baseline on one task and metric.

    ``n_seeds`` is text because the two arms may differ in it (``"2/3"``). ``neutral`` is not in the
    file: it is set for a gap and a task of memory, where more is neither better nor worse.
    """

    task: str
    variant: str
    baseline: str
    metric: str
    scope: str
    unit: str
    n_units: int
    n_examples: int
    n_seeds: str
    estimate: float
    baseline_estimate: float
    delta: float
    se: float
    df: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: str
    mde80: float
    design_effect: float
    n_undefined: int
    flags: tuple[str, ...]
    signature: str
    planned: bool
    neutral: bool = False


def is_gap(task: str) -> bool:
    """Whether a task is the difference between training and held-out chromosomes.

    Example:
        >>> is_gap("heldout_mlm/gap"), is_gap("gap")
        (True, False)
    """
    return "/" in task and task.rpartition("/")[2] in {"gap", "matched_gap"}


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One line of ``curves.csv``: a logged moment of one training run."""

    arm: str
    seed: int
    step: int
    tokens: float
    length: float
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float


@dataclass(frozen=True, kw_only=True)
class ChromosomeEstimate:
    """One line of ``chromosomes.csv``: a metric of one arm on one chromosome of one task."""

    variant: str
    chrom: str
    part: str
    metric: str
    estimate: float
    low: float
    high: float
    n_units: int
    task: str = ""

    @property
    def head(self) -> str:
        """The task of held-out bases, whose part and chromosome come after it in ``task``."""
        return self.task.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One line of ``finetune.csv``: what one use of an arm on a labelled task chose and cost.

    ``c_at_edge`` and ``lr_at_edge`` are ``"True"`` where a value beyond those tried might have been
    better. NaN where something has no meaning, such as the epoch of a linear probe; what came later
    than the first versions is absent from their files.
    """

    arm: str
    seed: int
    task: str
    way: str
    parameters_updated: float
    seconds: float
    best_epoch: float
    chosen_c: float
    valid_metric: float
    examples_per_second: float = math.nan
    epochs_run: float = math.nan
    context_length: float = math.nan
    c_at_edge: str = ""
    chosen_lr: float = math.nan
    lr_at_edge: str = ""


@dataclass(frozen=True, kw_only=True)
class TriedRate:
    """One line of ``learning_rates.csv``: a learning rate that was tried, NaN where it diverged.

    ``way`` is empty for a baseline, ``fold`` where there is one division of the examples.
    """

    arm: str
    seed: str
    task: str
    way: str
    fold: str
    lr: float
    valid_metric: float
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class SplitDrop:
    """One line of ``splits.csv``: a score under the original split and under another one."""

    task: str
    split: str
    way: str
    variant: str
    metric: str
    original: float
    resplit: float
    drop: float
    low: float
    high: float
    paired: bool
    n_original: int
    n_resplit: int


Row = TypeVar(
    "Row",
    ArmCost,
    Estimate,
    Difference,
    CurvePoint,
    ChromosomeEstimate,
    Tuning,
    TriedRate,
    SplitDrop,
)


def read_rows(path: Path, row_type: type[Row], *, may_be_empty: bool = False) -> tuple[Row, ...]:
    """Read a CSV file into rows; columns that the row type does not know are ignored.

    Args:
        path: The file; its first line names the columns.
        row_type: One of the row classes of this module; fields with a default may be absent.
        may_be_empty: Whether a file of one empty line, which is how a table library writes a
            table without columns, is a table without rows.

    Returns:
        One row per line, in the order of the file. An empty cell is NaN in a column of decimal
        numbers and an empty tuple in a column of flags.

    Raises:
        ResultsError: If the file cannot be read, a column is missing, or a cell does not parse.
    """
    known = dataclasses.fields(row_type)
    fields = {field.name: field.type for field in known}
    needed = [field.name for field in known if field.default is dataclasses.MISSING]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            found = list(reader.fieldnames or [])
            if may_be_empty and reader.fieldnames == []:
                return ()
            missing = [name for name in needed if name not in found]
            if missing:
                raise ResultsError(
                    f"{path} lacks column {', '.join(missing)}; found: {', '.join(found) or 'none'}"
                    f". {next_step(path)}"
                )
            fields = {name: kind for name, kind in fields.items() if name in found}
            return tuple(_build(line, row_type, fields, path, reader.line_num) for line in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"cannot read {path}: {error}. {next_step(path)}") from error


def next_step(path: Path) -> str:
    """Return the sentence that says how to get a good results file in place of ``path``."""
    return (
        f"Run `lightning-dna report {path.parent.parent}` to compute it again from the scores kept"
        " there."
    )


def _build(
    line: Mapping[str, Any], row_type: type[Row], fields: Mapping[str, Any], path: Path, number: int
) -> Row:
    """Convert one CSV line."""
    values: dict[str, Any] = {}
    for name, wanted in fields.items():
        text = line[name]
        try:
            if text is None:
                raise ValueError("the line ends early")
            values[name] = _CONVERTERS[wanted](text.strip())
        except ValueError as error:
            raise ResultsError(
                f"{path}, line {number}, column {name}: found {text!r} ({error}). {next_step(path)}"
            ) from error
    return row_type(**values)


def _whole(text: str) -> int:
    """Convert a whole number, also when a table library wrote it as ``3.0``."""
    number = float(text)
    if not math.isfinite(number) or number != int(number):
        raise ValueError("not a whole number")
    return int(number)


def _decimal(text: str) -> float:
    """Convert a decimal number; an empty cell is NaN."""
    return float(text) if text else math.nan


def _truth(text: str) -> bool:
    """Convert ``true`` or ``false`` in any case."""
    allowed = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in allowed:
        raise ValueError("allowed: true, false")
    return allowed[text.lower()]


def _flags(text: str) -> tuple[str, ...]:
    """Split flags at anything that cannot be part of one (semicolons, brackets, quotes)."""
    return tuple(re.findall(r"[A-Za-z][\w.=%-]*", text))


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: _decimal,
    bool: _truth,
    tuple[str, ...]: _flags,
}
