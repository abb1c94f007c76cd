"""Interval sets against brute force over bases, and BED files good and bad."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.errors import DataError
from lightning_dna.genome import intervals as module
from lightning_dna.genome.intervals import (
    Interval,
    as_intervals,
    bases_before,
    complement,
    covered,
    intersect,
    match_names,
    merge,
    read_bed,
    runs,
    subtract,
)

LENGTH = 40
PAIRS = st.lists(
    st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(lambda pair: tuple(sorted(pair)))
)
SETS = st.sets(st.integers(0, LENGTH - 1))


def bases(rows) -> set[int]:
    """List the bases of intervals one by one."""
    return {base for start, end in np.asarray(rows).tolist() for base in range(start, end)}


def as_set(members: set[int]) -> np.ndarray:
    """Build the interval set of some bases, by walking over them."""
    rows: list[list[int]] = []
    for base in sorted(members):
        if rows and rows[-1][1] == base:
            rows[-1][1] = base + 1
        else:
            rows.append([base, base + 1])
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.dtype == np.int64 and found.tolist() == expected.tolist()


class TestInterval:
    def test_length_and_text(self):
        interval = Interval("chr1", 10, 25, "-")
        assert len(interval) == 15
        assert str(interval) == "chr1:10-25"
        assert interval == Interval("chr1", 10, 25, "-")
        assert interval != Interval("chr1", 10, 25)

    @pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5)])
    def test_coordinates_must_be_a_stretch(self, start, end):
        with pytest.raises(DataError, match="0 <= start < end"):
            Interval("chr1", start, end)

    def test_strand_is_one_of_three(self):
        with pytest.raises(DataError, match="strand 'x'"):
            Interval("chr1", 0, 5, "x")


class TestSets:
    @given(PAIRS)
    def test_merge(self, pairs):
        assert same(merge(as_intervals(pairs)), as_set(bases(as_intervals(pairs))))

    def test_merge_bridges_gaps_up_to_the_limit(self):
        rows = as_intervals([(0, 2), (4, 6), (9, 10)])
        assert merge(rows, gap=1).tolist() == rows.tolist()
        assert merge(rows, gap=2).tolist() == [[0, 6], [9, 10]]
        assert merge(rows, gap=3).tolist() == [[0, 10]]

    def test_merge_keeps_the_reach_of_an_early_long_row(self):
        assert merge(as_intervals([(0, 30), (1, 2), (10, 12), (35, 36)])).tolist() == [
            [0, 30],
            [35, 36],
        ]

    @given(SETS)
    def test_complement(self, members):
        assert same(complement(as_set(members), LENGTH), as_set(set(range(LENGTH)) - members))

    @given(SETS, st.integers(1, LENGTH))
    def test_complement_within_a_shorter_stretch(self, members, length):
        assert same(complement(as_set(members), length), as_set(set(range(length)) - members))

    @given(SETS, SETS)
    def test_intersect(self, first, second):
        assert same(intersect(as_set(first), as_set(second)), as_set(first & second))

    @given(SETS, SETS)
    def test_subtract(self, first, second):
        assert same(subtract(as_set(first), as_set(second)), as_set(first - second))

    @given(SETS, st.integers(1, 7))
    def test_runs_whatever_the_block_size(self, members, block):
        flags = np.isin(np.arange(LENGTH), sorted(members))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_RUN_BLOCK", block)
            assert same(runs(flags), as_set(members))

    def test_runs_of_nothing(self):
        assert runs(np.zeros(0, dtype=bool)).shape == (0, 2)
        assert runs(np.zeros(5, dtype=bool)).shape == (0, 2)
        assert runs(np.ones(5, dtype=bool)).tolist() == [[0, 5]]

    @given(SETS, st.integers(0, LENGTH), st.integers(0, LENGTH))
    def test_covered(self, members, first, second):
        start, end = sorted((first, second))
        expected = [base in members for base in range(start, end)]
        assert covered(as_set(members), start, end).tolist() == expected

    @given(SETS, st.lists(st.integers(0, LENGTH + 3)))
    def test_bases_before(self, members, positions):
        expected = [sum(base < position for base in members) for position in positions]
        found = bases_before(as_set(members), np.array(positions, dtype=np.int64))
        assert found.tolist() == expected


class TestNames:
    @pytest.mark.parametrize(
        ("found", "known", "expected"),
        [
            (["chr1"], ["chr1", "1"], {"chr1": "chr1"}),
            (["1", "X"], ["chr1", "chrX"], {"1": "chr1", "X": "chrX"}),
            (["chr1"], ["1", "2"], {"chr1": "1"}),
            (["IV", "Mito"], ["chrIV", "chrM"], {"IV": "chrIV", "Mito": "chrM"}),
            (["chrM"], ["1", "MT"], {"chrM": "MT"}),
            (["1", "chr2"], ["chr1", "chr2"], {"1": "chr1", "chr2": "chr2"}),
            ([], ["chr1"], {}),
        ],
    )
    def test_match(self, found, known, expected):
        assert match_names(found, known, where="x.bed") == expected

    def test_name_of_nothing(self):
        with pytest.raises(DataError, match=r"x\.bed: no chromosome .* 'scaffold_1'.* 'chr1'"):
            match_names(["scaffold_1"], ["chr1"], where="x.bed")

    def test_long_lists_are_cut(self):
        with pytest.raises(DataError, match="'s4' and 5 more"):
            match_names([f"s{i}" for i in range(10)], ["chr1"], where="x.bed")

    def test_two_names_for_one_chromosome(self):
        with pytest.raises(DataError, match="'chr1' and '1' would both mean chromosome 'chr1'"):
            match_names(["chr1", "1"], ["chr1", "chr2"], where="x.bed")

    def test_one_name_for_two_chromosomes_is_no_match(self):
        with pytest.raises(DataError, match="no chromosome"):
            match_names(["M"], ["chrM", "MT"], where="x.bed")


class TestBed:
    lengths = {"chr1": 100, "chr2": 50}  # noqa: RUF012

    def read(self, tmp_path, text: str | bytes, name: str = "x.bed"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_bed(path, self.lengths)

    def test_columns_comments_and_order(self, tmp_path):
        text = (
            "track name=repeats\nbrowser position chr1\n# comment\n\n"
            "chr1\t50\t60\tAlu\t0\t-\nchr1\t10\t30\nchr1\t10\t20\nchr1\t5\t5\n"
        )
        found = self.read(tmp_path, text)
        assert found["chr1"].tolist() == [[10, 20], [10, 30], [50, 60]]
        assert found["chr2"].shape == (0, 2)
        assert found["chr1"].dtype == np.int64

    def test_spaces_and_windows_line_ends(self, tmp_path):
        assert self.read(tmp_path, "chr2 0 50\r\n")["chr2"].tolist() == [[0, 50]]

    def test_gzip_by_content_not_by_name(self, tmp_path):
        packed = gzip.compress(b"chr1\t1\t2\n")
        assert self.read(tmp_path, packed, "x.bed")["chr1"].tolist() == [[1, 2]]
        assert self.read(tmp_path, "chr1\t1\t2\n", "x.bed.gz")["chr1"].tolist() == [[1, 2]]

    def test_names_without_chr(self, tmp_path):
        assert self.read(tmp_path, "1\t1\t2\n")["chr1"].tolist() == [[1, 2]]

    def test_names_that_match_nothing(self, tmp_path):
        with pytest.raises(DataError, match=r"no chromosome of the genome is named 'NC_000001.11'"):
            self.read(tmp_path, "NC_000001.11\t1\t2\n")

    def test_beyond_the_end(self, tmp_path):
        with pytest.raises(DataError, match=r"line 2: interval chr2:40-51 ends beyond .* 50 bases"):
            self.read(tmp_path, "chr2\t40\t50\nchr2\t40\t51\n")

    @pytest.mark.parametrize(
        "line", ["chr1\t1", "chr1\tone\ttwo", "chr1\t1.5\t2", ">chr1", "chr1,1,2"]
    )
    def test_lines_that_are_not_bed(self, tmp_path, line):
        with pytest.raises(DataError, match=r"line 1: .* is not BED"):
            self.read(tmp_path, line + "\n")

    @pytest.mark.parametrize("line", ["chr1\t-1\t5", "chr1\t9\t5"])
    def test_coordinates_that_are_no_stretch(self, tmp_path, line):
        with pytest.raises(DataError, match="0 <= start <= end"):
            self.read(tmp_path, line + "\n")

    @pytest.mark.parametrize("text", ["", "# nothing\n", "chr1\t5\t5\n"])
    def test_without_intervals(self, tmp_path, text):
        with pytest.raises(DataError, match="holds no interval"):
            self.read(tmp_path, text)

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_bed(tmp_path / "none.bed", self.lengths)

    def test_truncated_gzip(self, tmp_path):
        packed = gzip.compress(b"chr1\t1\t2\n" * 1000)
        with pytest.raises(DataError, match="cannot read"):
            self.read(tmp_path, packed[: len(packed) // 2])

    def test_binary(self, tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            self.read(tmp_path, b"\xff\xfe\x00\x01")


class TestNamesInPart:
    def test_what_matches_nothing_is_left_out_where_something_matches(self):
        found = match_names(["chr1", "KI2"], ["1", "2"], where="a.gtf", partly=True)
        assert found == {"chr1": "1"}

    def test_nothing_at_all_is_an_error_on_both_sides(self):
        with pytest.raises(DataError, match=r"a\.gtf: .* 'KI1', 'KI2' .* the genome has '1', '2'"):
            match_names(["KI1", "KI2"], ["1", "2"], where="a.gtf", partly=True)

    def test_two_names_for_one_chromosome(self):
        with pytest.raises(DataError, match="'chr1' and '1' would both mean chromosome '1'"):
            match_names(["chr1", "1"], ["1", "2"], where="a.gtf", partly=True)


def test_a_bgzip_file_cut_between_its_blocks(tmp_path):
    """It is valid gzip; only the empty block at its end is missing."""
    extra = b"BC\x02\x00\x00\x00"
    body = gzip.compress(b"chr1\t0\t5\n")
    head = body[:3] + bytes([body[3] | 4]) + body[4:10] + bytes([len(extra), 0]) + extra
    path = tmp_path / "a.bed.gz"
    path.write_bytes(head + body[10:])
    with pytest.raises(DataError, match=r"after line 1: no bgzip end marker"):
        read_bed(path, {"chr1": 9})
    end = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
    path.write_bytes(head + body[10:] + end)
    assert read_bed(path, {"chr1": 9})["chr1"].tolist() == [[0, 5]]
