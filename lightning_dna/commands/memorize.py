"""``lightning-dna memorize``: the memorization battery on a study or on a checkpoint."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.commands import upkeep
from lightning_dna.errors import ConfigError

if TYPE_CHECKING:
    from lightning_dna.study.study import Study

EPILOG = """\
Examples:
  lightning-dna memorize my-study
  lightning-dna memorize my-study --vcf variants.vcf.gz --workers 2
  lightning-dna memorize CHECKPOINT --genome genome.fa --train chr1,chr2 --test chr3 --valid chr4
A study is extended by the suites of the battery: nothing is trained again, what is missing is
scored, and its report gets the rows, with memorization.html beside it. CHECKPOINT is the folder of
a published checkpoint, of one written by save_pretrained, or of a finished run, which itself says
what it was trained on, and with which canaries.
"""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], int],
) -> None:
    """Add ``memorize``; ``answer`` runs what `study_of` returns."""
    verb = commands.add_parser(
        "memorize",
        help="has the model learned the genome's grammar, or the genome?",
        description="Score every arm of a study, or a checkpoint, with the memorization battery.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("study", type=Path, help="results folder, or folder of a checkpoint")
    verb.add_argument("--vcf", type=Path, metavar="FILE", help="variants, for the alleles")
    group = verb.add_argument_group("for a checkpoint")
    group.add_argument("--genome", type=Path, metavar="FILE", help="FASTA file")
    group.add_argument("--train", default="", metavar="CHROMS", help="seen in training")
    group.add_argument("--test", default="", metavar="CHROMS", help="never seen")
    group.add_argument("--valid", default="", metavar="CHROMS", help="never seen either")
    group.add_argument("--annotation", type=Path, metavar="FILE", help="genes, for strata")
    group.add_argument("--length", type=int, help="bases of a window (default: its run's, or 512)")
    group.add_argument("--out", type=Path, help="results folder (default: NAME-memorization)")
    upkeep.add_running(verb)
    verb.set_defaults(verb=answer)


def study_of(options: argparse.Namespace) -> tuple["Study", Path]:
    """Return the study that the options name under the battery, and its results folder.

    Raises:
        LightningDNAError: If something cannot be used.
    """
    from lightning_dna.study import memorize

    vcf = None if options.vcf is None else options.vcf.expanduser().absolute()
    given = [name for name in ("genome", "annotation", "out") if getattr(options, name) is not None]
    given += [name for name in ("train", "test", "valid") if getattr(options, name)]
    if not memorize.is_checkpoint(options.study):
        if given:
            raise ConfigError(
                f"--{' and --'.join(given)} belong to a checkpoint; a study's folder says itself "
                f"what it was trained on. {options.study} is none of a checkpoint or finished run."
            )
        return memorize.open_battery(options.study, vcf=vcf), options.study
    if options.genome is None:
        raise ConfigError(
            f"{options.study} is a checkpoint; give the genome it is judged on as --genome FILE."
        )
    out = options.out or Path(f"{options.study.resolve().name}-memorization")
    ground = memorize.Ground(
        genome=str(options.genome.expanduser().absolute()),
        train=_chromosomes(options.train),
        test=_chromosomes(options.test),
        valid=_chromosomes(options.valid),
        length=options.length,
        annotation=None if options.annotation is None else str(options.annotation.absolute()),
    )
    return memorize.checkpoint_battery(options.study, ground, out, vcf=vcf), out


def findings(folder: Path) -> str:
    """Return what the instruments found in the arms of a study, and where the page lies."""
    from lightning_dna.report.memorization import PAGE, findings_text
    from lightning_dna.report.results import load_results

    return f"\n{findings_text(load_results(folder))}\n\nmemorization: {folder / PAGE}"


def _chromosomes(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
