"""From the rows of a step to the tensors of a batch, straight from the memory-mapped genome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_dna.data.config import DataConfig
from lightning_dna.data.masking import draw_masks, evaluation_mask
from lightning_dna.data.repeat_rows import ClassMarks, JoinedStretches, hide_repeats
from lightning_dna.data.sampler import StepRows
from lightning_dna.data.stream import Rows
from lightning_dna.data.windows import Windows
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, N, T
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.repeats import loss_weights
from lightning_dna.tokenizers.character import CharacterTokenizer

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


class TrainingBatches(Dataset[Batch]):
    """Turns the rows of a step into a batch.

    Args:
        genome: The genome.
        windows: Windows whose chromosome names the rows point into.
        config: Mask fraction and repeat policy.
        objective: ``"masked"`` or ``"next_token"``.
        seed: Seed of the masks.
        repeats: Repeats by class; needed if the policy names classes.
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
    ) -> None:
        self.genome = genome
        self.chroms = windows.chroms
        self.config = config
        self.objective = objective
        self.seed = seed
        self._joined = None if windows.joined is None else JoinedStretches(windows.joined)
        self._marks = None
        if repeats is not None and config.repeat_classes:
            self._marks = ClassMarks(repeats, windows.chroms, config.repeat_classes)

    def __getitem__(self, item: StepRows | tuple[int, Rows]) -> Batch:
        """Return the batch of one step, or of one process's part of it."""
        step, rows, first_token = StepRows(*item)
        stored = self._stored(rows)
        lengths = rows.ends - rows.starts
        ids = _token_ids(stored)
        if self.objective == "masked":
            inputs, targets = self._masked(step, ids, first_token)
        else:
            inputs, targets = ids, _next_tokens(ids, lengths)
        weights = None
        if self.config.repeats == "downweight":
            weights = self._weights(stored)
        return assemble(inputs, targets, lengths, weights)

    def _stored(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the bytes of rows, marked as repeats what the policy treats."""
        rows = rows if self._joined is None else self._joined.pieces(rows)
        stored = gather(self.genome, self.chroms, rows)
        if self._marks is not None:
            self._marks.mark(stored, rows)
        if self.config.repeats == "hard-mask":
            hide_repeats(stored)
        return stored

    def _masked(self, step: int, ids: Tokens, first_token: int) -> tuple[Tokens, Tokens]:
        """Hide the bases of one step; N is never a target."""
        draw = draw_masks(self.seed, step, first_token + len(ids), self.config.mask_fraction)
        draw = draw.after(first_token)
        inputs = ids.copy()
        inputs[draw.hidden] = _TOKENIZER.mask_id
        inputs[draw.replaced] = _BASE_IDS[draw.bases]
        targets = np.full_like(ids, IGNORE)
        targets[draw.targets] = ids[draw.targets]
        unknown = ids == _UNKNOWN_ID
        inputs[unknown] = _UNKNOWN_ID
        targets[unknown] = IGNORE
        return inputs, targets

    def _weights(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the loss weight of the base that each position predicts."""
        weights = loss_weights(self.config.repeat_policy, (stored & SOFT_MASK) != 0)
        if self.objective == "next_token":
            weights = np.append(weights[1:], weights[:1])
        return weights


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


def _next_tokens(ids: Tokens, lengths: NDArray[np.int64]) -> Tokens:
    """Return the id that follows each position in its row; nothing at row ends and before N."""
    targets = np.empty_like(ids)
    targets[:-1] = ids[1:]
    targets[targets == _UNKNOWN_ID] = IGNORE
    targets[np.cumsum(lengths) - 1] = IGNORE
    return targets


def assemble(
    inputs: Tokens,
    targets: Tokens,
    lengths: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
) -> Batch:
    """Lay a stream of tokens out as rows, padded on the right to the longest.

    Args:
        inputs: Ids that the model sees, shape (tokens,).
        targets: Ids that it must predict, -100 where none, shape (tokens,).
        lengths: Tokens of each row, shape (rows,); they sum to ``tokens``.
        weights: Loss weights, shape (tokens,); ``None`` when all are 1.

    Returns:
        The batch, its tensors widened to the types that a model and a loss take.
    """
    longest = int(lengths.max())
    count, tokens = len(lengths), len(inputs)
    whole = count * longest == tokens
    real = None if whole else np.arange(longest) < lengths[:, None]

    def rows(values: Tokens | NDArray[np.float32], fill: int, dtype: torch.dtype) -> Tensor:
        if real is None:
            return torch.from_numpy(values).to(dtype).view(count, longest)
        padded = np.full((count, longest), fill, dtype=values.dtype)
        padded[real] = values
        return torch.from_numpy(padded).to(dtype)

    return Batch(
        input_ids=rows(inputs, _TOKENIZER.pad_id, torch.int64),
        targets=rows(targets, IGNORE, torch.int64),
        attention_mask=None if real is None else torch.from_numpy(real),
        weights=None if weights is None else rows(weights, 0, torch.float32),
        tokens=tokens,
    )


def evaluation_batches(
    genome: Genome, windows: Windows, config: DataConfig, *, objective: Objective, tokens: int
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
        tokens: About how many tokens a batch has.
    """
    per_batch = max(1, tokens // int(windows.lengths.max()))
    batches = []
    for first in range(0, len(windows), per_batch):
        part = windows.select(np.arange(first, min(first + per_batch, len(windows))))
        rows = Rows(part.chrom_index, part.starts, part.ends, np.zeros(len(part), dtype=np.bool_))
        stored = gather(genome, part.chroms, rows)
        ids = _token_ids(stored)
        if objective == "next_token":
            targets = _next_tokens(ids, part.lengths)
            batches.append(assemble(ids, targets, part.lengths, None))
            continue
        hidden = np.concatenate(
            [
                evaluation_mask(
                    config.validation_seed, part.chroms[c], np.arange(a, b), config.mask_fraction
                )
                for c, a, b in zip(part.chrom_index, part.starts, part.ends, strict=True)
            ]
        )
        hidden &= ids != _UNKNOWN_ID
        targets = np.where(hidden, ids, np.int8(IGNORE))
        inputs = np.where(hidden, np.int8(_TOKENIZER.mask_id), ids)
        batches.append(assemble(inputs, targets, part.lengths, None))
    return batches
