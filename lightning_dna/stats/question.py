"""How an estimate is to be judged: what has to be decided before the predictions are read."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightning_dna.errors import StatsError
from lightning_dna.stats.intervals import Alternative, Method, check_choices

Scope = Literal["checkpoint", "procedure"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """How an estimate is to be judged.

    Attributes:
        scope: ``"checkpoint"``: these trained weights, examples are random. ``"procedure"``:
            training again would give other weights, seeds are random too.
        level: Coverage of intervals.
        method: Interval method.
        alternative: Direction of the test.
        paired_seeds: Whether equal seeds mean equal initial weights and data order in both arms.

    Raises:
        StatsError: If an option is not allowed, or two do not fit together.
    """

    scope: Scope
    level: float = 0.95
    method: Method = "se-t"
    alternative: Alternative = "two-sided"
    paired_seeds: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        if self.scope not in get_args(Scope):
            raise StatsError(
                f"scope {self.scope!r}; say 'checkpoint' (these trained weights) or 'procedure' "
                "(training with other seeds too)"
            )
        check_choices(self.method, self.level, self.alternative)
        if self.scope == "procedure" and self.method != "se-t":
            raise StatsError(
                f"method '{self.method}' looks at examples only; scope='procedure' needs 'se-t'"
            )
        if self.scope == "checkpoint" and self.paired_seeds:
            raise StatsError(
                "paired_seeds belongs to scope='procedure'; a checkpoint has no seed noise"
            )
