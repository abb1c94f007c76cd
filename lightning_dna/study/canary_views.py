"""Canaries of a study: the ones its arms have in common, and their exposures by repetitions.

``canaries`` is the mean exposure of all canaries that were planted, ``canaries/x32`` of those that
were planted 32 times, ``canaries/x0`` of the control, which was planted nowhere.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import Arm


def canaries_of(arms: Mapping[str, Arm]) -> CanaryConfig | None:
    """Return the canaries that arms were trained with; ``None`` where none was.

    Checkpoints have those under ``shared``, whether they were trained with them or not.

    Raises:
        ConfigError: If two arms have different ones, which cannot be compared.
    """
    found: CanaryConfig | None = None
    first = ""
    for name, arm in arms.items():
        own = arm.settings.data.canaries
        if own is None:
            continue
        if found is not None and own != found:
            raise ConfigError(
                f"arms '{first}' and '{name}' have different data.canaries, and exposures are"
                " compared canary by canary; write data.canaries under 'shared' (an arm can leave"
                " them out with `canaries: null`)."
            )
        found, first = own, first or name
    return found


def group_names(arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the names of the groups of canaries that any arm has: ``x0``, ``x1`` and so on."""
    configs = [arm.settings.data.canaries for arm in arms.values()]
    groups = {group for config in configs if config is not None for group in config.groups}
    return tuple(f"x{group}" for group in sorted(groups))


def by_repetitions(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of exposure tables once for each view that they are in.

    Args:
        scores: Rows of ``task, repetitions`` and whatever else.

    Returns:
        The planted canaries under their task, and all under the task of their group.

    Example:
        >>> table = pd.DataFrame({"task": "c", "repetitions": [0, 4], "exposure": [1.5, 9.0]})
        >>> by_repetitions(table)["task"].tolist()
        ['c', 'c/x0', 'c/x4']
    """
    names = [f"{task}/x{count}" for task, count in _pairs(scores)]
    planted = scores[scores["repetitions"] > 0]
    return pd.concat([planted, scores.assign(task=names)], ignore_index=True)


def _pairs(scores: pd.DataFrame) -> Iterable[tuple[str, int]]:
    """Return task and repetitions of each row."""
    return zip(scores["task"].tolist(), scores["repetitions"].tolist(), strict=True)
