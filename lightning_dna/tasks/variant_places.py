"""Where variants lie: the units of resampling, and scores that need no model."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import N, encode
from lightning_dna.genome.annotation import Annotation
from lightning_dna.genome.intervals import Intervals
from lightning_dna.genome.variants import trimmed
from lightning_dna.tasks.variant_files import Variant, VariantSet
from lightning_dna.tasks.variant_source import VALUE_ROLES
from lightning_dna.tasks.variant_windows import gc_content, pair_of

Floats = npt.NDArray[np.float64]

Baseline = Callable[[VariantSet, int, Annotation | None], list[float]]
"""Scores of variants, the greater the more positive, from window length and annotation."""

_ANY_LENGTH = 2**40  # of a chromosome: the annotation reaches beyond a file that holds part of it
_PURINES = frozenset("AG")


def read_annotation(path: Path, variants: VariantSet) -> Annotation:
    """Read the genes and exons around variants, in the coordinates of the chromosome.

    Args:
        path: GTF, GFF3 or BED file.
        variants: The variants.

    Raises:
        DataError: If the file cannot be used, or has nothing on a chromosome with variants.
    """
    names = [variants.called] if variants.called else [*variants.genome.names]
    found = Annotation.read(path, dict.fromkeys(names, _ANY_LENGTH))
    for one in variants.variants:
        found.regions(variants.called or one.chrom)
    return found


def clusters_of(
    variants: VariantSet, unit: str, *, block: int, annotation: Annotation | None
) -> tuple[str, ...]:
    """Return what each variant shares with those that are not independent of it.

    Args:
        variants: The variants.
        unit: ``example`` (nothing), ``chromosome``, ``gene``, ``exon`` or ``cluster``. Where the
            file has a column of clusters, a variant without one stands for itself.
        block: Bases of a stretch, for ``cluster`` where the file has no clusters.
        annotation: Genes and exons, for ``gene`` and ``exon`` where the file has no clusters: a
            variant belongs to the nearest one. Those that overlap count as one.

    Raises:
        ConfigError: If a unit needs an annotation or a column, and there is neither.
        DataError: If the annotation has no such unit on a chromosome.
    """
    if unit == "example":
        return tuple(one.name for one in variants.variants)
    if unit == "chromosome":
        return tuple(one.chrom for one in variants.variants)
    given = [one.cluster for one in variants.variants]
    if any(given):
        return tuple(
            cluster or one.name for one, cluster in zip(variants.variants, given, strict=True)
        )
    if unit == "cluster":
        return tuple(
            f"{one.chrom}:{(one.start + variants.origin - 1) // block}" for one in variants.variants
        )
    if annotation is None:
        raise ConfigError(
            f"unit is '{unit}', and nothing says which {unit} a variant belongs to: name a column "
            f"in variants.columns.cluster, or an annotation among the files."
        )
    return tuple(_nearest(annotation, unit, one, variants) for one in variants.variants)


def _nearest(annotation: Annotation, unit: str, one: Variant, variants: VariantSet) -> str:
    """Name the stretch that a variant lies in or nearest to."""
    chrom, place, rows = _around(annotation, unit, one, variants)
    distance = np.maximum(rows[:, 0] - place, place - rows[:, 1] + 1)
    return f"{chrom}:{unit}-{int(distance.argmin()) + 1}"


def _around(
    annotation: Annotation, unit: str, one: Variant, variants: VariantSet
) -> tuple[str, int, Intervals]:
    """Return a variant's chromosome, its place there, and the genes or exons on it."""
    chrom = variants.called or one.chrom
    rows = annotation.regions(chrom)[unit]
    if not len(rows):
        raise DataError(f"the annotation has no {unit} on chromosome '{chrom}'.")
    return chrom, one.start + variants.origin - 1, rows


def _gc(variants: VariantSet, length: int, _: Annotation | None) -> list[float]:
    """Score by the GC content of the window."""
    return gc_content([pair_of(variants.genome, one, length) for one in variants.variants])


def _exon_edge(variants: VariantSet, _: int, annotation: Annotation | None) -> list[float]:
    """Score by closeness to the nearest first or last base of an exon."""
    if annotation is None:
        raise ConfigError("baseline exon_edge needs an annotation among the files.")
    found = []
    for one in variants.variants:
        _chrom, place, rows = _around(annotation, "exon", one, variants)
        edges = np.concatenate((rows[:, 0], rows[:, 1] - 1))
        found.append(-float(np.abs(edges - place).min()))
    return found


def _composition(variants: VariantSet, length: int, _: Annotation | None) -> list[float]:
    """Score by ln P(REF) - ln P(ALT) from the base frequencies of all reference windows.

    What a model knows that has learned nothing but how often each base comes.
    """
    counts = np.ones(N)  # of each base once more than is there, so that none is impossible
    for one in variants.variants:
        codes = pair_of(variants.genome, one, length).ref.codes
        counts += np.bincount(codes[codes < N], minlength=N)
    known = np.append(np.log(counts / counts.sum()), 0.0)  # an unknown base says nothing
    found = []
    for one in variants.variants:
        _start, ref, alt = trimmed(one.start, one.ref, one.alt)
        found.append(float(known[encode(ref)].sum() - known[encode(alt)].sum()))
    return found


def _transversion(variants: VariantSet, _: int, __: Annotation | None) -> list[float]:
    """Score 0 for transitions, 1 for transversions, 2 for what changes several bases."""
    found = []
    for one in variants.variants:
        _start, ref, alt = trimmed(one.start, one.ref, one.alt)
        single = len(ref) == len(alt) == 1
        found.append(float((ref in _PURINES) != (alt in _PURINES)) if single else 2.0)
    return found


def _value(role: str) -> Baseline:
    """Score by a column of the file; variants without a value get the mean of the others."""

    def scores(variants: VariantSet, _: int, __: Annotation | None) -> list[float]:
        values = np.array([one.values[VALUE_ROLES.index(role)] for one in variants.variants])
        known = np.isfinite(values)
        if not known.any():
            raise DataError(
                f"baseline {role}: no variant has a value; name its column in "
                f"variants.columns.{role}, or leave the baseline out."
            )
        return [float(value) for value in np.where(known, values, values[known].mean())]

    return scores


BASELINES: Mapping[str, Baseline] = {
    "gc_content": _gc,
    "composition": _composition,
    "exon_edge": _exon_edge,
    "transversion": _transversion,
    "conservation": _value("conservation"),
    "cadd": _value("cadd"),
}
"""Scores that need no model, by name."""
