"""Make four very small genomes of three or more sequences each.

    python cut.py HUMAN_WINDOWS yeast-cuts.fa

writes ``human.fa`` (60 kb of chromosomes 3, 4 and 5), ``mouse.fa`` and ``opossum.fa`` (one locus in
three parts) and ``yeast.fa`` into ``species/``.
"""

import gzip
import sys
from pathlib import Path

LOCI = {"mouse": "mm10", "opossum": "monDom5"}
PARTS = ("part1", "part2", "part3")


def main() -> None:
    """Read the arguments and write the four files."""
    windows, out = Path(sys.argv[1]), Path("species")
    out.mkdir(exist_ok=True)
    human = [
        f">chr{number}\n{letters(next(windows.glob(f'hg19.chr{number}_*.fa.gz')))[500_000:560_000]}\n"
        for number in (3, 4, 5)
    ]
    (out / "human.fa").write_text("".join(human))
    for name, assembly in LOCI.items():
        text = letters(windows / "orthologs_softmasked" / f"{assembly}.fa.gz")
        third = len(text) // 3
        parts = [f">{part}\n{text[n * third : (n + 1) * third]}\n" for n, part in enumerate(PARTS)]
        (out / f"{name}.fa").write_text("".join(parts))
    (out / "yeast.fa").write_text(Path(sys.argv[2]).read_text())


def letters(path: Path) -> str:
    """Return the only sequence of a file."""
    with gzip.open(path, "rt") as handle:
        return "".join(line.strip() for line in handle if not line.startswith(">"))


main()
