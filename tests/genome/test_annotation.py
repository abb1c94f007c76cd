"""Annotations: regions and codon positions by hand on both strands, formats, names, bad files."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode
from lightning_dna.genome.annotation import STRATA, Annotation, gc_names, gc_strata
from lightning_dna.genome.fasta import Genome

LENGTHS = {"chr1": 60, "chr2": 60}


def gtf(*rows: tuple, chrom: str = "1") -> str:
    """Write GTF lines from (type, first, last, strand, phase, transcript), 1-based."""
    return "#!genome-build toy\n" + "".join(
        f'{chrom}\ttoy\t{kind}\t{first}\t{last}\t.\t{strand}\t{phase}\tgene_id "g"; '
        f'transcript_id "{name}"; note "a; b";\n'
        for kind, first, last, strand, phase, name in rows
    )


# Two exons, 11-20 and 31-40; coding 14-20 and 31-35, stop codon 36-38: 7 + 5 + 3 bases.
FORWARD = gtf(
    ("gene", 11, 40, "+", ".", ""),
    ("transcript", 11, 40, "+", ".", "t"),
    ("exon", 11, 20, "+", ".", "t"),
    ("exon", 31, 40, "+", ".", "t"),
    ("CDS", 14, 20, "+", 0, "t"),
    ("CDS", 31, 35, "+", 2, "t"),  # the second exon begins with two bases of a codon begun before
    ("stop_codon", 36, 38, "+", 0, "t"),
)
FORWARD_STRATA = "." * 10 + "555" + "1231231" + "i" * 10 + "23123123" + "tt" + "." * 20
# Its mirror image within 60 bases: base i becomes 61 - i.
REVERSE = gtf(
    ("gene", 21, 50, "-", ".", ""),
    ("transcript", 21, 50, "-", ".", "t"),
    ("exon", 41, 50, "-", ".", "t"),
    ("exon", 21, 30, "-", ".", "t"),
    ("CDS", 41, 47, "-", 0, "t"),
    ("CDS", 26, 30, "-", 2, "t"),
    ("stop_codon", 23, 25, "-", 0, "t"),
)
# The same transcript as GFF3, its stop codon within the CDS, its names with chr.
GFF3 = """\
##gff-version 3
chr1\ttoy\tregion\t1\t60\t.\t.\t.\tID=chr1
chr1\ttoy\tncRNA_gene\t11\t40\t.\t+\t.\tID=gene:g;Name=a%3Bb
chr1\ttoy\tmRNA\t11\t40\t.\t+\t.\tID=t;Parent=gene:g
chr1\ttoy\texon\t11\t20\t.\t+\t.\tParent=t
chr1\ttoy\texon\t31\t40\t.\t+\t.\tParent=t
chr1\ttoy\tCDS\t14\t20\t.\t+\t0\tID=c;Parent=t
chr1\ttoy\tCDS\t31\t38\t.\t+\t2\tID=c;Parent=t
##FASTA
>chr1
ACGT
"""
BED12 = "chr1\t10\t40\tt\t0\t+\t13\t38\t0\t2\t10,10,\t0,20,\n"
LETTERS = {"intergenic": ".", "intron": "i", "promoter": "p", "noncoding_exon": "e"}
LETTERS |= {"utr5": "5", "utr3": "t", "cds_ambiguous": "x"}
LETTERS |= {"codon_1": "1", "codon_2": "2", "codon_3": "3"}


def write(folder: Path, text: str, name: str = "a.gtf") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def shown(annotation: Annotation, chrom: str = "chr1", start: int = 0, end: int = 60) -> str:
    return "".join(LETTERS[STRATA[code]] for code in annotation.strata(chrom, start, end))


def read(folder: Path, text: str, promoter: tuple[int, int] = (0, 0)) -> Annotation:
    return Annotation.read(write(folder, text), LENGTHS, promoter=promoter)


class TestByHand:
    def test_codons_run_on_across_an_intron(self, tmp_path):
        assert shown(read(tmp_path, FORWARD)) == FORWARD_STRATA

    def test_the_reverse_strand_is_the_mirror_image(self, tmp_path):
        assert shown(read(tmp_path, REVERSE)) == FORWARD_STRATA[::-1]

    @pytest.mark.parametrize("text", [GFF3, BED12], ids=["gff3", "bed12"])
    def test_other_formats_say_the_same(self, tmp_path, text):
        found = read(tmp_path, text)
        assert shown(found) == FORWARD_STRATA
        assert found.digest == read(tmp_path, FORWARD).digest

    def test_a_phase_that_is_not_given_follows_from_the_cds_before(self, tmp_path):
        for text, expected in ((FORWARD, FORWARD_STRATA), (REVERSE, FORWARD_STRATA[::-1])):
            without = re.sub(r"\t([+-])\t[012]\t", r"\t\1\t.\t", text)
            assert without != text
            assert shown(read(tmp_path, without)) == expected

    def test_regions(self, tmp_path):
        regions = read(tmp_path, FORWARD, promoter=(5, 2)).regions("chr1")
        assert {name: rows.tolist() for name, rows in regions.items()} == {
            "gene": [[10, 40]],
            "exon": [[10, 20], [30, 40]],
            "cds": [[13, 20], [30, 38]],
            "utr5": [[10, 13]],
            "utr3": [[38, 40]],
            "intron": [[20, 30]],
            "promoter": [[5, 12]],
            "intergenic": [[0, 10], [40, 60]],
        }

    def test_regions_of_the_reverse_strand(self, tmp_path):
        regions = read(tmp_path, REVERSE, promoter=(5, 2)).regions("chr1")
        assert regions["promoter"].tolist() == [[48, 55]]
        assert regions["utr5"].tolist() == [[47, 50]]
        assert regions["utr3"].tolist() == [[20, 22]]

    def test_promoters_end_at_the_chromosome(self, tmp_path):
        found = read(tmp_path, FORWARD, promoter=(500, 0))
        assert found.regions("chr1")["promoter"].tolist() == [[0, 10]]
        assert shown(found)[:11] == "p" * 10 + "5"
        found = read(tmp_path, REVERSE, promoter=(500, 0))
        assert found.regions("chr1")["promoter"].tolist() == [[50, 60]]

    def test_a_stretch_is_a_slice_of_the_whole(self, tmp_path):
        found = read(tmp_path, FORWARD, promoter=(3, 1))
        whole = shown(found)
        for start in range(0, 60, 7):
            for end in range(start, 61, 5):
                assert shown(found, start=start, end=end) == whole[start:end]

    def test_transcripts_that_disagree_about_the_frame(self, tmp_path):
        other = gtf(("CDS", 16, 18, "+", 0, "u"), ("CDS", 31, 33, "+", 2, "u"))
        expected = FORWARD_STRATA[:15] + "xxx" + FORWARD_STRATA[18:]
        assert shown(read(tmp_path, FORWARD + other)) == expected

    def test_coding_sequence_without_a_strand_has_no_codon_position(self, tmp_path):
        assert shown(read(tmp_path, gtf(("CDS", 1, 3, ".", 0, "t"))))[:4] == "xxx."

    def test_precedence(self, tmp_path):
        """Of all that holds at a base the first of CDS, UTR, exon, promoter, intron counts."""
        noncoding = gtf(
            ("transcript", 1, 60, "+", ".", "n"),
            ("exon", 1, 12, "+", ".", "n"),
            ("exon", 55, 60, "+", ".", "n"),
        )
        whole = shown(read(tmp_path, FORWARD + noncoding, promoter=(4, 0)))
        # The promoter of t, 7 to 10, lies in the first exon of n and loses.
        assert whole == "e" * 10 + FORWARD_STRATA[10:40] + "i" * 14 + "e" * 6
        late = gtf(("gene", 1, 60, "+", ".", ""), ("exon", 31, 35, "+", ".", "m"))
        assert (
            shown(read(tmp_path, late, promoter=(4, 1)))[:36] == "p" + "i" * 25 + "p" * 4 + "eeeeei"
        )

    def test_exons_shared_by_transcripts_in_gff3(self, tmp_path):
        text = GFF3.replace("Parent=t\n", "Parent=t,u\n", 1)
        found = read(tmp_path, text)
        assert shown(found) == FORWARD_STRATA

    def test_short_bed_lines_are_genes_or_what_they_are_called(self, tmp_path):
        text = "chr1\t10\t40\tYFG1\t0\t-\nchr1\t12\t15\texon\t0\t-\nchr1\t50\t55\tpromoter\t0\t.\n"
        found = read(tmp_path, text, promoter=(2, 0))
        assert (
            shown(found) == "." * 10 + "ii" + "eee" + "i" * 25 + "pp" + "." * 8 + "ppppp" + "....."
        )

    def test_cds_alone_makes_an_exon_and_a_gene(self, tmp_path):
        found = read(tmp_path, gtf(("CDS", 4, 9, "+", 0, "t")), promoter=(2, 0))
        assert shown(found)[:10] == ".pp123123."


class TestNames:
    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [("1", "chr1"), ("chr1", "1"), ("Mito", "chrM"), ("MT", "chrM"), ("IX", "chrIX")],
    )
    def test_reconciled(self, tmp_path, theirs, ours):
        path = write(tmp_path, gtf(("exon", 1, 3, "+", ".", "t"), chrom=theirs))
        assert Annotation.read(path, {ours: 10}).chroms == (ours,)

    def test_nothing_matches(self, tmp_path):
        path = write(tmp_path, gtf(("exon", 1, 3, "+", ".", "t"), chrom="NC_001133.9"))
        with pytest.raises(DataError, match=r"a\.gtf: no .* 'NC_001133.9'.* the genome has 'chr1'"):
            Annotation.read(path, LENGTHS)

    def test_sequences_that_the_genome_lacks_are_counted(self, tmp_path):
        text = FORWARD + gtf(("exon", 1, 900, "+", ".", "z"), chrom="KI270728.1")
        assert read(tmp_path, text).skipped == {"KI270728.1": 1}

    def test_a_chromosome_without_features_is_never_silently_intergenic(self, tmp_path):
        found = read(tmp_path, FORWARD)
        assert found.chroms == ("chr1",)
        with pytest.raises(DataError, match="no feature on chromosome 'chr2'; it has some on chr1"):
            found.strata("chr2", 0, 10)
        with pytest.raises(DataError, match="no feature on chromosome 'chr2'"):
            found.regions("chr2")
        with pytest.raises(ConfigError, match="unknown chromosome 'chr3'"):
            found.regions("chr3")

    def test_a_stretch_outside(self, tmp_path):
        with pytest.raises(DataError, match="chr1:0-61 does not lie within"):
            read(tmp_path, FORWARD).strata("chr1", 0, 61)


class TestBadFiles:
    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("1\ttoy\texon\t5\t3\t.\t+\t.\tx", "line 9: .* 1 <= start <= end"),
            ("1\ttoy\texon\t0\t3\t.\t+\t.\tx", "line 9: .* 1 <= start <= end"),
            ("1\ttoy\texon\tfive\t9\t.\t+\t.\tx", "line 9: .* no whole number"),
            ("1\ttoy\texon\t5\t9\t.\tplus\t.\tx", "line 9: .* strand 'plus'; allowed"),
            ("1\ttoy\tCDS\t5\t9\t.\t+\t3\tx", "line 9: .* phase '3'; allowed: 0, 1, 2"),
            ("1\ttoy\texon\t5", "line 9: .* has 4 columns"),
            (
                '1\ttoy\texon\t5\t61\t.\t+\t.\ttranscript_id "t";',
                "line 9: 1:5-61 ends beyond .* 'chr1' of 60",
            ),
        ],
    )
    def test_the_line_is_named(self, tmp_path, line, says):
        with pytest.raises(DataError, match=rf"a\.gtf, {says}"):
            read(tmp_path, FORWARD + line + "\n")

    def test_cut_off_in_the_middle_of_a_line(self, tmp_path):
        last = len(FORWARD.splitlines()[-1])
        for cut in range(2, last):
            text = FORWARD[:-cut]
            assert not text.endswith("\n")
            if text.rstrip().endswith('"t";'):
                continue  # the attributes that are left are whole
            with pytest.raises(DataError, match=r"a\.gtf, line 8: .* seems cut off"):
                read(tmp_path, text)

    @pytest.mark.parametrize(
        ("last", "unseen"),
        [
            # Within a value nothing shows; before it there is no transcript.
            ("ID=c1;Parent=t1;note=ab", ["Parent=t", "Parent=t1", "Parent=t1;", "note=a"]),
            (".", []),
        ],
    )
    def test_cuts_of_the_last_line_of_gff3(self, tmp_path, last, unseen):
        head = "1\tx\tgene\t10\t50\t.\t+\t.\tID=g1\n1\tx\tmRNA\t10\t50\t.\t+\t.\tID=t1;Parent=g1\n"
        kind = "CDS" if unseen else "gene"
        line = f"1\tx\t{kind}\t10\t40\t.\t+\t0\t{last}"
        found, said = [], []
        for end in range(1, len(line)):
            path = tmp_path / "a.gff3"
            path.write_text(head + line[:end])
            try:
                Annotation.read(path, LENGTHS)
            except DataError as error:
                said.append(str(error))
            else:
                found.append(line[:end])
        assert all("line 3" in text and "seems cut off" in text for text in said)
        assert len(found) == len(unseen)
        assert all(text.endswith(end) for text, end in zip(found, unseen, strict=True))

    def test_a_bed_line_that_ends_with_an_empty_column(self, tmp_path):
        path = tmp_path / "a.bed"
        path.write_text("1\t1\t5\tgene\t0\t+\n1\t7\t9\texon\t0\t")
        with pytest.raises(DataError, match=r"line 2: .* ends with an empty column"):
            Annotation.read(path, LENGTHS)

    def test_a_whole_file_may_lack_its_last_line_end(self, tmp_path):
        assert shown(read(tmp_path, FORWARD.rstrip("\n"))) == FORWARD_STRATA
        assert shown(read(tmp_path, BED12.rstrip("\n"))) == FORWARD_STRATA

    @pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
    def test_truncated_gzip(self, tmp_path, share):
        packed = gzip.compress((FORWARD * 400).encode())
        path = tmp_path / "a.gtf.gz"
        path.write_bytes(packed)
        assert len(Annotation.read(path, LENGTHS).chroms) == 1
        path.write_bytes(packed[: int(share * len(packed))])
        with pytest.raises(DataError, match=r"cannot read .*a\.gtf\.gz"):
            Annotation.read(path, LENGTHS)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "holds no gene, transcript, exon or CDS"),
            ("#only\n1\ttoy\tregion\t1\t9\t.\t+\t.\tID=a\n", "holds no gene"),
            ("hello world\n", "line 1: .* is neither GTF or GFF3"),
            ("chr1\t1\t9\ta\nchr1\t1\n", "line 2: .* has 2 columns; the lines before it have 4"),
            ("chr1\t9\t1\ta\n", "line 1: .* 0 <= start < end"),
            (BED12.replace("\t2\t10", "\t3\t10"), "as many block sizes"),
            (BED12.replace("10,10", "10,11"), "block outside"),
        ],
    )
    def test_other_files(self, tmp_path, text, says):
        with pytest.raises(DataError, match=says):
            read(tmp_path, text)

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*none\.gtf"):
            Annotation.read(tmp_path / "none.gtf", LENGTHS)

    def test_promoter_out_of_range(self, tmp_path):
        with pytest.raises(ConfigError, match="promoter is"):
            read(tmp_path, FORWARD, promoter=(-1, 0))


class TestGC:
    def test_bins_by_hand(self):
        rows = np.stack(
            [encode(s) for s in ("AAAAAAAAAA", "GGGAAAAAAA", "GCGCAAAAAA", "GGCCGGNNNN")]
        )
        assert gc_strata(rows & 7).tolist() == [0, 1, 2, 4]
        assert gc_names() == ("gc_0_30", "gc_30_40", "gc_40_50", "gc_50_60", "gc_60_100")

    def test_nothing_known(self):
        assert gc_strata(np.full((1, 4), 4, np.uint8)).tolist() == [0]


@pytest.mark.data
@pytest.mark.parametrize(
    ("fasta", "path", "chrom"),
    [
        (
            "saccer3/sacCer3.softmask.fa.gz",
            "saccer3/Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz",
            "chrIV",
        ),
        (
            "human-windows/hg38.chr9_1_1000000.dna_sm.fa.gz",
            "human-windows/hg38.chr9_1_1000000.ensembl91.gtf.gz",
            "9",
        ),
    ],
    ids=["yeast", "human"],
)
class TestReal:
    def test_every_full_coding_sequence_reads_from_its_start_to_its_stop_codon(
        self, fasta, path, chrom, data_folder
    ):
        """Codon positions against the genetic code: ATG first, a stop codon last, none between."""
        genome = Genome.open(data_folder / fasta)
        with gzip.open(data_folder / path, "rt") as lines:
            rows = [line.split("\t") for line in lines if not line.startswith("#")]
        annotation = Annotation.read(data_folder / path, genome.lengths)
        name = chrom.removeprefix("chr")
        strata = annotation.strata(chrom, 0, genome.lengths[chrom])
        coding = strata >= STRATA.index("cds_ambiguous")
        expected = np.zeros_like(coding)
        for row in rows:
            if row[0] == name and row[2] in ("CDS", "stop_codon"):
                expected[int(row[3]) - 1 : int(row[4])] = True
        assert np.array_equal(coding, expected)
        codons = {"start_codon": [], "stop_codon": []}
        for row in rows:
            if row[0] == name and row[2] in codons and int(row[4]) - int(row[3]) == 2:
                low = int(row[3]) - 1
                letters = decode(genome.codes(chrom, low, low + 3))
                found = strata[low : low + 3].tolist()
                if row[6] == "-":
                    letters = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))
                    found = found[::-1]
                if STRATA.index("cds_ambiguous") not in found:
                    assert found == [STRATA.index(f"codon_{p}") for p in (1, 2, 3)]
                    codons[row[2]].append(letters)
        assert len(codons["stop_codon"]) > 10
        assert np.mean([c in ("TAA", "TAG", "TGA") for c in codons["stop_codon"]]) > 0.95
        assert np.mean([c == "ATG" for c in codons["start_codon"]]) > 0.95
