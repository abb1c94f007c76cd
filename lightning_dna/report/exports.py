"""The tables as files for other programs: CSV in full precision, LaTeX, Markdown."""

import csv
import io
from collections.abc import Sequence

from lightning_dna.report.results import Results
from lightning_dna.report.rows import ArmCost, Difference, Estimate
from lightning_dna.report.tables import Cell, Table, panels

_COST_FIELDS = (
    "parameters",
    "flops_per_base",
    "tokens",
    "train_seconds",
    "tokens_per_second",
    "peak_memory_mib",
)
_ESTIMATE_FIELDS = (
    "estimate",
    "low",
    "high",
    "se",
    "df",
    "unit",
    "n_units",
    "n_examples",
    "n_seeds",
)
_DIFFERENCE_FIELDS = ("baseline", "delta", "low", "high", "p", "p_adjusted", "verdict", "mde80")


def csv_table(results: Results) -> str:
    """Write every number of the study in full precision, one line per arm, task and metric."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            *("variant", "kind", "task", "metric", "planned", *_ESTIMATE_FIELDS),
            *(f"delta_{name}" if name in {"low", "high"} else name for name in _DIFFERENCE_FIELDS),
            *_COST_FIELDS,
            *("flags", "signature", "delta_signature"),
        ]
    )
    for row in results.estimates:
        other = results.difference(row.variant, row.task, row.metric)
        cost = results.costs.get(row.variant)
        flags = dict.fromkeys((*row.flags, *(other.flags if other else ())))
        planned = (row.task, row.metric) in results.study.planned
        writer.writerow(
            [
                *(row.variant, row.kind, row.task, row.metric, str(planned).lower()),
                *_fields(row, _ESTIMATE_FIELDS),
                *_fields(other, _DIFFERENCE_FIELDS),
                *_fields(cost, _COST_FIELDS),
                *(";".join(flags), row.signature, other.signature if other else ""),
            ]
        )
    return stream.getvalue()


def _fields(row: Estimate | Difference | ArmCost | None, names: Sequence[str]) -> list[str]:
    """Return fields as text that reads back to the same number; empty for what is absent."""
    values = [None if row is None else getattr(row, name) for name in names]
    return [
        ""
        if value is None or value != value
        else repr(value)
        if isinstance(value, float)
        else str(value)
        for value in values
    ]


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": r"$-$",
    "\u2014": r"---",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u00b1": r"$\pm$",
    "\u221e": r"$\infty$",
    "\u00d7": r"$\times$",
    "\u00b2": r"$^2$",
}


def latex(text: str) -> str:
    r"""Escape text for LaTeX; letters outside ASCII that have no spelling here are kept.

    Example:
        >>> latex("a_b & 5 %")
        'a\\_b \\& 5 \\%'
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def latex_tables(tables: Sequence[Table], *, name: str, caption: str) -> str:
    r"""Write tables one below the other with booktabs rules, one panel per group of columns.

    Args:
        tables: Tables, usually the main ones.
        name: Name of the study, for the label.
        caption: Caption of the whole.

    Returns:
        A ``table`` environment to be included with ``\input``; ASCII apart from names.
    """
    label = "".join(letter if letter.isalnum() else "-" for letter in name)
    body = "\n\n\\medskip\n\n".join(
        _latex_panel(panel, heading=table.title) for table in tables for panel in panels(table)
    )
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\\small\n"
        f"\\caption{{{latex(caption)}}}\n\\label{{tab:{label}}}\n{body}\n\\end{{table}}\n"
    )


def _latex_panel(table: Table, *, heading: str) -> str:
    """Write one group of columns as a tabular under the heading of the whole table."""
    cells = table.rows[0].cells if table.rows else ()
    spec = "l" + "".join("r" if cell.numeric else "l" for cell in cells)
    title = latex(f"{heading} {table.title}".strip())
    lines = [
        f"\\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        f"\\multicolumn{{{len(spec)}}}{{l}}{{\\emph{{{title}}}}} \\\\",
        r"\midrule",
        _latex_line([table.first, *(column.title for column in table.columns)]),
        r"\midrule",
    ]
    role = ""
    for row in table.rows:
        if row.role == "reference" and role != "reference":
            lines.append(r"\midrule")
        role = row.role
        lines.append(_latex_line([row.name], row.cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _latex_line(texts: Sequence[str], cells: Sequence[Cell] = ()) -> str:
    """Write one line of a tabular."""
    return " & ".join([*(latex(text) for text in texts), *(_latex_cell(c) for c in cells)]) + r" \\"


def _latex_cell(cell: Cell) -> str:
    """Write a cell; the second line follows the first in a smaller size."""
    detail = f" {{\\scriptsize {latex(cell.detail)}}}" if cell.detail else ""
    return latex(cell.text) + detail


def markdown(text: str) -> str:
    r"""Escape text for a Markdown paragraph or table cell.

    Example:
        >>> markdown("a_b|<c>")
        'a\\_b\\|&lt;c&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#~$" else letter for letter in text)


def markdown_table(table: Table) -> str:
    """Write a table as pipe tables, one per group of columns, each beneath its heading."""
    return "\n\n".join(_markdown_panel(panel) for panel in panels(table))


def _markdown_panel(table: Table) -> str:
    """Write one group of columns as a pipe table."""
    cells = table.rows[0].cells if table.rows else ()
    titles = [table.first, *(column.title for column in table.columns)]
    lines = [f"*{markdown(table.title)}*", ""] if table.title else []
    lines += [
        _markdown_line([markdown(title) for title in titles]),
        "| --- |" + "".join(" ---: |" if cell.numeric else " --- |" for cell in cells),
    ]
    for row in table.rows:
        mark = "*" if row.role == "reference" else "**"
        name = f"{mark}{markdown(row.name)}{mark}"
        texts = [markdown(f"{cell.text} {cell.detail}".strip()) for cell in row.cells]
        lines.append(_markdown_line([name, *texts]))
    return "\n".join(lines)


def _markdown_line(texts: Sequence[str]) -> str:
    """Write one line of a pipe table; a line end inside a cell would break it."""
    return "| " + " | ".join(" ".join(text.split()) for text in texts) + " |"
