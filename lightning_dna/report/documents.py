"""A page of verdicts, facts and sections, as HTML and as Markdown."""

from collections.abc import Sequence

from lightning_dna.report.exports import markdown, markdown_table
from lightning_dna.report.facts import key_facts
from lightning_dna.report.results import Results
from lightning_dna.report.sections import Section
from lightning_dna.report.tables import VERDICT_SYMBOLS
from lightning_dna.report.template import filled


def page_html(
    results: Results,
    parts: Sequence[Section],
    verdicts: Sequence[tuple[str, str, str]],
    *,
    kicker: str = "Ablation report",
) -> str:
    """Fill the template of a page.

    Args:
        results: The checked results of a study.
        parts: The sections beneath the verdict.
        verdicts: Where, what was found there, and a remark, which may be empty.
        kicker: What kind of page it is, above its title.
    """
    return filled(
        "report.html",
        kicker=kicker,
        study=results.study,
        facts=key_facts(results),
        verdicts=verdicts,
        sections=parts,
        symbols=VERDICT_SYMBOLS,
        failures=len(results.provenance.failures),
    )


def page_markdown(
    results: Results, parts: Sequence[Section], verdicts: Sequence[tuple[str, str, str]]
) -> str:
    """Write a page as Markdown, figures linked; arguments as `page_html`."""
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
