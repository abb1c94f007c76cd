"""``lightning-dna data haplotypes``: a genome with the variants of a VCF file put in."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lightning_dna.commands.prediction_files import number

EPILOG = """\
Examples:
  lightning-dna data haplotypes genome.fa variants.vcf.gz --out haplotypes
  lightning-dna data haplotypes genome.fa variants.vcf.gz --include snv --sample HG00096
Phased genotypes decide where the file has samples, otherwise allele frequencies do.
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data haplotypes``; ``answer`` prints what `run` returns."""
    verb = verbs.add_parser(
        "haplotypes",
        help="put the variants of a VCF file into a genome",
        description="Haplotype sequences from a VCF file, and what they change.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("genome", help="FASTA file: plain, gzip or bgzip")
    verb.add_argument("vcf", help="VCF file: plain, gzip or bgzip")
    verb.add_argument("--include", default="+sv", help="snv, snv+indel or +sv (default)")
    verb.add_argument("--count", default="2", metavar="N", help="haplotypes (default: 2)")
    verb.add_argument("--seed", default="0", help="of what is drawn (default: 0)")
    verb.add_argument("--sample", help="whose haplotypes; default: those of the file, in order")
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="for haplotype_1.fa, ... and CSV")
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Build haplotypes.

    Returns:
        What was changed, and the files written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the folder not be written to.
    """
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.haplotype_files import write_haplotypes
    from lightning_dna.genome.haplotypes import build_haplotypes

    found = build_haplotypes(
        Genome.open(options.genome),
        options.vcf,
        include=options.include,
        count=int(number(options.count, "--count", whole=True)),
        seed=int(number(options.seed, "--seed", whole=True)),
        sample=options.sample,
    )
    written = () if options.out is None else write_haplotypes(found, options.out)
    return found.budget.text() + "\n", written
