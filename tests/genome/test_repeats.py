"""Repeat policies: loss weights, kept stretches, and chromosomes that are nothing but repeats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome import repeats as module
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeats import RepeatPolicy, kept_fragments, loss_weights

MASK = np.array([True, False, True, False])
GENOME = Genome.from_sequences({"a": "ACgtACGTacA", "lower": "acgtnN", "unknown": "NNNN"})


class TestPolicy:
    def test_default_keeps(self):
        assert RepeatPolicy() == RepeatPolicy(name="keep", weight=0.1, min_length=64)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"name": "drop"}, "policy 'drop'; allowed: keep, remove, downweight"),
            ({"weight": -0.1}, r"weight is -0\.1; expected a number in \[0, 1\]"),
            ({"weight": 1.5}, r"weight is 1\.5"),
            ({"weight": float("nan")}, "weight is nan"),
            ({"min_length": 0}, "min_length is 0; expected 1 or more"),
        ],
    )
    def test_values_out_of_range(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            RepeatPolicy(**settings)


class TestWeights:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (RepeatPolicy(), [1, 1, 1, 1]),
            (RepeatPolicy(name="remove"), [0, 1, 0, 1]),
            (RepeatPolicy(name="downweight", weight=0.25), [0.25, 1, 0.25, 1]),
            (RepeatPolicy(name="downweight", weight=0.0), [0, 1, 0, 1]),
        ],
    )
    def test_by_hand(self, policy, expected):
        weights = loss_weights(policy, MASK)
        assert weights.tolist() == expected
        assert weights.dtype == np.float32

    def test_any_shape(self):
        weights = loss_weights(RepeatPolicy(name="downweight"), MASK.reshape(2, 2))
        assert weights.shape == (2, 2)

    def test_weighted_loss_by_hand(self):
        # GPN's normalisation: (4 * 0.1 + 1 + 2 * 0.1 + 3) / (0.1 + 1 + 0.1 + 1) = 4.6 / 2.2
        weights = loss_weights(RepeatPolicy(name="downweight", weight=0.1), MASK)
        losses = np.array([4.0, 1.0, 2.0, 3.0])
        assert (losses * weights).sum() / weights.sum() == pytest.approx(4.6 / 2.2)


class TestFragments:
    @pytest.mark.parametrize("name", ["keep", "downweight"])
    def test_whole_chromosome(self, name):
        assert kept_fragments(RepeatPolicy(name=name), GENOME, "a").tolist() == [[0, 11]]

    @pytest.mark.parametrize(
        ("min_length", "expected"),
        [(1, [[0, 2], [4, 8], [10, 11]]), (2, [[0, 2], [4, 8]]), (4, [[4, 8]]), (5, [])],
    )
    def test_remove_by_hand(self, min_length, expected):
        policy = RepeatPolicy(name="remove", min_length=min_length)
        found = kept_fragments(policy, GENOME, "a")
        assert found.tolist() == expected
        assert found.shape == (len(expected), 2)

    @given(st.text("ACGTNacgtn", min_size=1).filter(lambda text: set(text) & set("ACGT")))
    def test_remove_holds_every_unmasked_base_and_no_other(self, sequence):
        genome = Genome.from_sequences({"a": sequence})
        rows = kept_fragments(RepeatPolicy(name="remove", min_length=1), genome, "a")
        held = [base for start, end in rows.tolist() for base in range(start, end)]
        assert held == [i for i, letter in enumerate(sequence) if letter.isupper()]

    @pytest.mark.parametrize("name", ["remove", "downweight"])
    @pytest.mark.parametrize("chrom", ["lower", "unknown"])
    def test_chromosome_without_a_unique_base(self, name, chrom):
        with pytest.raises(
            DataError, match=f"'{chrom}': every known base .* '{name}' leaves nothi"
        ):
            kept_fragments(RepeatPolicy(name=name), GENOME, chrom)

    def test_keep_takes_such_a_chromosome(self):
        assert kept_fragments(RepeatPolicy(), GENOME, "lower").tolist() == [[0, 6]]

    def test_the_one_unique_base_may_lie_in_any_block(self, monkeypatch):
        monkeypatch.setattr(module, "_BLOCK", 4)
        genome = Genome.from_sequences({"a": "acgtacgtacgtaCgt"})
        policy = RepeatPolicy(name="remove", min_length=1)
        assert kept_fragments(policy, genome, "a").tolist() == [[13, 14]]

    @pytest.mark.parametrize("name", ["keep", "remove"])
    def test_unknown_chromosome(self, name):
        with pytest.raises(ConfigError, match="unknown chromosome 'b'"):
            kept_fragments(RepeatPolicy(name=name), GENOME, "b")
