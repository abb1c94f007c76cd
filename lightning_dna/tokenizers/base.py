"""What every tokenizer offers: ids, their texts, and the bases that each id stands for."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes

Ids = npt.NDArray[np.integer[Any]]
Offsets = npt.NDArray[np.int64]


class Tokenizer(Protocol):
    """Base codes or letters into token ids, and back.

    ``encode_codes``, ``encode`` and ``encode_with_offsets`` take one sequence and add no special
    tokens; ``with_special`` adds those of the published model. The soft mask of a code is dropped:
    codes are read as upper-case letters.

    Attributes:
        tokens: The text of each id.
        vocab_size: Number of ids; a model may pad its tables to more rows.
        cls_id: Id of the token before a sequence, ``None`` if the vocabulary has none.
        sep_id: Id of the token after a sequence, ``None`` if the vocabulary has none.
        prefix_length: How many tokens ``with_special`` puts before the first.
    """

    tokens: tuple[str, ...]
    vocab_size: int
    cls_id: int | None
    sep_id: int | None
    prefix_length: int

    @property
    def mask_id(self) -> int:
        """Id of the mask token; a DataError if the vocabulary has none, as below."""
        ...

    @property
    def pad_id(self) -> int:
        """Id of the padding token."""
        ...

    @property
    def unk_id(self) -> int:
        """Id for what the vocabulary does not hold."""
        ...

    def encode_codes(self, codes: Codes) -> Ids:
        """Turn the base codes of one sequence into ids, shape ``(n_tokens,)``."""
        ...

    def encode(self, sequence: str) -> Ids:
        """Turn the letters of one sequence into ids, shape ``(n_tokens,)``."""
        ...

    def encode_with_offsets(self, codes: Codes) -> tuple[Ids, Offsets]:
        """Return ``encode_codes(codes)`` and ``offsets(codes)`` in one pass."""
        ...

    def offsets(self, codes: Codes) -> Offsets:
        """Return the bases ``[start, end)`` of each token, 0-based, shape ``(n_tokens, 2)``."""
        ...

    def with_special(self, ids: Ids) -> Ids:
        """Return the ids of one sequence with the special tokens of the published model."""
        ...

    def decode(self, ids: Ids) -> str:
        """Return the texts of ids, one after the other."""
        ...


def joined(tokens: tuple[str, ...], ids: Ids) -> str:
    """Return the texts of ids, one after the other.

    Raises:
        DataError: If an id is outside ``[0, len(tokens))``.
    """
    wrong = [int(token) for token in ids if not 0 <= token < len(tokens)]
    if wrong:
        raise DataError(
            f"token id {wrong[0]} is not in the vocabulary; allowed: 0 to {len(tokens) - 1}."
        )
    return "".join(tokens[token] for token in ids)


def surrounded(ids: Ids, before: tuple[int, ...], after: tuple[int, ...]) -> Ids:
    """Return ids with special ones before and after, in the type of ``ids``."""
    return np.concatenate((before, ids, after), dtype=ids.dtype, casting="unsafe")


def single_base_offsets(length: int) -> Offsets:
    """Return the spans of one token per base, shape ``(length, 2)``."""
    starts = np.arange(length, dtype=np.int64)
    return np.stack((starts, starts + 1), axis=1)
