"""Windows: by hand, against brute force, and the reasons why there are none."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.data.windows import Windows, tile
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeats import RepeatPolicy

#                                   0123456789
GENOME = Genome.from_sequences({"a": "ACGTACGTAC", "b": "ACGTnn", "c": "ACGTACGT"})


def genome(**sequences: str) -> Genome:
    return Genome.from_sequences(sequences)


def remove(min_length: int = 1) -> RepeatPolicy:
    return RepeatPolicy(name="remove", min_length=min_length)


def ids(windows: Windows) -> list[str]:
    return windows.example_ids().tolist()


class TestByHand:
    def test_full_windows_and_a_counted_tail(self):
        windows = tile(GENOME, ["a", "c"], length=4)
        assert ids(windows) == ["a:0-4", "a:4-8", "c:0-4", "c:4-8"]
        assert windows.dropped_bases == 2
        assert windows.dropped_n == 0
        assert windows.lengths.tolist() == [4, 4, 4, 4]
        assert windows.chrom_index.tolist() == [0, 0, 1, 1]
        assert windows.chroms == ("a", "c")

    def test_types(self):
        windows = tile(GENOME, ["a"], length=4)
        assert windows.chrom_index.dtype == np.int32
        assert windows.starts.dtype == windows.ends.dtype == np.int64
        assert windows.example_ids().dtype.kind == "U"

    def test_order_is_that_of_the_chromosomes_asked_for(self):
        assert ids(tile(GENOME, ["c", "a"], length=8)) == ["c:0-8", "a:0-8"]

    def test_stride_below_length(self):
        windows = tile(GENOME, ["a"], length=4, stride=3)
        assert ids(windows) == ["a:0-4", "a:3-7", "a:6-10"]
        assert windows.dropped_bases == 0

    def test_stride_above_length_leaves_counted_gaps(self):
        windows = tile(GENOME, ["a"], length=2, stride=5)
        assert ids(windows) == ["a:0-2", "a:5-7"]
        assert windows.dropped_bases == 6

    def test_tails_are_kept_on_request(self):
        windows = tile(GENOME, ["a"], length=4, minimum_length=2)
        assert ids(windows) == ["a:0-4", "a:4-8", "a:8-10"]
        assert windows.dropped_bases == 0
        assert ids(tile(GENOME, ["a"], length=4, minimum_length=3)) == ["a:0-4", "a:4-8"]

    def test_overlapping_windows_stop_at_the_first_that_reaches_the_end(self):
        found = tile(GENOME, ["a"], length=5, stride=2, minimum_length=1)
        assert ids(found) == ["a:0-5", "a:2-7", "a:4-9", "a:6-10"]

    def test_remove_tiles_each_fragment_by_itself(self):
        #          0    5    10   15   20
        g = genome(a="ACGTAacgtaACGTACGacACg")
        windows = tile(g, ["a"], length=4, policy=remove(2))
        assert ids(windows) == ["a:0-4", "a:10-14", "a:14-17", "a:19-21"]
        assert windows.dropped_bases == 1

    def test_remove_with_a_longer_minimum(self):
        g = genome(a="ACGTAacgtaACGTACGacACg")
        windows = tile(g, ["a"], length=4, policy=remove(3))
        assert ids(windows) == ["a:0-4", "a:10-14", "a:14-17"]
        assert windows.dropped_bases == 3

    def test_remove_with_a_minimum_above_the_length(self):
        g = genome(a="ACGTAacgtaACGTACGacACg")
        assert ids(tile(g, ["a"], length=2, policy=remove(6))) == ["a:10-12", "a:12-14", "a:14-16"]

    def test_downweight_lays_the_windows_of_keep(self):
        g = genome(a="ACGTacgtACGT")
        down = tile(g, ["a"], length=5, policy=RepeatPolicy(name="downweight"))
        assert ids(down) == ids(tile(g, ["a"], length=5)) == ["a:0-5", "a:5-10"]
        assert down.dropped_bases == 2

    def test_windows_with_n_are_dropped_and_counted(self):
        g = genome(a="ACGTNCGTNNGTACGT")
        windows = tile(g, ["a"], length=4, max_n_fraction=0.25)
        assert ids(windows) == ["a:0-4", "a:4-8", "a:12-16"]
        assert windows.dropped_n == 1
        assert windows.dropped_bases == 4
        assert tile(g, ["a"], length=4, max_n_fraction=0.0).dropped_n == 2
        assert tile(g, ["a"], length=4, max_n_fraction=0.5).dropped_n == 0

    def test_windows_of_nothing_but_n_are_dropped_at_any_limit(self):
        windows = tile(genome(a="NNNNACGT"), ["a"], length=4, max_n_fraction=1.0)
        assert ids(windows) == ["a:4-8"]
        assert windows.dropped_n == 1

    def test_the_limit_itself_passes(self):
        g = genome(a="N" * 29 + "A" * 71)
        assert len(tile(g, ["a"], length=100, max_n_fraction=0.29)) == 1
        with pytest.raises(DataError, match="more than 28% N"):
            tile(g, ["a"], length=100, max_n_fraction=0.28)

    def test_soft_masked_n_counts_as_n(self):
        assert tile(genome(a="ACGTnnnn"), ["a"], length=4).dropped_n == 1

    def test_a_chromosome_without_windows_is_no_error_beside_others(self):
        windows = tile(GENOME, ["b", "a"], length=8)
        assert ids(windows) == ["a:0-8"]
        assert windows.dropped_bases == 6 + 2
        assert windows.chrom_index.tolist() == [1]


class TestWindows:
    def test_select_by_index_and_by_flag(self):
        windows = tile(GENOME, ["a", "c"], length=4)
        assert ids(windows.select(np.array([3, 0]))) == ["c:4-8", "a:0-4"]
        flags = np.array([False, True, False, True])
        assert ids(windows.select(flags)) == ["a:4-8", "c:4-8"]
        assert windows.select(flags).dropped_bases == windows.dropped_bases
        assert len(windows.select(np.zeros(0, dtype=np.int64))) == 0

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            tile(GENOME, ["a"], length=4).starts = np.zeros(1)


LETTERS = st.text("ACGTNacgtn", min_size=1, max_size=60)


@st.composite
def tilings(draw):
    """Draw sequences and settings."""
    sequences = draw(st.dictionaries(st.sampled_from("xyz"), LETTERS, min_size=1))
    length = draw(st.integers(1, 12))
    return sequences, {
        "length": length,
        "stride": draw(st.none() | st.integers(1, 15)),
        "policy": RepeatPolicy(
            name=draw(st.sampled_from(["keep", "remove", "downweight"])),
            min_length=draw(st.integers(1, 6)),
        ),
        "max_n_fraction": draw(st.sampled_from([0.0, 0.1, 0.34, 1.0])),
        "minimum_length": draw(st.none() | st.integers(1, length)),
    }


def slow_tiling(sequence: str, settings: dict) -> tuple[list[tuple[int, int]], int, set[int]]:
    """Tile one chromosome base by base: windows, windows dropped for N, bases kept."""
    policy, length = settings["policy"], settings["length"]
    stride = settings["stride"] or length
    removing = policy.name == "remove"
    shortest = settings["minimum_length"]
    if shortest is None:
        shortest = min(length, policy.min_length) if removing else length
    open_base = [not (removing and letter.islower()) for letter in sequence]
    windows, dropped_n, start = [], 0, 0
    while start < len(sequence):
        if not open_base[start]:
            start += 1
            continue
        end = start
        while end < len(sequence) and open_base[end]:
            end += 1
        if not removing or end - start >= policy.min_length:
            left = start
            while True:
                right = min(left + length, end)
                text = sequence[left:right].upper()
                if right - left >= shortest:
                    unknown = text.count("N")
                    if unknown / len(text) > settings["max_n_fraction"] or unknown == len(text):
                        dropped_n += 1
                    else:
                        windows.append((left, right))
                if left + length >= end:
                    break
                left += stride
                if left >= end:
                    break
        start = end
    return windows, dropped_n, {i for i, is_open in enumerate(open_base) if is_open}


class TestProperties:
    @given(tilings())
    def test_against_a_walk_base_by_base(self, drawn):
        sequences, settings = drawn
        expected, dropped_n, dropped_bases = [], 0, 0
        for name, sequence in sequences.items():
            rows, count, kept = slow_tiling(sequence, settings)
            expected += [f"{name}:{start}-{end}" for start, end in rows]
            dropped_n += count
            inside = {base for start, end in rows for base in range(start, end)}
            dropped_bases += len(kept - inside)
        try:
            windows = tile(Genome.from_sequences(sequences), [*sequences], **settings)
        except DataError:
            # Either nothing is left, or the policy does not apply to this genome at all.
            masked = [not set(s) & set("ACGT") for s in sequences.values()]
            none_masked = not any(set(s) & set("acgtn") for s in sequences.values())
            refused = settings["policy"].name != "keep" and (any(masked) or none_masked)
            assert not expected or refused
            return
        assert ids(windows) == expected
        assert windows.dropped_n == dropped_n
        assert windows.dropped_bases == dropped_bases

    @given(tilings())
    def test_windows_stay_where_they_belong(self, drawn):
        sequences, settings = drawn
        try:
            windows = tile(Genome.from_sequences(sequences), [*sequences], **settings)
        except DataError:
            return
        assert len(windows) > 0
        seen: set[tuple[str, int]] = set()
        for index, start, end in zip(
            windows.chrom_index, windows.starts, windows.ends, strict=True
        ):
            chrom = windows.chroms[index]
            text = sequences[chrom][start:end]
            assert 0 <= start < end <= len(sequences[chrom])
            assert len(text) <= settings["length"]
            assert set(text.upper()) != {"N"}
            if settings["policy"].name == "remove":
                assert text.isupper()
            bases = {(chrom, base) for base in range(start, end)}
            if settings["stride"] in (None, settings["length"]):
                assert not bases & seen
            seen |= bases


class TestNoWindow:
    def test_longer_than_every_chromosome(self):
        with pytest.raises(DataError, match=r"11 bases is longer than every .* 'a', has 10"):
            tile(GENOME, ["c", "a"], length=11)

    def test_nothing_but_n(self):
        with pytest.raises(DataError, match=r"all 2 windows on a have more than 10% N"):
            tile(genome(a="NNNNNNNN"), ["a"], length=4)

    def test_lower_case_only_under_keep_is_fine(self):
        assert len(tile(genome(a="acgtacgt"), ["a"], length=4)) == 2

    @pytest.mark.parametrize("name", ["remove", "downweight"])
    def test_lower_case_only(self, name):
        with pytest.raises(DataError, match=f"'a': every known base .* '{name}'"):
            tile(
                genome(a="acgtacgt", b="ACGT"), ["b", "a"], length=4, policy=RepeatPolicy(name=name)
            )

    @pytest.mark.parametrize("name", ["remove", "downweight"])
    def test_no_lower_case_at_all(self, name):
        with pytest.raises(DataError, match=f"policy is '{name}', but no base .* soft-masked"):
            tile(genome(a="ACGTACGT"), ["a"], length=4, policy=RepeatPolicy(name=name))

    def test_a_part_without_lower_case_in_a_genome_with_it_is_fine(self):
        g = genome(a="ACGTACGT", b="acgtACGT")
        assert len(tile(g, ["a"], length=4, policy=remove())) == 2

    def test_every_fragment_too_short(self):
        with pytest.raises(DataError, match="without repeats, no stretch of a has 3 bases"):
            tile(genome(a="ACgtACgt"), ["a"], length=4, policy=remove(3))

    def test_empty_part_of_a_split(self):
        with pytest.raises(ConfigError, match="is this part of the split empty"):
            tile(GENOME, [], length=4)

    def test_unknown_chromosome(self):
        with pytest.raises(ConfigError, match="unknown chromosome 'd'; allowed: a, b, c"):
            tile(GENOME, ["a", "d"], length=4)

    def test_chromosome_twice(self):
        with pytest.raises(ConfigError, match="chromosome 'a' stands twice"):
            tile(GENOME, ["a", "c", "a"], length=4)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"length": 0}, "length is 0"),
            ({"length": 4, "stride": 0}, "stride is 0"),
            ({"length": 4, "minimum_length": 0}, "minimum_length is 0"),
            ({"length": 4, "minimum_length": 5}, "minimum_length is 5, above the length of 4"),
            ({"length": 4, "max_n_fraction": 1.1}, r"max_n_fraction is 1\.1"),
            ({"length": 4, "max_n_fraction": float("nan")}, "max_n_fraction is nan"),
        ],
    )
    def test_settings_without_meaning(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            tile(GENOME, ["a"], **settings)


@pytest.mark.data
def test_yeast(data_folder, tmp_path):
    yeast = Genome.open(data_folder / "saccer3" / "sacCer3.softmask.fa.gz", cache_folder=tmp_path)
    chroms = [name for name in yeast.names if name != "chrM"]
    windows = tile(yeast, chroms, length=1024)
    assert len(windows) == sum(yeast.lengths[name] // 1024 for name in chroms)
    assert windows.dropped_bases == sum(yeast.lengths[name] % 1024 for name in chroms)
    fragments = tile(yeast, chroms, length=1024, policy=remove(64))
    for index in range(0, len(fragments), 997):
        chrom = fragments.chroms[fragments.chrom_index[index]]
        start, end = int(fragments.starts[index]), int(fragments.ends[index])
        assert not yeast.soft_mask(chrom, start, end).any()
        assert 64 <= end - start <= 1024
    masked = sum(yeast.soft_masked[name] for name in chroms)
    total = sum(yeast.lengths[name] for name in chroms)
    assert int(fragments.lengths.sum()) + fragments.dropped_bases == total - masked
