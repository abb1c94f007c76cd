"""Haplotypes against cases by hand, and against slow programs over strings and lists."""

import gzip
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.haplotypes import Haplotypes, build_haplotypes

NAMES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
TURN = str.maketrans("ACGTNacgtn", "TGCANtgcan")


def write(folder: Path, *rows: str, samples: str = "", head: str = "") -> Path:
    """Write a VCF file; in a row, spaces stand for tabs, and the columns from QUAL are short."""
    path = folder / "some.vcf"
    names = NAMES + ("\tFORMAT\t" + samples.replace(" ", "\t") if samples else "")
    lines = [row.replace(" ", "\t") for row in rows]
    path.write_text("\n".join([head + names, *lines]) + "\n")
    return path


def build(folder: Path, sequence: str, *rows: str, include="+sv", count=1, seed=0, **more):
    """Make haplotypes of one chromosome from rows of POS REF ALT INFO."""
    lines = []
    for row in rows:
        position, ref, alt, info = row.split()
        lines.append(f"chr1 {position} . {ref} {alt} . PASS {info}")
    genome = Genome.from_sequences({"chr1": sequence})
    path = write(folder, *lines)
    return build_haplotypes(genome, path, include=include, count=count, seed=seed, **more)


def letters(found: Haplotypes, number: int = 0, chrom: str = "chr1") -> str:
    return decode(found.genomes[number].stored(chrom))


HAND = {  # name: rows, sequence, to_reference, inserted
    "snv": (["3 G T AF=1"], "ACTTacgt", [0, 1, 2, 3, 4, 5, 6, 7], []),
    "snv in a repeat": (["6 C T AF=1"], "ACGTatgt", [0, 1, 2, 3, 4, 5, 6, 7], []),
    "insertion": (["4 T TGG AF=1"], "ACGTGGacgt", [0, 1, 2, 3, 3, 3, 4, 5, 6, 7], [4, 5]),
    "insertion before": (["4 T GGT AF=1"], "ACGGGTacgt", [0, 1, 2, 2, 2, 3, 4, 5, 6, 7], [3, 4]),
    "deletion": (["2 CGTA C AF=1"], "ACcgt", [0, 1, 5, 6, 7], []),
    "replacement by more": (["2 CG TTT AF=1"], "ATTTTacgt", [0, 1, 2, 2, 3, 4, 5, 6, 7], [3]),
    "replacement by fewer": (["2 CGTA TT AF=1"], "ATTcgt", [0, 1, 2, 5, 6, 7], []),
    "mnv": (["2 CGT AGA AF=1"], "AAGAacgt", [0, 1, 2, 3, 4, 5, 6, 7], []),
    "symbolic deletion": (["2 C <DEL> AF=1;END=5"], "ACcgt", [0, 1, 5, 6, 7], []),
    "no copy": (["2 C <CN0> AF=1;SVLEN=-3"], "ACcgt", [0, 1, 5, 6, 7], []),
    "END elsewhere": (["2 C <DEL> AF=1;END=999;SVLEN=-3"], "ACcgt", [0, 1, 5, 6, 7], []),
    "duplication": (
        ["2 C <DUP:TANDEM> AF=1;END=5"],
        "ACGTaGTacgt",
        [0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7],
        [5, 6, 7],
    ),
    "three copies": (
        ["6 C <CN3> AF=1;END=7"],
        "ACGTacgggt",
        [0, 1, 2, 3, 4, 5, 6, 6, 6, 7],
        [7, 8],
    ),
    "inversion": (["2 C <INV> AF=1;END=7"], "ACcgtACt", [0, 1, 6, 5, 4, 3, 2, 7], []),
    "insertion with sequence": (
        ["1 A <INS> AF=1;SVLEN=2;SEQ=TT"],
        "ATTCGTacgt",
        [0, 0, 0, 1, 2, 3, 4, 5, 6, 7],
        [1, 2],
    ),
    "snv and insertion behind it": (
        ["3 G T AF=1", "3 G GA AF=1"],
        "ACTATacgt",
        [0, 1, 2, 2, 3, 4, 5, 6, 7],
        [3],
    ),
    "at the ends": (
        ["1 A C AF=1", "8 T TT AF=1"],
        "CCGTacgtt",
        [0, 1, 2, 3, 4, 5, 6, 6, 7],  # shared bases are taken off at the end first
        [7],
    ),
}


@pytest.mark.parametrize("name", HAND)
def test_by_hand(tmp_path, name):
    rows, sequence, reference, inserted = HAND[name]
    found = build(tmp_path, "ACGTacgt", *rows)
    assert letters(found) == sequence
    one = found.genomes[0]
    assert one.lengths == {"chr1": len(sequence)}
    assert one.digest == Genome.from_sequences({"chr1": sequence}).digest
    there, flags = one.to_reference("chr1", np.arange(len(sequence)))
    assert there.tolist() == reference
    assert np.flatnonzero(flags).tolist() == inserted
    kept = {r: h for h, r in enumerate(reference) if h not in inserted}
    back = one.from_reference("chr1", np.arange(-1, 9)).tolist()
    assert back == [kept.get(position, -1) for position in range(-1, 9)]


def test_what_cannot_be_put_in_is_counted(tmp_path):
    rows = [
        "1 A ]2:5]A AF=1", "1 A A. AF=1", "2 C * AF=1", "2 C <*> AF=1", "2 C <CN1> AF=1;END=4",
        "3 G <INS:ME:ALU> AF=1;SVLEN=9", "3 G <DEL> AF=1", "3 G N AF=1", "3 G G AF=1", "4 T C .",
        "5 A C AF=1",
    ]  # fmt: skip
    budget = build(tmp_path, "ACGTacgt", *rows).budget
    assert budget.skipped == {
        "ALT equals REF": 2,
        "breakend": 2,
        "insertion without sequence": 1,
        "no allele frequency": 1,
        "spanning deletion (*)": 1,
        "symbolic allele of another kind": 1,
        "symbolic allele without END or SVLEN on the chromosome": 1,
        "unknown base in ALT": 1,
    }
    assert (budget.alleles, budget.applied) == (11, ({"snv": (1, 1)},))
    assert "left out: 2 (breakend)" in budget.text()


def test_overlaps_keep_the_first(tmp_path):
    # The deletion of bases 3 to 5 meets: an SNV in it, another deletion, an insertion in it; the
    # insertion at its end and the SNV on its anchor do not overlap it.
    rows = ["2 C T AF=1", "2 CGTA C AF=1", "3 G A AF=1", "4 TAC T AF=1", "4 T TGG AF=1",
            "5 A AG AF=1", "5 A ATT AF=1"]  # fmt: skip
    found = build(tmp_path, "ACGTacgt", *rows)
    assert letters(found) == "ATgcgt"
    assert found.budget.skipped == {"overlaps an earlier variant of its haplotype": 4}
    assert found.budget.notes == (
        "Of variants that overlap on one haplotype the first is kept; the first left out is at "
        "chr1:3.",
    )


def test_kinds_of_variants_and_their_budget(tmp_path):
    rows = ["2 C T AF=1", "4 T TA AF=1", "5 ac gt AF=1", f"8 t t{'A' * 50} AF=1"]
    snv, indel, everything = (
        build(tmp_path, "ACGTacgt", *rows, include=include)
        for include in ("snv", "snv+indel", "+sv")
    )
    assert letters(snv) == "ATGTgtgt"
    assert letters(indel) == "ATGTAgtgt"
    assert letters(everything) == "ATGTAgtgt" + 50 * "a"
    assert everything.budget.rows() == [
        {"haplotype": 1, "class": "insertion", "variants": 1, "bases": 1},
        {"haplotype": 1, "class": "mnv", "variants": 1, "bases": 2},
        {"haplotype": 1, "class": "snv", "variants": 1, "bases": 1},
        {"haplotype": 1, "class": "sv_insertion", "variants": 1, "bases": 50},
    ]
    assert snv.budget.skipped["sv_insertion where variants are snv"] == 1
    assert len({snv.digest, indel.digest, everything.digest}) == 3


def genotyped(folder: Path, *calls: str, count: int = 2, sample: str | None = None, seed: int = 0):
    """Give consecutive positions SNVs to G with the calls of samples one and two."""
    rows = [
        f"1 {place} . A G . . . GT {call.replace(',', ' ')}" for place, call in enumerate(calls, 1)
    ]
    path = write(folder, *rows, samples="one two")
    genome = Genome.from_sequences({"chr1": "A" * len(calls), "chr2": "AC"})
    found = build_haplotypes(genome, path, include="snv", count=count, seed=seed, sample=sample)
    return [letters(found, number) for number in range(count)], found.budget


def test_genotypes_decide_where_there_are_some(tmp_path):
    calls = ["0|1,1|0", "1|1,0|0", "1,0", ".|1,.|.", "0|0,1|1"]
    one, two = ["AGGAA", "GGGGA"], ["GAAAG", "AAAAG"]
    assert genotyped(tmp_path, *calls)[0] == one
    assert genotyped(tmp_path, *calls, sample="two")[0] == two
    assert genotyped(tmp_path, *calls, count=4)[0] == one + two
    assert genotyped(tmp_path, *calls, count=1, sample="two")[0] == two[:1]
    assert genotyped(tmp_path, *calls)[1].skipped == {"genotype missing": 1}
    with pytest.raises(ConfigError, match="3 haplotypes are asked for, and sample 'two' has two"):
        genotyped(tmp_path, *calls, count=3, sample="two")
    with pytest.raises(ConfigError, match="and its samples have 4"):
        genotyped(tmp_path, *calls, count=5)


def test_unphased_genotypes_come_in_a_random_order(tmp_path):
    calls = ["0/1,0/0"] * 400
    first, second = genotyped(tmp_path, *calls)[0]
    assert all({a, b} == {"A", "G"} for a, b in zip(first, second, strict=True))
    assert 150 < first.count("G") < 250  # 200 expected, standard deviation 10
    assert genotyped(tmp_path, *calls, seed=1)[0][0] != first


def test_alleles_are_drawn_by_frequency(tmp_path):
    n = 4000
    rows = [f"{place} A C,G AF=0.3,0.2" for place in range(1, n + 1)]
    found = build(tmp_path, "A" * n, *rows, count=2)
    share = {base: letters(found).count(base) / n for base in "ACG"}
    assert share == pytest.approx({"A": 0.5, "C": 0.3, "G": 0.2}, abs=4 * 0.5 / n**0.5)
    both = sum(a == b == "C" for a, b in zip(letters(found, 0), letters(found, 1), strict=True))
    assert both / n == pytest.approx(0.09, abs=4 * 0.3 / n**0.5)  # independent haplotypes
    again = build(tmp_path, "A" * n, *rows, count=1)
    assert letters(again) == letters(found)  # whatever the number of haplotypes
    fewer = build(tmp_path, "A" * n, *rows[::2])
    assert letters(fewer)[::2] == letters(found)[::2]  # whatever the other sites
    assert letters(build(tmp_path, "A" * n, *rows, seed=1)) != letters(found)


def slow_haplotype(sequence: str, edits: list[tuple[int, int, str, bool]]):
    """Build a haplotype base by base: (base, reference position, inserted)."""
    bases = [[letter, place, False] for place, letter in enumerate(sequence)]
    for start, end, alt, inverted in sorted(edits, reverse=True):
        if inverted:
            turned = bases[start:end][::-1]
            bases[start:end] = [[b.translate(TURN), p, i] for b, p, i in turned]
            continue
        lower = [b.islower() for b, _, _ in bases]
        same = min(end - start, len(alt))
        new = []
        for k, letter in enumerate(alt):
            place = start + min(k, same) - (k >= same)
            masked = lower[max(0, place)]
            new.append([letter.lower() if masked else letter, max(0, place), k >= same])
        bases[start:end] = new
    return bases


def test_against_a_slow_program(tmp_path):
    draw = random.Random(7)  # noqa: S311
    for _ in range(30):
        sequence = "".join(draw.choice("ACGTacgt") for _ in range(150))
        rows, edits, at = [], [], 1
        while at < 135:
            kind = draw.choice(["snv", "ins", "del", "delins", "inv"])
            size = draw.randint(1, 9)
            ref = sequence[at : at + (1 if kind in ("snv", "ins") else size)].upper()
            if kind == "inv":
                anchor = sequence[at - 1]
                rows.append(f"{at} {anchor} <INV> AF=1;END={at + size}")
                edits.append((at, at + size, "", True))
            else:
                # Alleles share no base at either end, so that there is nothing to trim.
                other = {"A": "C", "C": "G", "G": "T", "T": "A"}
                alt = {
                    "snv": other[ref[0]],
                    "ins": ref + other[ref[0]] * size,
                    "del": "",
                    "delins": other[ref[0]] * draw.randint(1, 9) + other[ref[-1]],
                }[kind]
                if kind == "del":
                    anchor = sequence[at - 1].upper()
                    if anchor == ref[-1] or ref[0] == anchor:
                        at += 1
                        continue
                    rows.append(f"{at} {anchor}{ref} {anchor} AF=1")
                    edits.append((at, at + size, "", False))
                elif kind == "ins":
                    rows.append(f"{at + 1} {ref} {alt} AF=1")
                    edits.append((at + 1, at + 1, alt[1:], False))
                elif alt[0] != ref[0] and alt[-1] != ref[-1]:
                    rows.append(f"{at + 1} {ref} {alt} AF=1")
                    edits.append((at, at + len(ref), alt, False))
            at += size + draw.randint(2, 9)
        found = build(tmp_path, sequence, *rows)
        bases = slow_haplotype(sequence, edits)
        assert letters(found) == "".join(base for base, _, _ in bases)
        there, flags = found.genomes[0].to_reference("chr1", np.arange(len(bases)))
        assert there.tolist() == [place for _, place, _ in bases]
        assert flags.tolist() == [flag for _, _, flag in bases]
        back = {place: number for number, (_, place, flag) in enumerate(bases) if not flag}
        lifted = found.genomes[0].from_reference("chr1", np.arange(len(sequence)))
        assert lifted.tolist() == [back.get(place, -1) for place in range(len(sequence))]


def test_several_chromosomes_names_and_notes(tmp_path):
    genome = Genome.from_sequences({"chr2": "ACGT", "chr1": "ACGT", "chrM": "AA"})
    rows = ["1 2 . C G . . AF=1", "2 2 . C T . . AF=1", "GL1 9 . C T . . AF=1"]
    found = build_haplotypes(genome, write(tmp_path, *rows), include="snv", count=1, seed=0)
    one = found.genomes[0]
    assert one.names == ("chr2", "chr1", "chrM")
    assert [letters(found, 0, name) for name in one.names] == ["ATGT", "AGGT", "AA"]
    assert one.to_reference("chrM", np.array([1]))[0].tolist() == [1]
    assert found.budget.notes[0].startswith("1 records on 1 sequence(s) that the genome does not")


def test_a_haplotype_is_a_genome_also_in_another_process(tmp_path):
    for folder in (None, tmp_path / "kept"):
        found = build(tmp_path, "ACGTacgt", "2 CGTA C AF=1", cache_folder=folder)
        one = found.genomes[0]
        other = pickle.loads(pickle.dumps(one))  # noqa: S301
        assert (other.digest, other.soft_masked) == (one.digest, {"chr1": 3})
        assert other.codes("chr1", 1, 3).tolist() == [1, 1]
        assert other.soft_mask("chr1").tolist() == [False, False, True, True, True]
        assert other.from_reference("chr1", np.array([5])).tolist() == [2]
        with pytest.raises(ValueError, match="read-only"):
            one.stored("chr1")[0] = 1
        with pytest.raises(IndexError):
            one.to_reference("chr1", np.array([5]))
        with pytest.raises(ConfigError, match="unknown chromosome 'chr2'"):
            one.from_reference("chr2", np.array([5]))
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".store"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["2 G T AF=1", "3 G T AF=1", "4 A T AF=1"],
         r"chr1:2 \(line 2\) has REF G, and the genome has C there; 2 record\(s\) do not fit"),
        (["8 TT T AF=1"], "chr1:8 with REF of 2 base.s. does not lie on chromosome 'chr1' of 8"),
        (["3 G T DP=1"], "has neither genotypes nor allele frequencies"),
        (["3 G T AF=0.5,0.5"], r"some.vcf, line 2, chr1:3: allele frequencies '0.5,0.5' for 1"),
        (["1 A <DEL> AF=1;END=8", "1 A T AF=1"], None),
        (["3 J T AF=1"], "lines 2 to 2: REF: character 'J'"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, rows, message):
    if message is None:  # the anchor of the deletion is left
        assert letters(build(tmp_path, "ACGTacgt", *rows)) == "T"
        return
    with pytest.raises(DataError, match=message):
        build(tmp_path, "ACGTacgt", *rows, cache_folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_files_of_another_assembly_are_refused(tmp_path):
    genome = Genome.from_sequences({"chr1": "ACGT"})
    options = {"include": "snv", "count": 1, "seed": 0}
    with pytest.raises(DataError, match="no chromosome of the genome is named '7'"):
        build_haplotypes(genome, write(tmp_path, "7 1 . A C . . AF=1"), **options)
    head = "##contig=<ID=1,length=5>\n"
    with pytest.raises(DataError, match="belongs to another assembly"):
        build_haplotypes(genome, write(tmp_path, "1 1 . A C . . AF=1", head=head), **options)
    path = write(tmp_path, "1 1 . A C . . AF=1", "chr1 1 . A C . . AF=1")
    with pytest.raises(DataError, match="'1' and 'chr1' would both mean"):
        build_haplotypes(genome, path, **options)
    with pytest.raises(DataError, match="has no variant on a chromosome of the genome"):
        build_haplotypes(genome, write(tmp_path), **options)
    with pytest.raises(ConfigError, match=r"unknown kind of variants 'sv'; .*\+sv, snv, snv\+ind"):
        build_haplotypes(genome, write(tmp_path), include="sv", count=1, seed=0)
    with pytest.raises(ConfigError, match="0 haplotypes"):
        build_haplotypes(genome, write(tmp_path), include="snv", count=0, seed=0)


def test_unknown_bases_of_the_genome(tmp_path):
    found = build(tmp_path, "ACNTacgt", "3 G T AF=1", "4 N <DEL> AF=1;END=5")
    assert letters(found) == "ACNTcgt"
    assert found.budget.skipped == {"genome has N at REF": 1}


@pytest.mark.data
def test_the_1000_genomes_window(data_folder):
    folder = data_folder / "human-windows"
    genome = Genome.open(folder / "b37.chr20_1000001_2000000.fa.gz")
    path = folder / "b37.chr20_1000001_2000000.1000G_phase3.sites.vcf.gz"
    found = build_haplotypes(genome, path, include="snv", count=2, seed=0)
    reference = genome.codes("z")
    expected = 0.0  # of SNVs on a haplotype: the sum of their frequencies
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if not line.startswith("#"):
                _, _, _, ref, alts, _, _, info = line.split("\t")
                values = info.split("AF=")[1].split(";")[0].split(",")
                sizes = [len(ref) == len(alt) for alt in alts.split(",")]
                expected += sum(float(v) for v, same in zip(values, sizes, strict=True) if same)
    for one in found.genomes:
        changed = int((one.codes("z") != reference).sum())
        assert changed == pytest.approx(expected, abs=4 * expected**0.5)
