"""``lightning-dna embed``: one vector for each sequence, in a file for other programs."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lightning_dna.commands.devices import device_named
from lightning_dna.commands.prediction_files import number
from lightning_dna.errors import ConfigError

EPILOG = """\
Examples:
  lightning-dna embed CHECKPOINT --task gue-tf-0 --tasks-root DATA --out tf0.npz
  lightning-dna embed CHECKPOINT --fasta mine.fa --pooling max --layer 2 --out mine.parquet
CHECKPOINT is the folder of a published checkpoint (HyenaDNA, DNABERT-2, Nucleotide Transformer), of
one written by save_pretrained, or of a finished run of a study (in its folder 'runs').
"""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``embed``; ``answer`` prints what `run` returns."""
    verb = commands.add_parser(
        "embed",
        help="write the embeddings of a task's sequences, or of a FASTA file",
        description="Write one vector for each sequence of a task or of a FASTA file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("checkpoint", type=Path, help="folder of a checkpoint or of a finished run")
    verb.add_argument("--task", metavar="CARD", help="a task card, by name or path")
    verb.add_argument("--tasks-root", type=Path, metavar="FOLDER", help="of the card's files")
    verb.add_argument("--fasta", type=Path, metavar="FILE", help="sequences without labels")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz or .parquet")
    verb.add_argument(
        "--pooling", default="mean", help="mean (default), max, first or last position"
    )
    verb.add_argument("--layer", default="-1", metavar="N", help="0: input, -1: last (default)")
    verb.add_argument(
        "--too-long",
        default="error",
        help="sequences longer than the model: error (default) or truncate_center",
    )
    verb.add_argument(
        "--untrained", metavar="SEED", help="control: initial weights of this seed instead"
    )
    verb.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Embed the sequences and write them.

    Returns:
        Text for stdout, and the file written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the table not be written.
    """
    if (options.task is None) == (options.fasta is None):
        raise ConfigError("give either --task or --fasta.")
    layer = int(number(options.layer, "--layer"))
    seed = options.untrained
    untrained = None if seed is None else int(number(seed, "--untrained", whole=True))
    from lightning_dna.study import embedding_export as export
    from lightning_dna.study.variant_scoring import open_model
    from lightning_dna.tasks.card import load_card
    from lightning_dna.training.config import FineTuneConfig

    config = FineTuneConfig(
        pooling=options.pooling, layer=layer, too_long=options.too_long, probe_c=(1.0,)
    )
    if options.task is None:
        sequences = export.fasta_sequences(options.fasta)
    else:
        sequences = export.task_sequences(load_card(options.task), options.tasks_root)
    rows, width = export.export_embeddings(
        open_model(options.checkpoint, untrained=untrained),
        sequences,
        options.out,
        config=config,
        device=device_named(options.device),
    )
    return f"{rows:,} sequences, {width} columns: {options.out}\n", (options.out,)
