"""Repeat classes: RepeatMasker output and BED by hand, precedence, files of another genome."""

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import runs
from lightning_dna.genome.repeat_annotation import (
    RepeatAnnotation,
    divergence_names,
    is_repeatmasker,
)

LENGTHS = {"1": 50, "2": 30}
HEADER = """\
   SW   perc perc perc  query     position in query    matching   repeat       position in repeat
score   div. del. ins.  sequence  begin end   (left)   repeat     class/family begin end   (left) ID

"""


def out_line(chrom: str, begin: int, end: int, left: int, name: str, *, strand: str = "+") -> str:
    """Write a line as RepeatMasker does; columns are separated by runs of spaces."""
    return (
        f"  463   1.3  0.6  1.7  {chrom}      {begin:>6} {end:>6} ({left}) {strand} (X)n    "
        f"{name}     1  471    (0)    1\n"
    )


OUT = HEADER + "".join(
    [
        out_line("chr1", 3, 12, 38, "LINE/L1"),
        out_line("chr1", 8, 10, 40, "Simple_repeat", strand="C"),
        out_line("chr1", 11, 16, 34, "LTR?"),
        out_line("chr1", 21, 25, 25, "LINE/L2"),
        out_line("chr1", 23, 30, 20, "Satellite/centr"),
        out_line("chr2", 1, 30, 0, "SINE/Alu"),
    ]
)
BED = "# repeats\n1\t2\t12\tLINE/L1\n1\t7\t10\tSimple_repeat\n1\t10\t16\tLTR\n"


def read(folder, text, lengths=LENGTHS):
    path = folder / "repeats"
    path.write_text(text)
    return RepeatAnnotation.read(path, lengths)


def test_classes_by_hand(tmp_path):
    found = read(tmp_path, OUT)
    assert found.names == (
        "LINE/L1", "LINE/L2", "LTR", "SINE/Alu", "Satellite/centr", "Simple_repeat"
    )  # fmt: skip
    assert found.classes == ("LINE", "SINE", "LTR", "Satellite", "Simple_repeat")
    assert found.intervals("1", ["LINE"]).tolist() == [[2, 12], [20, 25]]
    assert found.intervals("1", ["LINE/L2"]).tolist() == [[20, 25]]
    assert found.intervals("1", ["LTR", "Simple_repeat"]).tolist() == [[7, 16]]
    assert found.intervals("1").tolist() == [[2, 16], [20, 30]]
    assert found.intervals("2", ["LINE"]).shape == (0, 2)
    assert found.intervals("2").tolist() == [[0, 30]]


def test_one_class_for_each_base(tmp_path):
    found = read(tmp_path, OUT)
    letters = "".join(".nrtas"[0 if c == 0 else 1 + c - 1] for c in found.codes("1", 0, 50))
    # LINE before LTR and before simple repeats; LINE before satellites.
    assert letters == ".." + "n" * 10 + "t" * 4 + "...." + "n" * 5 + "a" * 5 + "." * 20
    assert np.array_equal(found.codes("1", 9, 23), found.codes("1", 0, 50)[9:23])


def test_bed_says_the_same(tmp_path):
    bed, out = read(tmp_path, BED), read(tmp_path, OUT)
    assert bed.names == ("LINE/L1", "LTR", "Simple_repeat")
    for found in (bed, out):
        names = [found.classes[code - 1] for code in found.codes("1", 2, 16).tolist()]
        assert names == ["LINE"] * 10 + ["LTR"] * 4


def test_bed_without_a_class(tmp_path):
    found = read(tmp_path, "1\t2\t12\n2\t0\t0\n2\t4\t5\n")
    assert found.classes == ("unclassified",)
    assert found.intervals("2").tolist() == [[4, 5]]


def test_unknown_class(tmp_path):
    with pytest.raises(ConfigError, match="unknown repeat class 'LIN'; allowed: LINE, LINE/L1,"):
        read(tmp_path, OUT).intervals("1", ["LIN"])


def test_unknown_chromosome(tmp_path):
    with pytest.raises(ConfigError, match="unknown chromosome '3'"):
        read(tmp_path, OUT).intervals("3")


def test_digests_follow_the_stretches_of_the_classes(tmp_path):
    first, second = read(tmp_path, OUT), read(tmp_path, OUT.replace("LTR?", "DNA "))
    assert first.digest() == second.digest()
    assert first.digest(["LINE"]) == second.digest(["LINE"]) != first.digest()
    assert first.digest(["LTR"]) == second.digest(["DNA"])


def test_sequences_that_the_genome_lacks_are_counted(tmp_path):
    text = OUT + out_line("chrUn_7", 1, 5, 0, "LINE/L1")
    assert read(tmp_path, text).skipped == {"chrUn_7": 1}


class TestAnotherGenome:
    def test_no_name_matches(self, tmp_path):
        with pytest.raises(DataError, match=r"'chr1', 'chr2'.* the genome has 'I', 'II'"):
            read(tmp_path, OUT, {"I": 50, "II": 30})

    def test_the_lengths_differ(self, tmp_path):
        with pytest.raises(
            DataError, match=r"line 4: 'chr1' has 50 bases there, and chromosome '1' of the .* 60"
        ):
            read(tmp_path, OUT, {"1": 60, "2": 30})

    def test_bed_beyond_the_end(self, tmp_path):
        with pytest.raises(DataError, match=r"line 4: 1:10-16 ends beyond chromosome '1' of 15"):
            read(tmp_path, BED, {"1": 15})

    def test_lengths_that_contradict_each_other(self, tmp_path):
        text = OUT + out_line("chr1", 31, 33, 18, "LINE/L1")
        with pytest.raises(DataError, match="line 10: 'chr1' has 51 bases here and 50 in line 4"):
            read(tmp_path, text)


class TestBadFiles:
    @pytest.mark.parametrize("cut", range(2, 60, 3))
    def test_output_cut_off_in_the_middle_of_a_line(self, tmp_path, cut):
        text = OUT[:-cut]
        if len(text.splitlines()[-1].split()) >= 14:
            return  # every column that is read is there
        with pytest.raises(DataError, match=r"line 9: .* the file seems cut off"):
            read(tmp_path, text)

    def test_bed_cut_off_before_its_class(self, tmp_path):
        with pytest.raises(DataError, match=r"line 4: .* \(3 columns; the lines before it have 4"):
            read(tmp_path, BED.removesuffix("\tLTR\n"))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "holds no repeat"),
            (HEADER, "holds no repeat"),
            ("hello world\n", "line 1: .* is neither RepeatMasker output nor BED"),
            ("1\t9\t3\tLINE\n", r"line 1: .* \(start 9 and end 3"),
            (HEADER + out_line("1", 9, 3, 47, "LINE"), r"line 4: .* \(begin 9 and end 3"),
            (HEADER + out_line("1", 3, 9, 41, "LINE", strand="-"), "strand belong"),
        ],
    )
    def test_other_content(self, tmp_path, text, says):
        with pytest.raises(DataError, match=says):
            read(tmp_path, text)


def test_a_genome_takes_its_soft_mask_from_repeatmasker_output(tmp_path):
    fasta, out = tmp_path / "g.fa", tmp_path / "g.fa.out"
    fasta.write_text(">1\n" + "Ac" * 25 + "\n>2\n" + "G" * 30 + "\n")
    out.write_text(OUT)
    assert is_repeatmasker(out)
    genome = Genome.open(fasta, mask_bed=out, cache_folder=tmp_path / "cache")
    assert runs(genome.soft_mask("1")).tolist() == [[2, 16], [20, 30]]
    assert genome.soft_masked == {"1": 24, "2": 30}


DIVERGED = HEADER + "".join(
    out_line("chr1", begin, end, 50 - end, name).replace("1.3", share, 1)
    for begin, end, name, share in [
        (3, 12, "LINE/L1", "27.4"),
        (8, 10, "Simple_repeat", "0.0"),  # within an older one
        (11, 16, "LTR", "5.0"),
        (21, 25, "LINE/L2", "35.1"),
        (41, 50, "SINE/Alu", "9.9"),
    ]
)


class TestDivergence:
    def test_by_hand(self, tmp_path):
        found = read(tmp_path, DIVERGED)
        assert found.has_divergence
        names = ("", *divergence_names())
        codes = [names[code] for code in found.divergence_codes("1", 0, 50)]
        expected = [""] * 50
        expected[2:12] = ["div_20_30"] * 10
        expected[7:10] = ["div_0_5"] * 3
        expected[10:16] = ["div_5_10"] * 6  # the younger one counts
        expected[20:25] = ["div_30_100"] * 5
        expected[40:50] = ["div_5_10"] * 10
        assert codes == expected
        part = found.divergence_codes("1", 9, 12).tolist()
        assert [names[code] for code in part] == ["div_0_5", "div_5_10", "div_5_10"]
        assert not found.divergence_codes("2", 0, 30).any()

    def test_bed_states_none(self, tmp_path):
        found = read(tmp_path, BED)
        assert not found.has_divergence
        assert not found.divergence_codes("1", 0, 50).any()

    def test_the_digest_of_classes_does_not_know_it(self, tmp_path):
        first, other = read(tmp_path, OUT), read(tmp_path, OUT.replace("1.3", "21.3"))
        assert first.digest() == other.digest()
        assert first.divergence_digest() != other.divergence_digest()
        assert first.divergence_digest() == read(tmp_path, OUT).divergence_digest()

    @pytest.mark.parametrize("share", ["x", "-1.0", "123"])
    def test_what_is_no_share(self, tmp_path, share):
        with pytest.raises(DataError, match=r"line 4: .* is neither RepeatMasker"):
            read(tmp_path, OUT.replace("1.3", share, 1))

    def test_an_unknown_chromosome(self, tmp_path):
        with pytest.raises(ConfigError, match="unknown chromosome '3'"):
            read(tmp_path, DIVERGED).divergence_codes("3", 0, 5)
