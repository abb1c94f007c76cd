"""``lightning-dna data audit``: what it prints and writes, and what it refuses."""

import csv
import io
import json
from pathlib import Path

import pytest

from lightning_dna.cli import main

FASTA = (
    ">1\n"
    + "ACGTACGTAC" * 20
    + "acgtacgtac" * 6
    + "GGGGGCCCCC" * 10
    + "\n>2\n"
    + "ACGT" * 30
    + "\n"
)
GTF = '1\tx\texon\t150\t240\t.\t+\t.\ttranscript_id "t";\n'
BED = "chr1\t200\t260\tLTR/Ty1\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "g.fa").write_text(FASTA)
    (tmp_path / "a.gtf").write_text(GTF)
    (tmp_path / "r.bed").write_text(BED)
    return tmp_path


def run(capsys, place, *words):
    """Run the command on the files of a place."""
    known = {"g.fa", "a.gtf", "r.bed", "out"}
    status = main(["data", "audit", *(str(place / w) if w in known else w for w in words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_json_by_hand(capsys, place):
    words = ("g.fa", "--annotation", "a.gtf", "--repeats", "r.bed", "--format", "json")
    status, out, _ = run(capsys, place, *words)
    assert status == 0
    rows = {(row["group"], row["name"]): row for row in json.loads(out)["rows"]}
    whole = rows["genome", "all"]
    assert (whole["bases"], whole["repeat_bases"]) == (480, 60)
    assert whole["lost_bases"]["remove-split"] == 60
    assert whole["lost_bases"]["downweight"] == pytest.approx(54)
    exon = rows["region", "exon"]
    assert (exon["bases"], exon["repeat_bases"]) == (91, 40)
    assert exon["lost_share"]["hard-mask"] == pytest.approx(40 / 91, abs=1e-6)
    assert rows["repeat class", "LTR"]["repeat_bases"] == 60
    assert json.loads(out)["junctions"] == 1


def test_the_forms_agree(capsys, place):
    texts = {
        form: run(capsys, place, "g.fa", "--annotation", "a.gtf", "--format", form)[1]
        for form in ("terminal", "markdown", "csv", "json")
    }
    table = list(csv.DictReader(io.StringIO(texts["csv"])))
    rows = json.loads(texts["json"])["rows"]
    assert len(table) == sum(len(row["lost_bases"]) for row in rows)
    for line in table:
        row = next(r for r in rows if (r["group"], r["name"]) == (line["group"], line["name"]))
        assert float(line["lost_bases"]) == row["lost_bases"][line["policy"]]
    assert "| exon | 91 | 43.96% |" in texts["markdown"]
    assert "By region: share lost" in texts["terminal"]
    assert all(len(line) <= 100 for line in texts["terminal"].splitlines())


def test_files(capsys, place):
    status, _, err = run(capsys, place, "g.fa", "--annotation", "a.gtf", "--out", "out")
    assert status == 0
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "figure.svg",
        "table.csv",
        "table.md",
    ]
    assert err.count("written: ") == 3
    assert (
        (place / "out" / "table.md").read_text().startswith("# What repeat policies cost: g.fa\n")
    )
    figure = (place / "out" / "figure.svg").read_text()
    for name in ("remove-split", "matched-unique", "intergenic", "By chromosome"):
        assert name in figure
    before = figure
    run(capsys, place, "g.fa", "--annotation", "a.gtf", "--out", "out")
    assert (place / "out" / "figure.svg").read_text() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("g.fa", "--format", "xml"), "unknown format 'xml'"),
        (("g.fa", "--classes", "LINE"), "give the file with --repeats"),
        (("g.fa", "--repeats", "r.bed", "--classes", "LINE"), "unknown repeat class 'LINE'"),
        (("g.fa", "--promoter", "5"), "expected two whole numbers"),
        (("g.fa", "--promoter", "5,x"), "--promoter takes a whole number"),
        (("g.fa", "--weight", "2"), "weight is 2"),
        (("g.fa", "--min-length", "0"), "min_length is 0"),
        (("nothing.fa",), "nothing.fa does not exist"),
        (("g.fa", "--annotation", "g.fa"), "is neither GTF or GFF3"),
        (("g.fa", "--repeats", "a.gtf"), "is not BED"),
        (("a.gtf",), "is not FASTA"),
    ],
)
def test_refused(capsys, place, words, says):
    status, out, err = run(capsys, place, *words, "--out", "out")
    assert (status, out) == (2, "")
    assert says in err
    assert not (place / "out").exists()


def test_an_annotation_of_other_chromosomes(capsys, place):
    (place / "a.gtf").write_text(GTF.replace("1\tx", "NC_1\tx"))
    status, _, err = run(capsys, place, "g.fa", "--annotation", "a.gtf")
    assert status == 2
    assert "'NC_1'" in err
    assert "the genome has '1', '2'" in err


REPORTS = Path(__file__).parents[2] / "reports"
YEAST = ("sacCer3.softmask.fa.gz", "Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz")
HUMAN = ("hg38.chr9_1_1000000.dna_sm.fa.gz", "hg38.chr9_1_1000000.ensembl91.gtf.gz")


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "files", "repeats", "report"),
    [
        ("saccer3", YEAST, None, "audit-yeast/soft-mask"),
        ("saccer3", YEAST, "sacCer3.Ty_LTR.derived.bed.gz", "audit-yeast/ty-ltr"),
        ("human-windows", HUMAN, None, "audit-human-chr9"),
    ],
)
def test_published_audits_are_made_again(
    data_folder, tmp_path, capsys, folder, files, repeats, report
):
    genome, genes = (str(data_folder / folder / name) for name in files)
    words = ["data", "audit", genome, "--annotation", genes, "--out", str(tmp_path)]
    words += ["--repeats", str(data_folder / folder / repeats)] if repeats else []
    assert main(words) == 0
    capsys.readouterr()
    for name in ("table.csv", "table.md"):
        assert (tmp_path / name).read_text() == (REPORTS / report / name).read_text()
