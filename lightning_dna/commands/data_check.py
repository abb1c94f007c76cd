"""``lightning-dna data check``: which tasks of a suite can run with the files that are here."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_dna.tasks.card import TaskCard
    from lightning_dna.tasks.suites import TaskFiles

EPILOG = """\
Examples:
  lightning-dna data check gue --tasks-root data
  lightning-dna data check ./my-suite.yaml --tasks-root data --read
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data check``; ``answer`` prints what `run` returns."""
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
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """List the tasks of a suite with the state of their files.

    Returns:
        Text for stdout, and no files.

    Raises:
        ConfigError: If there is no such suite or card.
        DataError: If a file that is read is not what it should be.
    """
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.suites import files_of, load_suite

    cards = [load_card(options.suite)] if _is_card(options.suite) else load_suite(options.suite)
    states = [files_of(card, options.tasks_root) for card in cards]
    lines = []
    for files in states:
        lines.append(_line(files))
        if options.read and not files.missing and files.card.kind == "classification":
            lines += _read(files.card, options.tasks_root)
    return "\n".join([*lines, "", *_summary(states)]) + "\n", ()


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


def _read(card: "TaskCard", tasks_root: Path | None) -> list[str]:
    """Read a task whole; return its sizes and notes."""
    from lightning_dna.tasks.examples import load_examples

    task = load_examples(card, tasks_root)
    sizes = " / ".join(f"{len(part):,}" for part in (task.train, task.valid, task.test))
    lines = [f"train / valid / test {sizes}, classes {', '.join(task.classes)}", *task.notes]
    return [f"{'':<9} {line}" for line in lines]


def _summary(states: "list[TaskFiles]") -> list[str]:
    """Say what runs with these files, and how to get the others."""
    lacking = [files for files in states if files.missing]
    carved = sum(files.lacks_only_train for files in lacking)
    lines = [f"{len(states) - len(lacking)} of {len(states)} tasks are whole."]
    if lacking:
        lines.append("`run` stops before training; with --set suite_missing=skip it runs those.")
    if carved:
        lines.append(
            f"{carved} lack only their training file: --set suite_missing=carve also runs them, on "
            f"nine tenths of their validation file, as TASK-dev."
        )
    sources = dict.fromkeys(files.card.source for files in lacking if files.card.source)
    lines += [f"`lightning-dna data get {name} --to FOLDER` fetches files." for name in sources]
    return lines
