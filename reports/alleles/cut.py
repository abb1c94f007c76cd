"""Cut several stretches out of one sequence and lift its variants onto them.

    python cut.py SEQUENCE.fa.gz SITES.vcf.gz 24576 a=0 b=200000 c=400000

writes ``chr20-cuts.fa`` and ``chr20-cuts.vcf``: stretches of 24,576 bases named a, b and c from
these 0-based starts, in ascending order, and the records that lie whole on one of them.
"""

import gzip
import sys
from pathlib import Path


def main() -> None:
    """Read the arguments and write both files."""
    fasta, sites, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    starts = {name: int(start) for name, _, start in (one.partition("=") for one in sys.argv[4:])}
    with gzip.open(fasta, "rt") as handle:
        text = "".join(line.strip() for line in handle if not line.startswith(">"))
    cuts = [f">{name}\n{text[start : start + size]}\n" for name, start in starts.items()]
    Path("chr20-cuts.fa").write_text("".join(cuts))
    head, found = [], []
    with gzip.open(sites, "rt") as handle:
        for line in handle:
            if line.startswith("#"):
                head += [] if line.startswith("##contig") else [line]
                continue
            fields = line.split("\t")
            for name, start in starts.items():
                at = int(fields[1]) - start
                if at >= 1 and at + len(fields[3]) - 1 <= size:
                    found.append("\t".join([name, str(at), *fields[2:]]))
    Path("chr20-cuts.vcf").write_text("".join(head + found))


main()
