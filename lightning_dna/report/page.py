"""The report of a study: a pure function from its results folder to a page, tables and figures."""

import shutil
import tempfile
from pathlib import Path

from lightning_dna.errors import ResultsError
from lightning_dna.report.documents import page_html, page_markdown
from lightning_dna.report.exports import csv_table, latex_tables
from lightning_dna.report.gain_table import gain_verdicts
from lightning_dna.report.labelled_tables import collapsed_verdicts
from lightning_dna.report.memorization import memorization_files
from lightning_dna.report.results import Results, load_results
from lightning_dna.report.sections import sections
from lightning_dna.report.tables import main_tables
from lightning_dna.report.wording import place, reference_sentence, verdict_sentence


def render(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a study.

    The same results give the same bytes. Everything is made in a temporary folder first; files are
    moved into place when all of them are complete, the page last.

    Args:
        folder: The study's folder, which holds ``results/``.
        out: Where ``report.html``, ``report.md``, ``table.csv``, ``table.tex`` and ``figures/`` go,
            and ``memorization.html`` and ``.md`` where the battery was scored; the study's folder
            by default.

    Returns:
        The path of ``report.html``.

    Raises:
        ResultsError: If the results are missing, damaged or from another version, or ``out``
            cannot be written to.
    """
    files = build(load_results(folder))
    target = folder if out is None else out
    try:
        _write(files, target)
    except OSError as error:
        raise ResultsError(
            f"cannot write the report to {target}: {error.strerror or error}; free space or choose"
            " a writable folder, then run `lightning-dna report` again."
        ) from error
    return target / "report.html"


def build(results: Results) -> dict[str, str]:
    """Return every file of the report, by its path relative to the report's folder.

    ``report.html`` comes last.
    """
    parts = sections(results)
    verdicts = (
        [
            (
                place(task, metric),
                verdict_sentence(results, task, metric),
                reference_sentence(results, task, metric),
            )
            for task, metric in results.primary
            if task not in results.collapsed
        ]
        + collapsed_verdicts(results)
        + gain_verdicts(results)
    )
    files = {
        f"figures/{drawing.name}.svg": drawing.svg for part in parts for drawing in part.drawings
    }
    caption = (
        f"{results.study.question} Brackets are {results.study.level:.0%} intervals; differences"
        f" are to {results.study.baseline}."
    )
    files["table.csv"] = csv_table(results)
    files["table.tex"] = latex_tables(
        main_tables(results), name=results.study.name, caption=caption
    )
    files |= memorization_files(results)
    files["report.md"] = page_markdown(results, parts, verdicts)
    files["report.html"] = page_html(results, parts, verdicts)
    return files


def _write(files: dict[str, str], target: Path) -> None:
    """Write the files to a temporary folder inside ``target``, then move them into place."""
    target.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".report-", suffix=".partial", dir=target))
    try:
        for name, text in files.items():
            file = staging / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        for name in files:
            (target / name).parent.mkdir(exist_ok=True)
            (staging / name).replace(target / name)
        # A figure of an earlier report that this one does not have would be mistaken for its own.
        for figure in (target / "figures").glob("*.svg"):
            if f"figures/{figure.name}" not in files:
                figure.unlink()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
