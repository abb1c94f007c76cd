"""The byte code of one base: A, C, G, T, N in the low three bits, the soft mask in one more.

Lower case in a FASTA file marks a repeat. The code keeps that as a bit of the same byte, so that
one array holds sequence and repeat mask, and a slice of either is one vectorised operation.
"""

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError

Codes = npt.NDArray[np.uint8]

BASES = "ACGTN"
A, C, G, T, N = range(5)
CODE_BITS = 0x07
SOFT_MASK = 0x08

_AMBIGUOUS = "RYSWKMBDHV"  # the other IUPAC nucleotide letters: more than one base possible
_INVALID = 0xFF


def _encoding_table() -> Codes:
    """Map every byte of text to its code, or to ``_INVALID``."""
    table = np.full(256, _INVALID, dtype=np.uint8)
    letters = dict(zip(BASES, range(5), strict=True)) | {"U": T} | dict.fromkeys(_AMBIGUOUS, N)
    for letter, code in letters.items():
        table[ord(letter)] = code
        table[ord(letter.lower())] = code | SOFT_MASK
    return table


def _complement_table() -> Codes:
    """Map every stored byte to the byte of the complementary base; the soft mask stays."""
    table = np.arange(256, dtype=np.uint8)
    for base, complement in ((A, T), (C, G), (G, C), (T, A)):
        table[base] = complement
        table[base | SOFT_MASK] = complement | SOFT_MASK
    return table


def _letter_table() -> bytes:
    """Map every stored byte to its letter, for ``bytes.translate``."""
    table = bytearray(b"?" * 256)
    for code, letter in enumerate(BASES):
        table[code] = ord(letter)
        table[code | SOFT_MASK] = ord(letter.lower())
    return bytes(table)


_ENCODE = _encoding_table()
_COMPLEMENT = _complement_table()
_LETTERS = _letter_table()


def encode(sequence: str | bytes, *, offset: int = 0) -> Codes:
    """Encode nucleotide letters, keeping their case as the soft mask.

    Args:
        sequence: IUPAC nucleotide letters of either case. ``U`` is read as ``T``; every ambiguity
            letter becomes ``N``. Gaps, spaces and line ends are not letters.
        offset: Position of the first character within a longer sequence, for the message.

    Returns:
        Array of shape ``(len(sequence),)``: code 0 to 4, plus ``SOFT_MASK`` for lower case.

    Raises:
        DataError: At the first character that is not a nucleotide letter, with its position from 0.

    Example:
        >>> encode("ACgtN").tolist()
        [0, 1, 10, 11, 4]
    """
    # Anything outside ASCII becomes "?", one byte per character, so that positions stay true.
    raw = sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence
    codes: Codes = _ENCODE[np.frombuffer(raw, dtype=np.uint8)]
    if codes.size and codes.max() == _INVALID:
        position = int(np.argmax(codes == _INVALID))
        found = sequence[position] if isinstance(sequence, str) else chr(raw[position])
        raise DataError(
            f"character {found!r} at position {position + offset} is not a nucleotide letter; "
            f"allowed are {', '.join(BASES)}, U and the IUPAC letters {', '.join(_AMBIGUOUS)}, in "
            f"either case."
        )
    return codes


def decode(codes: Codes) -> str:
    """Return the letters of stored codes, lower case where the soft mask is set.

    Example:
        >>> decode(encode("ACgtRu"))
        'ACgtNt'
    """
    return np.ascontiguousarray(codes, dtype=np.uint8).tobytes().translate(_LETTERS).decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """Return the other strand, read 5' to 3'; each base keeps its soft-mask bit.

    Args:
        codes: Codes along the last axis, any leading shape.

    Returns:
        A new array of the same shape.

    Example:
        >>> decode(reverse_complement(encode("AAcgN")))
        'NcgTT'
    """
    return np.ascontiguousarray(_COMPLEMENT[codes[..., ::-1]])
