"""What cards of membership, canaries and alleles say beyond held-out windows. No torch."""

from collections.abc import Mapping
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Attack = Literal["loss", "neighbours"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)

Control = Literal["none", "chromosomes", "blocks"]
Reading = Literal["alone", "in_place"]
SiteWindows = Literal["around", "tiled"]
VARIANTS = "variants"


def check_membership_card(control: str, mutation_rate: float) -> None:
    """Check the settings of membership inference.

    Raises:
        ConfigError: If one is not allowed.
    """
    if control not in get_args(Control):
        raise unknown_name("control", control, get_args(Control), where="control")
    if not 0.0 < mutation_rate < 1.0:
        raise ConfigError(f"mutation_rate is {mutation_rate}; allowed: (0, 1).")


def check_canary_card(reading: str) -> None:
    """Check how a card of canaries has them read.

    Raises:
        ConfigError: If the word is not known.
    """
    if reading not in get_args(Reading):
        raise unknown_name("reading", reading, get_args(Reading), where="reading")


def check_allele_card(files: Mapping[str, str] | None, site_windows: str) -> None:
    """Check that a card of alleles names a VCF file, or nothing, and knows where windows lie.

    Raises:
        ConfigError: If it names something else.
    """
    if site_windows not in get_args(SiteWindows):
        raise unknown_name(
            "site_windows", site_windows, get_args(SiteWindows), where="site_windows"
        )
    for part in files or {}:
        if part != VARIANTS:
            raise unknown_name("part", part, (VARIANTS,), where="files")
