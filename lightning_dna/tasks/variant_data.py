"""The variants of a card with what belongs to them: sequence, annotation, clusters, baselines."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.annotation import Annotation
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.labelled_files import check_sum, find_files
from lightning_dna.tasks.variant_files import VariantSet, read_variants
from lightning_dna.tasks.variant_places import BASELINES, clusters_of, read_annotation
from lightning_dna.tasks.variant_source import VariantSource
from lightning_dna.tasks.variant_windows import fitting

Floats = npt.NDArray[np.float64]


class VariantData:
    """The variants of a card, read when they are first needed.

    Args:
        card: A card of kind ``variant_effect``.
        tasks_root: Folder in which its files are looked up first.
        genome: Gives the genome where the card has no file of it.
        length: Bases of a window.
        labelled: Whether every variant must have a label.
    """

    def __init__(
        self,
        card: TaskCard,
        *,
        tasks_root: Path | None,
        genome: Callable[[], Genome],
        length: int,
        labelled: bool = True,
    ) -> None:
        self.card = card
        self.length = length
        self._tasks_root = tasks_root
        self._genome = genome
        self._labelled = labelled

    @property
    def source(self) -> VariantSource:
        """How the card says that its file is read."""
        return self.card.variants or VariantSource()

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The card's files, found and checked."""
        found = find_files(self.card, self._tasks_root)
        for part, path in found.items():
            check_sum(path, (self.card.sha256 or {}).get(part))
        return found

    @cached_property
    def variants(self) -> VariantSet:
        """The variants that a window holds.

        Raises:
            ConfigError: If the card does not fit its files.
            DataError: If a file is missing or wrong, or REF is not what the genome has.
        """
        files = self._files
        genome = Genome.open(files["genome"]) if "genome" in files else self._genome()
        found = read_variants(files["variants"], genome, self.source, labelled=self._labelled)
        return fitting(found, self.length)

    @cached_property
    def annotation(self) -> Annotation | None:
        """Genes and exons, if the card has a file of them."""
        path = self._files.get("annotation")
        return None if path is None else read_annotation(path, self.variants)

    @cached_property
    def clusters(self) -> tuple[str, ...]:
        """What each variant shares with others, by the card's unit."""
        return clusters_of(
            self.variants,
            self.card.unit,
            block=self.source.block,
            annotation=self.annotation,
        )

    def baseline(self, name: str) -> Floats:
        """Return the scores of one of `BASELINES`, the greater the more positive."""
        values = BASELINES[name](self.variants, self.length, self.annotation)
        return np.array(values, dtype=np.float64)
