"""Repeat families: divergence, indels, placement."""

from itertools import pairwise

import numpy as np
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, encode, reverse_complement
from lightning_dna.genome.simulate_repeats import (
    RepeatFamily,
    draw_families,
    mutate,
    place_repeats,
)


def test_families_span_lengths_and_ages() -> None:
    families = draw_families(5, 0.1, np.random.default_rng(0))
    lengths = [len(family.consensus) for family in families]
    assert lengths == sorted(lengths)
    assert 100 <= lengths[0] < 200
    assert 700 < lengths[-1] <= 1500
    ages = [family.divergence for family in families]
    assert sorted(ages) == pytest.approx([0.03, 0.065, 0.1, 0.135, 0.17])
    assert len({family.name for family in families}) == 5
    assert all(set(family.consensus) == {0, 1, 2, 3} for family in families)


def test_one_family_has_the_mean_age_and_none_is_allowed() -> None:
    assert draw_families(1, 0.2, np.random.default_rng(0))[0].divergence == pytest.approx(0.2)
    assert draw_families(0, 0.2, np.random.default_rng(0)) == []


def test_no_divergence_copies_exactly() -> None:
    ancestor = encode("ACGTTGCA" * 20)
    codes, divergence, indels = mutate(ancestor, 0.0, np.random.default_rng(0))
    assert np.array_equal(codes, ancestor)
    assert (divergence, indels) == (0.0, 0)


def test_divergence_is_the_substituted_fraction_and_half_are_transitions() -> None:
    rng = np.random.default_rng(1)
    ancestor = rng.integers(0, 4, size=40_000, dtype=np.uint8)
    changes = np.zeros((4, 4))
    reported, total = 0.0, 0
    for start in range(0, len(ancestor), 40):
        piece = ancestor[start : start + 40]
        codes, divergence, indels = mutate(piece, 0.2, rng)
        if indels:
            continue
        np.add.at(changes, (piece, codes), 1)
        assert divergence == pytest.approx((piece != codes).mean())
        reported, total = reported + divergence, total + 1
    assert reported / total == pytest.approx(0.2, abs=0.01)
    substitutions = changes.sum() - np.trace(changes)
    transitions = changes[0, 2] + changes[2, 0] + changes[1, 3] + changes[3, 1]
    assert transitions / substitutions == pytest.approx(0.5, abs=0.03)


def test_indels_change_the_length_both_ways_and_start_a_tenth_as_often() -> None:
    rng = np.random.default_rng(2)
    ancestor = rng.integers(0, 4, size=1000, dtype=np.uint8)
    drawn = [mutate(ancestor, 0.3, rng) for _ in range(200)]
    lengths = np.array([len(codes) for codes, _, _ in drawn])
    assert lengths.min() < 990
    assert lengths.max() > 1010
    assert lengths.mean() == pytest.approx(1000, abs=8)
    assert np.mean([indels for _, _, indels in drawn]) == pytest.approx(30, abs=2)


def _family(length: int = 120, name: str = "one") -> RepeatFamily:
    consensus = np.random.default_rng(9).integers(0, 4, size=length, dtype=np.uint8)
    return RepeatFamily(name=name, consensus=consensus, divergence=0.0)


def test_copies_read_like_the_family_and_are_soft_masked() -> None:
    rng = np.random.default_rng(3)
    codes = np.zeros(10_000, dtype=np.uint8)
    family = _family()
    copies = place_repeats(
        codes, np.zeros(10_000, dtype=bool), [family], 0.4, chrom="chrX", rng=rng
    )
    assert {copy.strand for copy in copies} == {"+", "-"}
    assert {copy.chrom for copy in copies} == {"chrX"}
    assert any(copy.consensus_start > 0 for copy in copies)
    flags = np.zeros(10_000, dtype=bool)
    for copy in copies:
        written = codes[copy.start : copy.end] & np.uint8(CODE_BITS)
        forward = written if copy.strand == "+" else reverse_complement(written)
        assert np.array_equal(forward, family.consensus[copy.consensus_start :])
        assert copy.divergence == 0
        flags[copy.start : copy.end] = True
    assert np.array_equal((codes & SOFT_MASK) > 0, flags)
    assert 0.4 <= flags.mean() < 0.4 + 120 / 10_000


def test_copies_touch_neither_each_other_nor_protected_bases() -> None:
    rng = np.random.default_rng(4)
    codes = np.zeros(20_000, dtype=np.uint8)
    protected = np.zeros(20_000, dtype=bool)
    protected[::700] = True
    families = [_family(110), _family(300, "two")]
    copies = place_repeats(codes, protected, families, 0.3, chrom="chr1", rng=rng)
    assert {copy.family for copy in copies} == {"one", "two"}
    assert not (protected & ((codes & SOFT_MASK) > 0)).any()
    for first, second in pairwise(copies):
        assert first.end < second.start


def test_every_family_gets_a_copy_even_beyond_the_fraction() -> None:
    families = [_family(100, f"f{i}") for i in range(6)]
    codes = np.zeros(6000, dtype=np.uint8)
    copies = place_repeats(
        codes,
        np.zeros(6000, dtype=bool),
        families,
        0.001,
        chrom="c",
        rng=np.random.default_rng(0),
    )
    assert sorted(copy.family for copy in copies) == [f"f{i}" for i in range(6)]


def test_no_fraction_no_repeats() -> None:
    codes = np.zeros(500, dtype=np.uint8)
    free = np.zeros(500, dtype=bool)
    rng = np.random.default_rng(0)
    assert place_repeats(codes, free, [_family()], 0.0, chrom="c", rng=rng) == []
    assert not codes.any()


def test_a_full_chromosome_is_an_error_that_says_what_to_change() -> None:
    codes = np.zeros(2000, dtype=np.uint8)
    protected = np.ones(2000, dtype=bool)
    protected[:130] = False
    with pytest.raises(ConfigError, match=r"simulated chr7: .* lower repeat_fraction \(0.5\)"):
        place_repeats(
            codes, protected, [_family()], 0.5, chrom="chr7", rng=np.random.default_rng(0)
        )
