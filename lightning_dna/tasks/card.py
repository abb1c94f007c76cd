"""Task cards: one YAML file says what a task is; nothing about a task is in code.

No torch here: the command line lists and checks cards without it.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lightning_dna import catalog
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.genome.simulated_tasks import SIMULATED_TASKS
from lightning_dna.settings import OURS, build, load_yaml
from lightning_dna.tasks.card_files import Carve, Split, check_files, check_layout, check_sums
from lightning_dna.tasks.card_kinds import CARD_KINDS, CardKind, TaskKind
from lightning_dna.tasks.heldout_card import check_heldout_card
from lightning_dna.tasks.memorization_cards import (
    ATTACKS,
    Attack,
    Control,
    Reading,
    SiteWindows,
    check_allele_card,
    check_canary_card,
    check_membership_card,
)
from lightning_dna.tasks.regions import Regions, check_region_card
from lightning_dna.tasks.species_source import SpeciesSource, check_species_card
from lightning_dna.tasks.variant_source import (
    CARD_SCORES,
    DEFAULT_SCORES,
    CardScore,
    VariantSource,
    check_variant_card,
)

Layout = Literal["csv", "parquet", "fasta", "classes"]
Unit = Literal["example", "cluster", "chromosome", "homology", "gene", "exon"]
Way = Literal["frozen", "frozen_cnn", "full", "lora", "ia3", "soft_prompt", "scratch", "random"]

PROBES: tuple[Way, ...] = ("frozen", "random")
"""Ways that fit a logistic regression on states that nothing changes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_AT_LEAST = {
    "version": 1,
    "window_length": 8,
    "mask_seed": 0,
    "max_windows": 1,
    "cluster_length": 1,
    "neighbours": 1,
    "max_train": 1,
    "sequence_length": 1,
    "folds": 2,
    "n_train": 1,
    "n_valid": 1,
    "n_test": 1,
    "length": 1,
    "seed": 0,
}


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What a task is. A correction is a new ``version``, never a silent edit.

    Fields that belong to another kind must be left out.

    Attributes:
        name: Name in score tables: letters, digits, ``_``, ``-`` and ``.``; no ``/``, which
            separates a task from its way or view.
        kind: ``heldout_mlm`` (hidden bases of held-out chromosomes), ``classification`` (labelled
            sequences in files) or ``simulated_classification`` (labelled sequences drawn from a
            known model).
        version: Version of the card, from 1.
        title: One line for lists.
        description: What is measured, and what to know before reading its numbers.
        licence: Licence of the data.
        citation: Who made the task.
        url: Where the data come from.
        source: Name of the data source that ``lightning-dna data get`` fetches the files from, or
            the path of its YAML file.
        sha256: Entry of ``files`` to the checksum of its file, as it lies or unpacked from gzip;
            of a folder, that of the list that ``sha256sum`` writes of its files, sorted. Checked
            when the file is read.
        unit: What is resampled, and what the cluster ids of the scores are: ``example`` (each for
            itself, or the column ``cluster``), ``chromosome`` (needs coordinates), ``homology``
            (sequences that share stretches, on either strand), or what the column ``cluster``
            holds: ``cluster``, ``gene``, ``exon``. Of ``heldout_mlm`` stretches of
            ``cluster_length``, which ``homology`` unites where they share sequence.
        supersedes: Name of the card that this one corrects; a study of both shows what its scores
            lose.
        deviation: How the card departs from the published task; printed with every result.
        carve_deviation: How the carving departs from it; printed where the part is used as carved,
            and not under ``folds``.
        metrics: Metrics to report. Default: ``mlm_accuracy`` and ``bits_per_base`` for
            ``heldout_mlm``, ``mcc`` and ``accuracy`` otherwise.
        baselines: Baselines scored beside the arms: ``majority``, ``markov_1`` to ``markov_5``,
            ``context_mixture`` (words of up to 16 visible bases) and ``copy_oracle`` (what stands
            where the training sequence has the window again) for ``heldout_mlm``; otherwise
            ``majority``, ``kmer_logistic`` and the networks ``onehot_cnn``, ``gb_cnn`` (of
            GenomicBenchmarks, as published), ``gb_cnn_fixed`` (without its second sigmoid),
            ``convnova_like`` and ``enformer_like``. Adding one scores that one alone.
        window_length: Bases of a window; ``None`` for the study's ``data.length``.
        mask_fraction: Share of the bases that are hidden, in (0, 1).
        mask_seed: Seed of the hidden positions: part of the task, not of a run.
        max_windows: At most this many windows of each part, evenly spread; ``None`` for all.
        cluster_length: Windows that start within one stretch of this many bases of a chromosome
            share a cluster.
        train_windows: Whether windows of the training chromosomes are scored too, as many as of
            the test chromosomes, for the gap between seen and held-out sequence.
        matched_gap: Whether the gap is also shown between equal strata: training windows weighted
            to the repeats, GC content and annotation of the held-out ones (view ``matched_gap``).
        similarity: Whether held-out scores are also shown by how much of a window stands on the
            training chromosomes, and how long a stretch of it. Like ``matched_gap`` and ``unit:
            homology`` of a held-out card, it changes no score, and scores are not made again.
        repeat_divergence: Whether the strata of an annotated genome tell repeats apart by their
            divergence from the consensus, which RepeatMasker output (``data.repeat_bed``) states.
        attacks: Which attacks of a task of kind ``membership`` are tables: ``loss`` and
            ``neighbours`` (the loss compared with that of mutated copies of the window).
        control: Of that kind: ``none``, windows of training chromosomes against windows of test
            chromosomes; or held-out windows on both sides, of validation and test
            ``chromosomes``, or of every other of their ``blocks`` of ``cluster_length``.
        neighbours: Mutated copies of each window.
        mutation_rate: Share of the bases that are mutated in a copy, in (0, 1).
        reading: Of the kind ``canaries``: each read ``alone``, or ``in_place``, in the training
            window that it was planted in.
        site_windows: Of the kind ``alleles``: each site in the middle of a window ``around`` it, or
            in that of the windows that lie end to end, ``tiled``, as training lays them.
        ways: How a classifier is made from a model: ``frozen`` (linear probe on the pretrained
            weights), ``frozen_cnn`` (BEND's two-layer CNN on their states), ``full`` (all weights
            fine-tuned), ``lora`` and ``ia3`` (small changes of them), ``soft_prompt`` (vectors in
            front), and the controls ``random`` (probe on initial weights) and ``scratch`` (all
            weights, from the initial ones).
        files: Part (``train``, ``valid``, ``test``) to file; or ``{"all": file}`` with a further
            column ``split``. Relative paths are looked up in the recipe's ``tasks_root``, then in
            ``folder``, as they stand, with ``.gz``, and with the ending of another table.
        layout: What ``files`` are: ``csv`` (columns ``sequence`` and ``label``), ``parquet`` (the
            same), ``fasta`` (header lines ``>name|label``), or ``classes``: a folder with an entry
            for each class, either a folder of ``.txt`` files with a sequence each or a CSV file of
            intervals (``id,region,start,end,strand``) on ``reference``.
        reference: FASTA file of the intervals, one for all classes or one for each.
        folds: Number of folds of a cross-validation; ``None``: one split.
        split: Which examples train and test: ``original``, or a view of `split_views`, whose name
            then ends the card's, after an ``@``; a recipe makes such cards by ``tasks.splits``.
        carve: How to make the part that the files lack.
        labels: Labels in class order; ``None`` reads ``0, 1, ...``.
        max_train: At most this many training examples, a fixed choice; ``None`` for all.
        sequence_length: Longest sequence that the files may hold, in bases; ``None``: no limit.
        regions: Of the kinds ``multilabel`` (labels of whole regions of a genome) and
            ``per_position`` (a class for every base or bin of a region): layout, genome, labels.
        species: Chromosomes, windows and protocol of a task of kind ``species`` (which species a
            window is of); its ``files`` name one FASTA file for each species.
        variants: How to read the file ``variants`` of a task of kind ``variant_effect``; its
            ``files`` may also hold ``genome`` (FASTA; default: the study's) and ``annotation``.
        scores: Which scores of a variant are tables: ``llr``, ``abs_llr``,
            ``unmasked_llr``, ``embedding_cosine``, ``embedding_l2``, ``embedding_cosine_mean``,
            ``embedding_l2_mean``. ``untrained_llr``, ``untrained_abs_llr``,
            ``untrained_embedding_cosine`` and ``untrained_embedding_l2`` are controls: the same of
            every arm's initial weights.
        simulated: Name of the simulated task.
        n_train: Simulated training examples.
        n_valid: Simulated validation examples.
        n_test: Simulated test examples.
        length: Length of simulated sequences in bases.
        seed: Seed of the simulation: part of the task, not of a run.
        folder: Folder of the card's file; set by `load_card`.

    Raises:
        ConfigError: If a value is not allowed, or a field belongs to another kind.

    Example:
        >>> TaskCard(name="bases", kind="heldout_mlm", title="Hidden bases").metrics
        ('mlm_accuracy', 'bits_per_base')
    """

    name: str
    kind: TaskKind
    version: int = 1
    title: str
    description: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    source: str | None = None
    sha256: dict[str, str] | None = None
    unit: Unit = "example"
    supersedes: str | None = None
    deviation: str = ""
    carve_deviation: str = ""
    metrics: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    window_length: int | None = None
    mask_fraction: float = 0.15
    mask_seed: int = 0
    max_windows: int | None = None
    cluster_length: int = 16384
    train_windows: bool = True
    matched_gap: bool = False
    similarity: bool = False
    repeat_divergence: bool = False

    attacks: tuple[Attack, ...] = ATTACKS
    control: Control = "none"
    neighbours: int = 8
    mutation_rate: float = 0.05
    reading: Reading = "alone"
    site_windows: SiteWindows = "around"

    ways: tuple[Way, ...] = ("frozen", "full")
    files: dict[str, str] | None = None
    layout: Layout = "csv"
    reference: str | dict[str, str] | None = None
    folds: int | None = None
    split: Split = "original"
    carve: Carve | None = None
    labels: tuple[str, ...] | None = None
    max_train: int | None = None
    sequence_length: int | None = None

    regions: Regions | None = None

    species: SpeciesSource | None = None

    variants: VariantSource | None = None
    scores: tuple[CardScore, ...] = DEFAULT_SCORES

    simulated: str | None = None
    n_train: int = 2000
    n_valid: int = 500
    n_test: int = 2000
    length: int = 512
    seed: int = 0

    folder: str | None = dataclasses.field(default=None, metadata=OURS)

    def __post_init__(self) -> None:
        ending = "" if self.split == "original" else f"@{self.split}"
        if not self.name.endswith(ending):
            raise ConfigError(
                f"split is '{self.split}', but name '{self.name}' does not end in '{ending}'; "
                f"leave it out: tasks.splits in a recipe makes such cards."
            )
        if not _NAME.fullmatch(self.name.removesuffix(ending)):
            raise ConfigError(
                f"name '{self.name}' is not allowed; use letters, digits, '_', '-' and '.', "
                f"beginning with a letter or digit."
            )
        if self.kind not in get_args(TaskKind):
            raise unknown_name("kind of task", self.kind, get_args(TaskKind))
        if not self.title.strip():
            raise ConfigError("title is empty; say in one line what the task asks.")
        self._check_fields()
        self._check_metrics_and_baselines()
        for field, lowest in _AT_LEAST.items():
            value = getattr(self, field)
            if value is not None and value < lowest:
                raise ConfigError(f"{field} is {value}; allowed: {lowest} or more.")
        if not 0.0 < self.mask_fraction < 1.0:
            raise ConfigError(f"mask_fraction is {self.mask_fraction}; allowed: (0, 1).")
        if self.kind == "heldout_mlm":
            check_heldout_card(self.unit, self.train_windows, self.matched_gap)
        if self.rules.tables == "ways":
            _check_list("ways", self.ways, get_args(Way))
        if self.kind == "classification":
            check_files(self.files, self.carve)
            check_layout(self.layout, self.files or {}, self.labels, self.reference)
        if self.kind in ("multilabel", "per_position"):
            check_region_card(self.kind, self.regions, self.files, self.ways, self.metrics)
        if self.kind == "variant_effect":
            _check_list("scores", self.scores, CARD_SCORES)
            check_variant_card(self.files, self.unit, self.baselines, self.variants)
        if self.kind == "membership":
            _check_list("attacks", self.attacks, ATTACKS)
            check_membership_card(self.control, self.mutation_rate)
        if self.kind == "canaries":
            check_canary_card(self.reading)
        if self.kind == "alleles":
            check_allele_card(self.files, self.site_windows)
        if self.kind == "species":
            check_species_card(self.files, self.unit, self.species)
        check_sums(self.sha256, self.files)
        if self.kind == "simulated_classification":
            self._check_simulated()

    def _check_fields(self) -> None:
        """Refuse a field that another kind owns, unless it has its default."""
        own = self.rules.fields
        foreign = frozenset.union(*(row.fields for row in CARD_KINDS.values())) - own
        for field in dataclasses.fields(self):
            if field.name in foreign and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"{field.name} has no meaning for a task of kind '{self.kind}'; its own keys "
                    f"are {', '.join(sorted(own))}."
                )

    def _check_metrics_and_baselines(self) -> None:
        """Fill in the kind's default metrics; refuse unknown and repeated names."""
        if not self.metrics:
            object.__setattr__(self, "metrics", self.rules.default_metrics)
        _check_list("metrics", self.metrics, self.rules.metrics)
        if self.baselines:
            _check_list("baselines", self.baselines, self.rules.baselines)

    @property
    def rules(self) -> CardKind:
        """What a card of this kind may say."""
        return CARD_KINDS[self.kind]

    @property
    def tables(self) -> tuple[str | None, ...]:
        """The score tables of one arm: an entry for each way, or ``None`` for the only table."""
        return (None,) if self.rules.tables is None else tuple(getattr(self, self.rules.tables))

    def _check_simulated(self) -> None:
        """Check the name of the simulated task and that its sequences can hold it."""
        if self.simulated is None:
            raise ConfigError(
                f"simulated is missing; choose one of {', '.join(sorted(SIMULATED_TASKS))}."
            )
        if self.simulated not in SIMULATED_TASKS:
            raise unknown_name("simulated task", self.simulated, SIMULATED_TASKS)
        shortest = SIMULATED_TASKS[self.simulated].minimum_length
        if self.length < shortest:
            raise ConfigError(
                f"length is {self.length}; the simulated task '{self.simulated}' needs {shortest} "
                f"bases or more."
            )


def load_card(name_or_path: str | Path, *, beside: Path | None = None) -> TaskCard:
    """Read and check a task card.

    Args:
        name_or_path: A shipped name such as ``"heldout_mlm"``, or the path of a YAML file.
        beside: A folder in which a relative path is tried first.

    Raises:
        ConfigError: If there is no such card, or something in it is not allowed; the message
            names file and key.
    """
    path = catalog.resolve("task", name_or_path, beside=beside)
    content = load_yaml(path)
    if "folder" in content:
        raise ConfigError(f"{path}: key 'folder' is set when the card is read; leave it out.")
    for key in ("name", "kind", "title"):
        if key not in content:
            raise ConfigError(f"{path}: key '{key}' is missing; every task card has one.")
    if isinstance(source := content.get("source"), str):
        try:
            catalog.resolve("source", source, beside=path.parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: key 'source': {error}") from error
    return build(TaskCard, {**content, "folder": str(path.parent)}, where=str(path))


def _check_list(field: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuse an empty list, an unknown name and a repeated one."""
    if not values:
        raise ConfigError(f"{field} is empty; allowed: {', '.join(allowed)}.")
    for value in values:
        if value not in allowed:
            raise unknown_name(field.removesuffix("s"), value, allowed, where=field)
        if values.count(value) > 1:
            raise ConfigError(f"{field} holds '{value}' twice; name each once.")
