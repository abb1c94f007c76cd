"""What a repeat policy costs: bases lost by chromosome, repeat class, region and GC content.

Lost is a known base (not N) that training under the policy does not learn from: it lies in no
fragment that windows may cover, or it is seen as N. Under ``downweight`` a base counts with the
weight that it loses. Tails shorter than a window, which every policy has, are not counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, C, G
from lightning_dna.genome.annotation import GC_EDGES, Annotation, gc_names
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import (
    Intervals,
    as_intervals,
    bases_before,
    complement,
    intersect,
)
from lightning_dna.genome.matched_control import matched_removal
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.repeats import (
    RepeatPolicy,
    RepeatTreatment,
    long_enough,
    treated_repeats,
    unknown_bases,
)

Group = Literal["genome", "chromosome", "repeat class", "region", "GC content"]

POLICIES: tuple[RepeatTreatment, ...] = (
    "remove-split",
    "remove-concat",
    "hard-mask",
    "downweight",
    "matched-unique",
)
"""The policies that an audit compares; under ``keep`` nothing is lost."""

GC_BLOCK = 1000  # bases over which the share of G and C is taken
_CHUNK = 16_000 * GC_BLOCK  # bases looked at together


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One part of the genome.

    Attributes:
        group: What kind of part it is; parts of one kind may overlap.
        name: Its name.
        bases: Known bases in it.
        repeat_bases: Bases among them in repeats that the policies treat.
        lost: Policy to the bases lost, in whole bases or fractions of one under ``downweight``.
    """

    group: Group
    name: str
    bases: int
    repeat_bases: int
    lost: Mapping[str, float]

    def share(self, policy: str) -> float:
        """Return the share lost under a policy; not a number where there is no base."""
        return self.lost[policy] / self.bases if self.bases else float("nan")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The audit of a genome.

    Attributes:
        rows: One for each part, groups in order.
        policies: Policies compared.
        notes: What else there is to know, in sentences.
        junctions: Places where ``remove-concat`` joins what is apart in the genome.
        fragments: Stretches that ``remove-split`` leaves, and how many of them are too short.
    """

    rows: tuple[AuditRow, ...]
    policies: tuple[str, ...]
    notes: tuple[str, ...]
    junctions: int
    fragments: tuple[int, int]

    def of(self, group: Group) -> tuple[AuditRow, ...]:
        """Return the rows of one kind."""
        return tuple(row for row in self.rows if row.group == group)


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What is audited.

    Attributes:
        weight: Loss weight of repeats under ``downweight``.
        min_length: Shortest fragment kept under ``remove-split`` and ``matched-unique``.
        classes: Classes of repeats that are treated; empty for all.
        seed: Seed of the places under ``matched-unique``.
    """

    weight: float = 0.1
    min_length: int = 64
    classes: tuple[str, ...] = ()
    seed: int = 0

    def policy(self, name: RepeatTreatment) -> RepeatPolicy:
        """Return one of the policies with these settings."""
        return RepeatPolicy(
            name=name,
            weight=self.weight,
            min_length=self.min_length,
            classes=self.classes,
            seed=self.seed,
        )


class _Sums:
    """Bases by part, added up chromosome by chromosome."""

    def __init__(self, policies: Sequence[str]) -> None:
        self._policies = policies
        self._rows: dict[tuple[Group, str], npt.NDArray[np.float64]] = {}

    def add(self, group: Group, name: str, counts: Sequence[float]) -> None:
        """Add known bases, repeat bases, and bases lost under each policy."""
        row = self._rows.setdefault((group, name), np.zeros(2 + len(self._policies)))
        row += counts

    def rows(self) -> Iterator[AuditRow]:
        """Yield the rows in the order in which they came."""
        for (group, name), (bases, repeat, *lost) in self._rows.items():
            yield AuditRow(
                group=group,
                name=name,
                bases=int(bases),
                repeat_bases=int(repeat),
                lost=dict(zip(self._policies, map(float, lost), strict=True)),
            )


@dataclass(frozen=True, kw_only=True)
class _Chromosome:
    """The sets of one chromosome: what is unknown, what is treated, what each policy loses."""

    known: Intervals
    treated: Intervals
    lost: tuple[tuple[Intervals, float], ...]  # a set, and what each of its bases loses

    def counts(self, part: Intervals) -> list[float]:
        """Return known, repeat and lost bases of a set."""
        inside = intersect(part, self.known)
        lost = [_size(intersect(inside, rows)) * share for rows, share in self.lost]
        return [_size(inside), _size(intersect(inside, self.treated)), *lost]


def audit(
    genome: Genome,
    settings: AuditSettings,
    *,
    annotation: Annotation | None = None,
    repeats: RepeatAnnotation | None = None,
) -> Audit:
    """Count what each repeat policy loses, chromosome by chromosome.

    Needs a few bytes for each interval of all chromosomes, and one chromosome's soft mask.

    Args:
        genome: The genome; its soft mask are the repeats.
        settings: Weight, shortest fragment, classes.
        annotation: Genes, for the rows by region; chromosomes that it does not know are left out
            of these rows, and a note says so.
        repeats: Repeats by class, for the rows by class.

    Returns:
        The audit. Where ``matched-unique`` is not possible, it is left out and a note says why.

    Raises:
        DataError: If the genome has no repeat.
        ConfigError: If a class is unknown.
    """
    plain = settings.policy("remove-split")
    treated = {name: treated_repeats(plain, genome, name, repeats) for name in genome.names}
    if not any(len(rows) for rows in treated.values()):
        raise DataError(
            "no base of the genome is a repeat (soft-masked, lower case, or in the repeat file), "
            "so there is nothing to audit; use a soft-masked FASTA file, or give the repeats."
        )
    unknown = {name: unknown_bases(genome, name) for name in genome.names}
    policies, matched, notes = _matched(settings, genome, treated, unknown)
    sums = _Sums(policies)
    junctions = kept = short = 0
    for name in genome.names:
        length = genome.lengths[name]
        allowed = complement(treated[name], length)
        fragments = long_enough(plain, allowed)
        junctions += max(len(allowed) - 1, 0)
        kept, short = kept + len(allowed), short + len(allowed) - len(fragments)
        losses = [
            (complement(fragments, length), 1.0),
            (treated[name], 1.0),
            (treated[name], 1.0),
            (treated[name], 1.0 - settings.weight),
        ]
        if matched is not None:
            left = long_enough(plain, complement(matched[name], length))
            losses.append((complement(left, length), 1.0))
        chromosome = _Chromosome(
            known=complement(unknown[name], length), treated=treated[name], lost=tuple(losses)
        )
        _add_chromosome(sums, genome, name, chromosome, annotation, repeats)
    notes += _annotation_notes(genome, annotation, repeats)
    order = ("genome", "chromosome", "repeat class", "region", "GC content")
    rows = sorted(sums.rows(), key=lambda row: order.index(row.group))  # stable within a group
    return Audit(
        rows=tuple(row for row in rows if row.bases or row.group != "GC content"),
        policies=tuple(policies),
        notes=tuple(notes),
        junctions=junctions,
        fragments=(kept, short),
    )


def _matched(
    settings: AuditSettings,
    genome: Genome,
    treated: Mapping[str, Intervals],
    unknown: Mapping[str, Intervals],
) -> tuple[list[str], dict[str, Intervals] | None, list[str]]:
    """Return the policies, what the control removes, and what there is to say about it."""
    try:
        found = matched_removal(treated, unknown, genome.lengths, seed=settings.seed)
    except DataError as error:
        return [*POLICIES[:-1]], None, [f"matched-unique is not possible: {error}"]
    note = (
        f"matched-unique removes as many bases as the {found.stretches:,} stretches of repeats "
        f"have, over all chromosomes together; {found.cut:,} of them had to be cut to find room."
    )
    return [*POLICIES], found.removed, [note]


def _add_chromosome(
    sums: _Sums,
    genome: Genome,
    name: str,
    chromosome: _Chromosome,
    annotation: Annotation | None,
    repeats: RepeatAnnotation | None,
) -> None:
    """Add the rows of one chromosome."""
    whole = chromosome.counts(as_intervals([(0, genome.lengths[name])]))
    sums.add("genome", "all", whole)
    sums.add("chromosome", name, whole)
    for kind in repeats.classes if repeats is not None else ():
        assert repeats is not None  # noqa: S101 - for the type checker
        sums.add("repeat class", kind, chromosome.counts(repeats.intervals(name, (kind,))))
    if annotation is not None and name in annotation.chroms:
        for region, part in annotation.regions(name).items():
            sums.add("region", region, chromosome.counts(part))
    _add_gc(sums, genome, name, chromosome)


def _add_gc(sums: _Sums, genome: Genome, name: str, chromosome: _Chromosome) -> None:
    """Add the rows by GC content, from blocks of the chromosome."""
    length = genome.lengths[name]
    edges = np.append(np.arange(0, length, GC_BLOCK), length)
    known = np.diff(bases_before(chromosome.known, edges))
    share = _gc_counts(genome, name, len(known)) / np.maximum(known, 1)
    bins = np.searchsorted(np.asarray(GC_EDGES), share, side="right")
    columns = [(chromosome.known, 1.0), (chromosome.treated, 1.0), *chromosome.lost]
    per_block = [
        np.diff(bases_before(intersect(rows, chromosome.known), edges)) * weight
        for rows, weight in columns
    ]
    for number, label in enumerate(gc_names()):
        chosen = bins == number
        sums.add("GC content", label, [float(column[chosen].sum()) for column in per_block])


def _gc_counts(genome: Genome, name: str, blocks: int) -> npt.NDArray[np.int64]:
    """Count G and C in each block, a part of the chromosome at a time."""
    stored, counts = genome.stored(name), np.zeros(blocks, dtype=np.int64)
    for start in range(0, len(stored), _CHUNK):
        codes = stored[start : start + _CHUNK] & CODE_BITS
        flags = (codes == C) | (codes == G)
        first = np.arange(0, len(flags), GC_BLOCK)
        at = start // GC_BLOCK
        counts[at : at + len(first)] = np.add.reduceat(flags, first, dtype=np.int64)
    return counts


def _annotation_notes(
    genome: Genome, annotation: Annotation | None, repeats: RepeatAnnotation | None
) -> list[str]:
    """Say what the files do not cover, and what they name that the genome lacks."""
    notes = []
    if annotation is not None:
        before, after = annotation.promoter
        notes.append(
            f"promoter: {before} bases before to {after} after each start of a gene or transcript; "
            f"regions overlap, so their bases do not add up to the genome's."
        )
        missing = [name for name in genome.names if name not in annotation.chroms]
        if missing:
            notes.append(
                f"the annotation has nothing on {len(missing)} chromosome(s), which are not in the "
                f"rows by region: {', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}."
            )
    for what, skipped in (
        ("annotation", annotation.skipped if annotation is not None else {}),
        ("repeat file", repeats.skipped if repeats is not None else {}),
    ):
        if skipped:
            notes.append(
                f"the {what} names {len(skipped)} sequence(s) that the genome does not have, with "
                f"{sum(skipped.values())} feature(s): {', '.join([*skipped][:10])}."
            )
    return notes


def _size(intervals: Intervals) -> int:
    """Count the bases of a set."""
    return int(np.diff(intervals).sum())
