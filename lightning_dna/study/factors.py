"""Factors into arms: every combination, or one factor at a time around the first levels."""

import itertools
from collections.abc import Mapping
from typing import Any, Literal

from lightning_dna import settings
from lightning_dna.errors import ConfigError

Levels = dict[str, dict[str, Any]]


def expand_factors(
    factors: Mapping[str, Any],
    expansion: Literal["factorial", "one_factor_at_a_time"],
    *,
    where: str,
) -> dict[str, dict[str, Any]]:
    """Expand factors to arms.

    Args:
        factors: Factor to its levels. A factor named by a dotted settings key lists plain values
            (``model.feedforward: [mlp, geglu]``); any other factor maps level names to the settings
            that the level changes (``attention: {alibi: {model: {...}}, rope: {model: {...}}}``).
        expansion: ``"factorial"`` for every combination; ``"one_factor_at_a_time"`` for the arm of
            all first levels and, for each other level, that arm with this one level changed.
        where: File named in messages.

    Returns:
        Arm name (level names joined by ``+``) to the changes of the arm, in order.

    Raises:
        ConfigError: If a factor has fewer than two levels or is not of either form.

    Example:
        >>> grid = {"model.mixer": ["attention", "hyena"], "data.repeats": ["keep", "remove"]}
        >>> list(expand_factors(grid, "one_factor_at_a_time", where="x"))
        ['attention+keep', 'hyena+keep', 'attention+remove']
    """
    tables = [_levels(name, levels, where=where) for name, levels in factors.items()]
    if not tables:
        raise ConfigError(f"{where}: 'factors' is empty; name at least one with two levels.")
    combinations = list(itertools.product(*(table.keys() for table in tables)))
    if expansion == "one_factor_at_a_time":
        centre = combinations[0]
        combinations = [
            combination
            for combination in combinations
            if sum(a != b for a, b in zip(combination, centre, strict=True)) <= 1
        ]
        combinations.sort(key=lambda combination: _changed_factor(combination, centre))
    arms: dict[str, dict[str, Any]] = {}
    for combination in combinations:
        changes: dict[str, Any] = {}
        for table, level in zip(tables, combination, strict=True):
            changes = settings.merge(changes, table[level])
        name = "+".join(combination)
        if name in arms:
            raise ConfigError(f"{where}: two arms are called '{name}'; rename a level of a factor.")
        arms[name] = changes
    return arms


def _changed_factor(combination: tuple[str, ...], centre: tuple[str, ...]) -> int:
    """Return the position of the factor that differs from the centre; -1 for the centre."""
    different = [
        i for i, pair in enumerate(zip(combination, centre, strict=True)) if pair[0] != pair[1]
    ]
    return different[0] if different else -1


def _levels(name: str, levels: Any, *, where: str) -> Levels:
    """Bring one factor to the form level name -> changes."""
    if isinstance(levels, list):
        table = {str(value): settings.nest(name.split("."), value) for value in levels}
        if len(table) != len(levels):
            raise ConfigError(f"{where}: factor '{name}' repeats a level in {levels}.")
    elif isinstance(levels, Mapping):
        for level, changes in levels.items():
            if not isinstance(level, str) or not isinstance(changes, Mapping | None):
                raise ConfigError(
                    f"{where}: factor '{name}', level {level!r}: {changes!r}; give a name (in "
                    "quotes where it looks like a number or like on, off, yes, no) and the "
                    "settings that the level changes."
                )
        table = {level: dict(changes or {}) for level, changes in levels.items()}
    else:
        raise ConfigError(
            f"{where}: factor '{name}' holds {levels!r}; give a list of values for a dotted key, "
            "or a mapping of level names to the settings they change."
        )
    if len(table) < 2:
        raise ConfigError(
            f"{where}: factor '{name}' has {len(table)} level(s); two or more are needed."
        )
    return table
