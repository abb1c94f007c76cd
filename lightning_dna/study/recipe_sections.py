"""The sections of a recipe that say how its arms are compared and how they are tuned."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_dna.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """How arms are compared, declared before anything runs.

    Attributes:
        scope: ``"procedure"`` when seeds are random too, ``"checkpoint"`` for these trained weights
            only.
        level: Confidence level of the intervals, in (0, 1).
        resamples: Bootstrap replicates.
        multiplicity: Correction of the p-values within a family.
        paired_seeds: Whether the same seed in two arms shares enough to be treated as a pair.
        planned: Planned comparisons as ``"task:metric"``; they form one family, and every other row
            is exploratory. ``*`` stands for any text: ``"*/full:mcc"`` is this metric of every
            task that is fine-tuned.
        margins: By metric, the smallest difference that matters in practice (in the metric's own
            unit).
        seed: Seed of the resampling.
    """

    scope: Literal["procedure", "checkpoint"] = "procedure"
    level: float = 0.95
    resamples: int = 9999
    multiplicity: Literal["max-t", "holm", "bh", "none"] = "max-t"
    paired_seeds: bool = False
    planned: tuple[str, ...] = ("heldout_mlm:mlm_accuracy", "heldout_mlm:bits_per_base")
    margins: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.5 <= self.level < 1.0:
            raise ConfigError(f"comparison.level is {self.level}; allowed: from 0.5 to below 1.")
        if self.seed < 0:
            raise ConfigError(f"comparison.seed is {self.seed}; allowed: 0 or more.")
        if self.resamples < 99:
            raise ConfigError(f"comparison.resamples is {self.resamples}; allowed: 99 or more.")
        for row in self.planned:
            if row.count(":") != 1:
                raise ConfigError(
                    f"comparison.planned holds '{row}'; write task:metric, for example "
                    "heldout_mlm:mlm_accuracy."
                )
        if len(set(self.planned)) != len(self.planned):
            raise ConfigError(f"comparison.planned {list(self.planned)} repeats a row.")
        for metric, margin in self.margins.items():
            if not 0 < margin < math.inf:
                raise ConfigError(f"comparison.margins.{metric} is {margin}; allowed: above 0.")


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """The search that every arm gets alike.

    Attributes:
        trials: Trials for each arm.
        space: Dotted settings key to its range: ``{low, high, log}`` or ``{choices: [...]}``.
        budget_fraction: Share of the arm's token budget that one trial spends.
        sampler: ``tpe``, ``random``, ``grid`` (every combination of choices) or ``cma-es``.
        pruner: How hopeless trials are stopped: at the ``median`` of earlier ones, by
            ``successive-halving``, or ``none``. A stopped trial counts as spent.
        seed: Seed of the sampler.
    """

    trials: int = 8
    space: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    )
    budget_fraction: float = 0.25
    sampler: Literal["tpe", "random", "grid", "cma-es"] = "tpe"
    pruner: Literal["median", "successive-halving", "none"] = "median"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.trials < 1:
            raise ConfigError(f"tune.trials is {self.trials}; allowed: 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"tune.seed is {self.seed}; allowed: 0 or more.")
        if not 0 < self.budget_fraction <= 1:
            raise ConfigError(f"tune.budget_fraction is {self.budget_fraction}; allowed: (0, 1].")
        if not self.space:
            raise ConfigError("tune.space is empty; name at least one setting, e.g. optimizer.lr.")


@dataclass(frozen=True, kw_only=True)
class TunedConfig:
    """Settings of an arm that a search chose.

    Attributes:
        settings: Dotted settings key to the chosen value, which the arm must have.
        trials: Trials that the arm had.
        budget_fraction: Share of the token budget that each of them spent.
        sampler: How settings were drawn.
        valid_bits_per_base: Value of the best trial on validation chromosomes.
    """

    settings: dict[str, Any]
    trials: int
    budget_fraction: float
    sampler: str
    valid_bits_per_base: float
