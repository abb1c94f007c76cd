"""Repeat policies: loss weights, kept stretches, and chromosomes that are nothing but repeats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome import repeats as module
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.repeats import (
    RepeatPolicy,
    kept_fragments,
    loss_weights,
    treated_repeats,
    unknown_bases,
)

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
            ({"seed": -1}, "seed is -1; expected 0 or more"),
            ({"classes": ("LINE", "LINE")}, r"classes \['LINE', 'LINE'\] name one twice"),
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
            (RepeatPolicy(name="remove-split"), [0, 1, 0, 1]),
            (RepeatPolicy(name="remove-concat"), [0, 1, 0, 1]),
            (RepeatPolicy(name="hard-mask"), [0, 1, 0, 1]),
            (RepeatPolicy(name="matched-unique"), [1, 1, 1, 1]),
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

    def test_joined_stretches_may_be_of_any_length(self):
        policy = RepeatPolicy(name="remove-concat", min_length=5)
        assert kept_fragments(policy, GENOME, "a").tolist() == [[0, 2], [4, 8], [10, 11]]

    def test_hard_masking_removes_nothing(self):
        assert kept_fragments(RepeatPolicy(name="hard-mask"), GENOME, "a").tolist() == [[0, 11]]

    def test_only_some_classes(self):
        rows = {"a": {"LINE/L1": np.array([[2, 4]]), "SINE": np.array([[8, 10]])}}
        repeats = RepeatAnnotation(rows, GENOME.lengths)
        policy = RepeatPolicy(name="remove", min_length=1, classes=("LINE",))
        assert kept_fragments(policy, GENOME, "a", repeats).tolist() == [[0, 2], [4, 11]]
        with pytest.raises(DataError, match="no repeat of class LINE on lower, so 'remove'"):
            kept_fragments(policy, GENOME, "lower", repeats)

    def test_a_chromosome_all_of_one_class(self):
        repeats = RepeatAnnotation({"a": {"LINE": np.array([[0, 11]])}}, GENOME.lengths)
        policy = RepeatPolicy(name="remove", classes=("LINE",))
        with pytest.raises(DataError, match="'a': every known base is in these classes"):
            kept_fragments(policy, GENOME, "a", repeats)

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

    def test_stretches_that_reach_over_blocks_stay_whole(self, monkeypatch):
        monkeypatch.setattr(module, "_BLOCK", 4)
        genome = Genome.from_sequences({"a": "ACgtacgtACGTACgtNNNNNNac"})
        policy = RepeatPolicy(name="remove", min_length=1)
        assert treated_repeats(policy, genome, "a").tolist() == [[2, 8], [14, 16], [22, 24]]
        assert unknown_bases(genome, "a").tolist() == [[16, 22]]

    def test_the_one_unique_base_may_lie_in_any_block(self, monkeypatch):
        monkeypatch.setattr(module, "_BLOCK", 4)
        genome = Genome.from_sequences({"a": "acgtacgtacgtaCgt"})
        policy = RepeatPolicy(name="remove", min_length=1)
        assert kept_fragments(policy, genome, "a").tolist() == [[13, 14]]

    @pytest.mark.parametrize("name", ["keep", "remove"])
    def test_unknown_chromosome(self, name):
        with pytest.raises(ConfigError, match="unknown chromosome 'b'"):
            kept_fragments(RepeatPolicy(name=name), GENOME, "b")
