"""Options shared by the commands that read files of predictions."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_dna.stats.files.columns import ColumnNames
    from lightning_dna.stats.files.reading import ReadingOptions

_COLUMNS = {
    "id": "name of each example (else: id, example_id, uid)",
    "label": "true label or value (else: label, y, y_true, target)",
    "prediction": "predicted label or value (else: pred, prediction, y_pred)",
    "score": "score of class 1 (else: score, prob, y_score, logits); repeat for one per class",
    "model": "name of the model (else: model, system, variant; else the file's name)",
    "task": "name of the task (else: task)",
    "seed": "training seed (else: seed)",
    "cluster": "group of dependent examples (else: cluster, cluster_id, group, chrom)",
    "weight": "importance weight (else: weight)",
    "numerator": "sum over the example (else: numerator)",
    "denominator": "what it is counted over (else: denominator)",
    "nats": "summed -ln P of the true bases (else: nats, nll)",
    "bits": "the same in bits (else: bits)",
    "correct": "number of correct bases (else: correct)",
    "count": "number of bases behind nats, bits or correct (else: bases, masked, tokens)",
}


def add_file_arguments(verb: argparse.ArgumentParser, *, at_least: str = "+") -> None:
    """Add the files and how to read them.

    Args:
        verb: Parser of the command.
        at_least: ``"+"`` for one file or more, ``"*"`` where files may be left out.
    """
    verb.add_argument(
        "files",
        nargs=at_least,
        type=Path,
        metavar="FILE",
        help="predictions: .parquet, .csv, .tsv or .jsonl (text also .gz); one file per model, or"
        " one with a column of models",
    )
    group = verb.add_argument_group(
        "columns", "usual names are recognised in any case; 'none' leaves a column unused"
    )
    for role, meaning in _COLUMNS.items():
        group.add_argument(
            f"--{role}-column",
            metavar="NAME",
            action="append" if role == "score" else "store",
            help=meaning,
        )
    group = verb.add_argument_group("reading")
    group.add_argument("--models", metavar="A,B", help="a name for each file, instead of its own")
    group.add_argument("--training-seeds", metavar="0,1", help="a training seed for each file")
    group.add_argument(
        "--by-row", action="store_true", help="files have no ids: row k is the same example in all"
    )
    group.add_argument(
        "--inner", action="store_true", help="drop examples that some file lacks, and say how many"
    )
    group.add_argument(
        "--threshold",
        metavar="T",
        help="predict 1 for scores of T or more; 'argmax' for one score per class",
    )
    group.add_argument(
        "--positive", metavar="LABEL", help="label that counts as 1; all others count as 0"
    )


def columns_from(options: argparse.Namespace) -> "ColumnNames":
    """Return the names of columns that were given."""
    from lightning_dna.stats.files.columns import ColumnNames

    return ColumnNames(**{role: getattr(options, f"{role}_column") for role in _COLUMNS})


def reading_from(options: argparse.Namespace) -> "ReadingOptions":
    """Return how to read the files.

    Raises:
        StatsError: If a threshold or a training seed is not a number.
    """
    from lightning_dna.stats.files.reading import ReadingOptions

    models = None if options.models is None else split_list(options.models)
    seeds = None
    if options.training_seeds is not None:
        seeds = [
            int(number(text, "--training-seeds", whole=True))
            for text in split_list(options.training_seeds)
        ]
    threshold = options.threshold
    return ReadingOptions(
        by_row=options.by_row,
        threshold=threshold if threshold in (None, "argmax") else number(threshold, "--threshold"),
        positive=options.positive,
        models=models,
        seeds=seeds,
        inner=options.inner,
    )


def split_list(text: str) -> list[str]:
    """Split a list that is written with commas.

    Example:
        >>> split_list("accuracy, mcc,")
        ['accuracy', 'mcc']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def number(text: str, option: str, *, whole: bool = False) -> float:
    """Return a number given on the command line.

    Args:
        text: What was given.
        option: The option, for the message.
        whole: Whether it must be a whole number of 0 or more.

    Raises:
        StatsError: If it is not a finite number.
    """
    import math

    from lightning_dna.errors import StatsError

    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (whole and (value < 0 or value != int(value))):
        kind = "a whole number of 0 or more" if whole else "a number"
        raise StatsError(f"{option} takes {kind}, not '{text}'.")
    return value
