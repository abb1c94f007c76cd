"""What a card may say about its files: parts, checksums, and a part that is cut from another."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_dna.errors import ConfigError, unknown_name

PARTS = ("train", "valid", "test")
Split = Literal["original", "deoverlapped", "chromosome", "homology"]
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Carve:
    """A part that the files do not hold and that is cut from another one; never from ``test``.

    Args:
        part: The part to make.
        source: The part it is cut from, which keeps the rest.
        fraction: Share of the source's examples that go to ``part``, in (0, 1).
        seed: Seed of the choice, 0 or more.

    Raises:
        ConfigError: If a value is not allowed.
    """

    part: Literal["train", "valid"] = "valid"
    source: Literal["train", "valid"] = "train"
    fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.part == self.source:
            raise ConfigError(
                f"carve.part and carve.source are both '{self.part}'; a part is cut from another."
            )
        if not 0.0 < self.fraction < 1.0:
            raise ConfigError(f"carve.fraction is {self.fraction}; allowed: (0, 1).")
        if self.seed < 0:
            raise ConfigError(f"carve.seed is {self.seed}; allowed: 0 or more.")


def check_files(files: Mapping[str, str] | None, carve: Carve | None) -> None:
    """Check that the files and the carved part make up train, valid and test.

    Raises:
        ConfigError: If they do not, or a part is unknown.
    """
    if not files:
        raise ConfigError(
            "files is missing; give a file for each of train, valid and test, or one for 'all' "
            "with a column 'split'."
        )
    for part in files:
        if part not in (*PARTS, "all"):
            raise unknown_name("part", part, (*PARTS, "all"), where="files")
    if "all" in files:
        if len(files) > 1:
            raise ConfigError("files has 'all' beside other parts; give one or the other.")
        return  # which parts that file holds is known when it is read
    present = set(files)
    if carve is not None:
        if carve.source not in present or carve.part in present:
            raise ConfigError(
                f"carve makes '{carve.part}' from '{carve.source}', but files holds "
                f"{', '.join(sorted(present))}; the source must be a file and the part not."
            )
        present.add(carve.part)
    missing = {*PARTS} - present
    if missing:
        raise ConfigError(
            f"files lacks {', '.join(sorted(missing))}; add the file, or carve train or valid "
            f"from the other. The test part is never carved."
        )


def check_layout(
    layout: str,
    files: Mapping[str, str],
    labels: tuple[str, ...] | None,
    reference: str | Mapping[str, str] | None,
) -> None:
    """Check that the layout goes with the files, and the references with the classes.

    Raises:
        ConfigError: If it does not.
    """
    if layout == "classes" and "all" in files:
        raise ConfigError(
            "layout 'classes' has a folder for each part; give files train and test, not 'all'."
        )
    if reference is None:
        return
    if layout != "classes":
        raise ConfigError(
            f"reference has no meaning for layout '{layout}'; only the intervals of layout "
            f"'classes' are read from one."
        )
    if isinstance(reference, Mapping):
        if labels is None:
            raise ConfigError("reference names classes; list them in order as labels.")
        for name in reference:
            if name not in labels:
                raise unknown_name("class", name, labels, where="reference")
        lacking = [name for name in labels if name not in reference]
        if lacking:
            raise ConfigError(
                f"reference lacks {', '.join(lacking)}; give a FASTA file for each class, or one "
                f"for all."
            )


def check_sums(sums: Mapping[str, str] | None, files: Mapping[str, str] | None) -> None:
    """Check that every file has a name, and every checksum a file and the form of a checksum.

    Raises:
        ConfigError: If one does not.
    """
    for part, name in (files or {}).items():
        if not name.strip() or not Path(name).name:
            raise ConfigError(
                f"files: '{part}' is {name!r}, which names no file; give its path, relative to "
                f"tasks_root or to the card's folder."
            )
    for part, value in (sums or {}).items():
        if part not in (files or {}):
            raise unknown_name("part", part, files or {}, where="sha256")
        if not _SHA256.fullmatch(value):
            raise ConfigError(
                f"sha256 of '{part}' is '{value}'; expected 64 hexadecimal digits in lower case, "
                f"as `sha256sum` writes them."
            )
