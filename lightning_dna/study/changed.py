"""What differs between the study that a results folder holds and the one that is to go on there."""

from collections.abc import Mapping
from typing import Any

from lightning_dna import settings

_SHOWN = 5
# The plan, the words and the search decide no cell.
_WITHOUT_EFFECT = ("comparison", "question", "tune", "tuned")


def difference(
    record: Mapping[str, Any], runs: Mapping[str, str], content: Mapping[str, Any]
) -> str:
    """Say which cells a folder has that are others now or gone, by which keys; "" for none.

    Args:
        record: What the folder says of itself.
        runs: Cells of the study to their run ids.
        content: Its recipe.
    """
    before: Mapping[str, str] = record["runs"]
    changed = sorted(name for name, run in before.items() if runs.get(name) != run)
    if not changed:
        return ""
    listed = f"{', '.join(changed[:_SHOWN])}{' and more' if len(changed) > _SHOWN else ''}"
    rest = len(before) - len(changed)
    valid = f"; the other {rest} stay valid" if rest else ""
    said = f"cells {listed} differ ({len(changed)} of {len(before)}{valid})"
    keys = _changed_keys(record["content"], content)
    return f"{said}, by {'; '.join(keys)}" if keys else said


def _changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the keys of a recipe that say something else than before, the first of them."""
    old, new = settings.flatten(before), settings.flatten(now)
    found = [
        f"{key}: {old.get(key, 'not given')}, now {new.get(key, 'not given')}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.split(".")[0] not in _WITHOUT_EFFECT
    ]
    return [*found[:_SHOWN], *(["and more"] if len(found) > _SHOWN else [])]
