"""Tables and paragraphs for a terminal of a hundred columns; values of a file on one line."""

from collections.abc import Mapping, Sequence

from lightning_dna.report.numbers import ABSENT

WIDTH = 100
_MOST_ITEMS = 40  # of a list; a genome may have thousands of contigs


def plain_table(headers: Sequence[str], lines: Sequence[Sequence[str]], sides: str) -> str:
    """Write a table with two spaces between columns, no wider than its widest cells.

    Args:
        headers: Names of the columns.
        lines: Cells, line by line.
        sides: A letter for each column: ``l`` aligns it to the left, ``r`` to the right.

    Returns:
        Text without a final line end; no line ends in spaces.

    Example:
        >>> print(plain_table(["model", "value"], [["a", "0.5"], ["b", "12.25"]], "lr"))
        model  value
        -----  -----
        a        0.5
        b      12.25
    """
    columns = list(zip(headers, *lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rule = ["-" * width for width in widths]
    written = []
    for line in (headers, rule, *lines):
        cells = [
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ]
        written.append("  ".join(cells).rstrip())
    return "\n".join(written)


def wrapped(text: str) -> str:
    """Break a paragraph into lines that fit; all but the first are indented.

    Example:
        >>> [len(line) <= WIDTH for line in wrapped("word " * 60).splitlines()]
        [True, True, True, True]
    """
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("  " + word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join(lines)


def json_text(value: object) -> str:
    """Write a value of a JSON file as one line of text.

    Example:
        >>> json_text({"train": ["chr1", "chr2"], "test": ["chr3"]})
        'train: chr1, chr2; test: chr3'
    """
    if isinstance(value, Mapping):
        parts, separator = [f"{key}: {json_text(item)}" for key, item in value.items()], "; "
    elif isinstance(value, list | tuple):
        parts, separator = [json_text(item) for item in value], ", "
    else:
        parts, separator = [ABSENT if value is None else str(value)], ""
    if len(parts) > _MOST_ITEMS:
        parts = [*parts[:_MOST_ITEMS], f"and {len(parts) - _MOST_ITEMS} more"]
    return separator.join(parts)
