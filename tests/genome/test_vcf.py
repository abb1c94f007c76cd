"""The VCF reader: columns, genotypes, frequencies, and everything that is refused."""

import gzip
import time
from pathlib import Path

import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.vcf import (
    Genotype,
    VcfRecord,
    check_contigs,
    frequencies,
    read_vcf,
    read_vcf_header,
)

HEAD = "##fileformat=VCFv4.3\n##contig=<ID=1,length=20>\n##contig=<ID=un,assembly=b37>\n"
NAMES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
SAMPLES = "\tFORMAT\tmother\tfather"


def write(folder: Path, *rows: str, samples: bool = False, end: str = "\n") -> Path:
    """Write a VCF file; in a row, spaces stand for tabs."""
    path = folder / "some.vcf"
    names = NAMES + (SAMPLES if samples else "")
    lines = [HEAD + names, *(row.replace(" ", "\t") for row in rows)]
    path.write_text("\n".join(lines) + end)
    return path


def test_a_record(tmp_path):
    path = write(tmp_path, "1 5 rs1 ac g,<DEL>,* 30 PASS AF=0.1,0.2,0;DB;END=9")
    (record,) = read_vcf(path)
    assert record == VcfRecord(
        "1", 4, "rs1", "AC", ("G", "<DEL>", "*"), "PASS", "AF=0.1,0.2,0;DB;END=9", (), 5
    )
    assert [record.info_value(key) for key in ("END", "DB", "EN")] == ["9", "", None]
    assert frequencies(record) == (0.1, 0.2, 0.0)
    header = read_vcf_header(path)
    assert (header.samples, header.contigs) == ((), {"1": 20, "un": None})


def test_genotypes_of_the_samples_asked_for(tmp_path):
    path = write(
        tmp_path,
        "1 5 . A C,G . . . GT:DP 0|2:7 1:3",
        "1 6 . A . . . . GT ./. 0/0",
        "1 7 . A C . . . DP 7 3",
        samples=True,
    )
    found = [record.genotypes for record in read_vcf(path, samples=("father", "mother"))]
    assert found == [
        (Genotype((1,), True), Genotype((0, 2), True)),
        (Genotype((0, 0), False), Genotype((-1, -1), False)),
        (),
    ]
    assert [record.alts for record in read_vcf(path)] == [("C", "G"), (), ("C",)]
    assert {record.genotypes for record in read_vcf(path)} == {()}
    with pytest.raises(ConfigError, match=r"unknown sample 'fathr'; .* Did you mean 'father'"):
        list(read_vcf(path, samples=["fathr"]))


def test_chromosomes_and_regions(tmp_path):
    path = write(tmp_path, "1 5 a ACG A . . .", "1 8 b A C . . .", "2 5 c A C . . .")

    def names(**choice):
        return "".join(record.name for record in read_vcf(path, **choice))

    assert names(chroms={"2"}) == "c"
    assert names(region=("1", 6, 8)) == "ab"  # the third base of the first REF, and position 8
    assert names(region=("1", 7, 8)) == "b"
    assert names(region=("1", 0, 7)) == "a"


@pytest.mark.parametrize("packing", ["gzip", "crlf"])
def test_packings(tmp_path, packing):
    path = write(tmp_path, "1 5 . A C . . .", "1 6 . A C . . AC=1;AN=4")
    text = path.read_bytes()
    path.write_bytes(gzip.compress(text) if packing == "gzip" else text.replace(b"\n", b"\r\n"))
    records = list(read_vcf(path))
    assert [record.position for record in records] == [4, 5]
    assert [frequencies(record) for record in records] == [None, (0.25,)]


def record(info: str, alts: tuple[str, ...] = ("C",)) -> VcfRecord:
    return VcfRecord("1", 4, ".", "A", alts, ".", info, (), 7)


def test_frequencies():
    assert frequencies(record("AF=0.5;AC=1;AN=8")) == (0.5,)
    assert frequencies(record("AC=3;AN=8")) == (0.375,)
    assert frequencies(record("AC=3;AN=0")) is None
    assert frequencies(record("AF=.")) is None
    with pytest.raises(DataError, match=r"line 7, 1:5: allele frequencies '0.5' for 2 ALT"):
        frequencies(record("AF=0.5", ("C", "G")))
    for wrong in ("AF=-0.1", "AF=1.2", "AF=x", "AF=nan", "AC=inf;AN=2"):
        with pytest.raises(DataError, match="expected one for each"):
            frequencies(record(wrong))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 9 . A C . . .", "1 7 . A C . . ."], r"1:7 \(line 6\) comes after 1:9 \(line 5\)"),
        (
            ["1 5 . A C . . .", "2 5 . A C . . .", "1 6 . A C . . ."],
            r"1:6 \(line 7\) comes after 1:5 \(line 5\) and another chromosome; sort it",
        ),
        (["1 5 . A C . . .", "1 6 . A"], "line 6: 4 columns where the head names 8; was the file"),
        (["1 x . A C . . ."], "line 5: chromosome '1', position 'x'"),
        (["1 5 . A- C . . ."], "line 5: REF is 'A-'"),
        (["1 5 . A  . . ."], "line 5: ALT is empty"),
    ],
)
def test_lines_that_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        list(read_vcf(write(tmp_path, *rows)))


def test_wrong_genotypes_are_refused(tmp_path):
    path = write(tmp_path, "1 5 . A C . . . GT 0|2 0|0", samples=True)
    with pytest.raises(DataError, match=r"line 5: genotype '0\|2'; expected numbers from 0 to 1"):
        list(read_vcf(path, samples=["mother"]))


@pytest.mark.parametrize(
    ("rows", "samples", "unseen"),
    [
        # What is left of the last frequency is a frequency, and then the whole line.
        (
            ["1 5 . A C . PASS AC=3;AF=0.25", "1 9 . AC CT,G . PASS AC=13,2;AF=0.125,0.1"],
            False,
            ["AF=0.125,0", "AF=0.125,0.1"],
        ),
        (["1 5 . A C . . DB GT:DP 0|1:3 0|0:4", "1 9 . A C . . DB GT:DP 0|1:3 0|0:12"], True,
         ["0|0:1", "0|0:12"]),
        (["1 5 . A C . . DB GT 0|1 0|0", "1 9 . A C . . DB GT 0|1 0|0"], True, ["\t0|0"]),
    ],
)  # fmt: skip
def test_every_cut_of_the_last_line_that_shows(tmp_path, rows, samples, unseen):
    path = write(tmp_path, *rows, samples=samples)
    content = path.read_text()
    last = len(content.splitlines()[-1])
    found, said = [], []
    for lost in range(1, last):
        path.write_text(content[:-lost])
        try:
            list(read_vcf(path))
        except DataError as error:
            said.append(str(error))
        else:
            found.append(content[:-lost])
    assert all(f"line {4 + len(rows)}: " in text and "cut off here?" in text for text in said)
    assert len(found) == len(unseen)
    for text, ending in zip(found, reversed(unseen), strict=True):
        assert text.endswith(ending)


def test_files_that_are_cut_off(tmp_path):
    rows = [f"1 {position} . A C . PASS AC=12;AN=30;DB" for position in range(1, 400)]
    path = write(tmp_path, *rows)
    content = path.read_bytes()
    packed = gzip.compress(content)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cannot read .*some.vcf"):
        list(read_vcf(path))
    for lost in (4, 12, 30):  # in the last INFO column, in an earlier key, in an earlier column
        path.write_bytes(content[:-lost])
        with pytest.raises(DataError, match=r"line 403: .* cut off here\?"):
            list(read_vcf(path))
    path.write_bytes(content[:-1])  # whole, but for the last line end
    assert len(list(read_vcf(path))) == 399
    path.write_bytes(content[:50])
    with pytest.raises(DataError, match="ends after line 3 without the line of column names"):
        list(read_vcf(path))


def test_files_that_are_not_vcf(tmp_path):
    path = tmp_path / "some.vcf"
    path.write_text("1\t5\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(DataError, match=r"line 1: .* stands where VCF has its line"):
        read_vcf_header(path)
    path.write_text(HEAD + NAMES + "\tFORMAT\tone\tone\n")
    with pytest.raises(DataError, match="sample 'one' stands twice"):
        read_vcf_header(path)


def test_contigs_of_another_assembly(tmp_path):
    path = write(tmp_path)
    header = read_vcf_header(path)
    check_contigs(header, {"chr1": 20, "2": 5}, path)
    with pytest.raises(
        DataError, match=r"'1' has 20 bases, and the genome's 'chr1' has 21: .* ano"
    ):
        check_contigs(header, {"chr1": 21}, path)


@pytest.mark.data
def test_the_file_of_the_1000_genomes(data_folder):
    folder = data_folder / "human-windows"
    path = folder / "b37.chr20_1000001_2000000.1000G_phase3.sites.vcf.gz"
    started = time.process_time()
    records = list(read_vcf(path))
    assert time.process_time() - started < 2
    with gzip.open(path, "rt") as lines:
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(records) == len(rows) == 28998
    assert [(r.position + 1, r.ref, ",".join(r.alts)) for r in records] == [
        (int(row[1]), row[3], row[4]) for row in rows
    ]
    assert all(frequencies(record) is not None for record in records)
