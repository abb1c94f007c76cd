"""Training against held-out chromosomes: does the model know the grammar, or the text?

The gap is masked accuracy on windows of the training chromosomes minus that on held-out ones, with
an interval whose unit is a stretch of chromosome. Composition differs between chromosomes, so a gap
is to be read beside that of the counting baselines, which have the same chromosomes and cannot
memorize.
"""

from pathlib import Path

import pandas as pd

from lightning_dna import atomic
from lightning_dna.errors import ResultsError
from lightning_dna.study.compare import write_results
from lightning_dna.study.study import Study


def memorize(study: Study, folder: Path) -> str:
    """Compute the tables of memorization and return them as Markdown.

    Also writes ``results/memorization.md``.

    Raises:
        ResultsError: If nothing has been scored, or windows of the training chromosomes were not.
    """
    write_results(study, folder)
    estimates = pd.read_csv(folder / "results" / "estimates.csv")
    differences = pd.read_csv(folder / "results" / "comparisons.csv")
    if not estimates["task"].str.endswith("/gap").any():
        raise ResultsError(
            f"{folder}: no task scored windows of the training chromosomes; use a suite whose"
            " held-out card has train_windows: true."
        )
    chromosomes = pd.read_csv(folder / "results" / "chromosomes.csv")
    text = "\n\n".join(
        (
            "Masked accuracy in percent, training minus held-out chromosomes, with intervals:",
            _gap_table(estimates, differences, study.recipe.baseline),
            "By chromosome:",
            _chromosome_table(chromosomes),
        )
    )
    atomic.write_text(folder / "results" / "memorization.md", text + "\n")
    return text


def _gap_table(estimates: pd.DataFrame, differences: pd.DataFrame, baseline: str) -> str:
    """Return one row for each arm and baseline: both accuracies, the gap, and its difference."""
    accuracy = estimates[estimates["metric"] == "mlm_accuracy"].set_index(["variant", "task"])
    compared = differences[differences["metric"] == "mlm_accuracy"].set_index(["variant", "task"])
    gap_tasks = sorted(
        task for task in set(accuracy.index.get_level_values(1)) if task.endswith("/gap")
    )
    rows = []
    for gap in gap_tasks:
        task = gap.removesuffix("/gap")
        for variant in accuracy.index.get_level_values(0).unique():
            if (variant, gap) not in accuracy.index:
                continue
            row = {"arm": variant}
            for name, key in (("training", f"{task}/train"), ("held-out", task), ("gap", gap)):
                row[name] = _interval(accuracy.loc[(variant, key)], "estimate")
            row["gap minus the baseline's"] = (
                _interval(compared.loc[(variant, gap)], "delta")
                if (variant, gap) in compared.index
                else ("baseline" if variant == baseline else "-")
            )
            rows.append(row)
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def _chromosome_table(chromosomes: pd.DataFrame) -> str:
    """Return chromosomes as rows and arms as columns."""
    frame = chromosomes[chromosomes["metric"] == "mlm_accuracy"]
    cells = frame.assign(text=[_interval(row, "estimate") for _, row in frame.iterrows()])
    table = cells.pivot_table(
        index=["part", "chrom"], columns="variant", values="text", aggfunc="first", sort=False
    )
    return str(table.reset_index().to_markdown(index=False, disable_numparse=True))


def _interval(row: "pd.Series[float]", column: str) -> str:
    """Write a share and its interval in percent."""
    return f"{100 * row[column]:.2f} [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"
