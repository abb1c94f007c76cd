"""FASTA files with the label in the header, ``>name|label``: the Nucleotide Transformer tasks.

The label is what follows the last ``|``; names may repeat and may hold ``|`` themselves.
"""

from pathlib import Path

from lightning_dna.errors import DataError
from lightning_dna.genome.plaintext import text_lines
from lightning_dna.tasks.layouts.table import LabelledTable

_EXPECTED = "expected '>name|label', as in '>chr1:100-600|0'"


def read_fasta(path: Path) -> LabelledTable:
    """Read a FASTA file, plain or gzip, with a label in every header.

    Args:
        path: The file; a sequence may go over several lines.

    Returns:
        Columns ``sequence``, ``label`` and ``name``.

    Raises:
        DataError: If the file is damaged or empty, does not begin with a header, or a header has no
            label; the message says on which lines.
    """
    names: list[str] = []
    labels: list[str] = []
    sequences: list[list[str]] = []
    lines: list[int | str] = []
    wrong: list[int] = []
    for number, text in enumerate(text_lines(path), start=1):
        line = text.strip()
        if line.startswith(">"):
            name, bar, label = line[1:].rpartition("|")
            if not bar or not label.strip():
                wrong.append(len(lines))
                name, label = line[1:], ""
            names.append(name.strip())
            labels.append(label.strip())
            sequences.append([])
            lines.append(number)
        elif line and not sequences:
            raise DataError(
                f"{path}, line {number}: {line[:30]!r} stands before the first header; {_EXPECTED}."
            )
        elif line:
            sequences[-1].append(line)
    if not lines:
        raise DataError(f"{path} holds no record; {_EXPECTED}.")
    columns = {"sequence": ["".join(row) for row in sequences], "label": labels, "name": names}
    table = LabelledTable(path=path, columns=columns, lines=lines)
    if wrong:
        raise table.refuse(
            wrong, "label", f"the header {names[wrong[0]]!r} has no label; {_EXPECTED}."
        )
    return table
