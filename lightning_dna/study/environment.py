"""What moves a number without standing in any setting: versions, commit, machine."""

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import lightning_dna

_PACKAGES = (
    "lightning",
    "torch",
    "torchmetrics",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "pyfaidx",
    "optuna",
)


def environment() -> dict[str, Any]:
    """Return versions, commit and platform of this process."""
    return {
        "versions": {"lightning_dna": lightning_dna.__version__, **package_versions()},
        "commit": git_commit(),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that can move a number."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


@cache
def git_commit() -> str:
    """Return the commit of the checkout this package runs from, or nothing outside of one."""
    root = Path(lightning_dna.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
