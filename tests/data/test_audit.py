"""The audit: counts by brute force on a drawn genome, by hand on a small one, and what it notes."""

import dataclasses

import numpy as np
import pytest

from lightning_dna.data import audit as module
from lightning_dna.data.audit import AuditSettings, audit
from lightning_dna.errors import DataError
from lightning_dna.genome.annotation import STRATA, Annotation
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation

GTF = "".join(
    f'{chrom}\tx\t{kind}\t{first}\t{last}\t.\t{strand}\t{phase}\ttranscript_id "{name}";\n'
    for chrom, kind, first, last, strand, phase, name in [
        ("1", "exon", 101, 400, "+", ".", "t"),
        ("1", "exon", 601, 900, "+", ".", "t"),
        ("1", "CDS", 151, 400, "+", 0, "t"),
        ("1", "CDS", 601, 700, "+", 2, "t"),
        ("1", "exon", 1501, 2200, "-", ".", "n"),
        ("7", "exon", 1, 9, "-", ".", "elsewhere"),
    ]
)


def drawn(seed: int, length: int) -> str:
    """Draw stretches of upper case, lower case and N."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < length:
        letters, size = [("ACGT", 150), ("acgt", 60), ("N", 8)][rng.integers(0, 3)]
        parts.append("".join(rng.choice([*letters], size=rng.integers(1, size))))
    return "".join(parts)[:length]


SEQUENCES = {"chr1": drawn(1, 5300), "chr2": drawn(2, 3100)}


@pytest.fixture
def parts(tmp_path):
    """Return genome, annotation and repeats: every other lower-case stretch is LINE, or SINE."""
    genome = Genome.from_sequences(SEQUENCES)
    (tmp_path / "a.gtf").write_text(GTF)
    (tmp_path / "r.bed").write_text("chr1\t0\t2600\tLINE/L1\nchr2\t0\t900\tSINE\nchrX\t0\t3\tLTR\n")
    annotation = Annotation.read(tmp_path / "a.gtf", genome.lengths, promoter=(50, 20))
    return genome, annotation, RepeatAnnotation.read(tmp_path / "r.bed", genome.lengths)


def kept_flags(text: str, min_length: int) -> np.ndarray:
    """Flag, base by base, what lies in an upper-case stretch that is long enough."""
    flags = np.zeros(len(text), dtype=bool)
    start = 0
    for at in range(len(text) + 1):
        if at == len(text) or text[at].islower():
            if at - start >= min_length:
                flags[start:at] = True
            start = at + 1
    return flags


def test_every_count_against_a_walk_base_by_base(parts):
    genome, annotation, repeats = parts
    found = audit(
        genome, AuditSettings(min_length=30, weight=0.25), annotation=annotation, repeats=repeats
    )
    rows = {(row.group, row.name): row for row in found.rows}
    texts = {name: np.array([*text]) for name, text in SEQUENCES.items()}
    members = {("chromosome", name): {name: np.ones(len(t), bool)} for name, t in texts.items()}
    members["genome", "all"] = {name: np.ones(len(t), bool) for name, t in texts.items()}
    for region, stretches in annotation.regions("chr1").items():
        flags = np.zeros(len(texts["chr1"]), bool)
        for start, end in stretches.tolist():
            flags[start:end] = True
        members["region", region] = {"chr1": flags}
    members["repeat class", "LINE"] = {"chr1": np.arange(5300) < 2600}
    members["repeat class", "SINE"] = {"chr2": np.arange(3100) < 900}
    assert {key for key in rows if key[0] != "GC content"} == set(members)
    for key, flags_of in members.items():
        counts = np.zeros(4)
        for name, flags in flags_of.items():
            text = texts[name]
            known = (np.char.upper(text) != "N") & flags
            lower = np.char.islower(text)
            kept = kept_flags(SEQUENCES[name], 30)
            counts += [known.sum(), (known & lower).sum(), (known & ~kept).sum(), 0]
        row = rows[key]
        assert (row.bases, row.repeat_bases) == (counts[0], counts[1])
        assert row.lost["remove-split"] == counts[2]
        assert row.lost["remove-concat"] == row.lost["hard-mask"] == counts[1]
        assert row.lost["downweight"] == pytest.approx(0.75 * counts[1])


def test_gc_blocks_against_a_walk(parts):
    genome, *_ = parts
    found = audit(genome, AuditSettings())
    expected: dict[str, list[int]] = {}
    for text in SEQUENCES.values():
        for start in range(0, len(text), 1000):
            block = text[start : start + 1000]
            known = [letter for letter in block if letter.upper() != "N"]
            share = sum(letter.upper() in "GC" for letter in known) / len(known)
            low, high = next(
                (lo, hi)
                for lo, hi in ((0, 30), (30, 40), (40, 50), (50, 60), (60, 100))
                if lo <= 100 * share < hi
            )
            row = expected.setdefault(f"gc_{low}_{high}", [0, 0])
            row[0] += len(known)
            row[1] += sum(letter.islower() for letter in known)
    rows = {row.name: [row.bases, row.repeat_bases] for row in found.of("GC content")}
    assert rows == expected
    assert len(rows) >= 2


def test_large_chromosomes_are_counted_in_parts(parts, monkeypatch):
    genome, annotation, repeats = parts
    whole = audit(genome, AuditSettings(), annotation=annotation, repeats=repeats)
    monkeypatch.setattr(module, "_CHUNK", 2000)
    assert audit(genome, AuditSettings(), annotation=annotation, repeats=repeats) == whole


def test_junctions_fragments_and_the_control():
    #                                          0    5    10   15   20   25
    genome = Genome.from_sequences({"a": "ACGTAacgtaACGTACGacACg", "b": "acgtACGTAC"})
    found = audit(genome, AuditSettings(min_length=3))
    # a: ACGTA | ACGTACG | AC and b: ACGTAC, which begins after its repeat.
    assert found.junctions == 2
    assert found.fragments == (4, 1)
    assert found.of("genome")[0].lost["remove-split"] == 12 + 2
    assert found.of("genome")[0].lost["matched-unique"] >= 12
    assert found.policies[-1] == "matched-unique"


def test_a_control_that_is_not_possible_is_left_out():
    genome = Genome.from_sequences({"a": "ACGTacgtacgt"})
    found = audit(genome, AuditSettings(min_length=1))
    assert "matched-unique" not in found.policies
    assert found.notes[0].startswith("matched-unique is not possible: 8 bases are repeats")


def test_only_some_classes(parts):
    genome, _, repeats = parts
    found = audit(genome, AuditSettings(classes=("SINE",), min_length=1), repeats=repeats)
    known = sum(letter.upper() != "N" for letter in SEQUENCES["chr2"][:900])
    assert found.of("genome")[0].repeat_bases == known
    rows = {row.name: row for row in found.of("repeat class")}
    assert rows["LINE"].repeat_bases == rows["LINE"].lost["remove-split"] == 0


def test_what_files_do_not_cover_is_said(parts):
    genome, annotation, repeats = parts
    notes = " ".join(audit(genome, AuditSettings(), annotation=annotation, repeats=repeats).notes)
    assert "50 bases before to 20 after" in notes
    assert "nothing on 1 chromosome(s), which are not in the rows by region: chr2" in notes
    assert (
        "annotation names 1 sequence(s) that the genome does not have, with 1 feature(s): 7"
        in notes
    )
    assert "repeat file names 1 sequence(s) that the genome does not have" in notes


def test_a_genome_without_repeats():
    with pytest.raises(DataError, match="no base of the genome is a repeat"):
        audit(Genome.from_sequences({"a": "ACGT"}), AuditSettings())


def test_rows_are_frozen(parts):
    row = audit(parts[0], AuditSettings()).rows[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.bases = 0
    assert np.isnan(dataclasses.replace(row, bases=0).share("hard-mask"))


@pytest.mark.data
def test_yeast_regions_cover_the_genome(data_folder):
    """Exons and introns make up the genes; genes and what is between them the chromosomes."""
    genome = Genome.open(data_folder / "saccer3/sacCer3.softmask.fa.gz")
    path = data_folder / "saccer3/Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz"
    annotation = Annotation.read(path, genome.lengths)
    assert set(annotation.chroms) == set(genome.names)
    assert not annotation.skipped
    found = audit(genome, AuditSettings(), annotation=annotation)
    rows = {row.name: row for row in found.of("region")}
    whole = found.of("genome")[0]
    assert whole.repeat_bases == sum(genome.soft_masked.values())
    for column in ("bases", "repeat_bases"):
        of = {name: getattr(row, column) for name, row in rows.items()}
        assert of["exon"] + of["intron"] == of["gene"]
        assert of["gene"] + of["intergenic"] == getattr(whole, column)
    codes = np.concatenate(
        [annotation.strata(name, 0, genome.lengths[name]) for name in genome.names]
    )
    coding = codes >= STRATA.index("cds_ambiguous")
    assert int(coding.sum()) == rows["cds"].bases
