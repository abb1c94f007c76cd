"""Where shipped recipes, suites, task cards and data sources are: one resolver, by name or path.

In a checkout or an editable install the data folders stand beside the package; a wheel carries
them inside it, under ``lightning_dna/_shipped``. Nothing else in the project knows the difference.
"""

from pathlib import Path
from typing import Literal

from lightning_dna.errors import ConfigError, unknown_name

Kind = Literal["recipe", "suite", "task", "source"]

_FOLDERS: dict[Kind, str] = {
    "recipe": "ablations",
    "suite": "benchmarks/suites",
    "task": "benchmarks/tasks",
    "source": "benchmarks/sources",
}


def shipped_root() -> Path:
    """Return the folder that holds ``ablations`` and ``benchmarks``, however we are installed.

    Raises:
        ConfigError: If the installation carries no data folders.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_shipped", package.parent):
        if (root / "ablations").is_dir() and (root / "benchmarks").is_dir():
            return root
    raise ConfigError(
        f"no shipped recipes beside or inside {package}: the installation is incomplete; "
        "reinstall lightning-dna from a wheel or run from a full checkout."
    )


def names(kind: Kind) -> list[str]:
    """List the shipped entries of one kind, sorted.

    Example:
        >>> "quickstart" in names("recipe")
        True
    """
    return sorted(path.stem for path in (shipped_root() / _FOLDERS[kind]).glob("*.yaml"))


def resolve(kind: Kind, name: str | Path, *, beside: Path | None = None) -> Path:
    """Find the YAML file of a recipe, suite, task card or data source.

    Args:
        kind: What is looked for.
        name: A shipped name such as ``"quickstart"``, or the path of a ``.yaml`` file.
        beside: A folder in which a relative path is tried first, for files named by other files.

    Returns:
        The path of an existing file.

    Raises:
        ConfigError: If a path does not exist or a name is not shipped.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        candidates = [Path(text)] if beside is None else [beside / text, Path(text)]
        for candidate in candidates:
            if candidate.is_file():
                return candidate.resolve()
        raise ConfigError(
            f"no {kind} file at {' nor '.join(str(c) for c in candidates)}; "
            f"give the path of a YAML file or one of the shipped names: {', '.join(names(kind))}."
        )
    path = shipped_root() / _FOLDERS[kind] / f"{text}.yaml"
    if not path.is_file():
        raise unknown_name(kind, text, names(kind))
    return path
