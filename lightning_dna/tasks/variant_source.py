"""What a card says about a file of variants: where its columns are, and which rows count. No torch.

A file is a VCF file, or a table with a row for each variant: CSV, TSV, Parquet or an Excel sheet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from lightning_dna.errors import ConfigError, unknown_name

VariantScore = Literal[
    "llr",
    "abs_llr",
    "unmasked_llr",
    "embedding_cosine",
    "embedding_l2",
    "embedding_cosine_mean",
    "embedding_l2_mean",
]
ControlScore = Literal[
    "untrained_llr", "untrained_abs_llr", "untrained_embedding_cosine", "untrained_embedding_l2"
]
Alleles = Literal["ref_alt", "either"]
CardScore = VariantScore | ControlScore
SCORES: tuple[VariantScore, ...] = get_args(VariantScore)
CONTROL_SCORES: tuple[ControlScore, ...] = get_args(ControlScore)
CARD_SCORES: tuple[CardScore, ...] = (*SCORES, *CONTROL_SCORES)
DEFAULT_SCORES: tuple[VariantScore, ...] = ("llr", "embedding_cosine")
_CONTROL = "untrained_"
PARTS = ("variants", "genome", "annotation")
ROLES = ("chrom", "position", "ref", "alt", "id", "label", "cluster", "conservation", "cadd")
VALUE_ROLES = ("conservation", "cadd")
REQUIRED_ROLES = ("position", "ref", "alt")


def trained_scores(names: Sequence[CardScore]) -> tuple[VariantScore, ...]:
    """Return the scores of a card without its controls.

    Example:
        >>> trained_scores(["llr", "untrained_llr"])
        ('llr',)
    """
    return tuple(name for name in names if name in SCORES)


def signed_scores(names: Sequence[VariantScore]) -> tuple[VariantScore, ...]:
    """Return the scores that a model is asked for: of a size the score that it is the size of.

    Example:
        >>> signed_scores(["abs_llr", "embedding_l2", "llr"])
        ('llr', 'embedding_l2')
    """
    return tuple(dict.fromkeys("llr" if name == "abs_llr" else name for name in names))


def read_control(name: CardScore) -> tuple[VariantScore, bool]:
    """Return which score a table holds, and whether it is of the initial weights.

    Example:
        >>> read_control("untrained_llr"), read_control("llr")
        (('llr', True), ('llr', False))
    """
    plain = cast(VariantScore, name.removeprefix(_CONTROL))
    return plain, name.startswith(_CONTROL)


@dataclass(frozen=True, kw_only=True)
class VariantSource:
    """How to read a file of variants, and the sequence around them.

    Attributes:
        columns: Role to the name of its column: ``chrom, position, ref, alt, id, label, cluster,
            conservation, cadd``. Roles that are left out are looked for under their own name. Of a
            VCF file only ``label``, ``cluster``, ``conservation`` and ``cadd`` are asked for: keys
            of INFO.
        header_row: Line of a table that holds the column names, from 1.
        sheet: Number of the sheet of an Excel file, from 1.
        zero_based: Whether positions count from 0; by default from 1, as in VCF.
        shift: Added to every position, to come from one assembly to another where no bases were
            inserted or deleted between them; REF is checked afterwards.
        chrom: Chromosome of every variant, for tables without a column of it, and of the one
            sequence in the FASTA file, if its name is another.
        origin: Position, from 1, of the first base of the FASTA file's sequence: files that hold
            part of a chromosome have one. Needs a file with one sequence.
        positive: Labels that count as 1; by default ``1``.
        negative: Labels that count as 0; by default ``0``. Rows with other labels are left out and
            counted.
        alleles: What the columns ``ref`` and ``alt`` of a table hold: those (``ref_alt``), or two
            alleles of which ``either`` may be the genome's, as in tables of association studies.
            The one that the genome has becomes REF, the longer one if it has both; rows of which
            it has neither are left out and counted, and refused if they are more than a tenth.
        keep: Column (or INFO key) to the values of which one must stand there.
        stars: Fewest review stars that a ClinVar record must have, 0 to 4 (from CLNREVSTAT).
        block: Where the card's unit is ``cluster`` and no column gives clusters, variants in one
            stretch of this many bases share one.

    Raises:
        ConfigError: If a value is not allowed.
    """

    columns: dict[str, str] | None = None
    header_row: int = 1
    sheet: int = 1
    zero_based: bool = False
    shift: int = 0
    chrom: str | None = None
    origin: int = 1
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    alleles: Alleles = "ref_alt"
    keep: dict[str, tuple[str, ...]] | None = None
    stars: int = 0
    block: int = 10_000

    def __post_init__(self) -> None:
        for role in self.columns or {}:
            if role not in ROLES:
                raise unknown_name("role of a column", role, ROLES, where="variants.columns")
        lowest = {"header_row": 1, "sheet": 1, "origin": 1, "stars": 0, "block": 1}
        for field, least in lowest.items():
            if getattr(self, field) < least:
                raise ConfigError(
                    f"variants.{field} is {getattr(self, field)}; allowed: {least} or more."
                )
        if self.stars > 4:
            raise ConfigError(f"variants.stars is {self.stars}; allowed: 0 to 4.")
        both = sorted(set(self.positive) & set(self.negative))
        if both or not self.positive or not self.negative:
            raise ConfigError(
                f"variants.positive and variants.negative need one label or more each, and share "
                f"none; shared: {', '.join(both) or 'none'}."
            )

    def column(self, role: str) -> str:
        """Return the name of the column that has a role."""
        return (self.columns or {}).get(role, role)


def check_variant_card(
    files: Mapping[str, str] | None,
    unit: str,
    baselines: tuple[str, ...],
    source: VariantSource | None,
) -> None:
    """Check that a card of variants has the files that it needs.

    Raises:
        ConfigError: If one is missing or unknown, or the unit is that of sequences.
    """
    for part in files or {}:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS, where="files")
    if "variants" not in (files or {}):
        raise ConfigError("files lacks variants; give a VCF file or a table.")
    if unit == "homology":
        raise ConfigError("unit 'homology' is of sequences; use gene, exon, cluster or chromosome.")
    known = "annotation" in (files or {})
    given = source is not None and "cluster" in (source.columns or {})
    if unit in ("gene", "exon") and not (known or given):
        raise ConfigError(
            f"unit is '{unit}', and nothing says which {unit} a variant belongs to: name a column "
            f"in variants.columns.cluster, or an annotation in files."
        )
    if "exon_edge" in baselines and not known:
        raise ConfigError("baseline exon_edge needs an annotation in files.")
    for role in VALUE_ROLES:
        if role in baselines and (source is None or role not in (source.columns or {})):
            raise ConfigError(
                f"baseline {role} needs its column; name it in variants.columns.{role}."
            )
