"""The ranges of a search space: checked before anything runs, and drawn from by a trial."""

import math
from collections.abc import Mapping
from typing import Any

import optuna

from lightning_dna.errors import ConfigError


def check_range(where: str, range_: Mapping[str, Any]) -> None:
    """Refuse a range that is empty or of neither form.

    Args:
        where: Key of the range, for the message.
        range_: ``{low, high}`` with an optional ``log``, or ``{choices: [...]}``.

    Raises:
        ConfigError: If it is.
    """
    if set(range_) == {"choices"}:
        choices = range_["choices"]
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}: choices is {choices!r}; list at least one value.")
        if not all(isinstance(choice, str | int | float | None) for choice in choices):
            raise ConfigError(f"{where}: choices {choices} must be numbers, texts, true or false.")
        return
    if not {"low", "high"} <= set(range_) <= {"low", "high", "log"}:
        raise ConfigError(
            f"{where} has the keys {sorted(range_)}; give {{low, high}} with an optional log, or"
            " {choices: [...]}."
        )
    low, high = (_number(f"{where}.{end}", range_[end]) for end in ("low", "high"))
    if not isinstance(range_.get("log", False), bool):
        raise ConfigError(f"{where}.log is {range_['log']!r}; allowed: true, false.")
    if not low < high or (range_.get("log") and low <= 0):
        raise ConfigError(
            f"{where} runs from {low} to {high}; low must be below high (log: above 0)."
        )


def examples(range_: Mapping[str, Any]) -> list[Any]:
    """Return the values of a range that show whether its setting takes them: all, or both ends."""
    if "choices" in range_:
        return list(range_["choices"])
    return [range_["low"], range_["high"]]


def suggest(trial: optuna.Trial, key: str, range_: Mapping[str, Any], *, current: Any) -> Any:
    """Draw one setting from its range; whole numbers where the setting is one.

    Args:
        trial: The trial that draws.
        key: Dotted key of the setting.
        range_: A range that passed the check.
        current: The setting's value without tuning.
    """
    if "choices" in range_:
        return trial.suggest_categorical(key, list(range_["choices"]))
    low, high = (_number(key, range_[end]) for end in ("low", "high"))
    log = bool(range_.get("log", False))
    whole = low.is_integer() and high.is_integer()
    is_whole_setting = isinstance(current, int) and not isinstance(current, bool)
    if whole and (is_whole_setting or current is None):
        return trial.suggest_int(key, int(low), int(high), log=log)
    return trial.suggest_float(key, low, high, log=log)


def _number(where: str, value: Any) -> float:
    """Return a number; ``1e-4`` without a point is text in YAML."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ConfigError(f"{where} is {value!r}; expected a number.")
    return number
