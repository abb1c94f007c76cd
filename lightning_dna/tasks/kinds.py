"""Every kind of task, as one table: how its data are read and how a model is scored on them.

To add a kind:

1. ``tasks/card_kinds.py``: add its name to ``TaskKind`` and a row to ``CARD_KINDS``: the fields
   that only its cards have (declare them in ``TaskCard``, with defaults), the metrics, the
   baselines, and which field lists its tables (``"ways"``, or ``None`` for one table).
2. A class derived from :class:`lightning_dna.tasks.task.Task`, in a module of its own: ``load``,
   ``check_arm``, ``check_checkpoint``, ``content``, ``score`` and ``score_baseline``. Its tables
   are :class:`lightning_dna.tasks.base.Scores` of any kind that ``tasks/base.py`` knows; what a
   study makes of a table follows from that kind.
3. Here: one row in ``KINDS``.

Studies, gathering, statistics and reports need no change. Fields of a card that are younger than
the first published cards do not change the names of score files while they hold their defaults.
"""

from collections.abc import Mapping

from lightning_dna.tasks.alleles import AllelesTask
from lightning_dna.tasks.canaries import CanariesTask
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import TaskKind
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.labelled import ClassificationTask
from lightning_dna.tasks.membership import MembershipTask
from lightning_dna.tasks.multilabel import MultilabelTask
from lightning_dna.tasks.per_position import PerPositionTask
from lightning_dna.tasks.species import SpeciesTask
from lightning_dna.tasks.task import Surroundings, Task
from lightning_dna.tasks.variant_effect import VariantEffectTask

KINDS: Mapping[TaskKind, type[Task]] = {
    "heldout_mlm": HeldOutTask,
    "classification": ClassificationTask,
    "simulated_classification": ClassificationTask,
    "species": SpeciesTask,
    "variant_effect": VariantEffectTask,
    "multilabel": MultilabelTask,
    "per_position": PerPositionTask,
    "membership": MembershipTask,
    "alleles": AllelesTask,
    "canaries": CanariesTask,
}


def open_task(card: TaskCard, around: Surroundings) -> Task:
    """Return the task of a card; its data are read when they are first needed."""
    return KINDS[card.kind](card, around)
