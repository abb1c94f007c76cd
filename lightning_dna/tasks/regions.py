"""What a card says of regions of a genome with many labels: where they stand, in which layout.

Used by the kinds ``multilabel`` (a set of labels for each region) and ``per_position`` (a label for
each base, or for each bin of bases). No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Layout = Literal["bend", "coordinates", "deepsea"]
Assembly = Literal["GRCh37", "GRCh38"]

PARTS = ("train", "valid", "test")
REGION_WAYS = ("frozen", "frozen_cnn", "full", "lora", "ia3", "scratch", "random")
RANKED = ("auroc", "auprc")
_FILES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    # layout: (files that must be there, files that may be)
    "bend": (frozenset({"all"}), frozenset({"labels", "genome"})),
    "coordinates": (frozenset(PARTS), frozenset({"genome"})),
    "deepsea": (frozenset(PARTS), frozenset()),
}
# Lengths of the first chromosomes tell human assemblies apart (GenBank, and UCSC's hg19 and hg38).
ASSEMBLIES: Mapping[str, Mapping[str, int]] = {
    "GRCh37": {"1": 249_250_621, "2": 243_199_373, "21": 48_129_895, "22": 51_304_566},
    "GRCh38": {"1": 248_956_422, "2": 242_193_529, "21": 46_709_983, "22": 50_818_468},
}


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Regions of a genome and their labels.

    The layouts:

    - ``bend``: ``files: {all: X.bed}`` with a header line naming the columns ``chromosome``,
      ``start``, ``end``, ``split`` (else the last column) and optionally ``strand`` and ``label``
      (numbers of the labels that are set, with commas between); without ``label``, ``files`` also
      has ``labels: X.hdf5`` with a dataset ``labels`` whose row i belongs to line i.
    - ``coordinates``: ``files: {train: X.csv, ...}`` with the columns ``Chr_No`` (from 0),
      ``Start`` and ``End``, and one column of 0 and 1 for each label, named ``y_...``: HyenaDNA's
      files of the chromatin profile.
      ``files`` of both may hold ``genome``, a FASTA file; without it, the regions are those of
      the genome of the study.
    - ``deepsea``: ``files: {train: train.mat, ...}``, DeepSEA's own: one-hot sequences (A, G, C, T)
      and labels.

    Attributes:
        layout: One of these.
        label_count: Number of labels of a region; of a ``per_position`` task, of classes.
        assembly: Which assembly the genome must be; ``None``: not checked.
        strand: Whether regions on the minus strand are read as the reverse complement.
        length: Bases to read around the middle of each region; ``None``: the region as it is. Bases
            beyond the ends of a chromosome are N.
        splits: Part to names in the column ``split``; ``None``: ``train``, ``valid`` and ``test``.
        folds: Whether the names in the column ``split`` are folds: each is the test part once, the
            next one validates, and the others train.
        groups: Name of a group of labels to first label and first label after it: metrics are also
            shown for each group.
        bin: Bases that share one label of a ``per_position`` task.
        positive_weight: Weight of the positive class in the loss of a task of two classes.
        hidden: Width of the two convolutions of the way ``frozen_cnn`` and of the baseline
            ``onehot_cnn``; ``None``: ``finetune.cnn_width``, which is 64.
        cluster_length: Regions that start within one stretch of this many bases of a chromosome
            share a cluster.
        max_test: At most this many test regions, evenly spread; ``None`` for all.

    Raises:
        ConfigError: If a value is not allowed.

    Example:
        >>> Regions(layout="bend", label_count=18, strand=True).bin
        1
    """

    layout: Layout
    label_count: int
    assembly: Assembly | None = None
    strand: bool = False
    length: int | None = None
    splits: dict[str, tuple[str, ...]] | None = None
    folds: bool = False
    groups: dict[str, tuple[int, int]] | None = None
    bin: int = 1
    positive_weight: float | None = None
    hidden: int | None = None
    cluster_length: int = 100_000
    max_test: int | None = None

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise unknown_name("layout", self.layout, get_args(Layout), where="regions")
        if self.assembly is not None and self.assembly not in ASSEMBLIES:
            raise unknown_name("assembly", self.assembly, ASSEMBLIES, where="regions")
        counts = {
            "label_count": self.label_count,
            "bin": self.bin,
            "hidden": 1 if self.hidden is None else self.hidden,
            "cluster_length": self.cluster_length,
            "length": 1 if self.length is None else self.length,
            "max_test": 1 if self.max_test is None else self.max_test,
        }
        for name, value in counts.items():
            if value < 1:
                raise ConfigError(f"regions.{name} is {value}; allowed: 1 or more.")
        if self.positive_weight is not None and not self.positive_weight > 0:
            raise ConfigError(
                f"regions.positive_weight is {self.positive_weight}; allowed: above 0."
            )
        for part in self.splits or {}:
            if part not in PARTS:
                raise unknown_name("part", part, PARTS, where="regions.splits")
        if self.folds and self.splits:
            raise ConfigError("regions has both 'splits' and 'folds'; give one or the other.")
        if (self.folds or self.splits) and self.layout != "bend":
            raise ConfigError(
                f"regions.splits and regions.folds name values of the column 'split'; the layout "
                f"'{self.layout}' has a file for each part instead."
            )
        for name, (first, after) in (self.groups or {}).items():
            if not 0 <= first < after <= self.label_count:
                raise ConfigError(
                    f"regions.groups.{name} is [{first}, {after}]; allowed: first label and first "
                    f"label after the group, within 0 to {self.label_count}."
                )


def check_region_card(
    kind: str,
    regions: Regions | None,
    files: Mapping[str, str] | None,
    ways: Sequence[str],
    metrics: Sequence[str],
) -> None:
    """Check what a card of a task on regions says, part against part.

    Args:
        kind: ``multilabel`` or ``per_position``.
        regions: Its regions.
        files: Its files.
        ways: Its ways.
        metrics: Its metrics; the first one chooses on validation.

    Raises:
        ConfigError: If something is missing, or two parts do not go together.
    """
    if regions is None:
        raise ConfigError(
            f"regions is missing; a task of kind '{kind}' says there how its files are laid out "
            f"and how many labels there are."
        )
    needed, possible = _FILES[regions.layout]
    present = set(files or {})
    if needed - present or present - needed - possible:
        options = f", and may have {', '.join(sorted(possible))}" if possible else ""
        raise ConfigError(
            f"files holds {', '.join(sorted(present)) or 'nothing'}; the layout "
            f"'{regions.layout}' needs {', '.join(sorted(needed))}{options}."
        )
    for way in ways:
        if way not in REGION_WAYS:
            raise unknown_name("way", way, REGION_WAYS, where=f"ways of kind '{kind}'")
    if kind == "multilabel":
        return
    if regions.layout != "bend":
        raise ConfigError(
            f"regions.layout is '{regions.layout}'; labels by position are of 'bend'."
        )
    if regions.length is not None:
        raise ConfigError("regions.length has no meaning for labels by position; leave it out.")
    if regions.label_count < 2:
        raise ConfigError("regions.label_count is 1; a class for every base takes two or more.")
    ranked = {metric in RANKED for metric in metrics}
    if ranked == {True, False}:
        raise ConfigError(
            f"metrics holds {', '.join(metrics)}; metrics of rank ({', '.join(RANKED)}) and of "
            f"classes are kept in different tables: give two cards."
        )
    if ranked == {True} and regions.label_count != 2:
        raise ConfigError(
            f"metrics holds {', '.join(metrics)}, which rank two classes; regions.label_count is "
            f"{regions.label_count}."
        )
