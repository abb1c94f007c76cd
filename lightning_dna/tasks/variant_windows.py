"""The sequence around a variant, with REF and with ALT, on both strands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes, reverse_complement
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.variants import trimmed
from lightning_dna.tasks.variant_files import Variant, VariantSet, codes_of

FLANK = 8
"""Bases on either side of an allele of several bases that are scored with it."""


class Allele(NamedTuple):
    """A window with one allele in it.

    Attributes:
        codes: Base codes of the window, shape ``(length,)``.
        site: First base of the allele within it.
        size: Bases of the allele; 0 where it has none.
    """

    codes: Codes
    site: int
    size: int

    def turned(self) -> "Allele":
        """Return the other strand."""
        site = len(self.codes) - self.site - self.size
        return Allele(reverse_complement(self.codes), site, self.size)

    def around(self, flank: int) -> range:
        """Return the places of the allele and of ``flank`` bases on either side."""
        return range(max(0, self.site - flank), min(len(self.codes), self.site + self.size + flank))


class Pair(NamedTuple):
    """A variant's two windows, on one strand."""

    ref: Allele
    alt: Allele

    @property
    def single(self) -> bool:
        """Whether one base stands for another."""
        return self.ref.size == self.alt.size == 1

    def turned(self) -> "Pair":
        """Return the other strand."""
        return Pair(self.ref.turned(), self.alt.turned())


def pair_of(genome: Genome, variant: Variant, length: int) -> Pair:
    """Return the windows of a variant on the forward strand.

    Bases that REF and ALT share are taken off first. Both windows begin at the same base and have
    ``length`` bases: after a deletion the one with ALT reaches further, after an insertion less
    far. The longer allele stands in the middle; near an end of the chromosome it does not, and
    where the chromosome is shorter than the window so are the windows.

    Args:
        genome: The genome.
        variant: The variant, REF checked.
        length: Bases of a window.

    Example:
        >>> from lightning_dna.genome.alphabet import decode
        >>> genome = Genome.from_sequences({"1": "AACCGGTT"})
        >>> snv = Variant(chrom="1", start=4, ref="G", alt="T", name="v", label=1, cluster="",
        ...     values=(0.0, 0.0), line=1)
        >>> pair = pair_of(genome, snv, 5)
        >>> decode(pair.ref.codes), decode(pair.alt.codes), pair.ref.site
        ('CCGGT', 'CCTGT', 2)
    """
    start, ref, alt = trimmed(variant.start, variant.ref, variant.alt)
    here = genome.lengths[variant.chrom]
    length = min(length, here)
    middle = start + max(len(ref), len(alt)) // 2
    first = max(0, min(middle - length // 2, here - length, start))
    first = max(first, start + len(alt) - length)  # what is put in at the very end is in it too
    end = start + len(ref)
    before = genome.codes(variant.chrom, first, start)
    after = genome.codes(variant.chrom, end, min(here, end + length))
    reference = np.concatenate((before, codes_of(ref), after))[:length]
    changed = np.concatenate((before, codes_of(alt), after))[:length]
    site = start - first
    return Pair(Allele(reference, site, len(ref)), Allele(changed, site, len(alt)))


def fitting(variants: VariantSet, length: int) -> VariantSet:
    """Leave out variants that a window cannot hold with their surroundings, and say so.

    Args:
        variants: The variants.
        length: Bases of a window.

    Raises:
        DataError: If none is left.
    """
    kept = tuple(one for one in variants.variants if _fits(one, length))
    variants = replace(variants, notes=(*variants.notes, *_kind_notes(kept)))
    lost = len(variants) - len(kept)
    if not lost:
        return variants
    note = f"{lost} variant(s) left out: longer than {length - 2 * FLANK} bases."
    if not kept:
        raise DataError(
            f"no variant fits a window of {length} bases with {FLANK} bases on either side; choose "
            f"a longer window."
        )
    return replace(variants, variants=kept, notes=(*variants.notes, note))


def _kind_notes(variants: Sequence[Variant]) -> list[str]:
    """Say so where scores of several kinds of variants would be ranked together."""
    kinds = Counter(
        "deletions" if len(one.alt) < len(one.ref)
        else "insertions" if len(one.alt) > len(one.ref)
        else "substitutions"
        for one in variants
    )  # fmt: skip
    if len(kinds) < 2:
        return []
    counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return [
        f"several kinds of variants ({counted}) are ranked together. A likelihood ratio is charged"
        f" for every base that an allele adds, so that it tells kinds and lengths apart before any"
        f" effect, without training too: compare within one kind, or beside an untrained score."
    ]


def _fits(variant: Variant, length: int) -> bool:
    """Tell whether both alleles fit."""
    return max(len(variant.ref), len(variant.alt)) + 2 * FLANK <= length


def gc_content(pairs: Sequence[Pair]) -> list[float]:
    """Return the share of G and C in the reference windows, among known bases.

    Example:
        >>> allele = Allele(np.array([0, 1, 2, 4], np.uint8), 0, 1)
        >>> round(gc_content([Pair(allele, allele)])[0], 3)
        0.667
    """
    return [
        float(((p.ref.codes == 1) | (p.ref.codes == 2)).sum() / max(1, (p.ref.codes < 4).sum()))
        for p in pairs
    ]
