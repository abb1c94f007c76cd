"""Row lengths over the steps: warm-up of the sequence length, and the arms that control for it.

A schedule says how long the rows of a step may be (``kind``), what becomes of longer windows
(``long_windows``) and in which order the rows of the run come (``order``). Every step spends the
same number of tokens whatever the row length: the batch shrinks as the rows grow. HyenaDNA keeps
the *sequences* of a step, so that its tokens double with each stage, and DeepSpeed's steps grow
with the length; we keep tokens, because arms are compared at equal tokens and equal steps.

What the field calls by one name is here a combination:

==================================  ==============================================================
doubling stages (HyenaDNA)          ``{kind: doubling}``
linear pacing (Li et al.)           ``{kind: linear, multiple: 8}``
root pacing (Platanios et al.)      ``{kind: root, degree: 2}``
discrete list (DeepSpeed)           ``{kind: stages, stages: [[256, 0.1], [512, 0.2]]}``
mixed lengths                       ``{kind: mixed}``, drawn for each step or window
sort by length (dnaGrinder)         ``{kind: mixed, draw: window, order: sorted}``; ``{order:
                                    sorted}`` where windows differ in length by themselves
control: fixed length               ``{kind: fixed}``, the default
control: truncation                 any of the first four with ``long_windows: truncate``
control: same rows shuffled         any of the first four with ``order: shuffled``
control: length-grouped batches     any of the above with ``order: grouped``
==================================  ==============================================================

dnaGrinder sorts whole sequences of about 700 to 2,300 tokens by length within each species; ours
are the rows of the run, of all chromosomes together. Hugging Face's length grouping sorts within
mega-batches of 50 batches; ours sorts the rows of the whole run.

References:
    Nguyen et al., HyenaDNA, NeurIPS 2023, section 3.2.
    Li et al., The Stability-Efficiency Dilemma: Sequence Length Warmup, NeurIPS 2022.
    Platanios et al., Competence-based Curriculum Learning, NAACL 2019.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.masking import stable_hash
from lightning_dna.errors import ConfigError, unknown_name

# Settings that did not exist when the first runs were made; at their defaults they stay out of the
# identity of a run.
YOUNGER_FIELDS = ("degree", "stages", "draw", "long_windows", "order")

_CHOICES = {
    "kind": ("fixed", "doubling", "linear", "root", "stages", "mixed"),
    "draw": ("step", "window"),
    "long_windows": ("reshape", "truncate"),
    "order": ("scheduled", "shuffled", "sorted", "grouped"),
}
_DRAW_KEY = 0x6C656E67  # "leng": keeps these draws apart from any other use of the same seed


@dataclass(frozen=True, kw_only=True)
class LengthScheduleConfig:
    """How long the rows of each step are.

    Attributes:
        kind: ``"fixed"`` (no warm-up), ``"doubling"`` (equally long stages, each twice as long as
            the one before), ``"linear"``, ``"root"``, ``"stages"`` (listed) or ``"mixed"``
            (drawn at random throughout).
        start: Row length of the first step, and the shortest under ``mixed``, in bases.
        fraction: Share of all steps after which the final length is reached, in (0, 1].
        multiple: Linear, root and drawn lengths are rounded down to a multiple of this many bases.
        degree: Which root ``root`` takes, above 0; 1 is linear.
        stages: Pairs of a length and a share, which sum to at most 1; the final length has the
            rest. Shares of the steps, in this order, under ``stages``; probabilities under
            ``mixed``, which without any draws from the log-uniform distribution between ``start``
            and the final length.
        draw: Whether ``mixed`` draws one length for all rows of a step, or one for the rows of
            each window.
        long_windows: Windows longer than the row are cut into rows (``"reshape"``: every base is
            read) or cut off (``"truncate"``: the rest of the window is dropped).
        order: ``"scheduled"``; ``"shuffled"``: the very same rows in random order, those of a
            window together; ``"sorted"``: by ascending length; ``"grouped"``: the steps of
            ``"sorted"`` in random order, so that the rows of a step are of like length.
    """

    kind: Literal["fixed", "doubling", "linear", "root", "stages", "mixed"] = "fixed"
    start: int = 64
    fraction: float = 0.3
    multiple: int = 8
    degree: float = 2.0
    stages: tuple[tuple[int, float], ...] = ()
    draw: Literal["step", "window"] = "step"
    long_windows: Literal["reshape", "truncate"] = "reshape"
    order: Literal["scheduled", "shuffled", "sorted", "grouped"] = "scheduled"

    def __post_init__(self) -> None:
        """Check ranges, and that nothing is set that would have no effect."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(
                    "value", str(getattr(self, name)), allowed, where=f"length_schedule.{name}"
                )
        if self.start < 2:
            raise ConfigError(f"length_schedule.start is {self.start}; allowed: 2 bases or more.")
        if not 0.0 < self.fraction <= 1.0:
            raise ConfigError(f"length_schedule.fraction is {self.fraction}; allowed: (0, 1].")
        if self.multiple < 1:
            raise ConfigError(f"length_schedule.multiple is {self.multiple}; allowed: 1 or more.")
        if not 0.0 < self.degree < math.inf:
            raise ConfigError(f"length_schedule.degree is {self.degree}; allowed: above 0.")
        self._check_stages()
        self._check_combination()

    def _check_stages(self) -> None:
        """Check the listed lengths and shares."""
        for length, share in self.stages:
            if length < 2 or not 0.0 < share <= 1.0:
                raise ConfigError(
                    f"length_schedule.stages has the pair [{length}, {share}]; allowed: a length"
                    " of 2 bases or more and a share in (0, 1], e.g. [[256, 0.1], [512, 0.2]]."
                )
        total = math.fsum(share for _, share in self.stages)
        if total > 1.0 + 1e-9:
            raise ConfigError(
                f"length_schedule.stages has shares that sum to {total:g}; allowed: at most 1; the"
                " final length (data.length) has the rest."
            )
        if self.kind == "stages" and not self.stages:
            raise ConfigError(
                "length_schedule.kind is 'stages', but length_schedule.stages is empty; list pairs"
                " of a length and a share of the steps, e.g. [[256, 0.1], [512, 0.2]]."
            )

    def _check_combination(self) -> None:
        """Refuse a setting that would silently do nothing."""
        usual = {"stages": (), "degree": 2.0, "draw": "step"}
        used_by = {"stages": ("stages", "mixed"), "degree": ("root",), "draw": ("mixed",)}
        for name, kinds in used_by.items():
            if self.kind not in kinds and getattr(self, name) != usual[name]:
                raise ConfigError(
                    f"length_schedule.{name} is set, but it has no effect with length_schedule.kind"
                    f" '{self.kind}'; leave it out, or use kind {' or '.join(kinds)}."
                )
        by_step = self.kind != "fixed" and self.draw == "step"
        if self.long_windows == "truncate" and (not by_step or self.order != "scheduled"):
            raise ConfigError(
                "length_schedule.long_windows is 'truncate' with kind"
                f" '{self.kind}', draw '{self.draw}' and order '{self.order}'; truncation goes with"
                " a length that depends on the step (any kind but fixed, draw: step) and order:"
                " scheduled."
            )
        if self.order == "shuffled" and self.kind in ("fixed", "mixed"):
            raise ConfigError(
                f"length_schedule.order is 'shuffled' with kind '{self.kind}', whose rows come in"
                " random order anyway; leave it out, or use a kind that warms up: doubling, linear,"
                " root, stages."
            )

    def check_against(self, final_length: int, *, equal_windows: bool = False) -> None:
        """Check the lengths against the windows.

        Args:
            final_length: Bases of a full window.
            equal_windows: Whether all windows are full.

        Raises:
            ConfigError: If a row would be longer than a window, or equal rows were to be sorted.
        """
        if equal_windows and self.kind == "fixed" and self.order != "scheduled":
            raise nothing_to_sort(self.order, final_length)
        starts = self.kind in ("doubling", "linear", "root", "mixed") and not self.stages
        if starts and self.start > final_length:
            raise ConfigError(
                f"length_schedule.start is {self.start}, above data.length {final_length}; start"
                " with shorter rows."
            )
        for length, _ in self.stages:
            if length > final_length:
                raise ConfigError(
                    f"length_schedule.stages has length {length}, above data.length {final_length};"
                    " list lengths up to it, or raise data.length."
                )


def nothing_to_sort(order: str, length: int) -> ConfigError:
    """Build the error for an order of rows that are all equally long."""
    return ConfigError(
        f"length_schedule.order is '{order}', but every row of the run has {length} bases, so that"
        " it would change nothing; use length_schedule.kind: mixed with draw: window, or a repeat"
        " policy that leaves windows of unequal length (data.repeats: remove)."
    )


def length_at(
    config: LengthScheduleConfig, step: int, total_steps: int, final_length: int, *, seed: int = 0
) -> int:
    """Return the longest row that a step may hold; a pure function of its arguments.

    With ``w = fraction * total_steps`` warm-up steps: doubling divides ``w`` equally among the
    lengths ``start, 2 start, 4 start, ...`` below ``final_length``; linear is ``start +
    (final_length - start) * step / w``, and root ``start + (final_length - start) * (step / w) **
    (1 / degree)``, both floored to ``multiple`` (never below ``start``). From step ``w`` on they
    are ``final_length``. Stages end after the nearest whole number of steps.

    Args:
        config: The schedule.
        step: Step, from 0.
        total_steps: Steps of the whole run.
        final_length: Row length after the warm-up, in bases.
        seed: Seed of the run, used by ``mixed`` alone. If each window has its own draw, the answer
            is ``final_length``.

    Returns:
        A length in ``[min(start, final_length), final_length]``, or one of the stages.

    Example:
        >>> doubling = LengthScheduleConfig(kind="doubling", start=64, fraction=0.3)
        >>> [length_at(doubling, step, 100, 512) for step in (0, 9, 10, 20, 29, 30, 99)]
        [64, 64, 128, 256, 256, 512, 512]
    """
    if config.kind == "stages":
        return _stage_at(config, step, total_steps, final_length)
    if config.kind == "mixed":
        if config.draw == "window":
            return final_length
        return int(drawn_lengths(config, np.array([step]), final_length, seed=seed)[0])
    warmup = config.fraction * total_steps
    if config.kind == "fixed" or step >= warmup or config.start >= final_length:
        return final_length
    if config.kind == "doubling":
        return config.start << int(step * _doublings(config.start, final_length) / warmup)
    share = step / warmup
    if config.kind == "root":
        share **= 1.0 / config.degree
        grown = int(config.start + (final_length - config.start) * share)
    else:
        grown = int(config.start + (final_length - config.start) * step / warmup)
    return max(config.start, grown - grown % config.multiple)


def drawn_lengths(
    config: LengthScheduleConfig, numbers: NDArray[np.int64], final_length: int, *, seed: int
) -> NDArray[np.int64]:
    """Return the lengths that ``mixed`` draws for some steps or windows, by their number.

    Args:
        config: The schedule.
        numbers: Numbers of steps, or of windows in the order of the stream.
        final_length: The longest length.
        seed: Seed of the run.

    Returns:
        int64 of the shape of ``numbers``; a pure function of seed and number.
    """
    key = int(stable_hash(np.array([seed], dtype=np.uint64), _DRAW_KEY)[0])
    # 53 bits make a double in [0, 1).
    bits = stable_hash(numbers.astype(np.uint64), key) >> np.uint64(11)
    return _quantiles(config, bits.astype(np.float64) * 2.0**-53, final_length)


def length_shares(
    config: LengthScheduleConfig, total_steps: int, final_length: int
) -> Mapping[int, float]:
    """Return the share of the run's tokens at each row length, expected where lengths are drawn.

    Order and seed have no say in it.

    Example:
        >>> doubling = LengthScheduleConfig(kind="doubling", start=256, fraction=0.5)
        >>> length_shares(doubling, 40, 1024)
        {256: 0.25, 512: 0.25, 1024: 0.5}
    """
    if config.kind == "mixed":
        points = 1024
        middles = np.linspace(0.5 / points, 1 - 0.5 / points, points)  # of equally likely parts
        found = _quantiles(config, middles, final_length)
    else:
        found = np.array(
            [length_at(config, step, total_steps, final_length) for step in range(total_steps)]
        )
    lengths, counts = np.unique(found, return_counts=True)
    return dict(zip(lengths.tolist(), (counts / counts.sum()).tolist(), strict=True))


def _quantiles(
    config: LengthScheduleConfig, uniform: NDArray[np.float64], final_length: int
) -> NDArray[np.int64]:
    """Return the lengths that lie at some shares of the distribution of ``mixed``."""
    if config.stages:
        ends = np.cumsum([share for _, share in config.stages])
        if ends[-1] > 1.0 - 1e-9:
            ends[-1] = 1.0  # shares such as three thirds sum to nearly 1
        lengths = np.array([length for length, _ in config.stages] + [final_length])
        return np.take(lengths, np.searchsorted(ends, uniform, side="right"))
    # Lengths are rounded down: without this the final one would have no probability.
    low, high = math.log(config.start), math.log(final_length + config.multiple)
    grown = np.exp(low + (high - low) * uniform).astype(np.int64)
    return np.asarray(np.clip(grown - grown % config.multiple, config.start, final_length))


def _stage_at(config: LengthScheduleConfig, step: int, total_steps: int, final_length: int) -> int:
    """Return the length of the listed stage that a step is in."""
    ended = 0.0
    for length, share in config.stages:
        ended += share
        if step < round(ended * total_steps):
            return length
    return final_length


def _doublings(start: int, final_length: int) -> int:
    """Count the lengths ``start, 2 start, 4 start, ...`` that lie below ``final_length``."""
    count = 0
    while start << count < final_length:
        count += 1
    return count
