"""The tables as files for other programs: CSV in full precision, LaTeX, Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from lightning_dna.report.numbers import ABSENT
from lightning_dna.report.results import Results
from lightning_dna.report.rows import ArmCost, Difference, Estimate
from lightning_dna.report.tables import COST, Cell, Table, panels

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


def latex_tables(tables: Sequence[Table], *, name: str, caption: str, below: str = "") -> str:
    r"""Write tables with booktabs rules, each group of columns a float of its own.

    A float holds no page break, so several tables in one would run off the paper.

    Args:
        tables: Tables, usually the main ones.
        name: Name of the study, for the labels ``tab:NAME-1``, ``tab:NAME-2``, ...
        caption: What is true of all; stands in full in the first caption, the others point there.
        below: LaTeX beneath the last table.

    Returns:
        ``table`` environments to be included with ``\input``; ASCII apart from names.
    """
    stem = "tab:" + "".join(letter if letter.isalnum() else "-" for letter in name)
    cut = [
        (COST if panel.title == COST else f"{table.title} {panel.title}", _with_content(panel))
        for table in tables
        for panel in panels(table)
    ]
    floats = []
    for number, (heading, panel) in enumerate(cut, start=1):
        about = latex(caption) if number == 1 else rf"Otherwise as Table~\ref{{{stem}-1}}."
        said = heading.strip(" .")
        floats.append(
            "\\begin{table}[htbp]\n\\centering\\footnotesize\\setlength{\\tabcolsep}{2.5pt}\n"
            f"\\caption{{{latex(said) + '. ' if said else ''}{about}}}\n"
            f"\\label{{{stem}-{number}}}\n{_latex_panel(panel)}"
            f"{below if number == len(cut) else ''}\n\\end{{table}}\n"
        )
    return "\n".join(["% needs \\usepackage{booktabs}", *floats])


def _with_content(panel: Table) -> Table:
    """Leave out simple baselines of which a panel says nothing, as of what they cost."""
    rows = (
        row
        for row in panel.rows
        if row.role != "reference" or any(cell.text != ABSENT for cell in row.cells)
    )
    return replace(panel, rows=tuple(rows))


def _latex_panel(table: Table) -> str:
    """Write one group of columns as a tabular."""
    cells = table.rows[0].cells if table.rows else ()
    spec = "l" + "".join("r" if cell.numeric else "l" for cell in cells)
    lines = [
        f"\\begin{{tabular}}{{{spec}}}",
        r"\toprule",
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
