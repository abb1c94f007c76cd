"""The strip of facts beneath the verdict."""

import re

from lightning_dna.report.numbers import ABSENT, fixed, listing, magnitude
from lightning_dna.report.results import Results
from lightning_dna.report.tables import context_lengths


def key_facts(results: Results) -> list[tuple[str, str]]:
    """Return the facts of the strip beneath the verdict: heading and text."""
    study, source = results.study, results.provenance
    spent = [row.tokens for row in results.arms if row.kind == "model" and row.tokens > 0]
    tokens = ABSENT
    if spent:
        ends = list(dict.fromkeys((magnitude(min(spent)), magnitude(max(spent)))))
        tokens = " to ".join(ends)
    resamples = set(
        re.findall(r"resamples:(\d+)", " ".join(r.signature for r in results.estimates))
    )
    lengths = sorted(set(context_lengths(results).values()))
    context = f"{listing([fixed(length, 0) for length in lengths])} bases" if lengths else ABSENT
    scope = "training procedure" if study.scope == "procedure" else "these checkpoints"
    references = f" and {len(results.references)} simple baselines" if results.references else ""
    facts = [
        ("Arms", f"{len(results.models)}{references}"),
        ("Seeds per arm", f"{len(study.seeds)} ({listing([str(seed) for seed in study.seeds])})"),
        ("Training tokens per seed", tokens),
        ("Genome", str(source.data.get("genome", ABSENT))),
        ("Context", context),
        ("Scope", scope),
        ("Intervals", f"{study.level:.0%}, {', '.join(sorted(resamples)) or 'no'} resamples"),
    ]
    held_out = source.data.get("test")
    if held_out:
        names = [str(name) for name in held_out] if isinstance(held_out, list) else [str(held_out)]
        text = ", ".join(names) if len(names) <= 4 else f"{len(names)} chromosomes"
        facts.insert(4, ("Held out", text))
    return facts
