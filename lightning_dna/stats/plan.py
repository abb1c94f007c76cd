"""How to resample, declared before anything is drawn."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

from lightning_dna.errors import StatsError

Unit = Literal["example", "cluster"]
Law = Literal["multinomial", "poisson", "bayesian"]
Backend = Literal["auto", "numpy", "numba"]
Draws = Literal["unit", "cell"]


@dataclass(frozen=True, kw_only=True)
class ResamplingPlan:
    """How to resample.

    Attributes:
        n_resamples: Number of replicates, 2 or more; 9999 makes p-values multiples of 1/10000.
        unit: Resample examples, or whole clusters of examples that are not independent.
        strata: ``"class"`` keeps the number of examples of every true class, which asks about test
            sets of exactly this prevalence; ``None`` lets it vary, as in a new test set.
        weights: Law of the resample counts. ``"multinomial"`` is sampling with replacement;
            ``"poisson"`` drops the fixed total; ``"bayesian"`` draws exponential weights.
        seed: Seed of the random streams, 0 or more.
        backend: ``"numba"`` needs the extra ``fast``; ``"auto"`` takes it where installed. It
            changes the time and never a digit.
        draws: ``"unit"``: a count for every unit, so a variant that is added later finds the same
            counts and no existing number moves. ``"cell"``: counts of the joint cells (label and
            all predictions), the same law at a cost that does not grow with the number of
            examples, but other digits when a variant is added; classification metrics only.
        n_threads: Threads over blocks of replicates; ``None`` for all cores. Never changes a digit.

    Raises:
        StatsError: If a value is not allowed, or two do not go together.
    """

    n_resamples: int = 9999
    unit: Unit = "example"
    strata: Literal["class"] | None = None
    weights: Law = "multinomial"
    seed: int = 0
    backend: Backend = "auto"
    draws: Draws = "unit"
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("n_resamples", "seed", "n_threads"):
            value = getattr(self, name)
            if not (isinstance(value, Integral) or (name == "n_threads" and value is None)):
                raise StatsError(f"{name} must be a whole number, not {value!r}")
        if self.n_resamples < 2:
            raise StatsError(f"n_resamples must be 2 or more, not {self.n_resamples}")
        if self.seed < 0:
            raise StatsError(f"seed must be 0 or more, not {self.seed}")
        if self.n_threads is not None and self.n_threads < 1:
            raise StatsError(f"n_threads must be 1 or more, not {self.n_threads}")
        choices = (("unit", Unit), ("weights", Law), ("backend", Backend), ("draws", Draws))
        for name, allowed in choices:
            if getattr(self, name) not in get_args(allowed):
                words = " or ".join(repr(word) for word in get_args(allowed))
                raise StatsError(f"{name} must be {words}, not {getattr(self, name)!r}")
        if self.strata not in (None, "class"):
            raise StatsError(f"strata must be None or 'class', not {self.strata!r}")
        if self.strata and self.unit == "cluster":
            raise StatsError("strata='class' needs unit='example': a cluster may hold both classes")
        if self.draws == "cell" and (
            self.unit == "cluster" or self.strata or self.weights != "multinomial"
        ):
            raise StatsError(
                "draws='cell' draws multinomial counts of independent examples; use draws='unit' "
                "with clusters, strata or other weights"
            )
