"""k-mer tokens: ids and rules of the published vocabularies, written out by hand."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers.kmer import KmerTokenizer

SEQUENCES = st.text("ACGTN", max_size=60) | st.text("ACGTacgtNR", max_size=30)


def greedy(sequence: str, k: int) -> list[str]:
    """The rules of the Nucleotide Transformer, base by base."""
    found, at = [], 0
    while at < len(sequence):
        word = sequence[at : at + k]
        whole = len(word) == k and set(word) <= set("ACGT")
        found.append(word if whole else word[0])
        at += len(found[-1])
    return found


@cache
def kmers(k: int, overlapping: bool = False) -> KmerTokenizer:
    return KmerTokenizer(k, overlapping=overlapping)


def folded(sequence: str) -> str:
    return sequence.upper().replace("R", "N")


def test_published_rows():
    tokenizer = KmerTokenizer(6)
    assert tokenizer.vocab_size == 4107
    assert tokenizer.tokens[:6] == ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>")
    assert tokenizer.tokens[6:12] == ("AAAAAA", "AAAAAT", "AAAAAC", "AAAAAG", "AAAATA", "AAAATT")
    assert tokenizer.tokens[4101:] == ("GGGGGG", "A", "T", "C", "G", "N")
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.mask_id, tokenizer.cls_id) == (0, 1, 2, 3)
    # ATTCCG by hand: digits 0 1 1 2 2 3 to the base 4.
    assert tokenizer.encode("ATTCCG").tolist() == [6 + 256 + 64 + 2 * 16 + 2 * 4 + 3]


def test_around_n_and_at_the_end():
    tokenizer = KmerTokenizer(6)
    ids = tokenizer.encode("ATTCCGATTCCGATTCCNGATTCCGA")
    assert [tokenizer.tokens[i] for i in ids] == [
        "ATTCCG", "ATTCCG", "A", "T", "T", "C", "C", "N", "GATTCC", "G", "A",
    ]  # fmt: skip


@settings(deadline=None)  # the vocabulary of a new k is built in the first example
@given(SEQUENCES, st.integers(1, 8))
def test_side_by_side_is_greedy(sequence, k):
    tokenizer = kmers(k)
    expected = greedy(folded(sequence), k)
    ids, offsets = tokenizer.encode_with_offsets(encode(sequence))
    assert [tokenizer.tokens[i] for i in ids] == expected
    ends = np.cumsum([0, *map(len, expected)])
    assert offsets.tolist() == [list(span) for span in pairwise(ends)]
    assert tokenizer.decode(ids) == folded(sequence)
    assert tokenizer.encode(sequence).tolist() == ids.tolist()
    assert tokenizer.offsets(encode(sequence)).tolist() == offsets.tolist()


@settings(deadline=None)  # the vocabulary of a new k is built in the first example
@given(SEQUENCES, st.integers(1, 8))
def test_overlapping_is_a_sliding_window(sequence, k):
    tokenizer = kmers(k, overlapping=True)
    words = [folded(sequence)[at : at + k] for at in range(len(sequence) - k + 1)]
    ids, offsets = tokenizer.encode_with_offsets(encode(sequence))
    expected = [word if "N" not in word else "[UNK]" for word in words]
    assert [tokenizer.tokens[i] for i in ids] == expected
    assert offsets.tolist() == [[at, at + k] for at in range(len(words))]
    if "N" not in folded(sequence):
        assert tokenizer.decode(ids) == folded(sequence) * (len(sequence) >= k)


def test_published_rows_of_dnabert():
    tokenizer = KmerTokenizer(3, overlapping=True)
    assert tokenizer.tokens[:8] == (
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "AAA", "AAT", "AAC",
    )  # fmt: skip
    assert tokenizer.vocab_size == 69
    assert tokenizer.with_special(tokenizer.encode("AAAT")).tolist() == [2, 5, 6, 3]


def test_special_tokens():
    tokenizer = KmerTokenizer(6)
    assert tokenizer.with_special(tokenizer.encode("AAAAAA")).tolist() == [3, 6]
    assert tokenizer.prefix_length == 1
    closed = KmerTokenizer(6, closed=True)
    assert closed.with_special(closed.encode("AAAAAA")).tolist() == [3, 6, 4]


def test_vocabulary_in_another_order():
    kmers = ["".join(pair) for pair in product("ACGT", repeat=2)]
    tokens = ["<cls>", *"NTGCA", *kmers, "<mask>", "<pad>", "<unk>"]
    tokenizer = KmerTokenizer(2, tokens=tokens)
    assert [tokens[i] for i in tokenizer.encode("ACGNTTA")] == ["AC", "G", "N", "TT", "A"]

    def without(name):
        return [text for text in tokens if text != name]

    with pytest.raises(ConfigError, match="lacks GT"):
        KmerTokenizer(2, tokens=without("GT"))
    with pytest.raises(ConfigError, match=r"lacks <mask> or \[MASK\]"):
        KmerTokenizer(2, tokens=without("<mask>"))
    with pytest.raises(ConfigError, match="lacks <eos>"):
        KmerTokenizer(2, tokens=tokens, closed=True)


@pytest.mark.parametrize("k", [0, 9, -1])
def test_k_out_of_range(k):
    with pytest.raises(ConfigError, match=f"k = {k} bases.*1 to 8"):
        KmerTokenizer(k)


def test_bad_input():
    tokenizer = KmerTokenizer(3)
    with pytest.raises(DataError, match="not a nucleotide letter"):
        tokenizer.encode("ACX")
    with pytest.raises(DataError, match="token id 75 is not in the vocabulary"):
        tokenizer.decode(np.array([75]))
    with pytest.raises(ConfigError, match="one sequence"):
        tokenizer.encode_codes(np.zeros((2, 3), dtype=np.uint8))
