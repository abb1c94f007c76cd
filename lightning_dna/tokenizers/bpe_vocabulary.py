"""The vocabulary of a byte-pair tokenizer: its characters as symbols, and a new one as a file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lightning_dna.tokenizers.bpe_encoder import Symbols
from lightning_dna.tokenizers.bpe_tables import Ints, Merges
from lightning_dna.tokenizers.tokenizer_json import TokenizerFile

SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
"""The special tokens of DNABERT-2, in its order."""


class Alphabet(NamedTuple):
    """The characters of a vocabulary as symbols: first those that merge, then others, unknown.

    Attributes:
        symbols: Symbol of each character.
        unknown: Symbol of all other characters.
        table: Symbol of each of the first 256 characters.
        merges: The merges, in symbols.
        ids: Id of each token of the merges, then of each other symbol.
    """

    symbols: dict[str, int]
    unknown: int
    table: Symbols
    merges: Merges
    ids: Ints


def number_alphabet(file: TokenizerFile) -> Alphabet:
    """Number the characters of a vocabulary: first those that merge."""
    vocabulary, pairs = file.vocabulary, file.merges
    parts = dict.fromkeys(token for pair in pairs for token in pair)
    made = {left + right for left, right in pairs}
    merging = [token for token in parts if token not in made]
    others = [token for token in vocabulary if len(token) == 1 and token not in parts]
    numbers = {token: number for number, token in enumerate(merging)}
    results = []
    for left, right in pairs:
        results.append(numbers.setdefault(left + right, len(numbers)))
    merges = Merges(
        n_symbols=len(merging),
        pairs=tuple((numbers[left], numbers[right]) for left, right in pairs),
        made=tuple(results),
        n_tokens=len(numbers),
    )
    others = [token for token in others if token not in numbers]
    symbols = {token: numbers[token] for token in merging if len(token) == 1}
    symbols |= {token: len(merging) + place for place, token in enumerate(others)}
    unknown = len(merging) + len(others)
    table = np.full(256, unknown, dtype=np.uint16)
    for letter, symbol in symbols.items():
        if ord(letter) < len(table):
            table[ord(letter)] = symbol
    ids = [vocabulary[token] for token in (*numbers, *others)]
    ids.append(-1 if file.unknown is None else vocabulary[file.unknown])
    return Alphabet(symbols, unknown, table, merges, np.array(ids, dtype=np.int32))


def new_file(
    merges: Sequence[tuple[str, str]], alphabet: str, special: Sequence[str]
) -> dict[str, Any]:
    """Return the content of a new tokenizer file."""
    vocabulary: dict[str, int] = {}
    for token in (*special, *alphabet, *("".join(pair) for pair in merges)):
        vocabulary.setdefault(token, len(vocabulary))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    frame = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
    named = {
        name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]}
        for name in ("[CLS]", "[SEP]")
    }
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    end = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[name], "content": name, **flags, "special": True} for name in special
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [frame[0], sequence, frame[1]],
            "pair": [frame[0], sequence, frame[1], second, end],
            "special_tokens": named,
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }
