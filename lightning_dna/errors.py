"""The exceptions that a user can cause, and one sentence form for unknown names.

Everything here derives from ``ValueError``: the command line prints the message alone and exits
with status 2. ``assert`` and other exceptions are for our own mistakes and keep their traceback.
"""

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 120  # names in one message
_SHOWN_OF_MANY = 20


class LightningDNAError(ValueError):
    """Base of every error caused by an input, a setting or a file; its message says what to do."""


class ConfigError(LightningDNAError):
    """A recipe, suite, task card or setting that is unknown, of the wrong type or inconsistent."""


class DivergedError(ConfigError):
    """A training whose numbers are no longer finite: the settings do not go with the model."""


class DataError(LightningDNAError):
    """A sequence, annotation or task file that is missing, damaged or not what it says it is."""


class ResultsError(LightningDNAError):
    """A results folder or score table that is incomplete, foreign or from another version."""


class StatsError(LightningDNAError):
    """Predictions or settings from which the requested statistic cannot be computed."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest in spelling to ``name``, or ``None`` when none is close.

    Example:
        >>> nearest("hyenna", ["attention", "hyena"])
        'hyena'
    """
    found = difflib.get_close_matches(name.lower(), [*allowed], n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_name(kind: str, name: str, allowed: Iterable[str], *, where: str = "") -> ConfigError:
    """Build the error for a name that is not in a table: what, where, allowed, probably meant.

    Args:
        kind: What the name should have named, for example ``"arm"``.
        name: The name found.
        allowed: The names that exist.
        where: File and key in which the name stood, if any.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> str(unknown_name("mixer", "hyenna", ["attention", "hyena"]))
        "unknown mixer 'hyenna'; allowed: attention, hyena. Did you mean 'hyena'?"
    """
    options = sorted(allowed)
    place = f"{where}: " if where else ""
    guess = nearest(name, options)
    hint = f" Did you mean '{guess}'?" if guess else ""
    shown, more = options, ""
    if len(options) > _MOST_SHOWN:  # a suite may have dozens of tasks: those like the name will do
        close = difflib.get_close_matches(name.lower(), options, n=_SHOWN_OF_MANY, cutoff=0.0)
        shown, more = sorted(close), f" and {len(options) - len(close)} more"
    return ConfigError(
        f"{place}unknown {kind} '{name}'; allowed: {', '.join(shown) or 'none'}{more}.{hint}"
    )
