"""Byte-pair vocabularies, and the library ``tokenizers`` to compare with."""

import json

import numpy as np
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lightning_dna.tokenizers.bpe import BPETokenizer

BACKENDS = ("numba", "python")
MERGES = [
    ("A", "A"), ("T", "T"), ("T", "G"), ("C", "A"), ("AA", "AA"), ("TG", "A"), ("CA", "TG"),
    ("TT", "A"), ("AAAA", "AAAA"), ("C", "G"), ("CG", "CG"), ("G", "CA"), ("TTA", "CG"),
]  # fmt: skip


def library(tokenizer: BPETokenizer) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer.file.content))


def ids_of(reference: Tokenizer, text: str) -> list[int]:
    return reference.encode(text, add_special_tokens=False).ids


def dna(length: int, seed: int, letters: str = "ACGT") -> str:
    return "".join(np.random.default_rng(seed).choice([*letters], length))


@st.composite
def vocabularies(draw) -> list[tuple[str, str]]:
    """Merges in an order that a trainer could leave: each makes a new token out of older ones."""
    tokens, merges = [*"ACGT"], []
    for _ in range(draw(st.integers(0, 25))):
        pair = draw(st.tuples(st.sampled_from(tokens), st.sampled_from(tokens)))
        if "".join(pair) not in tokens and len("".join(pair)) < 20:
            tokens.append("".join(pair))
            merges.append(pair)
    return merges
