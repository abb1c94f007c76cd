"""``lightning-dna data get``: fetch published data; the only command that opens the network."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_dna.data.download import Progress

EPILOG = """\
Examples:
  lightning-dna data get                        what can be fetched
  lightning-dna data get gue --to data          then `run ... --set tasks_root=data`
  lightning-dna data get ./my-source.yaml --to data
  lightning-dna data get gue --to data --again  the publishers changed a file, or one is damaged
An interrupted download goes on where it broke off. Files are kept in a cache
($XDG_CACHE_HOME or ~/.cache, then lightning_dna/downloads): a second folder needs no network.
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data get``; ``answer`` prints what `run` returns."""
    verb = verbs.add_parser(
        "get",
        help="fetch published data, with checksums",
        description="Fetch published data. No other command opens the network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("name", nargs="?", help="a shipped data source, or the path of a YAML file")
    verb.add_argument(
        "--to",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help="folder of the data, the tasks_root of recipes (default: ./data)",
    )
    verb.add_argument(
        "--again",
        action="store_true",
        help="fetch every file anew, and record its checksum where the source names none",
    )
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Fetch a source, or list all.

    Returns:
        Text for stdout, and no files: there may be thousands.

    Raises:
        ConfigError: If there is no such source, or something is to be fetched again but not named.
        DataError: If a file cannot be had, or is not what it should be.
    """
    from lightning_dna.data.remote_source import get_source, listing, load_source
    from lightning_dna.errors import ConfigError

    if options.name is None:
        if options.again:
            raise ConfigError(
                "--again fetches a source anew; name it, as in `data get gue --again`."
            )
        return listing(), ()
    source = load_source(options.name)
    lines, written = get_source(source, options.to, again=options.again, bar=_bar)
    if source.licence:
        lines.append(f"Licence: {source.licence}.")
    if source.citation:
        lines.append(f"Please cite: {source.citation}.")
    lines.append(f"{len(written)} files written to {options.to}.")
    return "\n".join(lines) + "\n", ()


@contextlib.contextmanager
def _bar(name: str) -> "Iterator[Progress | None]":
    """Show the progress of one file on stderr, where that is a terminal."""
    from tqdm import tqdm

    with tqdm(
        desc=name, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr, disable=None
    ) as bar:

        def show(have: int, total: int | None) -> None:
            bar.total = total
            bar.update(have - bar.n)

        yield show
