"""Settings that a search chose: declared in the recipe, held to it, and told in the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_dna import settings
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.study.recipe import Arm
from lightning_dna.study.recipe_sections import TuneConfig, TunedConfig


def declared(
    config: TuneConfig, best: Mapping[str, Mapping[str, Any]], values: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Return the ``tuned`` section of a recipe: what was chosen for each arm, and by how much.

    Args:
        config: The search.
        best: By arm, the settings of its best trial.
        values: By arm, the validation bits per base of that trial.
    """
    return {
        arm: {
            "settings": dict(chosen),
            "trials": config.trials,
            "budget_fraction": config.budget_fraction,
            "sampler": config.sampler,
            "valid_bits_per_base": values[arm],
        }
        for arm, chosen in best.items()
    }


def check_tuned(tuned: Mapping[str, TunedConfig], arms: Mapping[str, Arm], *, where: str) -> None:
    """Check that every arm has the settings that a search is said to have chosen for it.

    Raises:
        ConfigError: If an arm does not exist or has others.
    """
    for name, found in tuned.items():
        if name not in arms:
            raise unknown_name("arm", name, arms, where=f"{where}: tuned")
        has = settings.flatten(settings.plain(arms[name].settings))
        for key, value in found.settings.items():
            if key not in has:
                raise unknown_name("setting", key, has, where=f"{where}: tuned.{name}.settings")
            if has[key] != value:
                raise ConfigError(
                    f"{where}: tuned.{name}.settings says that a search chose {key}: {value}, but"
                    f" the arm has {has[key]}; give the arm that value, or take the key out of"
                    " 'tuned', since the report would call it tuned."
                )


def tuned_notes(tuned: Mapping[str, TunedConfig], arms: Sequence[str]) -> list[str]:
    """Say which settings were tuned, by how many trials, and which arms were not.

    Args:
        tuned: What searches chose, by arm.
        arms: The arms that are trained here.
    """
    notes = []
    for name, found in tuned.items():
        listed = ", ".join(f"{key} = {_shown(value)}" for key, value in found.settings.items())
        notes.append(
            f"arm '{name}' has tuned settings: {listed}; the best of {found.trials} trials"
            f" ({found.sampler}, {found.budget_fraction:.0%} of the token budget each), chosen on"
            f" validation chromosomes at {found.valid_bits_per_base:.4f} bits per base there"
        )
    others = [name for name in arms if name not in tuned]
    if notes and others:
        notes.append(
            f"{', '.join(others)} had no search: a difference to a tuned arm is also one of effort"
        )
    trials = {found.trials for found in tuned.values()}
    if len(trials) > 1:
        notes.append(
            f"arms were tuned with unequal numbers of trials, from {min(trials)} to {max(trials)}:"
            " the best of more is better by chance alone"
        )
    return notes


def _shown(value: Any) -> str:
    """Write a value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
