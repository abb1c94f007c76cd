"""What a card of kind ``heldout_mlm`` may say of its unit and its gap. No torch here."""

from lightning_dna.errors import ConfigError

_UNITS = ("example", "homology")


def check_heldout_card(unit: str, train_windows: bool, matched_gap: bool) -> None:
    """Refuse a unit that windows do not have, and a gap without windows of training chromosomes.

    Raises:
        ConfigError: If there is one.
    """
    if unit not in _UNITS:
        raise ConfigError(
            f"unit is '{unit}'; windows of held-out chromosomes are resampled by stretches of "
            f"cluster_length bases ('example'), or by such stretches united where they share "
            f"sequence ('homology'). For whole chromosomes set cluster_length to the longest one."
        )
    if matched_gap and not train_windows:
        raise ConfigError(
            "matched_gap is true, but train_windows is false: without windows of the training "
            "chromosomes there is no gap; set train_windows to true."
        )
