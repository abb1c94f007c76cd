"""Held-out masked language modelling: hidden bases of chromosomes that no arm was trained on.

Which bases are hidden is a pure function of the card and of the genomic position, so every model
and every baseline is scored on the very same bases, and scores can be compared base by base.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tqdm import tqdm

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.masking import evaluation_mask
from lightning_dna.data.windows import Windows, tile
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, Codes, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome, split_name
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import TaskKind
from lightning_dna.tasks.strata import SOFT_MASK_STRATA, GenomeStrata, Labels
from lightning_dna.tasks.token_marginals import BaseMarginals, token_log_probabilities
from lightning_dna.tokenizers.character import CharacterTokenizer

Part = Literal["train", "test"]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

TOKENS_PER_BATCH = 16_384


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowBases:
    """Some windows, what is in them, and what is hidden.

    Attributes:
        windows: The windows, all of one length.
        codes: Base codes 0 to 4, shape ``(windows, length)``.
        repeat: Soft-masked bases, shape ``(windows, length)``.
        hidden: Bases to be predicted, shape ``(windows, length)``.
        strata: Stratum of each base, as a place in the task's ``labels``, shape ``(windows,
            length)``; ``None`` where repeats alone are told apart.
    """

    windows: Windows
    codes: Codes
    repeat: Flags
    hidden: Flags
    strata: Labels | None = None


Predictor = Callable[[WindowBases], Floats]
"""Natural logarithm of P(A), P(C), P(G), P(T) at each hidden base, row by row: ``(hidden, 4)``."""


def hidden_positions(
    card: TaskCard, chrom: str, starts: npt.NDArray[np.int64], codes: Codes
) -> Flags:
    """Flag the bases of some windows of a chromosome that are hidden from everyone.

    A base is hidden if the evaluation mask of the card hides its genomic position, unless it is N
    or the first base of its window. The first is spared because a next-token model has nothing to
    predict it from, and all objectives are to be scored on the same bases.

    Args:
        card: The task card: fraction and seed.
        chrom: Chromosome name.
        starts: First base of each window, 0-based, shape ``(windows,)``.
        codes: Base codes 0 to 4 of the windows, shape ``(windows, length)``.

    Returns:
        Shape ``(windows, length)``.
    """
    positions = starts[:, None] + np.arange(codes.shape[1], dtype=np.int64)
    hidden = evaluation_mask(card.mask_seed, chrom, positions, card.mask_fraction)
    hidden &= codes < N
    hidden[:, 0] = False
    return hidden


class HeldoutMLM:
    """The task on one genome: its windows, and the scores of a model on them.

    Windows cover the test chromosomes without overlap; repeats are always kept, whatever the study
    trains on, and are told apart by stratum; with `GenomeStrata` so are codon positions, exons,
    introns, GC content and classes of repeats. If the card says so, as many windows of the training
    chromosomes, evenly spread, are scored too. Each of several genomes is scored so by itself, with
    limits of its own.

    A masked model sees ``[MASK]`` at all hidden positions of a window. A next-token model sees the
    sequence as it is, and position i is predicted from the positions before i: from one side only,
    but with none of them hidden. Probabilities are renormalised over A, C, G and T. A masked model
    over longer tokens is scored on the very same bases, see
    :mod:`lightning_dna.tasks.token_marginals`, which says what that can and cannot correct for.

    Args:
        card: A card of kind ``heldout_mlm``.
        genome: The genome.
        split: Its chromosomes for training and test.
        length: Window length in bases where the card does not fix one.
        strata: What else is known of the bases; ``None``: repeats alone are told apart.

    Raises:
        ConfigError: If the card is of another kind, or the split has no test chromosome.
        DataError: If the annotation has nothing on a chromosome that is scored.
    """

    kind: ClassVar[TaskKind] = "heldout_mlm"

    def __init__(
        self,
        card: TaskCard,
        genome: Genome,
        split: ChromosomeSplit,
        length: int,
        strata: GenomeStrata | None = None,
    ) -> None:
        if card.kind != self.kind:
            raise ConfigError(
                f"task '{card.name}' is of kind '{card.kind}'; expected '{self.kind}'."
            )
        if not split.test:
            raise ConfigError(
                f"task '{card.name}' scores held-out chromosomes, but the split has no test "
                f"chromosome; name some in data.split.test or give a test_fraction."
            )
        self.card = card
        self.genome = genome
        self.split = split
        self.length = card.window_length or length
        self.strata = strata
        self.labels = SOFT_MASK_STRATA if strata is None else strata.labels
        if strata is not None:
            strata.check(chrom for part in self.parts for chrom in split.part(part))
        self._windows: dict[str, Windows] = {}

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are scored."""
        return ("test", "train") if self.card.train_windows else ("test",)

    def windows(self, part: Part) -> Windows:
        """Return the windows of a part, in the order of the genome.

        Raises:
            ConfigError: If the part is neither ``train`` nor ``test``.
            DataError: If no window fits.
        """
        if part not in ("train", "test"):
            raise unknown_name("part", part, ("train", "test"))
        if part not in self._windows:
            found = tile(self.genome, self.split.part(part), length=self.length)
            held_out = None if part == "test" else self._by_genome(self.windows("test"))
            chosen = []
            for name, places in self._by_genome(found).items():
                limit = self.card.max_windows or len(places)
                if held_out is not None:
                    limit = min(limit, len(held_out[name]))
                chosen.append(places[_evenly_spread(len(places), limit)])
            self._windows[part] = found.select(np.concatenate(chosen))
        return self._windows[part]

    def _by_genome(self, windows: Windows) -> dict[str, npt.NDArray[np.int64]]:
        """Return the places of windows by genome; one genome alone has no name."""
        if not isinstance(self.genome, JoinedGenome):
            return {"": np.arange(len(windows))}
        names = np.array([split_name(chrom)[0] for chrom in windows.chroms])[windows.chrom_index]
        return {name: np.flatnonzero(names == name) for name in self.genome.members}

    def batches(self, part: Part, *, bases: int = TOKENS_PER_BATCH) -> Iterator[WindowBases]:
        """Read the windows of a part, about ``bases`` bases at a time.

        Args:
            part: ``train`` or ``test``.
            bases: Bases of a batch; it holds one window at least.
        """
        windows = self.windows(part)
        step = max(1, bases // self.length)
        for first in range(0, len(windows), step):
            yield self._read(windows.select(np.arange(first, min(first + step, len(windows)))))

    def _read(self, windows: Windows) -> WindowBases:
        """Read some windows from the genome."""
        stored = np.empty((len(windows), self.length), dtype=np.uint8)
        hidden = np.empty(stored.shape, dtype=np.bool_)
        strata = None if self.strata is None else np.empty(stored.shape, dtype=np.int64)
        for chrom, rows in windows.by_chrom():
            starts = windows.starts[rows]
            stored[rows] = self.genome.stored(chrom)[starts[:, None] + np.arange(self.length)]
            codes = np.bitwise_and(stored[rows], np.uint8(CODE_BITS))
            hidden[rows] = hidden_positions(self.card, chrom, starts, codes)
            if self.strata is not None and strata is not None:
                soft = (stored[rows] & SOFT_MASK) != 0
                strata[rows] = self.strata.of_windows(chrom, starts, codes, soft)
        return WindowBases(
            windows=windows,
            codes=np.bitwise_and(stored, np.uint8(CODE_BITS)),
            repeat=(stored & SOFT_MASK) != 0,
            strata=strata,
            hidden=hidden,
        )

    def score(
        self,
        model: LanguageModel,
        *,
        variant: str,
        seed: int,
        device: str | torch.device = "cpu",
        progress: bool = False,
        encoding: Encoding = CHARACTERS,
    ) -> Scores:
        """Score a language model on every hidden base.

        Args:
            model: The model; its weights, mode and device are left as they were.
            variant: Name of the arm.
            seed: Training seed of the model.
            device: Where to compute.
            progress: Show a bar on stderr.
            encoding: How sequences become the ids that the model reads.

        Returns:
            One row per window and stratum with a hidden base.

        Raises:
            ConfigError: If the windows are longer than the model reaches, or it is a next-token
                model over tokens of several bases.
            DataError: If nothing is hidden, or the model's output is not finite.
        """
        with _evaluating(model, device):
            return self.score_with(
                self._predictor(model, encoding, variant, device),
                variant=variant,
                seed=seed,
                progress=progress,
            )

    def _predictor(
        self, model: LanguageModel, encoding: Encoding, variant: str, device: str | torch.device
    ) -> Predictor:
        """Return what gives a model's probabilities at the hidden bases of a batch."""
        if encoding.by_base:
            part = f"arm '{variant}' on task '{self.card.name}'"
            model.config.check_length(self.length, part=part)
            return lambda batch: model_log_probabilities(model, batch, device=device)
        marginals = BaseMarginals(encoding.tokenizer)
        return lambda batch: token_log_probabilities(
            model, batch.codes, batch.hidden, encoding, marginals, device=device
        )

    def score_with(
        self,
        predict: Predictor,
        *,
        variant: str,
        seed: int,
        bases_per_batch: int = TOKENS_PER_BATCH,
        progress: bool = False,
    ) -> Scores:
        """Score anything that gives each hidden base a probability of each letter.

        A base is correct if its letter is the most probable one, the first of A, C, G, T among
        equals.

        Args:
            predict: Gives log-probabilities at the hidden bases of a batch.
            variant: Name in the score table.
            seed: Seed in the score table; 0 for what has none.
            bases_per_batch: Bases handed to ``predict`` at a time.
            progress: Show a bar on stderr.

        Returns:
            One row per window and stratum with a hidden base.

        Raises:
            DataError: If nothing is hidden, or a probability is 0 or not a number.
        """
        frames = []
        total = sum(len(self.windows(part)) for part in self.parts)
        with tqdm(total=total, desc=variant, unit="window", disable=not progress) as bar:
            for part in self.parts:
                for batch in self.batches(part, bases=bases_per_batch):
                    rows = self._rows(batch, predict(batch), variant)
                    frames.append(rows.assign(part=part))
                    bar.update(len(batch.windows))
        table = pd.concat(frames, ignore_index=True).assign(
            task=self.card.name, variant=variant, seed=seed
        )
        if not (table["part"] == "test").any():
            raise DataError(
                f"task '{self.card.name}': no base of the test windows is hidden; raise "
                f"mask_fraction ({self.card.mask_fraction}) or score more windows."
            )
        return Scores(table, "mlm")

    def _rows(self, batch: WindowBases, log_probabilities: Floats, variant: str) -> pd.DataFrame:
        """Sum the hidden bases of each window and stratum."""
        row, column = np.nonzero(batch.hidden)
        truth = batch.codes[row, column]
        nats = -log_probabilities[np.arange(len(truth)), truth]
        if not np.isfinite(nats).all():
            raise DataError(
                f"task '{self.card.name}': '{variant}' gives a hidden base a probability of 0 or "
                f"none at all; did its training diverge? Look at its curves."
            )
        correct = log_probabilities.argmax(axis=1) == truth
        # Cell of each hidden base: its window, and within it its stratum.
        labels = np.array(self.labels, dtype=object)
        stratum = batch.repeat if batch.strata is None else batch.strata
        cell = len(labels) * row + stratum[row, column]
        cells = len(labels) * len(batch.windows)
        masked = np.bincount(cell, minlength=cells)
        filled = np.flatnonzero(masked)
        window = filled // len(labels)
        chroms = np.array(batch.windows.chroms, dtype=object)
        chrom = chroms[batch.windows.chrom_index[window]]
        block = batch.windows.starts[window] // self.card.cluster_length
        return pd.DataFrame(
            {
                "example_id": batch.windows.example_ids().astype(object)[window],
                "cluster_id": [f"{c}:{b}" for c, b in zip(chrom, block.tolist(), strict=True)],
                "chrom": chrom,
                "stratum": labels[filled % len(labels)],
                "masked": masked[filled].astype(np.int64),
                "correct": np.bincount(cell, correct, minlength=cells)[filled].astype(np.int64),
                "nats": np.maximum(np.bincount(cell, nats, minlength=cells)[filled], 0.0),
            }
        )


def model_log_probabilities(
    model: LanguageModel, batch: WindowBases, *, device: str | torch.device = "cpu"
) -> Floats:
    """Return a model's ln P of A, C, G, T at the hidden bases of some windows, ``(hidden, 4)``.

    The model must be in evaluation mode and on ``device``.
    """
    tokenizer = CharacterTokenizer()
    ids = tokenizer.encode_codes(batch.codes)
    row, column = np.nonzero(batch.hidden)
    if model.config.objective == "masked":
        ids[batch.hidden] = tokenizer.mask_id
    else:
        column = column - 1  # logits at i - 1 are of the base at i
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids.astype(np.int64)).to(device)).logits
        chosen = logits[torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)]
        bases = chosen[:, torch.from_numpy(tokenizer.base_ids).to(device)]
        result = bases.float().log_softmax(dim=-1).cpu().numpy()
    return np.asarray(result, dtype=np.float64)


@contextmanager
def _evaluating(model: LanguageModel, device: str | torch.device) -> Iterator[None]:
    """Put a model into evaluation mode on a device, and back afterwards."""
    training, home = model.training, next(model.parameters()).device
    model.eval().to(device)
    try:
        yield
    finally:
        model.train(training).to(home)


def _evenly_spread(available: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return the indices of at most ``wanted`` of ``available`` items, in the middle of equal runs.

    Example:
        >>> _evenly_spread(10, 3).tolist(), _evenly_spread(2, 5).tolist()
        ([1, 5, 8], [0, 1])
    """
    wanted = min(wanted, available)
    return (2 * np.arange(wanted, dtype=np.int64) + 1) * available // (2 * max(wanted, 1))
