"""One budget of learning rates for every arm: each is tried, the validation examples choose.

The choice belongs to one training: every seed of every arm makes its own, with the same list. It is
then part of what is compared, and so is its luck: an arm whose best rate is easy to miss shows that
between its seeds. A rate chosen once with the first seed would be half the cost, and would hide it.
The test examples are predicted once, with the trained model that was chosen.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning_dna.errors import DivergedError
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import FineTuned


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The training that the validation examples chose, and what else was tried.

    Attributes:
        tuned: The trained classifier.
        rate: Its learning rate.
        tried: One entry for each rate, in rising order: ``lr``, ``valid_metric`` (more is better;
            ``None`` where it diverged), ``best_epoch``, ``epochs_run``, ``seconds``.
    """

    tuned: FineTuned
    rate: float
    tried: tuple[dict[str, Any], ...]

    @property
    def at_edge(self) -> bool:
        """Whether a rate beyond the list might have been better."""
        rates = [entry["lr"] for entry in self.tried]
        return len(rates) > 1 and self.rate in (min(rates), max(rates))

    @property
    def seconds(self) -> float:
        """Training time of all rates together."""
        return sum(entry["seconds"] or 0.0 for entry in self.tried)


def choose_rate(train: Callable[[FineTuneConfig], FineTuned], config: FineTuneConfig) -> Choice:
    """Train once for each learning rate of the settings; keep the best on validation.

    Of equally good ones the smallest is kept. A rate at which training diverges was tried and lost.

    Args:
        train: Trains with settings that hold one rate.
        config: Settings with one or several rates.

    Raises:
        ConfigError: If training diverges at every rate.
    """
    best: FineTuned | None = None
    chosen, tried = 0.0, []
    failure: DivergedError | None = None
    for rate in sorted(config.rates):
        try:
            tuned = train(dataclasses.replace(config, lr=rate))
        except DivergedError as error:
            failure = error
            tried.append(_entry(rate, None))
            continue
        tried.append(_entry(rate, tuned))
        if best is None or tuned.valid_metric > best.valid_metric:
            best, chosen = tuned, rate
    if best is None:
        raise DivergedError(f"at every learning rate of {config.rates}: {failure}") from failure
    return Choice(tuned=best, rate=chosen, tried=tuple(tried))


def _entry(rate: float, tuned: FineTuned | None) -> dict[str, Any]:
    """Describe one training."""
    return {
        "lr": rate,
        "valid_metric": tuned and tuned.valid_metric,
        "best_epoch": tuned and tuned.best_epoch,
        "epochs_run": tuned and tuned.epochs_run,
        "seconds": tuned and tuned.seconds,
    }
