"""Character tokens: HyenaDNA's ids, written out by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers.character import CharacterTokenizer

IDS = {
    "[CLS]": 0, "[SEP]": 1, "[BOS]": 2, "[MASK]": 3, "[PAD]": 4, "[RESERVED]": 5, "[UNK]": 6,
    "A": 7, "C": 8, "G": 9, "T": 10, "N": 11,
}  # fmt: skip


@pytest.fixture
def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer()


def test_vocabulary(tokenizer):
    assert {token: i for i, token in enumerate(tokenizer.tokens)} == IDS
    assert tokenizer.vocab_size == 12
    assert (tokenizer.mask_id, tokenizer.pad_id, tokenizer.unk_id) == (3, 4, 6)
    assert tokenizer.base_ids.tolist() == [7, 8, 9, 10]


def test_encode_by_hand(tokenizer):
    assert tokenizer.encode("ACGTN").tolist() == [7, 8, 9, 10, 11]
    assert tokenizer.encode("acgtn").tolist() == [7, 8, 9, 10, 11]
    assert tokenizer.encode("RU").tolist() == [11, 10]
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("A").dtype == np.uint8


@pytest.mark.parametrize("letter", ["E", "-", " ", "["])
def test_other_characters_are_refused(tokenizer, letter):
    with pytest.raises(DataError, match="not a nucleotide letter"):
        tokenizer.encode("AC" + letter)


@given(st.text("ACGTNacgtnRY"))
def test_codes_and_letters_give_the_same_ids(sequence):
    tokenizer = CharacterTokenizer()
    codes = encode(sequence)
    expected = [IDS.get(letter, IDS["N"]) for letter in sequence.upper()]
    assert tokenizer.encode(sequence).tolist() == expected
    assert tokenizer.encode_codes(codes).tolist() == expected
    assert tokenizer.encode_codes(codes & 7).tolist() == expected


def test_codes_of_any_shape_and_not_written_to(tokenizer):
    codes = encode("ACGTNN").reshape(2, 3)
    codes.setflags(write=False)
    ids = tokenizer.encode_codes(codes)
    assert ids.tolist() == [[7, 8, 9], [10, 11, 11]]
    assert ids.dtype == np.uint8
    ids[0, 0] = 3


@given(st.text("ACGTN"))
def test_decode_returns_the_letters(sequence):
    tokenizer = CharacterTokenizer()
    assert tokenizer.decode(tokenizer.encode(sequence)) == sequence


def test_decode_shows_special_tokens(tokenizer):
    assert tokenizer.decode(np.array([0, 7, 3, 4])) == "[CLS]A[MASK][PAD]"


@pytest.mark.parametrize("token", [-1, 12, 15])
def test_decode_refuses_ids_outside(tokenizer, token):
    with pytest.raises(DataError, match=f"token id {token} is not in the vocabulary.*0 to 11"):
        tokenizer.decode(np.array([7, token]))


def test_offsets(tokenizer):
    assert tokenizer.offsets(3).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert tokenizer.offsets(0).shape == (0, 2)
    assert tokenizer.offsets(1).dtype == np.int64


def test_offsets_of_codes_and_special_tokens(tokenizer):
    ids, offsets = tokenizer.encode_with_offsets(encode("CAN"))
    assert ids.tolist() == [8, 7, 11]
    assert offsets.tolist() == tokenizer.offsets(encode("CAN")).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert tokenizer.with_special(ids).tolist() == [8, 7, 11, 1]
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.prefix_length) == (0, 1, 0)


@pytest.mark.data
def test_size_is_that_of_the_published_architecture(data_folder, tokenizer):
    path = data_folder.parent / "golden" / "hyenadna-tiny-d32" / "config.json"
    config = json.loads(path.read_text())
    assert config["vocab_size"] == tokenizer.vocab_size
    assert config["pad_vocab_size_multiple"] == 8  # 12 ids in tables of 16 rows
