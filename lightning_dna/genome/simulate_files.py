"""The files of a simulated genome: FASTA, GTF as Ensembl writes it, BED, and the truth as JSON."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_dna.errors import DataError
from lightning_dna.genome.simulate_genes import Gene, Span
from lightning_dna.genome.simulate_repeats import RepeatCopy

_FASTA_WIDTH = 60


def write_files(
    folder: Path,
    *,
    sequences: Mapping[str, str],
    genes: Iterable[Gene],
    repeats: Iterable[RepeatCopy],
    truth: Mapping[str, Any],
    build: str,
) -> Path:
    """Write the four files, each through a temporary file in the same folder.

    Args:
        folder: Where to; made if missing.
        sequences: Chromosome names to letters.
        genes: Genes, in the order in which they are listed.
        repeats: Repeat copies, in the order in which they are listed.
        truth: Content of truth.json.
        build: Name of the genome build, for the head of the GTF file.

    Returns:
        Path of genome.fa, written last: where it is, the others are.

    Raises:
        DataError: If the folder cannot be written.
    """
    fasta = Path(folder) / "genome.fa"
    contents = {
        "annotation.gtf": gtf_lines(genes, build),
        "repeats.bed": map(bed_line, repeats),
        "truth.json": [json.dumps(truth, indent=1)],
        fasta.name: fasta_lines(sequences),
    }
    try:
        fasta.parent.mkdir(parents=True, exist_ok=True)
        for name, lines in contents.items():
            _write_atomically(fasta.with_name(name), lines)
    except OSError as error:
        raise DataError(f"cannot write the simulated genome to {folder}: {error}.") from error
    return fasta


def _write_atomically(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a temporary file beside ``path``, then rename it."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("x", encoding="ascii", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def fasta_lines(sequences: Mapping[str, str]) -> Iterator[str]:
    """Yield FASTA lines of 60 letters."""
    for name, sequence in sequences.items():
        yield f">{name}"
        for start in range(0, len(sequence), _FASTA_WIDTH):
            yield sequence[start : start + _FASTA_WIDTH]


def bed_line(copy: RepeatCopy) -> str:
    """Return a BED6 line, 0-based half-open, with the divergence as a seventh column.

    The score is the divergence in parts per thousand.
    """
    score = round(1000 * copy.divergence)
    return (
        f"{copy.chrom}\t{copy.start}\t{copy.end}\t{copy.family}\t{score}\t{copy.strand}"
        f"\t{copy.divergence:.4f}"
    )


def gtf_lines(genes: Iterable[Gene], build: str) -> Iterator[str]:
    """Yield GTF lines, 1-based inclusive, features in the order and with the names Ensembl uses."""
    yield f"#!genome-build {build}"
    for gene in genes:
        yield from _gene_lines(gene)


def _gene_lines(gene: Gene) -> Iterator[str]:
    """Yield gene, transcript, then per exon exon, CDS, start and stop codon, then the ends."""
    base = f'gene_id "{gene.gene_id}"; gene_source "simulated"; gene_biotype "protein_coding";'
    transcript = gene.gene_id.replace("SIMG", "SIMT", 1)
    whole = (gene.start, gene.end)
    yield _line(gene, "gene", whole, ".", base)
    base = (
        f'gene_id "{gene.gene_id}"; transcript_id "{transcript}"; gene_source "simulated"; '
        f'gene_biotype "protein_coding"; transcript_source "simulated"; '
        f'transcript_biotype "protein_coding";'
    )
    yield _line(gene, "transcript", whole, ".", base)
    frames = _frames(gene.coding)
    for number, (exon, coding) in enumerate(zip(gene.exons, gene.coding, strict=True), start=1):
        numbered = f'{base} exon_number "{number}";'
        yield _line(gene, "exon", exon, ".", numbered)
        yield _line(
            gene, "CDS", coding, str(frames[number - 1]), f'{numbered} protein_id "{transcript}P";'
        )
        if number == 1:
            yield _line(gene, "start_codon", gene.start_codon, "0", numbered)
        if number == len(gene.exons):
            yield _line(gene, "stop_codon", gene.stop_codon, "0", numbered)
    yield from _untranslated_lines(gene, base)


def _untranslated_lines(gene: Gene, attributes: str) -> Iterator[str]:
    """Yield what of the first exon precedes the start codon and of the last follows the stop."""
    if gene.strand == "+":
        five, three = (gene.start, gene.start_codon[0]), (gene.stop_codon[1], gene.end)
    else:
        five, three = (gene.start_codon[1], gene.end), (gene.start, gene.stop_codon[0])
    yield _line(gene, "five_prime_utr", five, ".", attributes)
    yield _line(gene, "three_prime_utr", three, ".", attributes)


def _frames(coding: Iterable[Span]) -> list[int]:
    """Return, for each coding part, the bases to skip to the first whole codon: 0, 1 or 2."""
    frames, before = [], 0
    for start, end in coding:
        frames.append(-before % 3)
        before += end - start
    return frames


def _line(gene: Gene, feature: str, span: Span, frame: str, attributes: str) -> str:
    """Return one GTF line; ``span`` is 0-based half-open."""
    fields = (gene.chrom, "simulated", feature, span[0] + 1, span[1], ".", gene.strand, frame)
    return "\t".join([*map(str, fields), attributes])
