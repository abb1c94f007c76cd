"""Byte-pair encoding with the ids of the library ``tokenizers``, faster and with base offsets."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna import atomic
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import BASES, CODE_BITS, Codes
from lightning_dna.tokenizers.backend import Backend
from lightning_dna.tokenizers.base import Ids, Offsets, joined, surrounded
from lightning_dna.tokenizers.bpe_encoder import Encoder, Symbols, make_encoder
from lightning_dna.tokenizers.bpe_stream import BLOCK, settled_tokens, stream
from lightning_dna.tokenizers.bpe_vocabulary import SPECIAL, Alphabet, new_file, number_alphabet
from lightning_dna.tokenizers.tokenizer_json import (
    TokenizerFile,
    parse_tokenizer_file,
    read_tokenizer_file,
)

_NAMES = {
    "mask": ("[MASK]", "<mask>"),
    "padding": ("[PAD]", "<pad>"),
    "unknown": ("[UNK]", "<unk>"),
    "class": ("[CLS]", "<cls>", "<s>"),
    "separator": ("[SEP]", "<sep>", "<eos>", "</s>"),
}
Encoded = tuple[npt.NDArray[np.int32], Offsets]


class BPETokenizer:
    """A byte-pair vocabulary, for example that of DNABERT-2.

    ``encode`` gives the ids of ``tokenizers`` without special tokens for any ASCII text, so that
    with DNABERT-2's file every lower-case letter is ``[UNK]``. ``encode_codes`` reads base codes as
    upper-case letters A, C, G, T and N, whatever their soft mask.

    Made by `from_file` or `from_merges`.

    Attributes:
        tokens: The text of each id.
        vocab_size: Number of ids.
        cls_id: Id of ``[CLS]``, ``<cls>`` or ``<s>``; ``None`` if the vocabulary has none.
        sep_id: Id of ``[SEP]``, ``<sep>``, ``<eos>`` or ``</s>``; ``None`` if there is none.
        prefix_length: How many tokens ``with_special`` puts before the first.

    Example:
        >>> tokenizer = BPETokenizer.from_merges([("A", "C"), ("AC", "G")])
        >>> [tokenizer.tokens[i] for i in tokenizer.encode("TACGACN")]
        ['T', 'ACG', 'AC', '[UNK]']
        >>> tokenizer.decode(tokenizer.with_special(tokenizer.encode("ACG")))
        '[CLS]ACG[SEP]'
    """

    def __init__(self, file: TokenizerFile, *, backend: Backend = "auto") -> None:
        self.file = file
        self._backend: Backend = backend
        ids = dict(file.vocabulary)
        ids.update(
            {str(t["content"]): int(t["id"]) for t in file.content.get("added_tokens") or []}
        )
        self._id_of = ids
        texts = [""] * (max(ids.values(), default=-1) + 1)
        for text, number in ids.items():
            texts[number] = text
        self.tokens: tuple[str, ...] = tuple(texts)
        self.vocab_size = len(texts)
        self.cls_id = self._named("class")
        self.sep_id = self._named("separator")
        self.prefix_length = len(file.before)

    @classmethod
    def from_file(cls, path: str | Path, *, backend: Backend = "auto") -> "BPETokenizer":
        """Read a ``tokenizer.json``.

        Args:
            path: The file.
            backend: ``"numba"``, ``"python"``, or ``"auto"`` for numba where it is installed; the
                ids are the same.

        Raises:
            DataError: If it is missing, damaged, no BPE, or asks for something unsupported.
        """
        return cls(read_tokenizer_file(Path(path)), backend=backend)

    @classmethod
    def from_merges(
        cls,
        merges: Sequence[tuple[str, str]],
        *,
        alphabet: str = "ACGT",
        special: Sequence[str] = SPECIAL,
        backend: Backend = "auto",
    ) -> "BPETokenizer":
        """Make a tokenizer in the layout of DNABERT-2's file.

        Args:
            merges: The pairs that merge, in order.
            alphabet: Characters that are tokens before any merge.
            special: Special tokens, which get the first ids; must hold ``[UNK]``, ``[CLS]`` and
                ``[SEP]``.
            backend: As in `from_file`.

        Raises:
            ConfigError: If a special token is missing.
        """
        missing = [name for name in ("[UNK]", "[CLS]", "[SEP]") if name not in special]
        if missing:
            raise ConfigError(f"special tokens {list(special)} lack {', '.join(missing)}.")
        content = new_file(merges, alphabet, special)
        return cls(parse_tokenizer_file(content, "the new vocabulary"), backend=backend)

    def save(self, path: str | Path) -> None:
        """Write a ``tokenizer.json`` that the library loads, whole or not at all."""
        text = json.dumps(self.file.content, indent=2, ensure_ascii=False)
        atomic.write_text(Path(path), text + "\n")

    @property
    def mask_id(self) -> int:
        """Id of ``[MASK]`` or ``<mask>``; a DataError if the vocabulary has neither."""
        return self._required("mask")

    @property
    def pad_id(self) -> int:
        """Id of ``[PAD]`` or ``<pad>``; a DataError if the vocabulary has neither."""
        return self._required("padding")

    @property
    def unk_id(self) -> int:
        """Id of the unknown token; a DataError if the vocabulary has none."""
        if self.file.unknown is not None:
            return self.file.vocabulary[self.file.unknown]
        return self._required("unknown")

    def encode_codes(self, codes: Codes) -> npt.NDArray[np.int32]:
        """Turn the base codes of one sequence into ids, shape ``(n_tokens,)``."""
        return self.encode_with_offsets(codes)[0]

    def encode(self, sequence: str) -> npt.NDArray[np.int32]:
        """Turn ASCII text into the ids of the library, shape ``(n_tokens,)``.

        Raises:
            DataError: If a character is not ASCII.
        """
        if not sequence.isascii():
            at = next(i for i, letter in enumerate(sequence) if not letter.isascii())
            raise DataError(
                f"character {sequence[at]!r} at position {at} is not ASCII; a sequence is written"
                " in ASCII letters."
            )
        letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
        symbols = self._alphabet.table[letters]
        if self._is_one_word(sequence, symbols):
            kept, _ = self._known(symbols)
            return self._alphabet.ids[self.encoder.encode(kept, self._fused)[0]]
        return self._encode_text(sequence)[0]

    def encode_with_offsets(self, codes: Codes) -> Encoded:
        """Return the ids of one sequence and the bases of each token.

        Args:
            codes: Base codes, shape ``(length,)``; the soft mask is dropped.

        Returns:
            The ids, shape ``(n_tokens,)``, and rows ``(start, end)``, shape ``(n_tokens, 2)``.
        """
        bases = np.bitwise_and(codes, np.uint8(CODE_BITS))
        if bases.ndim != 1:
            raise ConfigError(f"codes of shape {codes.shape}; allowed: one sequence, (length,).")
        if not self._plain_letters or (self.file.ignore_merges and len(bases) <= self._longest):
            return self._encode_text("".join(BASES[base] for base in bases.tolist()))
        return self._encode_symbols(self._base_symbols[bases])

    def offsets(self, codes: Codes) -> Offsets:
        """Return the bases ``[start, end)`` of each token, shape ``(n_tokens, 2)``.

        Bases that the vocabulary neither holds nor calls unknown belong to no token.

        Example:
            >>> from lightning_dna.genome.alphabet import encode
            >>> BPETokenizer.from_merges([("A", "C")]).offsets(encode("GACN")).tolist()
            [[0, 1], [1, 3], [3, 4]]
        """
        return self.encode_with_offsets(codes)[1]

    def encode_stream(
        self, blocks: Iterable[Codes], *, block_length: int = BLOCK
    ) -> Iterator[Encoded]:
        """Encode one sequence of any length in bounded memory.

        The ids of all blocks together are those of ``encode_codes`` on the whole sequence. A token
        is given out as soon as no base that may still come can change it; a block of DNA holds back
        some hundred bases, only a tandem repeat of the worst kind holds back more.

        Args:
            blocks: Consecutive parts of the sequence, of any lengths.
            block_length: Bases that are encoded at a time.

        Yields:
            The ids and the offsets (from the start of the sequence) of consecutive tokens.

        Raises:
            ConfigError: If an added token is written in bases, or ``block_length`` is not positive.
        """
        if not self._plain_letters:
            raise ConfigError("a vocabulary with an added token of bases cannot be streamed.")
        least = self._longest + 1 if self.file.ignore_merges else 1
        return stream(
            blocks, block_length, whole=self.encode_with_offsets, part=self._part, least=least
        )

    def with_special(self, ids: Ids) -> Ids:
        """Return ids between the special tokens of the file's post-processor."""
        return surrounded(ids, self.file.before, self.file.after)

    def decode(self, ids: Ids) -> str:
        """Return the texts of ids, one after the other.

        Raises:
            DataError: If an id is outside ``[0, vocab_size)``.
        """
        return joined(self.tokens, ids)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the merges."""
        return make_encoder(self._alphabet.merges, self._backend)

    def _named(self, kind: str) -> int | None:
        """Return the id of a special token under one of its usual names."""
        return next((self._id_of[name] for name in _NAMES[kind] if name in self._id_of), None)

    def _required(self, kind: str) -> int:
        """Return the id of a special token, or say that the vocabulary lacks it."""
        found = self._named(kind)
        if found is None:
            raise DataError(
                f"the vocabulary of {self.vocab_size} tokens has no {kind} token; looked for"
                f" {' and '.join(_NAMES[kind])}: add it to added_tokens of the tokenizer file."
            )
        return found

    @cached_property
    def _alphabet(self) -> Alphabet:
        """The characters as symbols."""
        return number_alphabet(self.file)

    @cached_property
    def _base_symbols(self) -> Symbols:
        """The symbol of each base code."""
        letters = BASES.lower() if self.file.lower_case else BASES
        return self._alphabet.table[np.frombuffer(letters.encode(), dtype=np.uint8)]

    @cached_property
    def _plain_letters(self) -> bool:
        """Whether no added token can be found in bases."""
        return not any(set(token.content.upper()) <= set(BASES) for token in self.file.added)

    @cached_property
    def _longest(self) -> int:
        """Letters of the longest token."""
        return max(map(len, self.file.vocabulary), default=0)

    @cached_property
    def _only_letters(self) -> bool:
        """Whether letters and digits are all that the vocabulary and no added token holds."""
        return not any(token.content.isalnum() for token in self.file.added) and all(
            token.isalnum() for token in self._alphabet.symbols
        )

    def _is_one_word(self, text: str, symbols: Symbols) -> bool:
        """Whether a text is one word, and nothing in it asks for more than its symbols."""
        if not self._only_letters or self.file.lower_case:
            return False
        if self.file.ignore_merges and len(text) <= self._longest:
            return False
        known = len(symbols) == 0 or symbols.max() < self._alphabet.unknown
        return bool(known or text.isalpha()) and not (self.file.byte_level and not text.isalpha())

    def _encode_text(self, text: str) -> Encoded:
        """Encode text word by word."""
        encoded = [
            (np.array([word], dtype=np.int32), np.array([[start, end]], dtype=np.int64))
            if isinstance(word, int)
            else self._encode_word(word, start)
            for start, end, word in self.file.words(text)
        ]
        if not encoded:
            return np.zeros(0, dtype=np.int32), np.zeros((0, 2), dtype=np.int64)
        ids, offsets = zip(*encoded, strict=True)
        return np.concatenate(ids), np.concatenate(offsets)

    def _encode_word(self, word: str, start: int) -> Encoded:
        """Encode one word that starts at a place of the text."""
        if self.file.ignore_merges and word in self.file.vocabulary:
            ids = np.array([self.file.vocabulary[word]], dtype=np.int32)
            return ids, np.array([[start, start + len(word)]], dtype=np.int64)
        alphabet = self._alphabet
        if word.isascii():
            symbols = alphabet.table[np.frombuffer(word.encode("ascii"), dtype=np.uint8)]
        else:
            found = [alphabet.symbols.get(letter, alphabet.unknown) for letter in word]
            symbols = np.array(found, dtype=np.uint16)
        ids, offsets = self._encode_symbols(symbols)
        return ids, offsets + start

    def _part(self, codes: Codes) -> tuple[Encoded, int]:
        """Encode from a settled border on; also return how many tokens are settled."""
        symbols, places = self._known(self._base_symbols[codes & np.uint8(CODE_BITS)])
        ids, offsets = self._encode_symbols(symbols)
        n_symbols = self._alphabet.merges.n_symbols
        settled = settled_tokens(self.encoder, n_symbols, symbols, offsets[:, 0])
        return (ids, self._placed(offsets, places)), settled

    @cached_property
    def _fused(self) -> int:
        """The symbol of which a row is one token, -1 for none."""
        return self._alphabet.unknown if self.file.fuse_unknown else -1

    def _known(self, symbols: Symbols) -> tuple[Symbols, npt.NDArray[np.int64] | None]:
        """Drop unknown symbols if there is no token for them; also return the places of the rest.

        The library drops them before it merges, so that their neighbours may merge.
        """
        if self.file.unknown is not None or not (symbols == self._alphabet.unknown).any():
            return symbols, None
        places = np.flatnonzero(symbols != self._alphabet.unknown)
        return symbols[places], places

    def _encode_symbols(self, symbols: Symbols) -> Encoded:
        """Encode the symbols of one word."""
        kept, places = self._known(symbols)
        tokens, starts = self.encoder.encode(kept, self._fused)
        offsets = np.empty((len(starts), 2), dtype=np.int64)
        offsets[:, 0] = starts
        offsets[:-1, 1] = starts[1:]
        offsets[-1:, 1] = len(kept)
        return self._alphabet.ids[tokens], self._placed(offsets, places)

    @staticmethod
    def _placed(offsets: Offsets, places: npt.NDArray[np.int64] | None) -> Offsets:
        """Return offsets in the text from which some symbols were dropped."""
        if places is None:
            return offsets
        return np.stack((places[offsets[:, 0]], places[offsets[:, 1] - 1] + 1), axis=1)
