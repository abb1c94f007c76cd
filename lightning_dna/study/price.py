"""What scoring and fine-tuning of an arm would cost, from the bases that its tasks hold."""

from collections.abc import Mapping, Sequence

from lightning_dna.errors import LightningDNAError
from lightning_dna.study.recipe import Arm
from lightning_dna.study.scoring import Scorer
from lightning_dna.tasks.card import TaskCard

Bases = Mapping[str, int]
_PROBES = ("frozen", "random")  # forward passes and a regression, which costs next to nothing


def task_bases(scorer: Scorer) -> dict[str, Bases]:
    """Return the bases of every part of every task that can tell; reads the tasks' data.

    A task whose files are missing is left out, as is a kind that does not say.
    """
    found: dict[str, Bases] = {}
    for name, task in scorer.tasks.items():
        try:
            bases = task.bases()
        except LightningDNAError:  # `run` says what is wrong with it
            continue
        if bases:
            found[name] = bases
    return found


def scoring_seconds(
    cards: Sequence[TaskCard],
    bases: Mapping[str, Bases],
    arm: Arm,
    *,
    forward: float,
    step: float,
    first: bool = True,
) -> float:
    """Return the seconds of one seed's scoring, fine-tuning included, at the most.

    Fine-tuning counts every epoch of every learning rate; most of it stops earlier.

    Args:
        cards: The suite.
        bases: Bases of each task's parts.
        arm: The arm.
        forward: Seconds of a forward pass for each base.
        step: Seconds of a training step for each base.
        first: Whether it is the first seed; a checkpoint's untuned tables are made with it alone.
    """
    total = 0.0
    for card in cards:
        if not card.rules.tuned and arm.source is not None and not first:
            continue
        for table in card.tables if card.name in bases else ():
            total += _table_seconds(card, table, bases[card.name], arm, forward, step)
    return total


def _table_seconds(
    card: TaskCard, table: str | None, bases: Bases, arm: Arm, forward: float, step: float
) -> float:
    """Return the seconds of one table."""
    train, valid, test = (bases.get(part, 0) for part in ("train", "valid", "test"))
    if not card.rules.tuned:
        return forward * test
    if table in _PROBES:
        return forward * (train + valid + test)
    config = arm.settings.finetune
    epochs = config.epochs * len(config.rates)
    return epochs * (step * train + forward * valid) + forward * test
