"""What each instrument of the memorization battery found in each arm, and what it leaves open.

Every instrument has a value that it takes where nothing was memorized. An interval that lies wholly
beyond it is a finding; any other leaves a range of sizes that the data do not exclude.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lightning_dna.report.numbers import Display, display
from lightning_dna.report.results import Results
from lightning_dna.report.rows import Estimate, is_gap


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One way to look for memory.

    Attributes:
        anchor: Identifier in the page.
        title: Heading.
        meaning: What it measures and what it cannot tell, in whole sentences.
        tasks: Tells its tasks by name.
        null: Metric to the value that it takes without memory; metrics without one are shown and
            not judged.
        control: Whether it must find nothing, being made where nothing can be.
    """

    anchor: str
    title: str
    meaning: str
    tasks: Callable[[str], bool]
    null: dict[str, float]
    control: bool = False


def _under(*heads: str) -> Callable[[str], bool]:
    """Tell tasks that are one of some names, or a part of one."""
    return lambda task: task.partition("/")[0] in heads


def _repeated_canaries(card: str) -> Callable[[str], bool]:
    """Tell the groups of a card's canaries that were planted."""

    def tells(task: str) -> bool:
        head, _, group = task.partition("/x")
        return head == card and group.isdigit() and int(group) > 0

    return tells


# Metrics of which less is more memory; of all others more is.
_LESS_IS_MEMORY = frozenset({"bits_per_base", "cross_entropy"})

INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        anchor="gap",
        title="The gap between training and held-out chromosomes",
        meaning=(
            "Training minus held-out chromosomes: an accuracy above zero, or bits per base below "
            "zero, is what memory looks like. The matched gap weighs the training windows by "
            "repeat mask, GC content and annotation as the held-out ones are composed, so that "
            "composition does not pose as memory. The context mixture and the copy oracle "
            "leave out the window's own place, and so cannot quote it: a gap that they share is "
            "composition or homology. The Markov chain counts its own place too, and on short "
            "training sequence has a gap for that reason alone. "
            "What the gap cannot tell is memory of sequence that the held-out chromosomes share. "
            "Memory that is bound to a place in the window shows only where windows lie as "
            "training laid them: of the same length, end to end from the chromosome's start."
        ),
        tasks=lambda task: is_gap(task) and not _under("alleles")(task),
        null={"mlm_accuracy": 0.0, "bits_per_base": 0.0},
    ),
    Instrument(
        anchor="membership",
        title="Membership inference",
        meaning=(
            "Can windows of training chromosomes be told from matched held-out ones by the model's "
            "loss (loss), or by the loss against that of mutated neighbours (neighbours)? Without "
            "memory the area under the curve is 0.5, and at most 1 % of the members are named at 1 "
            "% false positives. An attack that fails does not show that another would."
        ),
        tasks=_under("membership"),
        null={"auroc": 0.5, "tpr_at_fpr01": 0.01},
    ),
    Instrument(
        anchor="membership-control",
        title="Membership inference where there are no members",
        meaning=(
            "The same attack with both sides held out. It must not find anything; where it does, "
            "chromosomes differ in a way that the matching does not remove, and the attack above "
            "is to be read against this one."
        ),
        tasks=_under("membership-control", "membership-control-chromosomes"),
        null={"auroc": 0.5, "tpr_at_fpr01": 0.01},
        control=True,
    ),
    Instrument(
        anchor="canaries",
        title="Canaries",
        meaning=(
            "Sequences that stand nowhere but in this training, planted 1, 2, 4, ... times, and "
            "read alone. "
            "Exposure is log2 of the number of sequences minus log2 of the canary's rank by loss "
            "among references of the same law: 1.44 bits on average (log2 e; a little less with "
            "few references) where it was not learned, and its law is then known exactly. The "
            "group x0 was planted nowhere and must show no more. Canaries are random or shuffled "
            "sequence: that they are not learned does not show that a real sequence is not, which "
            "is easier to learn."
        ),
        tasks=_repeated_canaries("canaries"),
        null={"exposure": math.log2(math.e)},
    ),
    Instrument(
        anchor="canaries-in-place",
        title="Canaries, read where they were planted",
        meaning=(
            "The same canaries in the training window that each was planted in, with every "
            "reference in its place. A model can know a canary by heart and say it only after the "
            "sequence that came before it in training, or at its place in the window: it is then "
            "found here and not above, which shows memory that is bound to its context. With fewer "
            "references the most that can be found is less."
        ),
        tasks=_repeated_canaries("canaries-in-place"),
        null={"exposure": math.log2(math.e)},
    ),
    Instrument(
        anchor="canaries-control",
        title="Canaries that were planted nowhere",
        meaning=(
            "The group x0: drawn like the others, never in training. Its exposure is 1.44 bits on "
            "average whatever the model, so that an interval without 1.44 says that the "
            "instrument, or the interval, is wrong."
        ),
        tasks=lambda task: task in {"canaries/x0", "canaries-in-place/x0"},
        null={"exposure": math.log2(math.e)},
        control=True,
    ),
    Instrument(
        anchor="alleles",
        title="Alleles",
        meaning=(
            "At single-base variants the hidden base is chosen between the two alleles. Preference "
            "for the reference allele on held-out chromosomes is what the sequence around tells of "
            "it; a preference that is stronger on training chromosomes is memory of this genome."
        ),
        tasks=lambda task: is_gap(task) and _under("alleles")(task),
        null={"mlm_accuracy": 0.0, "bits_per_base": 0.0},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an instrument says of one arm.

    Attributes:
        instrument: The instrument.
        estimate: The value with its interval.
        shown: How it is written.
        null: Its value without memory.
    """

    instrument: Instrument
    estimate: Estimate
    shown: Display
    null: float

    @property
    def decided(self) -> bool | None:
        """Whether memory was found: ``None`` where there is no interval."""
        low, high = self.estimate.low, self.estimate.high
        if math.isnan(low) or math.isnan(high):
            return None
        if self.instrument.control:
            return not low <= self.null <= high
        return high < self.null if self._less else low > self.null

    @property
    def _less(self) -> bool:
        return self.estimate.metric in _LESS_IS_MEMORY

    @property
    def margin(self) -> float:
        """The largest memory that the interval does not exclude, in the metric's own unit."""
        limit = self.estimate.low if self._less else self.estimate.high
        return abs(limit - self.null)

    @property
    def left_open(self) -> str:
        """The largest memory that the interval does not exclude, in words."""
        return self.shown.difference_with_unit(self.margin)

    @property
    def word(self) -> str:
        """The finding in one word."""
        if self.decided is None:
            return "no interval"
        if self.instrument.control:
            return "fails" if self.decided else "holds"
        return "found" if self.decided else "not found"


def findings(results: Results) -> list[Finding]:
    """Return what every instrument says of every arm, instrument by instrument."""
    found = []
    for instrument in INSTRUMENTS:
        for task, metrics in results.tasks.items():
            if not instrument.tasks(task):
                continue
            for metric in metrics:
                if metric not in instrument.null:
                    continue
                for name in results.models:
                    estimate = results.estimate(name, task, metric)
                    if estimate is not None:
                        found.append(
                            Finding(
                                instrument=instrument,
                                estimate=estimate,
                                shown=display(metric),
                                null=instrument.null[metric],
                            )
                        )
    return found
