"""Sequence-length warm-up: how long the rows of a step are, at equal tokens per step.

Short rows come first and grow to the final length; the batch shrinks as the rows grow, so that
every step (and hence every arm) spends the same number of tokens. Two forms are offered: doubling
stages (HyenaDNA) and linear pacing floored to a multiple (Li et al. 2022, DeepSpeed
``fixed_linear``). HyenaDNA keeps the number of *sequences* per step instead, so that its tokens
double with each stage; we keep tokens, because arms are compared at equal tokens.

References:
    Nguyen et al., HyenaDNA, NeurIPS 2023, section 3.2.
    Li et al., The Stability-Efficiency Dilemma: Sequence Length Warmup, NeurIPS 2022.
"""

from dataclasses import dataclass
from typing import Literal

from lightning_dna.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LengthScheduleConfig:
    """How the row length grows during the first part of training.

    Attributes:
        kind: ``"fixed"`` (no warm-up), ``"doubling"`` (equally long stages, each twice as long as
            the one before) or ``"linear"``.
        start: Row length of the first step, in bases.
        fraction: Share of all steps after which the final length is reached, in (0, 1].
        multiple: Linear lengths are rounded down to a multiple of this many bases.
    """

    kind: Literal["fixed", "doubling", "linear"] = "fixed"
    start: int = 64
    fraction: float = 0.3
    multiple: int = 8

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.kind not in ("fixed", "doubling", "linear"):
            raise ConfigError(
                f"length_schedule.kind is {self.kind!r}; allowed: fixed, doubling, linear."
            )
        if self.start < 2:
            raise ConfigError(f"length_schedule.start is {self.start}; allowed: 2 bases or more.")
        if not 0.0 < self.fraction <= 1.0:
            raise ConfigError(f"length_schedule.fraction is {self.fraction}; allowed: (0, 1].")
        if self.multiple < 1:
            raise ConfigError(f"length_schedule.multiple is {self.multiple}; allowed: 1 or more.")


def length_at(config: LengthScheduleConfig, step: int, total_steps: int, final_length: int) -> int:
    """Return the longest row that a step may hold; a pure function of its arguments.

    With ``w = fraction * total_steps`` warm-up steps: doubling divides ``w`` equally among the
    lengths ``start, 2 start, 4 start, ...`` below ``final_length``; linear is ``start +
    (final_length - start) * step / w``, floored to ``multiple`` (never below ``start``). From step
    ``w`` on it is ``final_length``.

    Args:
        config: The schedule.
        step: Step, from 0.
        total_steps: Steps of the whole run.
        final_length: Row length after the warm-up, in bases.

    Returns:
        A length in ``[min(start, final_length), final_length]``.

    Example:
        >>> doubling = LengthScheduleConfig(kind="doubling", start=64, fraction=0.3)
        >>> [length_at(doubling, step, 100, 512) for step in (0, 9, 10, 20, 29, 30, 99)]
        [64, 64, 128, 256, 256, 512, 512]
    """
    warmup = config.fraction * total_steps
    if config.kind == "fixed" or step >= warmup or config.start >= final_length:
        return final_length
    if config.kind == "doubling":
        return config.start << int(step * _stages(config.start, final_length) / warmup)
    grown = int(config.start + (final_length - config.start) * step / warmup)
    return max(config.start, grown - grown % config.multiple)


def _stages(start: int, final_length: int) -> int:
    """Count the lengths ``start, 2 start, 4 start, ...`` that lie below ``final_length``."""
    count = 0
    while start << count < final_length:
        count += 1
    return count
