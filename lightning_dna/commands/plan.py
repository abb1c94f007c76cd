"""``lightning-dna plan``: what a recipe would run, its price, and what of it some hours pay for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.commands.upkeep import shell_lines

if TYPE_CHECKING:
    from lightning_dna.study.extension import Standing
    from lightning_dna.study.study import Study

_SHOWN = 8  # cells in one line


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of the command, but for the recipe."""
    verb.add_argument("--commands", action="store_true", help="one shell line for each cell")
    verb.add_argument(
        "--out", type=Path, help="results folder: what is done there costs nothing more"
    )
    verb.add_argument(
        "--price", action="store_true", help="read the tasks too, and price their scoring"
    )
    verb.add_argument(
        "--limit-hours", type=float, metavar="H", help="say which cells fit into so many hours"
    )
    verb.add_argument(
        "--workers", type=int, default=1, help="processes that share the machine (default: 1)"
    )


def run(options: argparse.Namespace) -> str:
    """Plan a study.

    Returns:
        Text for stdout.

    Raises:
        LightningDNAError: If the recipe or an option cannot be used, or ``--out`` holds another
            study; the message says which cells are affected.
    """
    from lightning_dna.study.extension import hours_left, standing
    from lightning_dna.study.plan import plan_frame, plan_table
    from lightning_dna.study.price import task_bases
    from lightning_dna.study.schedule import check_workers, fitting
    from lightning_dna.study.scoring import Scorer
    from lightning_dna.study.study import load_study

    study = load_study(options.recipe, options.overrides)
    if options.commands:
        return shell_lines(study, options)
    check_workers(options.workers)
    limit = options.limit_hours
    if limit is not None:
        fitting({}, workers=options.workers, limit=limit)  # whatever is wrong, before any timing
    found = standing(study, options.out)
    priced = options.price or limit is not None
    bases = task_bases(Scorer(study)) if priced else None
    frame = plan_frame(study, bases=bases, workers=options.workers)
    parts = [plan_table(study, frame)]
    if found.begun:
        parts.append(_standing(study, options.out, found))
    if priced:
        unpriced = [card.name for card in study.cards if card.name not in (bases or {})]
        if unpriced:
            parts.append(f"not in the price of scoring: {', '.join(unpriced)}")
    if limit is not None:
        left = hours_left(study, frame, found)
        parts.append(_fit(study, left, options.workers, limit))
    return "\n\n".join(parts)


def _standing(study: "Study", folder: Path, found: "Standing") -> str:
    """Say how far the study is in its folder, and what its decisions need."""
    from lightning_dna.study.decision import more_seeds

    total = len(study.cells())
    new = total - len(found.done) - len(found.trained)
    lines = [
        f"in {folder}: {len(found.done)} of {total} cells are done, {len(found.trained)} lack"
        f" tables of scores alone, {new} are new; nothing that is done is done again"
    ]
    if needed := more_seeds(folder):
        lines += ["undecided in its last report (seeds are added by `--set seeds=[...]`):"]
        lines += [f"  {line}" for line in needed]
    return "\n".join(lines)


def _fit(study: "Study", left: dict[str, float], workers: int, limit: float) -> str:
    """Say which cells fit into some hours."""
    from lightning_dna.study.schedule import fitting, whole_seeds

    found = fitting(left, workers=workers, limit=limit)
    already = [cell.name for cell in study.cells() if cell.name not in left]
    each = {cell.name: cell.seed for cell in study.cells()}
    seeds = whole_seeds([*already, *found.done], each)
    whole = f"every arm of seeds {', '.join(map(str, seeds))}" if seeds else "no seed of every arm"
    lines = [
        f"in {limit:g} hours with {workers} worker(s), every arm of a seed before the next seed:"
        f" {len(found.done)} of {len(left)} cells fit, which makes {whole} complete",
        f"fits:         {_listed(found.done)}",
        f"does not fit: {_listed(found.left)}",
        f"all of it takes {found.hours:.2f} hours with {workers} worker(s)"
        + ("; workers on one machine slow each other down beyond that" if workers > 1 else ""),
    ]
    return "\n".join(lines)


def _listed(names: tuple[str, ...]) -> str:
    """List a few names and count the rest."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN]) or 'none'}{more}"
