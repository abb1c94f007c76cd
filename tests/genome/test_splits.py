"""Splits: three ways to make one, what is refused, and that parts never share a chromosome."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import ConfigError
from lightning_dna.genome.splits import ChromosomeSplit, SplitSpec

YEAST = {
    "I": 230218, "II": 813184, "III": 316620, "IV": 1531933, "V": 576874, "VI": 270161,
    "VII": 1090940, "VIII": 562643, "IX": 439888, "X": 745751, "XI": 666816, "XII": 1078177,
    "XIII": 924431, "XIV": 784333, "XV": 1091291, "XVI": 948066, "M": 85779,
}  # fmt: skip

GENOMES = st.dictionaries(
    st.text("abcdefghij", min_size=1, max_size=4), st.integers(1, 10_000), min_size=3, max_size=12
)


def parts(split: ChromosomeSplit) -> tuple[tuple[str, ...], ...]:
    return split.train, split.valid, split.test


class TestByNames:
    def test_train_takes_the_rest_in_genome_order(self):
        split = ChromosomeSplit.by_names(YEAST, valid=("X",), test=("IV", "II"), exclude=("M",))
        assert split.valid == ("X",)
        assert split.test == ("IV", "II")
        assert split.train == tuple(name for name in YEAST if name not in {"X", "IV", "II", "M"})

    def test_train_by_name_leaves_the_others_out(self):
        split = ChromosomeSplit.resolve(SplitSpec(train=("I",), test=("II",)), YEAST)
        assert parts(split) == (("I",), (), ("II",))

    @pytest.mark.parametrize("part", ["train", "valid", "test", "exclude"])
    def test_unknown_chromosome(self, part):
        with pytest.raises(ConfigError, match=f"split, {part}: unknown chromosome 'chrIV'"):
            ChromosomeSplit.resolve(SplitSpec(**{part: ("chrIV",)}), YEAST)

    def test_nearest_name_is_suggested(self):
        with pytest.raises(ConfigError, match="Did you mean 'chrom_2'"):
            ChromosomeSplit.by_names({"chrom_1": 1, "chrom_2": 1}, test=("chrom2",))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"valid": ("I",), "test": ("I",)}, "'I' stands in valid and test"),
            ({"train": ("I",), "test": ("I",)}, "'I' stands in train and test"),
            ({"test": ("I", "I")}, "'I' stands twice in test"),
            ({"test": ("I",), "exclude": ("I",)}, "'I' stands in test and exclude"),
            ({"exclude": ("I", "I")}, "'I' stands twice in exclude"),
        ],
    )
    def test_chromosome_used_twice(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            SplitSpec(**settings)

    def test_chromosome_used_and_excluded_by_pattern(self):
        spec = SplitSpec(test=("XI",), exclude=("X*",))
        with pytest.raises(ConfigError, match="'XI' stands in test and exclude"):
            ChromosomeSplit.resolve(spec, YEAST)

    def test_direct_construction_is_checked_too(self):
        with pytest.raises(ConfigError, match="stands in train and test"):
            ChromosomeSplit(train=("I",), valid=(), test=("I",))

    def test_nothing_left_to_train_on(self):
        with pytest.raises(ConfigError, match="no chromosome is left for training"):
            ChromosomeSplit.by_names({"I": 5, "II": 5}, valid=("I",), test=("II",))


class TestExclude:
    def test_patterns(self):
        lengths = {"chr1": 9, "chr2": 9, "chr3": 9, "chrUn_a": 1, "chrUn_b": 1}
        split = ChromosomeSplit.resolve(SplitSpec(exclude=("chrUn_*",)), lengths)
        assert sorted(sum(parts(split), ())) == ["chr1", "chr2", "chr3"]

    def test_pattern_that_matches_nothing(self):
        with pytest.raises(ConfigError, match=r"unknown chromosome 'chrUn_\*'"):
            ChromosomeSplit.resolve(SplitSpec(exclude=("chrUn_*",)), YEAST)

    def test_literal_name_with_pattern_characters(self):
        lengths = {"a*": 5, "ab": 5, "c": 5, "d": 5}
        split = ChromosomeSplit.resolve(SplitSpec(exclude=("a*",)), lengths)
        assert "ab" in sum(parts(split), ())

    def test_applies_to_fractions_and_folds(self):
        for spec in (SplitSpec(exclude=("M",)), SplitSpec(exclude=("M",), folds=3, fold=0)):
            assert "M" not in sum(parts(ChromosomeSplit.resolve(spec, YEAST)), ())


class TestByFraction:
    @given(GENOMES, st.floats(0, 0.49), st.floats(0, 0.49), st.integers(0, 5))
    def test_parts_are_a_partition(self, lengths, valid_fraction, test_fraction, seed):
        split = ChromosomeSplit.by_fraction(
            lengths, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=seed
        )
        assert sorted(sum(parts(split), ())) == sorted(lengths)
        assert split.train
        assert bool(split.valid) == (valid_fraction > 0)
        assert bool(split.test) == (test_fraction > 0)

    def test_shares_are_near_where_chromosomes_are_small(self):
        lengths = {f"s{i}": 100 + i for i in range(200)}
        total = sum(lengths.values())
        split = ChromosomeSplit.by_fraction(lengths, valid_fraction=0.1, test_fraction=0.2)
        assert math.isclose(sum(lengths[n] for n in split.valid) / total, 0.1, abs_tol=0.005)
        assert math.isclose(sum(lengths[n] for n in split.test) / total, 0.2, abs_tol=0.005)

    def test_seed_matters_and_seed_zero_is_a_seed(self):
        found = {ChromosomeSplit.by_fraction(YEAST, seed=seed).test for seed in range(8)}
        assert len(found) > 4
        again = ChromosomeSplit.by_fraction(YEAST, seed=0)
        assert again == ChromosomeSplit.by_fraction(YEAST, seed=0)

    def test_file_order_does_not_matter(self):
        backwards = dict(reversed(YEAST.items()))
        forward, other = (ChromosomeSplit.by_fraction(g, seed=3) for g in (YEAST, backwards))
        assert set(forward.test) == set(other.test)
        assert set(forward.valid) == set(other.valid)

    def test_is_what_an_empty_spec_means(self):
        assert ChromosomeSplit.resolve(SplitSpec(), YEAST) == ChromosomeSplit.by_fraction(
            YEAST, valid_fraction=0.1, test_fraction=0.1, seed=0
        )

    def test_one_share_alone_leaves_the_other_empty(self):
        split = ChromosomeSplit.resolve(SplitSpec(test_fraction=0.2), YEAST)
        assert split.valid == ()
        assert split.test

    def test_smallest_chromosome_when_all_overshoot(self):
        split = ChromosomeSplit.by_fraction(
            {"big": 1000, "small": 900, "huge": 5000}, valid_fraction=0, test_fraction=0.01
        )
        assert split.test == ("small",)

    def test_too_few_chromosomes(self):
        with pytest.raises(ConfigError, match=r"2 chromosome.*never cut"):
            ChromosomeSplit.by_fraction({"I": 5, "II": 5})

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"valid_fraction": -0.1}, "valid_fraction is -0.1"),
            ({"test_fraction": 1.0}, "test_fraction is 1.0"),
            ({"test_fraction": float("nan")}, "test_fraction is nan"),
            ({"valid_fraction": 0.5, "test_fraction": 0.5}, "leave nothing for training"),
        ],
    )
    def test_shares_out_of_range(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            SplitSpec(**settings)


class TestByFolds:
    @given(GENOMES, st.integers(0, 5), st.data())
    def test_every_chromosome_is_tested_and_validated_once(self, lengths, seed, data):
        folds = data.draw(st.integers(3, len(lengths)))
        splits = [
            ChromosomeSplit.by_folds(lengths, folds=folds, fold=fold, seed=seed)
            for fold in range(folds)
        ]
        for split in splits:
            assert sorted(sum(parts(split), ())) == sorted(lengths)
        assert sorted(sum((split.test for split in splits), ())) == sorted(lengths)
        for fold, split in enumerate(splits):
            assert split.valid == splits[(fold + 1) % folds].test

    def test_balanced_by_hand(self):
        # Longest first onto the lightest fold: {9}, {7, 2}, {6, 3}; every fold sums to 9.
        lengths = {"a": 9, "b": 7, "c": 6, "d": 3, "e": 2}
        tests = {ChromosomeSplit.by_folds(lengths, folds=3, fold=i).test for i in range(3)}
        assert tests == {("a",), ("b", "e"), ("c", "d")}

    def test_real_lengths_are_within_a_tenth(self):
        sizes = [
            sum(YEAST[name] for name in ChromosomeSplit.by_folds(YEAST, folds=4, fold=i).test)
            for i in range(4)
        ]
        assert max(sizes) < 1.1 * min(sizes)

    def test_seed_numbers_the_folds(self):
        tests = {ChromosomeSplit.by_folds(YEAST, folds=4, fold=0, seed=s).test for s in range(12)}
        assert len(tests) == 4

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"folds": 5}, "'fold' is missing"),
            ({"fold": 0}, "'folds' is missing"),
            ({"folds": 2, "fold": 0}, "folds is 2; expected 3 or more"),
            ({"folds": 3, "fold": 3}, "fold is 3; expected 0 to 2"),
            ({"folds": 3, "fold": -1}, "fold is -1; expected 0 to 2"),
        ],
    )
    def test_numbers_out_of_range(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            SplitSpec(**settings)

    def test_more_folds_than_chromosomes(self):
        with pytest.raises(ConfigError, match=r"3 chromosome.*fewer than the folds"):
            ChromosomeSplit.by_folds({"a": 1, "b": 1, "c": 1}, folds=4, fold=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"test": ("I",), "folds": 3, "fold": 0},
        {"test": ("I",), "test_fraction": 0.1},
        {"valid_fraction": 0.1, "folds": 3, "fold": 0},
    ],
)
def test_ways_cannot_be_mixed(settings):
    with pytest.raises(ConfigError, match="choose one way to split"):
        SplitSpec(**settings)


def test_part_by_name():
    split = ChromosomeSplit(train=("I",), valid=("II",), test=("III",))
    assert [split.part(name) for name in ("train", "valid", "test")] == [("I",), ("II",), ("III",)]
    with pytest.raises(ConfigError, match="unknown part of the split 'dev'"):
        split.part("dev")
