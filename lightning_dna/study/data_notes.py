"""What is said of the data that arms read: shares of genomes, what variants changed, canaries."""

from collections.abc import Mapping
from typing import Any

from lightning_dna import settings
from lightning_dna.data.training_set import training_set
from lightning_dna.genome.joined import split_name
from lightning_dna.study.gather import Gathered
from lightning_dna.study.study import Study


def data_lines(study: Study) -> list[str]:
    """Return lines for the plan: of each arm, shares of its genomes, its variants, its canaries."""
    found = {}
    for arm in study.trained:
        data = arm.settings.data
        if not data.genomes and data.variants == "none" and data.canaries is None:
            continue
        training = training_set(data, study.genome, study.split)
        said = []
        if data.genomes:
            shares = training.by_genome(training.shares)
            said.append(shares_text({name: shares.get(name, 0.0) for name in data.genomes}))
        budgets = {name: settings.plain(one) for name, one in training.budgets.items()}
        found[arm.name] = [*said, *budget_texts(budgets), *canary_texts(training.canary_record())]
    return [f"{'data' if not n else '':12}{line}" for n, line in enumerate(_by_arm(found))]


def data_notes(study: Study, gathered: Gathered) -> list[str]:
    """Return notes for the page: what each finished arm read, as its training recorded it."""
    found = {}
    for name in study.arms:
        seeds = gathered.seeds[name]
        if not seeds:
            continue
        record = gathered.records[name, seeds[0]]
        genomes = record.get("genomes") or {}
        said = []
        if genomes:
            said.append(
                shares_text({genome: row["share"] for genome, row in genomes.items()})
                + "; bases read: "
                + ", ".join(f"{genome} {row['bases']:,}" for genome, row in genomes.items())
            )
        found[name] = said + budget_texts(record.get("variants") or {}) + canary_texts(record)
    notes = _by_arm({name: said for name, said in found.items() if said})
    if any(arm.settings.data.variants != "none" for arm in study.trained):
        notes.append("arms with variants read haplotypes; all arms are scored on the reference")
    trained = {split_name(chrom)[0] for chrom in study.split.train}
    records = [gathered.records[name, seeds[0]] for name, seeds in gathered.seeds.items() if seeds]
    shares = [row for record in records for row in (record.get("genomes") or {}).items()]
    if any(name in trained and row["share"] == 0 for name, row in shares):
        notes.append(
            "for an arm that is not trained on a genome, the windows of that genome's training"
            " chromosomes, in the views train and gap, are as new as the others"
        )
    return notes


def _by_arm(found: Mapping[str, list[str]]) -> list[str]:
    """Return one line for each thing said, with the arms that it is said of."""
    lines: dict[str, list[str]] = {}
    for arm, said in found.items():
        for text in said:
            lines.setdefault(text, []).append(arm)
    return [
        f"{'arm' if len(arms) == 1 else 'arms'} {', '.join(arms)}: {text}"
        for text, arms in lines.items()
    ]


def canary_texts(record: Mapping[str, Any]) -> list[str]:
    """Return what canaries took of the training windows, as text; nothing where there are none.

    Example:
        >>> canary_texts({"canaries": {"copies": 63, "bases": 4032, "share": 0.004}})
        ['63 copies of canaries in the place of 4,032 training bases (0.40%)']
    """
    found = record.get("canaries")
    if not found:
        return []
    return [
        f"{found['copies']:,} copies of canaries in the place of {found['bases']:,} training bases "
        f"({found['share']:.2%})"
    ]


def shares_text(shares: Mapping[str, float]) -> str:
    """Return the shares of the training bases as text; genomes that are not trained on last.

    Example:
        >>> shares_text({"human": 0.0, "yeast": 1.0})
        'training bases from yeast 100.0%; not trained on: human'
    """
    read = [f"{name} {share:.1%}" for name, share in shares.items() if share]
    unseen = [name for name, share in shares.items() if not share]
    text = f"training bases from {', '.join(read)}"
    return f"{text}; not trained on: {', '.join(unseen)}" if unseen else text


def budget_texts(budgets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what variants changed in each genome, as text.

    Args:
        budgets: Genome to the fields of a `VariantBudget`.

    Example:
        >>> budgets = {"": {"applied": [{"snv": [3, 3]}], "skipped": {"overlap": 1}, "alleles": 4}}
        >>> budget_texts(budgets)
        ['variants: 4 alleles in the file; haplotype 1: snv 3 (3 bases); left out: overlap 1']
    """
    texts = []
    for name, budget in budgets.items():
        parts = [f"{budget['alleles']:,} alleles in the file"]
        for number, classes in enumerate(budget["applied"], start=1):
            counts = [f"{kind} {n:,} ({bases:,} bases)" for kind, (n, bases) in classes.items()]
            parts.append(f"haplotype {number}: {', '.join(counts) or 'none'}")
        if budget["skipped"]:
            left = [f"{reason} {count:,}" for reason, count in budget["skipped"].items()]
            parts.append(f"left out: {', '.join(left)}")
        parts += [note.rstrip(".") for note in budget.get("notes", ())]
        texts.append(f"variants{f' of {name}' if name else ''}: {'; '.join(parts)}")
    return texts
