"""One token per base, with the ids of HyenaDNA's character tokenizer."""

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import BASES, CODE_BITS, Codes, encode

_SPECIAL = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
_FIRST_BASE = len(_SPECIAL)


class CharacterTokenizer:
    """Base codes to token ids: seven special ids, then A 7, C 8, G 9, T 10, N 11.

    Unlike the published tokenizer it folds case (there soft-masked bases become ``[UNK]``), reads
    every IUPAC ambiguity letter as N, and adds no special tokens around a sequence.

    Attributes:
        tokens: The text of each id.
        vocab_size: Number of ids, 12; models pad their tables to 16.
        mask_id: Id of ``[MASK]``.
        pad_id: Id of ``[PAD]``.
        unk_id: Id of ``[UNK]``, which no sequence ever gets.
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

    def decode(self, ids: npt.NDArray[np.integer]) -> str:
        """Return the text of ids, special ones in brackets.

        Raises:
            DataError: If an id is outside ``[0, vocab_size)``.

        Example:
            >>> CharacterTokenizer().decode(np.array([7, 3, 10]))
            'A[MASK]T'
        """
        wrong = [int(token) for token in ids if not 0 <= token < self.vocab_size]
        if wrong:
            raise DataError(
                f"token id {wrong[0]} is not in the vocabulary; "
                f"allowed: 0 to {self.vocab_size - 1}."
            )
        return "".join(self.tokens[token] for token in ids)

    def offsets(self, length: int) -> npt.NDArray[np.int64]:
        """Return the bases each token spans, rows ``(start, end)``, shape ``(length, 2)``."""
        starts = np.arange(length, dtype=np.int64)
        return np.stack((starts, starts + 1), axis=1)
