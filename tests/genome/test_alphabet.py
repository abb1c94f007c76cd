"""Base codes: every byte value, case, ambiguity letters, and the other strand."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, decode, encode, reverse_complement

LETTERS = "ACGTNacgtn"


def test_codes_are_fixed_by_hand():
    assert encode("ACGTN").tolist() == [0, 1, 2, 3, 4]
    assert encode("acgtn").tolist() == [8, 9, 10, 11, 12]
    assert encode("ACGTN").dtype == np.uint8


def test_bits_do_not_meet():
    assert SOFT_MASK == 8
    assert CODE_BITS == 7


def test_uracil_is_read_as_thymine_and_ambiguity_as_n():
    assert encode("Uu").tolist() == [3, 11]
    assert encode("RYSWKMBDHV").tolist() == [4] * 10
    assert encode("ryswkmbdhv").tolist() == [12] * 10


def test_text_and_bytes_agree():
    assert encode(b"ACgtRn").tolist() == encode("ACgtRn").tolist()


def test_nothing_encodes_to_nothing():
    assert encode("").shape == (0,)
    assert decode(encode("")) == ""


@pytest.mark.parametrize(
    "letter", sorted(set(map(chr, range(128))) - set("ACGTUNRYSWKMBDHV") - set("acgtunryswkmbdhv"))
)
def test_every_other_character_is_refused(letter):
    with pytest.raises(DataError, match="at position 2 is not a nucleotide letter"):
        encode("AC" + letter)


@pytest.mark.parametrize("letter", ["é", "Α", "😀"])
def test_letters_outside_ascii_are_named_at_their_position(letter):
    with pytest.raises(DataError, match=f"'{letter}' at position 1 "):
        encode("A" + letter + "C")


def test_position_counts_from_the_offset():
    with pytest.raises(DataError, match="'-' at position 103 "):
        encode("ACG-", offset=100)


def test_the_first_wrong_character_is_named():
    with pytest.raises(DataError, match="'E' at position 3 "):
        encode("ACGEF")


@given(st.text(LETTERS))
def test_decoding_returns_the_letters(sequence):
    assert decode(encode(sequence)) == sequence


@given(st.text("ACGTUNRYSWKMBDHV"))
def test_case_changes_the_mask_bit_alone(sequence):
    upper, lower = encode(sequence), encode(sequence.lower())
    assert np.array_equal(upper | SOFT_MASK, lower)
    assert not np.any(upper & SOFT_MASK)


def test_reverse_complement_by_hand():
    assert decode(reverse_complement(encode("AACGTN"))) == "NACGTT"
    assert decode(reverse_complement(encode("aaCGtn"))) == "naCGtt"


@given(st.text(LETTERS))
def test_reverse_complement_against_text(sequence):
    other = sequence[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))
    assert decode(reverse_complement(encode(sequence))) == other


@given(st.text(LETTERS))
def test_reverse_complement_twice_is_the_sequence(sequence):
    assert decode(reverse_complement(reverse_complement(encode(sequence)))) == sequence


def test_reverse_complement_works_along_the_last_axis():
    batch = np.stack((encode("ACG"), encode("tta")))
    assert [decode(row) for row in reverse_complement(batch)] == ["CGT", "taa"]
    assert reverse_complement(batch).flags["C_CONTIGUOUS"]


def test_input_is_not_written_to():
    codes = encode("ACG")
    codes.setflags(write=False)
    reverse_complement(codes)
    assert decode(codes) == "ACG"


def test_alphabet_covers_the_iupac_nucleotide_letters():
    accepted = {letter for letter in string.ascii_uppercase if _accepts(letter)}
    assert accepted == set("ABCDGHKMNRSTUVWY")


def _accepts(letter: str) -> bool:
    try:
        encode(letter)
    except DataError:
        return False
    return True
