"""One token per base, with the ids of HyenaDNA's character tokenizer."""

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import BASES, CODE_BITS, Codes, encode
from lightning_dna.tokenizers.base import Ids, Offsets, joined, single_base_offsets, surrounded

_SPECIAL = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
_FIRST_BASE = len(_SPECIAL)


class CharacterTokenizer:
    """Base codes to token ids: seven special ids, then A 7, C 8, G 9, T 10, N 11.

    Unlike the published tokenizer it folds case (there soft-masked bases become ``[UNK]``), reads
    every IUPAC ambiguity letter as N, and adds special tokens only on request.

    Attributes:
        tokens: The text of each id.
        vocab_size: Number of ids, 12; models pad their tables to 16.
        mask_id: Id of ``[MASK]``.
        pad_id: Id of ``[PAD]``.
        unk_id: Id of ``[UNK]``, which no sequence ever gets.
        cls_id: Id of ``[CLS]``, which the published model puts nowhere.
        sep_id: Id of ``[SEP]``, the end of a sequence.
        prefix_length: 0, the number of special tokens before a sequence.
        base_ids: Ids of A, C, G and T: the only targets, and the only random replacements.

    Example:
        >>> CharacterTokenizer().encode("ACgtN").tolist()
        [7, 8, 9, 10, 11]
    """

    tokens: tuple[str, ...] = (*_SPECIAL, *BASES)
    vocab_size: int = len(tokens)
    mask_id: int = tokens.index("[MASK]")
    pad_id: int = tokens.index("[PAD]")
    unk_id: int = tokens.index("[UNK]")
    cls_id: int | None = tokens.index("[CLS]")
    sep_id: int | None = tokens.index("[SEP]")
    prefix_length: int = 0

    def __init__(self) -> None:
        self.base_ids: npt.NDArray[np.int64] = np.arange(4) + _FIRST_BASE

    def encode_codes(self, codes: Codes) -> npt.NDArray[np.uint8]:
        """Turn base codes 0 to 4 into ids; a soft-mask bit is dropped.

        Args:
            codes: Codes of `lightning_dna.genome.alphabet`, any shape.

        Returns:
            New ``uint8`` array of the same shape.
        """
        return np.bitwise_and(codes, np.uint8(CODE_BITS)) + np.uint8(_FIRST_BASE)

    def encode(self, sequence: str) -> npt.NDArray[np.uint8]:
        """Turn nucleotide letters of either case into ids, shape ``(len(sequence),)``.

        Raises:
            DataError: If a character is not an IUPAC nucleotide letter.
        """
        return self.encode_codes(encode(sequence))

    def encode_with_offsets(self, codes: Codes) -> tuple[npt.NDArray[np.uint8], Offsets]:
        """Return the ids and spans of one sequence."""
        return self.encode_codes(codes), self.offsets(codes)

    def with_special(self, ids: Ids) -> Ids:
        """Return ids with the published ``[SEP]`` behind them, in a new array.

        Example:
            >>> CharacterTokenizer().with_special(np.array([7, 8])).tolist()
            [7, 8, 1]
        """
        return surrounded(ids, (), (self.tokens.index("[SEP]"),))

    def decode(self, ids: Ids) -> str:
        """Return the text of ids, special ones in brackets.

        Raises:
            DataError: If an id is outside ``[0, vocab_size)``.

        Example:
            >>> CharacterTokenizer().decode(np.array([7, 3, 10]))
            'A[MASK]T'
        """
        return joined(self.tokens, ids)

    def offsets(self, codes: Codes | int) -> Offsets:
        """Return the base that each token spans, rows ``(start, end)``, shape ``(length, 2)``.

        Args:
            codes: The sequence, or its length, which is all that matters here.
        """
        return single_base_offsets(codes if isinstance(codes, int) else len(codes))
