"""Gene templates, and the genes of a simulated genome read back from its files."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.genome.simulate import SimulatedGenome, SimulationConfig, simulate
from lightning_dna.genome.simulate_genes import GENETIC_CODE, KEEP, codon_usage, draw_gene
from lightning_dna.genome.simulate_motifs import PROMOTER_GRAMMAR

CONFIG = SimulationConfig(seed=1, chromosomes=3, chromosome_length=40_000)
# The standard code written out by amino acid, as in any textbook.
TEXTBOOK = {
    "A": "GCT GCC GCA GCG",
    "R": "CGT CGC CGA CGG AGA AGG",
    "N": "AAT AAC",
    "D": "GAT GAC",
    "C": "TGT TGC",
    "Q": "CAA CAG",
    "E": "GAA GAG",
    "G": "GGT GGC GGA GGG",
    "H": "CAT CAC",
    "I": "ATT ATC ATA",
    "L": "TTA TTG CTT CTC CTA CTG",
    "K": "AAA AAG",
    "M": "ATG",
    "F": "TTT TTC",
    "P": "CCT CCC CCA CCG",
    "S": "TCT TCC TCA TCG AGT AGC",
    "T": "ACT ACC ACA ACG",
    "W": "TGG",
    "Y": "TAT TAC",
    "V": "GTT GTC GTA GTG",
    "*": "TAA TAG TGA",
}
AMINO_ACID = {codon: letter for letter, codons in TEXTBOOK.items() for codon in codons.split()}
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


@pytest.fixture(scope="module")
def genome() -> SimulatedGenome:
    return simulate(CONFIG)


@pytest.fixture(scope="module")
def rows(genome: SimulatedGenome, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The fields of every GTF line, as a reader of the file sees them."""
    folder: Path = tmp_path_factory.mktemp("genes")
    genome.write(folder)
    lines = (folder / "annotation.gtf").read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def read(genome: SimulatedGenome, chrom: str, start: int, end: int, strand: str) -> str:
    """Letters of a 1-based inclusive interval, 5' to 3' on its strand."""
    letters = genome.sequences[chrom][start - 1 : end]
    return letters if strand == "+" else letters.translate(COMPLEMENT)[::-1]


def by_gene(rows: list[list[str]], feature: str) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for row in rows:
        if row[2] == feature:
            name = re.search(r'gene_id "([^"]+)"', row[8])
            assert name is not None
            found.setdefault(name.group(1), []).append(row)
    return found


def test_the_genetic_code_is_the_standard_one() -> None:
    codons = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
    assert {codon: GENETIC_CODE[i] for i, codon in enumerate(codons)} == AMINO_ACID


def test_codon_usage_is_biased_and_has_no_stops() -> None:
    usage = codon_usage(np.random.default_rng(0))
    assert usage.sum() == pytest.approx(1)
    stops = [index for index, letter in enumerate(GENETIC_CODE) if letter == "*"]
    assert (usage[stops] == 0).all()
    # Among the four codons of glycine, equal use would put a quarter on the favourite.
    glycine = usage[[index for index, letter in enumerate(GENETIC_CODE) if letter == "G"]]
    assert glycine.max() / glycine.sum() > 0.4
    # Information beyond equal use of the 61 codons, in bits.
    used = usage[usage > 0]
    assert np.log2(61) + (used * np.log2(used)).sum() > 0.4


def test_templates_hold_what_they_say() -> None:
    rng = np.random.default_rng(0)
    usage = codon_usage(rng)
    introns = Counter()
    for _ in range(60):
        template = draw_gene(usage, rng)
        assert len(template.codes) == len(template.protected)
        assert template.exons[-1][1] == len(template)
        introns[len(template.exons) - 1] += 1
        inside = [slice(*span) for span in template.coding]
        assert all((template.codes[span] != KEEP).all() for span in inside)
        assert all(template.protected[span].all() for span in inside)
        assert all(end - start >= 45 for start, end in template.coding)
        assert sum(end - start for start, end in template.coding) % 3 == 0
    assert set(introns) == {0, 1, 2, 3}


def test_coding_sequences_translate(genome: SimulatedGenome, rows: list[list[str]]) -> None:
    coding = by_gene(rows, "CDS")
    stops = by_gene(rows, "stop_codon")
    assert len(coding) == 3 * 12
    strands = Counter()
    for gene_id, parts in coding.items():
        chrom, strand = parts[0][0], parts[0][6]
        strands[strand] += 1
        message = "".join(read(genome, chrom, int(p[3]), int(p[4]), strand) for p in parts)
        assert message == message.upper()
        codons = [message[i : i + 3] for i in range(0, len(message), 3)]
        protein = "".join(AMINO_ACID[codon] for codon in codons)
        assert protein.startswith("M")
        assert "*" not in protein
        (stop,) = stops[gene_id]
        assert AMINO_ACID[read(genome, chrom, int(stop[3]), int(stop[4]), strand)] == "*"
    assert min(strands.values()) >= 8


def test_frames_say_how_many_bases_to_skip(genome: SimulatedGenome, rows: list[list[str]]) -> None:
    phases = Counter()
    for gene_id, parts in by_gene(rows, "CDS").items():
        chrom, strand = parts[0][0], parts[0][6]
        whole = "".join(read(genome, chrom, int(p[3]), int(p[4]), strand) for p in parts)
        start = 0
        for part in parts:
            frame = int(part[7])
            piece = read(genome, chrom, int(part[3]), int(part[4]), strand)
            # After skipping `frame` bases, the piece is in register with the whole message.
            assert (start + frame) % 3 == 0, gene_id
            assert piece[frame : frame + 3] == whole[start + frame : start + frame + 3]
            start += len(piece)
            phases[frame] += 1
    assert set(phases) == {0, 1, 2}


def test_introns_are_gt_ag_with_pyrimidines_before_ag(
    genome: SimulatedGenome, rows: list[list[str]]
) -> None:
    pyrimidines, total = 0, 0
    for exons in by_gene(rows, "exon").values():
        chrom, strand = exons[0][0], exons[0][6]
        for first, second in pairwise(exons):
            if strand == "+":
                low, high = int(first[4]) + 1, int(second[3]) - 1
            else:
                low, high = int(second[4]) + 1, int(first[3]) - 1
            intron = read(genome, chrom, low, high, strand)
            assert 80 <= len(intron) <= 600
            assert intron.startswith("GT")
            assert intron.endswith("AG")
            pyrimidines += sum(base in "CT" for base in intron[-17:-3])
            total += 14
    assert total >= 14 * 20
    assert pyrimidines / total > 0.8


def test_exons_tile_the_gene_with_its_untranslated_ends(rows: list[list[str]]) -> None:
    genes = by_gene(rows, "gene")
    for gene_id, exons in by_gene(rows, "exon").items():
        (gene,) = genes[gene_id]
        spans = sorted((int(row[3]), int(row[4])) for row in exons)
        assert (spans[0][0], spans[-1][1]) == (int(gene[3]), int(gene[4]))
        parts = ("CDS", "stop_codon", "five_prime_utr", "three_prime_utr")
        pieces = [row for part in parts for row in by_gene(rows, part)[gene_id]]
        length = sum(int(row[4]) - int(row[3]) + 1 for row in pieces)
        assert length == sum(end - start + 1 for start, end in spans)
        (five,) = by_gene(rows, "five_prime_utr")[gene_id]
        (start_codon,) = by_gene(rows, "start_codon")[gene_id]
        if gene[6] == "+":
            assert int(five[4]) + 1 == int(start_codon[3])
        else:
            assert int(start_codon[4]) + 1 == int(five[3])
        numbers = [re.search(r'exon_number "(\d+)"', row[8]).group(1) for row in exons]
        assert numbers == [str(i + 1) for i in range(len(exons))]


def test_promoters_speak_the_grammar(genome: SimulatedGenome) -> None:
    grammar = {pair.name: pair for pair in PROMOTER_GRAMMAR}
    matched, total = 0, 0
    for site, gene in zip(genome.promoters, genome.genes, strict=True):
        assert site.gene_id == gene.gene_id
        pair = grammar[site.pair]
        assert site.spacing in pair.spacings
        for motif, (start, end) in (
            (pair.upstream, site.upstream),
            (pair.downstream, site.downstream),
        ):
            found = read(genome, site.chrom, start + 1, end, site.strand)
            matched += sum(a == b for a, b in zip(found, motif.consensus, strict=True))
            total += len(motif)
        if site.strand == "+":
            assert site.downstream[0] - site.upstream[1] == site.spacing
            assert site.transcription_start == gene.start
            assert 20 <= site.transcription_start - site.downstream[1] <= 40
        else:
            assert site.upstream[0] - site.downstream[1] == site.spacing
            assert site.transcription_start == gene.end - 1
            assert 20 <= site.downstream[0] - 1 - site.transcription_start <= 40
    assert {site.pair for site in genome.promoters} == set(grammar)
    assert matched / total == pytest.approx(0.9, abs=0.03)
