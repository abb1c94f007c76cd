"""What cards of membership inference and of alleles say beyond held-out windows. No torch."""

from collections.abc import Mapping
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name

Attack = Literal["loss", "neighbours"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)

Control = Literal["none", "chromosomes", "blocks"]
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


def check_allele_card(files: Mapping[str, str] | None) -> None:
    """Check that a card of alleles names a VCF file, or nothing.

    Raises:
        ConfigError: If it names something else.
    """
    for part in files or {}:
        if part != VARIANTS:
            raise unknown_name("part", part, (VARIANTS,), where="files")
