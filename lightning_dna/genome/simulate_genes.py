"""Genes of a simulated genome: promoter, untranslated ends, biased codons, introns.

A gene is drawn in its own coordinates, 5' to 3', as a template that leaves most non-coding bases to
the chromosome's background, and is then laid over a chromosome on either strand.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import Codes, T, encode, reverse_complement
from lightning_dna.genome.simulate_background import Table
from lightning_dna.genome.simulate_motifs import PROMOTER_GRAMMAR, Motif

Span = tuple[int, int]
Strand = Literal["+", "-"]

# One letter per codon in the order of base codes: AAA, AAC, AAG, AAT, ACA, ...; * is stop.
GENETIC_CODE = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
START_CODON = encode("ATG")
STOP_CODONS = (encode("TAA"), encode("TAG"), encode("TGA"))
KEEP = 0xFF  # in a template: whatever the chromosome has here stays

DONOR = Motif(consensus="AAGT", conservation=0.8)  # follows the invariant GT
BRANCH = Motif(consensus="TACTAAC", conservation=0.85)
POLYADENYLATION = Motif(consensus="AATAAA", conservation=0.95)
_PYRIMIDINE_TRACT = 14
_PYRIMIDINES = np.array([0.05, 0.35, 0.05, 0.55])
_BRANCH_TO_TRACT = 6
_INTRON_EDGE = 36  # bases at either end of an intron that repeats must leave alone
_PIECE = 45  # fewest coding bases between two introns, or between an intron and either end


@dataclass(frozen=True, kw_only=True)
class Promoter:
    """One use of the promoter grammar; intervals are 0-based half-open on the forward strand.

    Attributes:
        pair: Name of the motif pair.
        upstream: Where the motif farther from the transcription start lies.
        downstream: Where the nearer motif lies.
        spacing: Bases between the two.
        transcription_start: 0-based position of the first transcribed base.
    """

    pair: str
    upstream: Span
    downstream: Span
    spacing: int
    transcription_start: int


@dataclass(frozen=True, kw_only=True)
class Gene:
    """The truth about one protein-coding gene; intervals are 0-based half-open, forward strand.

    Attributes:
        gene_id: Unique name.
        chrom: Chromosome.
        start: First transcribed base in forward coordinates.
        end: End of the transcript, excluded.
        strand: ``"+"`` or ``"-"``.
        exons: In the order of transcription, untranslated ends included.
        coding: Coding parts of the exons in the order of translation, start codon included, stop
            codon excluded (as Ensembl does).
        start_codon: The three bases of ATG; never split by an intron.
        stop_codon: The three bases of the stop codon; never split by an intron.
        promoter: The motif pair upstream.
    """

    gene_id: str
    chrom: str
    start: int
    end: int
    strand: Strand
    exons: tuple[Span, ...]
    coding: tuple[Span, ...]
    start_codon: Span
    stop_codon: Span
    promoter: Promoter


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneTemplate:
    """A gene in its own coordinates, 5' to 3', promoter first.

    Attributes:
        codes: Base codes, or ``KEEP``; shape ``(length,)``.
        protected: Bases that no repeat may replace, shape ``(length,)``.
        exons: Exons in order.
        coding: Coding parts of the exons, stop codon included.
        pair: Name of the motif pair.
        upstream: Its upstream motif.
        downstream: Its downstream motif.
    """

    codes: Codes
    protected: npt.NDArray[np.bool_]
    exons: list[Span]
    coding: list[Span]
    pair: str
    upstream: Span
    downstream: Span

    def __len__(self) -> int:
        return len(self.codes)


def codon_usage(rng: np.random.Generator) -> Table:
    """Draw how often each codon is used: amino acids differ, and each prefers few of its codons.

    Args:
        rng: Source of randomness.

    Returns:
        Shape ``(64,)``, sums to 1, codons in the order of base codes (AAA, AAC, ...); 0 at stops.
    """
    letters = sorted(set(GENETIC_CODE) - {"*"})
    amino_acids = rng.dirichlet(np.full(len(letters), 8.0))
    usage = np.zeros(64)
    for letter, frequency in zip(letters, amino_acids, strict=True):
        codons = [index for index, found in enumerate(GENETIC_CODE) if found == letter]
        usage[codons] = frequency * rng.dirichlet(np.full(len(codons), 0.7))
    return np.asarray(usage / usage.sum())


def draw_gene(usage: Table, rng: np.random.Generator) -> GeneTemplate:
    """Draw one gene as a template.

    Args:
        usage: Codon frequencies, shape ``(64,)``.
        rng: Source of randomness.

    Returns:
        Promoter (70 to 120 bases), 5' end (30 to 120), 100 to 300 codons between ATG and a stop,
        cut by 0 to 3 introns of 80 to 600 bases, and 3' end (80 to 200).
    """
    codons = rng.choice(64, size=int(rng.integers(100, 301)), p=usage)
    body = np.stack([codons // 16, codons // 4 % 4, codons % 4], axis=1).astype(np.uint8).ravel()
    stop = STOP_CODONS[int(rng.integers(3))]
    message = np.concatenate([START_CODON, body, stop]).astype(np.uint8)
    parts = _cut(message, int(rng.integers(0, 4)), rng)
    promoter, pair, upstream, downstream = _promoter(rng)
    leader = int(rng.integers(30, 121))
    trailer = np.full(int(rng.integers(80, 201)), KEEP, dtype=np.uint8)
    trailer[-26:-20] = POLYADENYLATION.sample(rng)
    pieces = [promoter, np.full(leader, KEEP, dtype=np.uint8)]
    protected = [np.ones(len(promoter) + leader, dtype=bool)]
    exon_start, position = len(promoter), len(promoter) + leader
    exons, coding = [], []
    for index, part in enumerate(parts):
        pieces.append(part)
        protected.append(np.ones(len(part), dtype=bool))
        coding.append((position, position + len(part)))
        position += len(part)
        if index < len(parts) - 1:
            exons.append((exon_start, position))
            pieces.append(_intron(rng))
            protected.append(_edges(len(pieces[-1])))
            position += len(pieces[-1])
            exon_start = position
    exons.append((exon_start, position + len(trailer)))
    pieces.append(trailer)
    protected.append(np.ones(len(trailer), dtype=bool))
    return GeneTemplate(
        codes=np.concatenate(pieces),
        protected=np.concatenate(protected),
        exons=exons,
        coding=coding,
        pair=pair,
        upstream=upstream,
        downstream=downstream,
    )


def _cut(message: Codes, introns: int, rng: np.random.Generator) -> list[Codes]:
    """Cut a coding sequence at ``introns`` places, in any phase, into pieces not too short."""
    # Places are drawn as if each piece were _PIECE bases shorter, then moved apart again.
    room = len(message) - (introns + 1) * _PIECE
    places = np.sort(rng.integers(0, room + 1, size=introns)) + _PIECE * np.arange(1, introns + 1)
    return np.split(message, places)


def _promoter(rng: np.random.Generator) -> tuple[Codes, str, Span, Span]:
    """Draw a promoter: pair and spacing, 20 to 40 bases before the transcription start."""
    pair = PROMOTER_GRAMMAR[int(rng.integers(len(PROMOTER_GRAMMAR)))]
    spacing = int(rng.choice(pair.spacings))
    lead, tail = int(rng.integers(10, 21)), int(rng.integers(20, 41))
    upstream = (lead, lead + len(pair.upstream))
    downstream = (upstream[1] + spacing, upstream[1] + spacing + len(pair.downstream))
    codes = np.full(downstream[1] + tail, KEEP, dtype=np.uint8)
    codes[slice(*upstream)] = pair.upstream.sample(rng)
    codes[slice(*downstream)] = pair.downstream.sample(rng)
    return codes, pair.name, upstream, downstream


def _intron(rng: np.random.Generator) -> Codes:
    """Draw an intron: GT, donor motif, background, branch point, pyrimidines, AG."""
    codes = np.full(int(np.exp(rng.uniform(np.log(80), np.log(600)))), KEEP, dtype=np.uint8)
    codes[:2] = encode("GT")
    codes[2:6] = DONOR.sample(rng)
    codes[-2:] = encode("AG")
    codes[-3] = rng.choice(np.array([1, T]))  # CAG or TAG
    tract = slice(-3 - _PYRIMIDINE_TRACT, -3)
    codes[tract] = rng.choice(4, size=_PYRIMIDINE_TRACT, p=_PYRIMIDINES)
    branch_end = -3 - _PYRIMIDINE_TRACT - _BRANCH_TO_TRACT
    codes[branch_end - len(BRANCH) : branch_end] = BRANCH.sample(rng)
    return codes


def _edges(length: int) -> npt.NDArray[np.bool_]:
    """Flag the bases of an intron that splicing needs."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1])
    return np.asarray(distance < _INTRON_EDGE)


def place_gene(
    template: GeneTemplate,
    codes: Codes,
    protected: npt.NDArray[np.bool_],
    *,
    gene_id: str,
    chrom: str,
    start: int,
    strand: Strand,
) -> Gene:
    """Lay a template over a chromosome, in place.

    Args:
        template: The gene.
        codes: Base codes of the chromosome; overwritten where the template says so.
        protected: Flags of the chromosome; the gene's are added.
        gene_id: Name of the gene.
        chrom: Name of the chromosome.
        start: Leftmost base of the template on the forward strand, 0-based.
        strand: Strand of the gene.

    Returns:
        The truth about the gene, in forward coordinates.
    """
    end = start + len(template)
    forward = strand == "+"
    guarded = template.protected if forward else template.protected[::-1]
    drawn = template.codes != KEEP
    if forward:
        codes[start:end][drawn] = template.codes[drawn]
    else:
        codes[start:end][drawn[::-1]] = reverse_complement(template.codes[drawn])
    protected[start:end] |= guarded

    def on_chromosome(span: Span) -> Span:
        first, last = span
        return (start + first, start + last) if forward else (end - last, end - first)

    first_exon, last_exon = template.exons[0], template.exons[-1]
    transcript = on_chromosome((first_exon[0], last_exon[1]))
    message_start, message_end = template.coding[0][0], template.coding[-1][1]
    without_stop = [*template.coding[:-1], (template.coding[-1][0], message_end - 3)]
    return Gene(
        gene_id=gene_id,
        chrom=chrom,
        start=transcript[0],
        end=transcript[1],
        strand=strand,
        exons=tuple(on_chromosome(span) for span in template.exons),
        coding=tuple(on_chromosome(span) for span in without_stop),
        start_codon=on_chromosome((message_start, message_start + 3)),
        stop_codon=on_chromosome((message_end - 3, message_end)),
        promoter=Promoter(
            pair=template.pair,
            upstream=on_chromosome(template.upstream),
            downstream=on_chromosome(template.downstream),
            spacing=template.downstream[0] - template.upstream[1],
            transcription_start=transcript[0] if forward else transcript[1] - 1,
        ),
    )
