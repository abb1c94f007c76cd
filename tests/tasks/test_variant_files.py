"""Variants from VCF files and tables: what is read, what is left out, what is refused."""

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.annotation import Annotation
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.card import TaskCard, load_card
from lightning_dna.tasks.variant_data import VariantData
from lightning_dna.tasks.variant_files import VariantSet, read_variants
from lightning_dna.tasks.variant_places import BASELINES, clusters_of, read_annotation
from lightning_dna.tasks.variant_source import VariantSource
from lightning_dna.tasks.variant_windows import fitting

#          1234567890
SEQUENCE = "ACGTACGTAC" * 3
TABLE = """chrom,position,ref,alt,label,score,gene
chr1,2,C,T,1,0.5,a
1,1,A,G,0,,a
1,3,g,gaa,0.0,2,b
"""


@pytest.fixture
def genome() -> Genome:
    return Genome.from_sequences({"chr1": SEQUENCE, "chr2": "GGGG"})


def write(folder: Path, text: str, name: str = "variants.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def short(found: VariantSet) -> list[tuple]:
    return [(v.chrom, v.start, v.ref, v.alt, v.label) for v in found.variants]


EXPECTED = [("chr1", 0, "A", "G", 0), ("chr1", 1, "C", "T", 1), ("chr1", 2, "G", "GAA", 0)]


def test_a_table(tmp_path, genome):
    source = VariantSource(columns={"cluster": "gene", "conservation": "score"})
    path = write(tmp_path, TABLE.replace("chr1,", "1,"))
    found = read_variants(path, genome, source)
    assert short(found) == EXPECTED
    assert [one.name for one in found.variants] == ["1:1:A:G", "1:2:C:T", "1:3:G:GAA"]
    assert [one.cluster for one in found.variants] == ["a", "a", "b"]
    assert [one.values[0] for one in found.variants[1:]] == [0.5, 2.0]
    assert found.variants[0].values[0] != found.variants[0].values[0]  # none there
    assert [one.line for one in found.variants] == [3, 2, 4]


@pytest.mark.parametrize("form", ["tsv", "gzip", "parquet", "excel"])
def test_forms_of_tables(tmp_path, genome, form):
    frame = pd.DataFrame(
        {"chrom": ["1"] * 3, "position": [2, 1, 3], "ref": list("CAG"),
         "alt": ["T", "G", "GAA"], "label": [1, 0, 0]}
    )  # fmt: skip
    source = VariantSource()
    if form == "tsv":
        frame.to_csv(path := tmp_path / "v.tsv", sep="\t", index=False)
    elif form == "gzip":
        path = tmp_path / "v.csv.gz"
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    elif form == "parquet":
        frame.to_parquet(path := tmp_path / "v.parquet", index=False)
    else:
        pytest.importorskip("openpyxl")
        frame.to_excel(path := tmp_path / "v.xlsx", index=False, startrow=2)
        source = VariantSource(header_row=3)
    assert short(read_variants(path, genome, source)) == EXPECTED


def test_a_part_of_a_chromosome(tmp_path):
    window = Genome.from_sequences({"part": SEQUENCE})
    # Base 1 of the file is 1001 of chromosome 17 here, and 994 in the other assembly.
    text = "at,ref,alt,label\n995,C,T,1\n997,T,A,0\n7,A,C,1\n"
    source = VariantSource(columns={"position": "at"}, shift=7, origin=1001, chrom="17")
    found = read_variants(write(tmp_path, text), window, source)
    assert short(found) == [("part", 1, "C", "T", 1), ("part", 3, "T", "A", 0)]
    assert found.notes == ("1 variant(s) of variants.csv left out: outside of the sequence.",)
    assert (found.called, found.origin) == ("17", 1001)
    zero = VariantSource(columns={"position": "at"}, shift=8, origin=1001, chrom="17",
                         zero_based=True)  # fmt: skip
    with pytest.raises(DataError, match="has REF C, and the genome has T"):
        read_variants(write(tmp_path, text), window, zero)


CLINVAR = """##fileformat=VCFv4.1
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
1\t1\t11\tA\tG\t.\t.\tCLNSIG=Benign;CLNREVSTAT=criteria_provided,_single_submitter;GENEINFO=A:1|B:2
1\t2\t12\tC\tT,G\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=A:1
1\t3\t13\tG\tA\t.\t.\tCLNSIG=Uncertain_significance;CLNREVSTAT=practice_guideline;GENEINFO=B:2
1\t4\t14\tT\tA\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=no_assertion_criteria_provided;GENEINFO=B:2
1\t5\t15\tA\t<DEL>\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=practice_guideline;GENEINFO=B:2
MT\t5\t16\tA\tC\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=practice_guideline;GENEINFO=B:2
"""
CLINVAR_SOURCE = VariantSource(
    columns={"label": "CLNSIG", "cluster": "GENEINFO"},
    positive=("Pathogenic", "Likely_pathogenic"),
    negative=("Benign",),
    stars=1,
)


def test_clinvar(tmp_path, genome):
    found = read_variants(write(tmp_path, CLINVAR, "clinvar.vcf"), genome, CLINVAR_SOURCE)
    assert [(one.name, one.alt, one.label, one.cluster) for one in found.variants] == [
        ("11", "G", 0, "A"),
        ("12:G", "G", 1, "A"),
        ("12:T", "T", 1, "A"),
    ]
    assert found.notes == (
        "1 variant(s) of clinvar.vcf left out: fewer than 1 review star(s).",
        "1 variant(s) of clinvar.vcf left out: an allele is not a sequence.",
        "1 variant(s) of clinvar.vcf left out: on a sequence that the genome does not have.",
        "1 variant(s) of clinvar.vcf left out: label is neither positive nor negative.",
    )


def test_without_labels(tmp_path, genome):
    path = write(tmp_path, CLINVAR, "clinvar.vcf")
    found = read_variants(path, genome, VariantSource(), labelled=False)
    assert [one.label for one in found.variants] == [-1] * 5
    assert not found.labelled
    text = "chrom,position,ref,alt\n1,1,A,G\n"
    assert short(read_variants(write(tmp_path, text), genome, VariantSource(), labelled=False)) == [
        ("chr1", 0, "A", "G", -1)
    ]


def test_rows_to_keep(tmp_path, genome):
    source = VariantSource(keep={"gene": ("a",)})
    found = read_variants(write(tmp_path, TABLE.replace("chr1,", "1,")), genome, source)
    assert short(found) == EXPECTED[:2]
    assert found.notes == ("1 variant(s) of variants.csv left out: gene is none of a.",)


@pytest.mark.parametrize("name", ["variants.csv", "variants.csv.gz", "variants.vcf"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, genome, name):
    text = TABLE.replace("chr1,", "1,") if "csv" in name else CLINVAR
    source = VariantSource() if "csv" in name else CLINVAR_SOURCE
    plain, path = tmp_path / f"plain-{name}", tmp_path / name
    for place, start in ((plain, b""), (path, "\ufeff".encode())):
        data = start + text.encode()
        place.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert short(read_variants(path, genome, source)) == short(read_variants(plain, genome, source))


def test_rows_that_are_not_wanted_need_no_position(tmp_path, genome):
    text = "chrom,position,ref,alt,label,used\n1,1,A,G,0,yes\n1,NA,C,T,1,no\n1,2,C,T,1,yes\n"
    source = VariantSource(keep={"used": ("yes",)})
    found = read_variants(write(tmp_path, text), genome, source)
    assert short(found) == EXPECTED[:2]
    assert found.notes == ("1 variant(s) of variants.csv left out: used is none of yes.",)
    with pytest.raises(DataError, match="row 3: position 'NA'; expected a whole number"):
        read_variants(write(tmp_path, text), genome, VariantSource())


def test_several_kinds_of_variants_are_told(tmp_path):
    long = Genome.from_sequences({"chr1": SEQUENCE * 3})
    text = "chrom,position,ref,alt,label\n1,31,A,G,0\n1,32,C,CTT,1\n1,33,GT,G,0\n1,35,A,T,1\n"
    found = fitting(read_variants(write(tmp_path, text), long, VariantSource()), 40)
    (note,) = found.notes
    assert "(1 deletions, 1 insertions, 2 substitutions)" in note
    assert "without training too" in note
    few = "\n".join(text.splitlines()[:2]) + "\n1,35,A,T,1\n"
    path = write(tmp_path, few, "few.csv")
    assert fitting(read_variants(path, long, VariantSource()), 40).notes == ()


def test_either_allele_may_be_that_of_the_genome(tmp_path, genome):
    # The genome has ACGTAC: at base 2 the second allele, at 3 both (the longer one is REF), at 5
    # the first; at 6 neither.
    text = "allele1,allele2,pos,chrom,label\nT,C,2,1,-1\nG,GT,3,1,1\na,g,5,1,1.0\nG,T,6,1,1\n"
    text += "".join(f"{SEQUENCE[at]},N,{at + 1},1,0\n" for at in range(10))  # not ACGT: left out
    source = VariantSource(
        columns={"ref": "allele1", "alt": "allele2", "position": "pos"},
        alleles="either",
        negative=("-1",),
    )
    found = read_variants(write(tmp_path, text), genome, source)
    assert short(found) == [
        ("chr1", 1, "C", "T", 0), ("chr1", 2, "GT", "G", 1), ("chr1", 4, "A", "G", 1),
    ]  # fmt: skip
    assert [one.name for one in found.variants] == ["1:2:C:T", "1:3:GT:G", "1:5:A:G"]
    assert "1 variant(s) of variants.csv left out: neither allele is that of the genome." in (
        found.notes
    )
    many = text + "G,T,6,1,0\n" * 2
    with pytest.raises(DataError, match=r"of 3 of 16 variants the genome has neither allele. Is"):
        read_variants(write(tmp_path, many), genome, source)
    path = write(tmp_path, CLINVAR, "c.vcf")
    with pytest.raises(ConfigError, match="a VCF file, which says which allele is REF"):
        read_variants(path, genome, source)


def dart_table(name: str, tmp_path: Path) -> VariantSet:
    """Read a few rows in the columns that DART-Eval publishes, by the shipped card."""
    chosen = load_card(name)
    folder = tmp_path / "root"
    letters = dict.fromkeys(("chr1", "chr2"), SEQUENCE)
    for part, text in (
        ("variants", (DART_CAQTL if "caqtl" in name else DART_DSQTL).replace(" ", "\t")),
        ("genome", "".join(f">{chrom}\n{bases}\n" for chrom, bases in letters.items())),
    ):
        path = folder / chosen.files[part]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = VariantData(
        chosen, tasks_root=folder, genome=lambda: pytest.fail("the card has one"), length=24
    )
    return data.variants


DART_CAQTL = """chr_hg38 pos_hg38 allele1 allele2 beta IsUsed in_peaks label
chr1 6 C T 0.5 True True True
chr1 7 A G 0.1 True True False
chr2 8 C T 0.2 True True False
chr2 9 A G 0.3 True False True
chr2 10 C T 0.3 False True True
"""
DART_DSQTL = """var.chrom var.pos var.allele1 var.allele2 var.isused var.label obs.estimate
chr1 6 C T 1 1 0.5
chr1 7 A G 1 -1
chr2 8 C T True -1
chr2 9 A G 0 1 0.4
""".replace("-1\n", "-1 NA\n")


@pytest.mark.parametrize("name", ["dart-caqtl-african", "dart-dsqtl-yoruban"])
def test_the_tables_of_dart_eval(tmp_path, name):
    found = dart_table(name, tmp_path)
    assert short(found) == [
        ("chr1", 5, "C", "T", 1), ("chr1", 6, "G", "A", 0), ("chr2", 7, "T", "C", 0),
    ]  # fmt: skip


HEAD = "chrom,position,ref,alt,label\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "1,1,A,G,1\n1,2,G,A,0\n1,3,T,A,0\n",
         "line 3: 1:2:G:A has REF G, and the genome has C at chr1:2; 2 of 3 variants do not fit"),
        (HEAD + "1,31,A,G,1\n", "line 2: 1:31 does not lie on chromosome 'chr1' of 30 bases"),
        (HEAD + "7,1,A,G,1\n", "no chromosome of the genome is named '7'"),
        (HEAD + "1,1,A,G,1\n1,1,A,G,0\n", "lines 2 and 3: variant '1:1:A:G' stands twice"),
        (HEAD + "1,x,A,G,1\n", "row 2: position 'x'; expected a whole number"),
        (HEAD + "1,1,A,G,1\n1,2\n", "line 3: 2 columns where the lines before have 5; was the"),
        (HEAD + "1,1,A,G,yes\n1,2,C,T,0\n",
         "0 are positive and 1 negative; both are needed. Labels of the file are '0', 'yes'"),
        (HEAD, "no variant is left to score: the file is empty"),
        (HEAD + "1,1,A,-,1\n", "no variant is left to score: 1 an allele is not a sequence"),
        ("chrom,pos,ref,alt\n", r"no column 'position' \(position\), 'label' \(label\); it has ch"),
        ("", "has fewer than 1 lines"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, genome, text, message):
    with pytest.raises(DataError, match=message):
        read_variants(write(tmp_path, text), genome, VariantSource())


def test_settings_that_are_refused(tmp_path, genome):
    with pytest.raises(ConfigError, match=r"unknown role of a column 'place'; allowed: alt, "):
        VariantSource(columns={"place": "pos"})
    with pytest.raises(ConfigError, match=r"variants.stars is 5; allowed: 0 to 4"):
        VariantSource(stars=5)
    with pytest.raises(ConfigError, match=r"variants.origin is 0; allowed: 1 or more"):
        VariantSource(origin=0)
    with pytest.raises(ConfigError, match="share none; shared: 1"):
        VariantSource(negative=("0", "1"))
    with pytest.raises(ConfigError, match="the genome has 2 sequences"):
        read_variants(write(tmp_path, TABLE), genome, VariantSource(origin=5))
    source = VariantSource(columns={"conservation": "phylop"})
    with pytest.raises(DataError, match="no column 'phylop'"):
        read_variants(write(tmp_path, TABLE), genome, source)
    path = write(tmp_path, CLINVAR.replace("##file", "##contig=<ID=1,length=9>\n##file"), "c.vcf")
    with pytest.raises(DataError, match="belongs to another assembly"):
        read_variants(path, genome, CLINVAR_SOURCE)


def test_damaged_files(tmp_path, genome):
    for name in ("v.parquet", "v.xlsx"):
        if name.endswith("xlsx"):
            pytest.importorskip("openpyxl")
        with pytest.raises(DataError, match=f"cannot read .*{name}"):
            read_variants(write(tmp_path, "PK nothing", name), genome, VariantSource())


def card(**changes) -> TaskCard:
    files = {"variants": "v.csv"}
    return TaskCard(**({"name": "v", "kind": "variant_effect", "title": "v", "files": files}
                       | changes))  # fmt: skip


def test_cards_that_are_refused():
    assert card().metrics == ("auroc", "auprc")
    assert card().tables == ("llr", "embedding_cosine")
    for changes, message in (
        ({"files": None}, "files lacks variants"),
        ({"files": {"train": "x"}}, "unknown part 'train'"),
        ({"unit": "gene"}, "nothing says which gene a variant belongs to"),
        ({"unit": "homology"}, "unit 'homology' is of sequences"),
        ({"baselines": ("exon_edge",)}, "exon_edge needs an annotation"),
        ({"baselines": ("cadd",)}, "baseline cadd needs its column"),
        ({"scores": ("llr", "likelihood")}, "unknown score 'likelihood'"),
        ({"ways": ("full",)}, "ways has no meaning for a task of kind 'variant_effect'"),
    ):
        with pytest.raises(ConfigError, match=message):
            card(**changes)


GTF = (
    '17\tx\tgene\t1003\t1010\t.\t+\t.\tgene_id "a";\n'
    '17\tx\texon\t1003\t1004\t.\t+\t.\tgene_id "a"; transcript_id "t";\n'
    '17\tx\texon\t1009\t1010\t.\t+\t.\tgene_id "a"; transcript_id "t";\n'
    '17\tx\tgene\t1021\t9999\t.\t+\t.\tgene_id "b";\n'
    '17\tx\texon\t1021\t9999\t.\t+\t.\tgene_id "b"; transcript_id "u";\n'
)


def test_clusters_and_baselines(tmp_path):
    window = Genome.from_sequences({"part": SEQUENCE})
    rows = [(1001, "A", "G"), (1004, "T", "A"), (1006, "C", "T"), (1008, "T", "TA"),
            (1018, "T", "A")]  # fmt: skip
    text = "position,ref,alt,label,phylop\n" + "".join(
        f"{place},{ref},{alt},{place % 2},{0.5 * n if n else 'NA'}\n"
        for n, (place, ref, alt) in enumerate(rows)
    )
    source = VariantSource(origin=1001, chrom="17", columns={"conservation": "phylop"})
    variants = read_variants(write(tmp_path, text), window, source)
    annotation = read_annotation(write(tmp_path, GTF, "genes.gtf"), variants)

    def clusters(unit: str, annotation: Annotation | None = annotation) -> tuple[str, ...]:
        return clusters_of(variants, unit, block=5, annotation=annotation)

    assert clusters("exon") == ("17:exon-1", "17:exon-1", "17:exon-1", "17:exon-2", "17:exon-3")
    assert clusters("gene") == ("17:gene-1",) * 4 + ("17:gene-2",)
    assert clusters("cluster") == ("part:200", "part:200", "part:201", "part:201", "part:203")
    assert clusters("chromosome") == ("part",) * 5
    assert len(set(clusters("example"))) == 5
    with pytest.raises(ConfigError, match="nothing says which exon"):
        clusters("exon", None)

    def baseline(name: str) -> list[float]:
        return BASELINES[name](variants, 4, annotation)

    assert baseline("exon_edge") == [-2.0, 0.0, -2.0, -1.0, -3.0]
    assert baseline("transversion") == [0.0, 1.0, 0.0, 2.0, 1.0]
    assert baseline("conservation") == [1.25, 0.5, 1.0, 1.5, 2.0]  # 1.25: the mean of the others
    # Windows of four: ACGT at the start of the chromosome, GTAC... two of four everywhere.
    assert baseline("gc_content") == [0.5] * 5
    # So every base is as frequent; the fourth variant inserts one.
    assert baseline("composition") == pytest.approx([0.0, 0.0, 0.0, math.log(4), 0.0])
    with pytest.raises(DataError, match="baseline cadd: no variant has a value"):
        baseline("cadd")


def test_composition_by_hand(tmp_path):
    genome = Genome.from_sequences({"part": "AAAC" * 5})
    text = "position,ref,alt,label\n8,C,A,0\n9,A,G,1\n"
    source = VariantSource(chrom="part")
    variants = read_variants(write(tmp_path, text), genome, source)
    # Two windows of four with three A and one C each; of every base one more is counted.
    expected = [math.log(3 / 12) - math.log(7 / 12), math.log(7 / 12) - math.log(1 / 12)]
    assert BASELINES["composition"](variants, 4, None) == pytest.approx(expected)


@pytest.mark.data
def test_brca1(data_folder):
    """The published counts, and REF of every variant, from the table and the sequence."""
    pytest.importorskip("openpyxl")
    shipped = load_card("brca1-sge")
    data = VariantData(shipped, tasks_root=data_folder, genome=Genome, length=1024)
    labels = [one.label for one in data.variants.variants]
    assert (len(labels), sum(labels)) == (3893, 823)
    assert len(set(data.clusters)) == 13
    assert data.baseline("conservation").std() > 0
