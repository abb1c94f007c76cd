"""The control for repeat removal: as many unique bases, in stretches as long, drawn by seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import as_intervals, runs
from lightning_dna.genome.matched_control import matched_removal
from lightning_dna.genome.repeats import RepeatPolicy, allowed_stretches


def removal(sequences: dict[str, str], seed: int = 0):
    """Match the lower-case stretches of some sequences."""
    letters = {name: np.array([*text]) for name, text in sequences.items()}
    repeats = {name: runs(np.char.islower(row)) for name, row in letters.items()}
    unknown = {name: runs(np.char.upper(row) == "N") for name, row in letters.items()}
    lengths = {name: len(text) for name, text in sequences.items()}
    return matched_removal(repeats, unknown, lengths, seed=seed)


def bases(removed: dict, name: str) -> list[int]:
    return [base for start, end in removed[name].tolist() for base in range(start, end)]


LONG = {"a": ("A" * 400 + "c" * 30) * 5 + "A" * 900, "b": "G" * 500 + "t" * 7 + "N" * 50 + "G" * 90}


def test_the_same_lengths_in_unique_places():
    found = removal(LONG)
    rows = np.concatenate([found.removed[name] for name in LONG])
    # Two stretches may come to lie side by side and count as one.
    assert int(np.diff(rows).sum()) == 5 * 30 + 7
    assert sorted(np.diff(rows).ravel().tolist())[-1] in (30, 37, 60)
    assert (found.stretches, found.cut) == (6, 0)
    for name, text in LONG.items():
        assert {text[base] for base in bases(found.removed, name)} <= {"A", "G"}


def test_chromosomes_are_pooled():
    """Nothing unique is left on one chromosome: the other one pays for both."""
    found = removal({"a": "a" * 20 + "N" * 5, "b": "G" * 300})
    assert bases(found.removed, "a") == []
    assert len(bases(found.removed, "b")) == 20


def test_a_stretch_that_fits_nowhere_is_cut():
    found = removal({"a": "c" * 30 + ("A" * 10 + "g") * 8})
    assert found.cut > 0
    assert len(bases(found.removed, "a")) == 30 + 8


def test_the_seed_decides():
    first, again, other = removal(LONG, 1), removal(LONG, 1), removal(LONG, 2)
    for name in LONG:
        assert np.array_equal(first.removed[name], again.removed[name])
    assert any(not np.array_equal(first.removed[n], other.removed[n]) for n in LONG)


def test_places_are_spread_evenly():
    """Each of the four quarters of a unique stretch is met by about a quarter of the bases."""
    text = "c" * 10 + "A" * 4000
    starts = [removal({"a": text}, seed).removed["a"][0, 0] - 10 for seed in range(400)]
    counts = np.histogram(starts, bins=4, range=(0, 3991))[0]
    assert (abs(counts - 100) < 5 * np.sqrt(75)).all()


def test_more_repeats_than_unique_bases():
    with pytest.raises(DataError, match="12 bases are repeats and 11 are not"):
        removal({"a": "a" * 12 + "C" * 11 + "N" * 40})


def test_no_repeat_at_all_removes_nothing():
    found = matched_removal({"a": as_intervals([])}, {"a": as_intervals([])}, {"a": 9}, seed=0)
    assert found.removed["a"].shape == (0, 2)


@given(
    st.dictionaries(
        st.sampled_from("xyz"),
        st.lists(st.tuples(st.sampled_from("AaN"), st.integers(1, 25)), min_size=1, max_size=12),
        min_size=1,
    ),
    st.integers(0, 5),
)
def test_the_count_is_exact_and_no_repeat_is_touched(drawn, seed):
    sequences = {name: "".join(c * n for c, n in parts) for name, parts in drawn.items()}
    joined = "".join(sequences.values())
    lower, unique = joined.count("a"), joined.count("A")
    if lower >= unique:
        with pytest.raises(DataError):
            removal(sequences, seed)
        return
    found = removal(sequences, seed)
    places = [(name, base) for name in sequences for base in bases(found.removed, name)]
    assert len(places) == len(set(places)) == lower
    assert {sequences[name][base] for name, base in places} <= {"A"}
    assert len(set(places)) == lower


def test_as_a_policy():
    genome = Genome.from_sequences(LONG)
    policy = RepeatPolicy(name="matched-unique", seed=3)
    allowed = allowed_stretches(policy, genome, ["a", "b"])
    kept = {
        name: {base for start, end in rows.tolist() for base in range(start, end)}
        for name, rows in allowed.items()
    }
    gone = {name: set(range(len(text))) - kept[name] for name, text in LONG.items()}
    assert sum(map(len, gone.values())) == 157
    assert all(LONG[name][base].isupper() for name, found in gone.items() for base in found)
