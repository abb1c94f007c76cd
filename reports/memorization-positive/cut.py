"""Cut one stretch out of several chromosomes: sequence and genes, under the chromosomes' names.

    python cut.py sacCer3.softmask.fa.gz genes.gtf.gz 60000 84576 chrI chrXII chrIV chrX

writes ``yeast-cuts.fa`` and ``yeast-cuts.gtf``; the stretch is 0-based and half-open.
"""

import gzip
import sys
from pathlib import Path


def main() -> None:
    """Read the arguments and write both files."""
    fasta, genes, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    wanted = sys.argv[5:]
    with gzip.open(fasta, "rt") as handle:
        records = [record.split("\n", 1) for record in handle.read().split(">")[1:]]
    letters = {name.split()[0]: text.replace("\n", "") for name, text in records}
    cuts = [f">{name}\n{letters[name][first:last]}\n" for name in wanted]
    Path("yeast-cuts.fa").write_text("".join(cuts))
    lines = []
    with gzip.open(genes, "rt") as handle:
        for line in handle:
            fields = line.split("\t")
            name = fields[0] if fields[0].startswith("chr") else f"chr{fields[0]}"
            if name not in wanted:
                continue
            start, end = max(int(fields[3]), first + 1), min(int(fields[4]), last)
            if start <= end:
                place = [str(start - first), str(end - first)]
                lines.append("\t".join([name, *fields[1:3], *place, *fields[5:]]))
    Path("yeast-cuts.gtf").write_text("".join(lines))


main()
