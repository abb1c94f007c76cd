"""``lightning-dna data check``: which tasks of a suite can run with the files that are here."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_dna.tasks.suites import TaskFiles

EPILOG = """\
Examples:
  lightning-dna data check gue --tasks-root data
  lightning-dna data check ./my-suite.yaml --tasks-root data --read
Exit status: 0 if every task is whole, 2 if a file is missing or wrong.
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data check``; ``answer`` prints what `pages` yields."""
    meaning = "which tasks of a suite have their files here"
    verb = verbs.add_parser(
        "check",
        help=meaning,
        description=f"{meaning.capitalize()}, which files are missing, and what still runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("suite", help="a shipped suite or task card, or the path of a YAML file")
    verb.add_argument(
        "--tasks-root", type=Path, metavar="FOLDER", help="folder of the task files, as in a recipe"
    )
    verb.add_argument(
        "--read",
        action="store_true",
        help="read the whole files too: checksums, columns, labels, parts",
    )
    verb.set_defaults(verb=answer, pages=pages)


def pages(options: argparse.Namespace) -> Iterator[str]:
    """Yield the tasks of a suite with the state of their files, then what runs.

    Raises:
        ConfigError: If there is no such suite or card.
        DataError: At the end, if a task lacks a file or one of its files is wrong.
    """
    from lightning_dna.errors import DataError, LightningDNAError
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.file_check import read_task
    from lightning_dna.tasks.suites import TaskFiles, files_of, load_suite

    cards = [load_card(options.suite)] if _is_card(options.suite) else load_suite(options.suite)
    states: list[TaskFiles] = []
    wrong = []
    yield f"{'files':<9} task  what is missing or wrong"
    for card in cards:
        found: tuple[str, ...] = ()
        try:
            files = files_of(card, options.tasks_root)
            if options.read and card.files and not files.missing:
                found = read_task(card, options.tasks_root)
        except LightningDNAError as error:
            wrong.append(card.name)
            states.append(TaskFiles(card=card, found={}, missing={}))
            yield f"{'wrong':<9} {card.name}  {error}"
            continue
        states.append(files)
        yield "\n".join([_line(files), *(f"{'':<9} {line}" for line in found)])
    yield "\n".join(["", *_summary(states, wrong)])
    lacking = [files.card.name for files in states if files.missing]
    if lacking or wrong:
        said = [f"files are missing for {', '.join(lacking)}"] if lacking else []
        said += [f"files are wrong for {', '.join(wrong)}"] if wrong else []
        raise DataError(f"{'; '.join(said)}. The lines on stdout say which and why.")


def _is_card(name: str) -> bool:
    """Tell a task card from a suite: a shipped one by its name, a file by its key ``kind``."""
    from lightning_dna import catalog
    from lightning_dna.settings import load_yaml

    if name in catalog.names("suite"):
        return False
    is_file = "/" in name or name.endswith((".yaml", ".yml"))
    if not is_file:
        return name in catalog.names("task")
    return "kind" in load_yaml(catalog.resolve("suite", name))


def _line(files: "TaskFiles") -> str:
    """Say of one task whether its files are there."""
    if not files.missing:
        return f"{'whole' if files.card.files else 'no files':<9} {files.card.name}"
    names = ", ".join(f"{part}: {name}" for part, name in files.missing.items())
    state = "no train" if files.lacks_only_train else "partial" if files.found else "missing"
    return f"{state:<9} {files.card.name}  {names}"


def _summary(states: "list[TaskFiles]", wrong: list[str]) -> list[str]:
    """Say what runs with these files, and how to get the others."""
    lacking = [files for files in states if files.missing]
    carved = sum(files.lacks_only_train for files in lacking)
    bad = {*wrong, *(files.card.name for files in lacking)}
    runs = [files.card.name for files in states if files.card.name not in bad]
    lines = [f"{len(runs)} of {len(states)} tasks are whole."]
    if bad and runs:
        lines.append(f"These run: {', '.join(runs)}.")
    if wrong:
        lines.append(f"`run` stops before training at a wrong file: {', '.join(wrong)}.")
    if lacking:
        skips = "; with --set suite_missing=skip it runs those" if runs else ""
        lines.append(f"`run` stops before training{skips}.")
    if carved:
        lines.append(
            f"{carved} lack only their training file: --set suite_missing=carve also runs them, on "
            f"nine tenths of their validation file, as TASK-dev."
        )
    sources = dict.fromkeys(files.card.source for files in lacking if files.card.source)
    lines += [f"`lightning-dna data get {name} --to FOLDER` fetches files." for name in sources]
    return lines
