"""The report of a study: a pure function from its results folder to a page, tables and figures."""

import shutil
import tempfile
from pathlib import Path

import jinja2

from lightning_dna.errors import ResultsError
from lightning_dna.report.exports import csv_table, latex_tables, markdown, markdown_table
from lightning_dna.report.facts import key_facts
from lightning_dna.report.labelled_tables import collapsed_verdicts
from lightning_dna.report.results import Results, load_results
from lightning_dna.report.sections import Section, sections
from lightning_dna.report.tables import VERDICT_SYMBOLS, main_tables
from lightning_dna.report.wording import place, reference_sentence, verdict_sentence


def render(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a study.

    The same results give the same bytes. Everything is made in a temporary folder first; files are
    moved into place when all of them are complete, the page last.

    Args:
        folder: The study's folder, which holds ``results/``.
        out: Where ``report.html``, ``report.md``, ``table.csv``, ``table.tex`` and ``figures/`` go;
            the study's folder by default.

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
    verdicts = [
        (
            place(task, metric),
            verdict_sentence(results, task, metric),
            reference_sentence(results, task, metric),
        )
        for task, metric in results.primary
        if task not in results.collapsed
    ] + collapsed_verdicts(results)
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
    files["report.md"] = _markdown(results, parts, verdicts)
    files["report.html"] = _html(results, parts, verdicts)
    return files


def _html(results: Results, parts: list[Section], verdicts: list[tuple[str, str, str]]) -> str:
    """Fill the template of the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lightning_dna.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        study=results.study,
        facts=key_facts(results),
        verdicts=verdicts,
        sections=parts,
        symbols=VERDICT_SYMBOLS,
        failures=len(results.provenance.failures),
    )


def _markdown(results: Results, parts: list[Section], verdicts: list[tuple[str, str, str]]) -> str:
    """Write the page as Markdown, figures linked."""
    blocks = [f"# {markdown(results.study.name)}", markdown(results.study.question)]
    blocks += [
        f"- **{markdown(where)}:** {markdown(f'{said} {more}'.strip())}"
        for where, said, more in verdicts
    ]
    blocks.append("\n".join(f"- {name}: {markdown(text)}" for name, text in key_facts(results)))
    for part in parts:
        blocks.append(f"## {part.title}")
        blocks += [markdown(text) for text in part.paragraphs]
        for drawing in part.drawings:
            caption = markdown(drawing.caption)
            blocks.append(f"![{caption}](figures/{drawing.name}.svg)\n\n{caption}")
        for table in part.tables:
            blocks += [f"### {markdown(table.title)}"] if table.title else []
            blocks.append(markdown_table(table))
        if part.code:
            blocks.append(f"~~~~yaml\n{part.code}\n~~~~")
        if part.folded is not None:
            blocks.append(f"{part.folded_title}, in full precision: `{part.folded_file}`.")
    return "\n\n".join(blocks) + "\n"


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
