"""Tokens of k bases: next to each other (Nucleotide Transformer) or at every base (DNABERT)."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import BASES, CODE_BITS, Codes, N, encode
from lightning_dna.tokenizers.base import Ids, Offsets, joined, surrounded

_LONGEST = 8
_ORDER = "ATCG"  # of both published vocabularies
_NUCLEOTIDE_TRANSFORMER = ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>")
_DNABERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class KmerTokenizer:
    """Base codes to ids of k-mers.

    Not overlapping, by the rules of the Nucleotide Transformer: from left to right, the next k
    bases are one token if all of them are A, C, G or T; otherwise the next base is a token of its
    own. So the last ``run length mod k`` bases before an N, and at the end, are single. The
    vocabulary for k = 6 has the 4,107 rows of the published one: ``<unk> <pad> <mask> <cls> <eos>
    <bos>``, 4,096 k-mers with the letters in the order A T C G, then A T C G N.

    Overlapping, as in DNABERT: one k-mer at every base but the last k - 1, ``[UNK]`` where it holds
    an N; a sequence shorter than k gives no token. Vocabulary ``[PAD] [UNK] [CLS] [SEP] [MASK]``,
    then the k-mers in the same order.

    Unlike the published tokenizers it folds case and reads every IUPAC ambiguity letter as N.

    Args:
        k: Bases of a token, 1 to 8.
        overlapping: One token at every base instead of one after the other.
        tokens: A vocabulary in another order; by default the published one.
        closed: Whether ``with_special`` ends a sequence with the separator; by default only
            overlapping ones.

    Attributes:
        k: Bases of a token.
        overlapping: Whether tokens overlap.

    Raises:
        ConfigError: If k is out of range or the vocabulary lacks a k-mer or special token.

    References:
        Dalla-Torre et al. 2024, doi:10.1038/s41592-024-02523-z; the order of the vocabulary:
        ``nucleotide_transformer/tokenizers.py`` of github.com/instadeepai/nucleotide-transformer.
        Ji et al. 2021, doi:10.1093/bioinformatics/btab083.

    Example:
        >>> tokenizer = KmerTokenizer(6)
        >>> [tokenizer.tokens[i] for i in tokenizer.encode("ACGTACGTNACGTACC")]
        ['ACGTAC', 'G', 'T', 'N', 'ACGTAC', 'C']
    """

    def __init__(
        self,
        k: int = 6,
        *,
        overlapping: bool = False,
        tokens: Sequence[str] | None = None,
        closed: bool | None = None,
    ) -> None:
        if not 1 <= k <= _LONGEST:
            raise ConfigError(f"k = {k} bases per token; allowed: 1 to {_LONGEST}.")
        self.k = k
        self.overlapping = overlapping
        self.tokens = tuple(tokens) if tokens is not None else vocabulary(k, overlapping)
        self.vocab_size = len(self.tokens)
        index = {token: number for number, token in enumerate(self.tokens)}
        self.unk_id = _required(index, "<unk>", "[UNK]")
        self.pad_id = _required(index, "<pad>", "[PAD]")
        self.mask_id = _required(index, "<mask>", "[MASK]")
        self.cls_id: int | None = _required(index, "<cls>", "[CLS]")
        self.sep_id: int | None = index.get("<eos>", index.get("[SEP]"))
        self.prefix_length = 1
        closed = overlapping if closed is None else closed
        if closed and self.sep_id is None:
            raise ConfigError("the k-mer vocabulary lacks <eos> or [SEP], which ends a sequence.")
        self._after = (self.sep_id,) if closed and self.sep_id is not None else ()
        self._before = (self.cls_id,)
        kmers = ["".join(letters) for letters in product(BASES[:N], repeat=k)]
        self._kmer_ids = np.array([_required(index, kmer) for kmer in kmers], dtype=np.int32)
        single = [] if overlapping else [_required(index, letter) for letter in BASES]
        self._base_ids = np.array(single, dtype=np.int32)

    def encode_codes(self, codes: Codes) -> npt.NDArray[np.int32]:
        """Turn the base codes of one sequence into ids, shape ``(n_tokens,)``."""
        return self._encode(codes)[0]

    def encode(self, sequence: str) -> npt.NDArray[np.int32]:
        """Turn nucleotide letters of either case into ids, shape ``(n_tokens,)``.

        Raises:
            DataError: If a character is not an IUPAC nucleotide letter.
        """
        return self.encode_codes(encode(sequence))

    def encode_with_offsets(self, codes: Codes) -> tuple[npt.NDArray[np.int32], Offsets]:
        """Return the ids of one sequence and the bases of each token."""
        ids, starts, lengths = self._encode(codes)
        return ids, np.stack((starts, starts + lengths), axis=1)

    def offsets(self, codes: Codes) -> Offsets:
        """Return the bases ``[start, end)`` of each token, shape ``(n_tokens, 2)``.

        Example:
            >>> KmerTokenizer(2).offsets(encode("ACNGT")).tolist()
            [[0, 2], [2, 3], [3, 5]]
        """
        return self.encode_with_offsets(codes)[1]

    def with_special(self, ids: Ids) -> Ids:
        """Return ids with ``<cls>`` before them, or between ``[CLS]`` and ``[SEP]``."""
        return surrounded(ids, self._before, self._after)

    def decode(self, ids: Ids) -> str:
        """Return the sequence of ids: overlapping k-mers add their last base each.

        Raises:
            DataError: If an id is outside ``[0, vocab_size)``.

        Example:
            >>> tokenizer = KmerTokenizer(3, overlapping=True)
            >>> tokenizer.decode(tokenizer.encode("ACGTT"))
            'ACGTT'
        """
        if not self.overlapping:
            return joined(self.tokens, ids)
        joined(self.tokens, ids)
        follows = False
        parts = []
        for token in ids:
            text = self.tokens[token]
            is_kmer = not text.startswith(("[", "<"))
            parts.append(text[-1] if is_kmer and follows else text)
            follows = is_kmer
        return "".join(parts)

    def _encode(self, codes: Codes) -> tuple[npt.NDArray[np.int32], Offsets, Offsets]:
        """Return ids, first bases and numbers of bases of the tokens."""
        codes = np.bitwise_and(codes, np.uint8(CODE_BITS))
        if codes.ndim != 1:
            raise ConfigError(f"codes of shape {codes.shape}; allowed: one sequence, (length,).")
        return self._every_base(codes) if self.overlapping else self._one_after_the_other(codes)

    def _values(self, codes: Codes, starts: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Return the number, to the base 4, of the k-mer at each start."""
        values = np.zeros(len(starts), dtype=np.int32)
        for place in range(self.k):
            values = values * np.int32(4) + codes[starts + place]
        return values

    def _every_base(self, codes: Codes) -> tuple[npt.NDArray[np.int32], Offsets, Offsets]:
        """Encode with one token at every base."""
        starts = np.arange(max(len(codes) - self.k + 1, 0), dtype=np.int64)
        unknown = np.concatenate(([0], np.cumsum(codes == N)))
        known = unknown[self.k :] == unknown[: -self.k] if len(starts) else np.zeros(0, dtype=bool)
        ids = np.full(len(starts), self.unk_id, dtype=np.int32)
        ids[known] = self._kmer_ids[self._values(codes, starts[known])]
        return ids, starts, np.full(len(starts), self.k, dtype=np.int64)

    def _one_after_the_other(self, codes: Codes) -> tuple[npt.NDArray[np.int32], Offsets, Offsets]:
        """Encode by the rules of the Nucleotide Transformer."""
        breaks = np.concatenate(([-1], np.flatnonzero(codes == N), [len(codes)]))
        first, run = breaks[:-1] + 1, np.diff(breaks) - 1
        whole = run // self.k
        # Each run gives its k-mers, then its single bases, then the N that ends it.
        counts = whole + run % self.k + 1
        ends = np.cumsum(counts)
        run_of = np.repeat(np.arange(len(run)), counts)
        rank = np.arange(ends[-1]) - (ends - counts)[run_of]
        is_kmer = rank < whole[run_of]
        starts = first[run_of] + rank + np.minimum(rank, whole[run_of]) * (self.k - 1)
        starts, is_kmer = starts[:-1], is_kmer[:-1]  # the last run has no N behind it
        ids = np.empty(len(starts), dtype=np.int32)
        ids[is_kmer] = self._kmer_ids[self._values(codes, starts[is_kmer])]
        ids[~is_kmer] = self._base_ids[codes[starts[~is_kmer]]]
        return ids, starts, np.where(is_kmer, self.k, 1)


def vocabulary(k: int, overlapping: bool = False) -> tuple[str, ...]:
    """Return the tokens of a k-mer vocabulary in the published order.

    Example:
        >>> len(vocabulary(6)), vocabulary(6)[6:9]
        (4107, ('AAAAAA', 'AAAAAT', 'AAAAAC'))
    """
    kmers = tuple("".join(letters) for letters in product(_ORDER, repeat=k))
    if overlapping:
        return (*_DNABERT, *kmers)
    single = () if k == 1 else tuple(_ORDER)
    return (*_NUCLEOTIDE_TRANSFORMER, *kmers, *single, "N")


def _required(index: dict[str, int], *names: str) -> int:
    """Return the id of the first of these tokens that a vocabulary holds."""
    for name in names:
        if name in index:
            return index[name]
    raise ConfigError(
        f"the k-mer vocabulary of {len(index)} tokens lacks {' or '.join(names)}; needed: every"
        " k-mer of A, C, G, T, the unknown, padding, mask and class tokens, and, where tokens do"
        " not overlap, A, C, G, T and N."
    )
