"""From the rows of a step to the tensors of a batch, straight from the memory-mapped genome."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_dna.data.canary_planting import Planting
from lightning_dna.data.config import DataConfig
from lightning_dna.data.masking import evaluation_mask, mask_blocks, thresholds
from lightning_dna.data.repeat_rows import (
    ChromosomeTreatment,
    JoinedStretches,
    RowTreatment,
    treatments,
)
from lightning_dna.data.sampler import StepRows
from lightning_dna.data.stream import Rows
from lightning_dna.data.windows import Windows
from lightning_dna.genome.alphabet import CODE_BITS, N, T
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.tokenizers.character import CharacterTokenizer

if TYPE_CHECKING:
    from lightning_dna.data.token_rows import TokenRows

IGNORE = -100
Objective = Literal["masked", "next_token"]
_TOKENIZER = CharacterTokenizer()
# A batch stays in bytes until it is laid out: the 12 ids and IGNORE all fit a signed one.
Tokens = NDArray[np.int8]
_BASE_IDS = _TOKENIZER.base_ids.astype(np.int8)
_UNKNOWN_ID = _TOKENIZER.tokens.index("N")


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        input_ids: What the model sees, int64 (rows, length).
        targets: What it must predict at each position, int64 (rows, length); -100 where nothing.
        attention_mask: True at real tokens, bool (rows, length); ``None`` when all are real.
        weights: Loss weight of each target, float32 (rows, length); ``None`` when all are 1.
        tokens: Number of real tokens.
    """

    input_ids: Tensor
    targets: Tensor
    attention_mask: Tensor | None
    weights: Tensor | None
    tokens: int

    @property
    def length(self) -> int:
        """Length of the longest row."""
        return self.input_ids.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Return the batch on a device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; the loader calls this when asked to."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with each of its tensors changed."""
        return Batch(
            input_ids=change(self.input_ids),
            targets=change(self.targets),
            attention_mask=None if self.attention_mask is None else change(self.attention_mask),
            weights=None if self.weights is None else change(self.weights),
            tokens=self.tokens,
        )


def without_targets(batch: Batch) -> Batch:
    """Return a batch in which nothing is to be predicted, and nothing therefore counts."""
    return replace(batch, targets=torch.full_like(batch.targets, IGNORE))


class TrainingBatches(Dataset[Batch]):
    """Turns the rows of a step into a batch.

    Args:
        genome: The genome.
        windows: Windows whose chromosome names the rows point into.
        config: Mask fraction and repeat policy.
        objective: ``"masked"`` or ``"next_token"``.
        seed: Seed of the masks.
        repeats: Repeats by class; needed if the policy names classes.
        tokens: What turns rows into longer tokens; ``None`` for single bases.
        treated: How the repeats of each chromosome of the windows are treated; ``None``: as
            ``config`` and ``repeats`` say.
        planting: Canaries in the windows; ``None`` without any.
    """

    def __init__(
        self,
        genome: Genome,
        windows: Windows,
        config: DataConfig,
        *,
        objective: Objective,
        seed: int,
        repeats: RepeatAnnotation | None = None,
        tokens: "TokenRows | None" = None,
        treated: Sequence[ChromosomeTreatment] | None = None,
        planting: Planting | None = None,
    ) -> None:
        self.planting = planting
        self.genome = genome
        self.chroms = windows.chroms
        self.config = config
        self.objective = objective
        self.seed = seed
        self.tokens = tokens
        self._joined = None if windows.joined is None else JoinedStretches(windows.joined)
        if treated is None:
            treated = treatments(config.repeat_policy, windows.chroms, repeats)
        self._repeats = RowTreatment(treated)

    def __getitem__(self, item: StepRows | tuple[int, Rows]) -> Batch:
        """Return the batch of one step, or of one process's part of it."""
        step, rows, first_token = StepRows(*item)
        stored, weights = self._read(rows)
        lengths = rows.ends - rows.starts
        if self.tokens is not None:
            return self.tokens.batch(
                step, stored, lengths, first_base=first_token, base_weights=weights
            )
        ids = _token_ids(stored)
        if self.objective == "masked":
            blocks = mask_blocks(self.seed, step, len(ids), first=first_token)
            inputs, targets = masked(ids, blocks, self.config.mask_fraction)
        else:
            inputs, targets = ids, _next_tokens(ids, lengths)
            if weights is not None:  # of the base that each position predicts
                weights = np.append(weights[1:], weights[:1])
        return assemble(inputs, targets, lengths, weights)

    def stored(self, rows: Rows) -> NDArray[np.uint8]:
        """Return what training reads of rows one after the other, as codes with soft-mask bits."""
        return self._read(rows)[0]

    def _read(self, rows: Rows) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Return the bytes of rows and their loss weights, as the repeat policies want them."""
        places = rows
        rows = rows if self._joined is None else self._joined.pieces(rows)
        stored = gather(self.genome, self.chroms, rows)
        self._repeats.apply(stored, rows)
        if self.planting is not None:
            self.planting.apply(stored, places)
        return stored, self._repeats.weights(stored, rows)


def gather(genome: Genome, chroms: Sequence[str], rows: Rows) -> NDArray[np.uint8]:
    """Copy the stored bytes of rows one after the other, each on the strand it is read on.

    Args:
        genome: The genome.
        chroms: Chromosome names that the rows point into.
        rows: One row or more.

    Returns:
        Codes with the soft-mask bit, uint8, shape (tokens,).
    """
    indices, starts, ends, flipped = (column.tolist() for column in rows)
    maps = {index: genome.stored(chroms[index]) for index in set(indices)}
    flat = np.concatenate(
        [
            maps[index][start:end][::-1] if turned else maps[index][start:end]
            for index, start, end, turned in zip(indices, starts, ends, flipped, strict=True)
        ]
    )
    if any(flipped):
        # A and T, and C and G, differ in the same two bits; N is its own complement.
        turned_bases = np.repeat(rows.flipped, rows.ends - rows.starts)
        turned_bases &= (flat & CODE_BITS) != N
        flat ^= turned_bases.view(np.uint8) * np.uint8(T)
    return flat


def _token_ids(stored: NDArray[np.uint8]) -> Tokens:
    """Return the ids of stored codes, one byte each."""
    return _TOKENIZER.encode_codes(stored).view(np.int8)


def masked(
    ids: Tokens, blocks: Iterable[NDArray[np.uint32]], fraction: float
) -> tuple[Tokens, Tokens]:
    """Return what the model sees of a stream of bases, and what it must predict.

    The choices are those of :func:`~lightning_dna.data.masking.draw_masks`, made for all tokens at
    once in operations on bytes, which takes less time than going by lists of places.

    Args:
        ids: Ids of the bases, shape (tokens,); N is never hidden nor a target.
        blocks: Random words, one for each base, of `mask_blocks`.
        fraction: Expected share of targets, in (0, 1).

    Returns:
        Inputs, and targets, -100 where there are none; both of shape (tokens,).

    Example:
        >>> ids = np.array([7, 8, 11, 9], np.int8)  # A, C, N, G
        >>> inputs, targets = masked(ids, [np.zeros(4, np.uint32)], 0.15)
        >>> inputs.tolist(), targets.tolist()
        ([3, 3, 11, 3], [7, 8, -100, 9])
    """
    inputs, targets = np.empty_like(ids), np.empty_like(ids)
    first = 0
    for words in blocks:
        here = slice(first, first + len(words))
        inputs[here], targets[here] = _masked(ids[here], words, fraction)
        first += len(words)
    return inputs, targets


def _masked(ids: Tokens, words: NDArray[np.uint32], fraction: float) -> tuple[Tokens, Tokens]:
    """Return inputs and targets of a few bases."""
    below, hidden_below, replaced_below = thresholds(fraction)
    known = ids != _UNKNOWN_ID
    hidden = words < hidden_below
    replaced = (words < replaced_below) ^ hidden
    bases = (words.astype(np.uint8) & np.uint8(3)).view(np.int8) + _BASE_IDS[0]
    inputs = _chosen(hidden & known, np.int8(_TOKENIZER.mask_id), ids)
    inputs = _chosen(replaced & known, bases, inputs)
    return inputs, _chosen((words < below) & known, ids, np.int8(IGNORE))


def _chosen(where: NDArray[np.bool_], first: Tokens | np.int8, second: Tokens | np.int8) -> Tokens:
    """Return one where a flag is set and the other elsewhere, without branches."""
    flags = -where.view(np.int8)  # 0, or all bits set
    return np.asarray(second ^ ((first ^ second) & flags))


def _next_tokens(ids: Tokens, lengths: NDArray[np.int64]) -> Tokens:
    """Return the id that follows each position in its row; nothing at row ends and before N."""
    targets = np.empty_like(ids)
    targets[:-1] = ids[1:]
    targets[targets == _UNKNOWN_ID] = IGNORE
    targets[np.cumsum(lengths) - 1] = IGNORE
    return targets


def assemble(
    inputs: NDArray[np.signedinteger[Any]],
    targets: NDArray[np.signedinteger[Any]],
    lengths: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
    *,
    pad_id: int = _TOKENIZER.pad_id,
) -> Batch:
    """Lay a stream of tokens out as rows, padded on the right to the longest.

    Args:
        inputs: Ids that the model sees, shape (tokens,).
        targets: Ids that it must predict, -100 where none, shape (tokens,).
        lengths: Tokens of each row, shape (rows,); they sum to ``tokens``.
        weights: Loss weights, shape (tokens,); ``None`` when all are 1.
        pad_id: Id that fills rows up.

    Returns:
        The batch, its tensors widened to the types that a model and a loss take.
    """
    longest = int(lengths.max())
    count, tokens = len(lengths), len(inputs)
    whole = count * longest == tokens
    real = None if whole else np.arange(longest) < lengths[:, None]

    def rows(values: NDArray[Any], fill: int, dtype: torch.dtype) -> Tensor:
        if real is None:
            return torch.from_numpy(values).to(dtype).view(count, longest)
        padded = np.full((count, longest), fill, dtype=values.dtype)
        padded[real] = values
        return torch.from_numpy(padded).to(dtype)

    return Batch(
        input_ids=rows(inputs, pad_id, torch.int64),
        targets=rows(targets, IGNORE, torch.int64),
        attention_mask=None if real is None else torch.from_numpy(real),
        weights=None if weights is None else rows(weights, 0, torch.float32),
        tokens=tokens,
    )


def evaluation_batches(
    genome: Genome,
    windows: Windows,
    config: DataConfig,
    *,
    objective: Objective,
    tokens: int,
    rows: "TokenRows | None" = None,
) -> list[Batch]:
    """Return fixed batches of whole windows with evaluation masks, to follow training.

    All targets are hidden behind the mask token, and all weights are 1: evaluation never depends on
    the repeat policy. Masks follow the genomic position, so every arm is followed on the same
    bases.

    Args:
        genome: The genome.
        windows: Windows of the validation chromosomes.
        config: Mask fraction and validation seed.
        objective: ``"masked"`` or ``"next_token"``.
        tokens: About how many bases a batch has.
        rows: What turns windows into longer tokens; ``None`` for single bases.
    """
    per_batch = max(1, tokens // int(windows.lengths.max()))
    batches = []
    for first in range(0, len(windows), per_batch):
        part = windows.select(np.arange(first, min(first + per_batch, len(windows))))
        places = Rows(part.chrom_index, part.starts, part.ends, np.zeros(len(part), dtype=np.bool_))
        stored = gather(genome, part.chroms, places)
        hidden = None if objective == "next_token" else _hidden(part, config)
        if rows is not None:
            batches.append(rows.followed(stored, part.lengths, hidden))
            continue
        ids = _token_ids(stored)
        if hidden is None:
            targets = _next_tokens(ids, part.lengths)
            batches.append(assemble(ids, targets, part.lengths, None))
            continue
        hidden &= ids != _UNKNOWN_ID
        targets = np.where(hidden, ids, np.int8(IGNORE))
        inputs = np.where(hidden, np.int8(_TOKENIZER.mask_id), ids)
        batches.append(assemble(inputs, targets, part.lengths, None))
    return batches


def _hidden(windows: Windows, config: DataConfig) -> NDArray[np.bool_]:
    """Return which bases of windows the evaluation mask hides, one window after the other."""
    rows = zip(windows.chrom_index, windows.starts, windows.ends, strict=True)
    return np.concatenate(
        [
            evaluation_mask(
                config.validation_seed, windows.chroms[c], np.arange(a, b), config.mask_fraction
            )
            for c, a, b in rows
        ]
    )
