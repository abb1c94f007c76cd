"""Held-out scores by the strata of an annotation: codon positions, exons, introns, GC, classes."""

from lightning_dna.report.results import Results, is_annotated
from lightning_dna.report.tables import Table, part_tables

_SIDE_BY_SIDE = 3  # strata in one table


def annotation_tables(results: Results) -> list[Table]:
    """Return, per metric, the strata of an annotation, a few beside each other."""
    tasks = [task for task in results.tasks if is_annotated(task)]
    parts = list(dict.fromkeys(task.rpartition("/")[2] for task in tasks))
    groups = [parts[at : at + _SIDE_BY_SIDE] for at in range(0, len(parts), _SIDE_BY_SIDE)]
    return [table for group in groups for table in part_tables(results, group, "by stratum")]
