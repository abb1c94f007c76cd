"""Batches of longer tokens: rows of bases become rows of k-mers or byte pairs.

What a step reads is settled in bases, before any tokenizer: arms with different tokens are trained
on the same bases in the same steps, and each row is tokenized by itself. Whole tokens are hidden. A
token is a target where the mask draw of its first base says so, the very draw that single bases
have, so about ``mask_fraction`` of the tokens are. Tokens that hold an N are never targets.

Byte pairs can have single bases hidden instead (``mask_unit: base``), the very ones that single
bases have hidden: each is a token of its own, and what lies between is tokenized by itself. So are
held-out bases scored, see :mod:`lightning_dna.tasks.token_marginals`, and a model that has only
seen masks of whole tokens has never met such a mask.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.batches import IGNORE, Batch, Objective, assemble
from lightning_dna.data.masking import draw_masks, stable_hash
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import BASES, CODE_BITS, N
from lightning_dna.tokenizers.base import Tokenizer

_KEPT, _HIDDEN, _REPLACED = 1, 2, 3  # what becomes of a target; 0 is no target
_REPLACEMENTS = 0x72706C63  # "rplc": keeps these draws apart from any other use of the same seed


class TokenRow(NamedTuple):
    """The rows of a step as tokens, one row after the other.

    Attributes:
        ids: Token ids, int64, shape (tokens,).
        starts: First base of each token in the stream of the step, int64, shape (tokens,).
        counts: Tokens of each row, int64, shape (rows,).
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


class TokenRows:
    """Turns rows of bases into batches of a tokenizer's ids.

    Args:
        tokenizer: A tokenizer whose tokens do not overlap.
        objective: ``"masked"`` or ``"next_token"``.
        seed: Seed of the masks.
        fraction: Expected share of targets, in (0, 1).
        single: Hide single bases instead of whole tokens.

    Raises:
        DataError: If the vocabulary lacks a padding token, a mask token that is needed, or with
            ``single`` a base or a token for each N.

    Example:
        >>> from lightning_dna.tokenizers.kmer import KmerTokenizer
        >>> rows = TokenRows(KmerTokenizer(2), objective="next_token", seed=0, fraction=0.15)
        >>> tokens = rows.tokenize(np.array([0, 1, 2, 3, 3], np.uint8), np.array([3, 2]))
        >>> [rows.tokenizer.tokens[i] for i in tokens.ids], tokens.starts.tolist()
        (['AC', 'G', 'TT'], [0, 2, 3])
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        objective: Objective,
        seed: int,
        fraction: float,
        single: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.objective = objective
        self.seed = seed
        self.fraction = fraction
        self._pad_id = tokenizer.pad_id
        self._mask_id = tokenizer.mask_id if objective == "masked" else 0
        letters = set(BASES[:N])
        self._known = np.array([bool(text) and set(text) <= letters for text in tokenizer.tokens])
        self._ordinary = np.flatnonzero(self._known)
        key = stable_hash(np.array([seed], dtype=np.uint64), _REPLACEMENTS)
        self._key = int(key[0])
        self._single = self._single_bases() if single else None

    def tokenize(self, stored: NDArray[np.uint8], lengths: NDArray[np.int64]) -> TokenRow:
        """Tokenize rows, each by itself.

        Args:
            stored: Base codes of the rows one after the other, shape (bases,); case is dropped.
            lengths: Bases of each row, shape (rows,); they sum to ``bases``.
        """
        ends = np.cumsum(lengths)
        pairs = [
            self.tokenizer.encode_with_offsets(stored[end - size : end])
            for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]
        counts = np.fromiter((len(ids) for ids, _ in pairs), dtype=np.int64, count=len(pairs))
        within = np.concatenate([offsets[:, 0] for _, offsets in pairs])
        return TokenRow(
            ids=np.concatenate([ids for ids, _ in pairs], dtype=np.int64),
            starts=within + np.repeat(ends - lengths, counts),
            counts=counts,
        )

    def batch(
        self,
        step: int,
        stored: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        *,
        first_base: int = 0,
        base_weights: NDArray[np.float32] | None = None,
    ) -> Batch:
        """Return what one step trains on, or one process's part of it.

        Args:
            step: Number of the step.
            stored: Base codes of the rows one after the other, shape (bases,).
            lengths: Bases of each row, shape (rows,).
            first_base: Bases of the step that belong to processes of lower rank.
            base_weights: Loss weight of each base, shape (bases,); a token's is their mean.
        """
        draw = None
        if self.objective == "masked":
            draw = draw_masks(self.seed, step, first_base + len(stored), self.fraction)
            draw = draw.after(first_base)
        if self._single is not None and draw is not None:
            tokens, targets, places = self._parted(stored, lengths, draw.targets)
            inputs = tokens.ids.copy()
            inputs[np.isin(tokens.starts, draw.hidden) & (targets != IGNORE)] = self._mask_id
            swapped = np.searchsorted(tokens.starts, draw.replaced)
            real = np.isin(draw.replaced, places)
            inputs[swapped[real]] = self._single[draw.bases[real]]
            return self._laid_out(tokens, inputs, targets, _means(base_weights, tokens))
        tokens = self.tokenize(stored, lengths)
        weights = _means(base_weights, tokens)
        if draw is None:
            if weights is not None:
                weights = np.append(weights[1:], weights[:1])
            return self._laid_out(tokens, tokens.ids, self._next(tokens), weights)
        fate = np.zeros(len(stored), dtype=np.uint8)
        fate[draw.targets], fate[draw.hidden], fate[draw.replaced] = _KEPT, _HIDDEN, _REPLACED
        fate = fate[tokens.starts] * self._known[tokens.ids]
        inputs = tokens.ids.copy()
        inputs[fate == _HIDDEN] = self._mask_id
        replaced = np.flatnonzero(fate == _REPLACED)
        inputs[replaced] = self._drawn(step, first_base + tokens.starts[replaced])
        targets = np.where(fate > 0, tokens.ids, IGNORE)
        return self._laid_out(tokens, inputs, targets, weights)

    def followed(
        self,
        stored: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        hidden: NDArray[np.bool_] | None,
    ) -> Batch:
        """Return a batch to follow training with: every target behind the mask, all weights 1.

        Args:
            stored: Base codes of the windows one after the other, shape (bases,).
            lengths: Bases of each window, shape (windows,).
            hidden: Bases that the evaluation mask hides, shape (bases,): tokens that begin with one
                are targets. Not used by next-token models.
        """
        if self._single is not None and hidden is not None:
            tokens, targets, _ = self._parted(stored, lengths, np.flatnonzero(hidden))
            inputs = np.where(targets != IGNORE, self._mask_id, tokens.ids)
            return self._laid_out(tokens, inputs, targets, None)
        tokens = self.tokenize(stored, lengths)
        if self.objective == "next_token" or hidden is None:
            return self._laid_out(tokens, tokens.ids, self._next(tokens), None)
        chosen = hidden[tokens.starts] & self._known[tokens.ids]
        inputs = np.where(chosen, self._mask_id, tokens.ids)
        return self._laid_out(tokens, inputs, np.where(chosen, tokens.ids, IGNORE), None)

    def _single_bases(self) -> NDArray[np.int64]:
        """Return the ids of A, C, G and T, of a vocabulary that has one token for each N."""
        missing = [base for base in BASES[:N] if base not in self.tokenizer.tokens]
        if missing or len(self.tokenizer.encode_codes(np.full(2, N, dtype=np.uint8))) != 2:
            what = f"lacks {', '.join(missing)}" if missing else "makes one token of several N"
            raise DataError(
                f"data.mask_unit is 'base', but the vocabulary {what}, so that single bases cannot"
                " be set apart; use data.mask_unit: token."
            )
        return np.array([self.tokenizer.tokens.index(base) for base in BASES[:N]], dtype=np.int64)

    def _parted(
        self,
        stored: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        chosen: NDArray[np.int64],
    ) -> tuple[TokenRow, NDArray[np.int64], NDArray[np.int64]]:
        """Tokenize rows with some bases as tokens of their own.

        Args:
            stored: Base codes of the rows, shape (bases,).
            lengths: Bases of each row, shape (rows,).
            chosen: Places of these bases, ascending; those of an N are left out.

        Returns:
            The tokens; the targets, these bases, shape (tokens,); the places that were kept.
        """
        if self._single is None:
            raise RuntimeError("only rows of single masks are parted")
        codes = np.bitwise_and(stored, np.uint8(CODE_BITS))
        places = chosen[codes[chosen] < N]
        apart = codes.copy()
        apart[places] = N  # which parts words
        tokens = self.tokenize(apart, lengths)
        slots = np.searchsorted(tokens.starts, places)
        targets = np.full(len(tokens.ids), IGNORE, dtype=np.int64)
        targets[slots] = tokens.ids[slots] = self._single[codes[places]]
        return tokens, targets, places

    def _drawn(self, step: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw a token of A, C, G and T, uniformly, for each place of the step."""
        of_step = stable_hash(np.array([step], dtype=np.uint64), self._key)
        mixed = stable_hash(places.astype(np.uint64), int(of_step[0]))
        return self._ordinary[(mixed % np.uint64(len(self._ordinary))).astype(np.int64)]

    def _next(self, tokens: TokenRow) -> NDArray[np.int64]:
        """Return the token that follows each one in its row; none at row ends and before an N."""
        targets = np.append(tokens.ids[1:], IGNORE)
        targets[np.append(~self._known[tokens.ids[1:]], True)] = IGNORE
        targets[np.cumsum(tokens.counts) - 1] = IGNORE
        return targets

    def _laid_out(
        self,
        tokens: TokenRow,
        inputs: NDArray[np.int64],
        targets: NDArray[np.int64],
        weights: NDArray[np.float32] | None,
    ) -> Batch:
        """Lay tokens out as rows, padded to the longest."""
        return assemble(inputs, targets, tokens.counts, weights, pad_id=self._pad_id)


def _means(
    base_weights: NDArray[np.float32] | None, tokens: TokenRow
) -> NDArray[np.float32] | None:
    """Return the mean weight of the bases of each token, where bases have weights."""
    if base_weights is None:
        return None
    spans = np.diff(tokens.starts, append=len(base_weights))
    sums = np.add.reduceat(base_weights, tokens.starts, dtype=np.float64)
    return (sums / spans).astype(np.float32)
