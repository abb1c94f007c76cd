"""Haplotypes as FASTA files, with the table of what they change."""

import csv
import io
from pathlib import Path

from lightning_dna.atomic import replacing, write_text
from lightning_dna.genome.alphabet import decode
from lightning_dna.genome.haplotypes import Haplotypes

_LINE = 80  # bases of a line
_PIECE = _LINE << 16  # bases written at a time


def write_haplotypes(found: Haplotypes, folder: Path) -> tuple[Path, ...]:
    """Write ``haplotype_1.fa`` and so on, and ``budget.csv``.

    Args:
        found: The haplotypes.
        folder: Where to write; made when missing.

    Returns:
        The files.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    written = []
    for number, genome in enumerate(found.genomes, start=1):
        path = folder / f"haplotype_{number}.fa"
        with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
            for name in genome.names:
                file.write(f">{name}\n")
                codes = genome.stored(name)
                for first in range(0, len(codes), _PIECE):
                    letters = decode(codes[first : first + _PIECE])
                    lines = (letters[at : at + _LINE] for at in range(0, len(letters), _LINE))
                    file.writelines(f"{line}\n" for line in lines)
        written.append(path)
    table = io.StringIO()
    rows = csv.DictWriter(table, ["haplotype", "class", "variants", "bases"], lineterminator="\n")
    rows.writeheader()
    rows.writerows(found.budget.rows())
    write_text(folder / "budget.csv", table.getvalue())
    return (*written, folder / "budget.csv")
