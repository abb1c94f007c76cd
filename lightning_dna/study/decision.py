"""What the planned comparisons can tell now, and how many more seeds would decide them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.power import PlannedTest, Reach, plan_from_row
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.tables import ComparisonRow, ComparisonTable
from lightning_dna.study.recipe_sections import ComparisonConfig

FILE = "power.csv"
COLUMNS = (
    *("task", "variant", "metric", "verdict", "scope", "effect", "effect_is"),
    *("n_seeds", "n_units", "detectable", "power", "seeds_needed", "units_needed"),
)
POWER = 0.8


def decisions(
    table: ComparisonTable, replicates: Mapping[str, Replicates], config: ComparisonConfig
) -> pd.DataFrame:
    """Return one row for each planned comparison: what it can tell, what deciding it would take.

    The difference to tell is the declared margin; where none is declared, the difference that was
    observed, which is a poor guide where the study is small. The level is divided by the number of
    planned rows, so that the correction for several of them, whichever it is, needs no more.

    Args:
        table: The planned comparisons.
        replicates: By task, what they were made from.
        config: How arms are compared.

    Returns:
        ``detectable``: difference that is found with 80% power now; ``power``: probability that
        ``effect`` is found now; ``seeds_needed``, ``units_needed``: how many find it with 80%
        power, empty where no number does.
    """
    rows = []
    alpha = (1 - config.level) / (len(table.rows) if config.multiplicity != "none" else 1)
    for row in table.rows:
        margin = config.margins.get(row.metric)
        effect = row.delta if margin is None else margin
        test = PlannedTest(effect=effect or None, power=POWER, alpha=alpha)
        reach = _reach(row, replicates[row.task], test, config)
        rows.append(
            {
                "task": row.task,
                "variant": row.variant,
                "metric": row.metric,
                "verdict": row.verdict,
                "scope": row.scope,
                "effect": effect,
                "effect_is": "observed" if margin is None else "margin",
                "n_seeds": row.n_seeds,
                "n_units": row.n_units,
                "detectable": reach.detectable,
                "power": reach.power,
                "seeds_needed": reach.seeds_needed,
                "units_needed": reach.units_needed,
            }
        )
    frame = pd.DataFrame(rows, columns=[*COLUMNS])
    needed = ["seeds_needed", "units_needed"]
    return frame.astype(dict.fromkeys(needed, "Int64"))


def _reach(
    row: ComparisonRow, reps: Replicates, test: PlannedTest, config: ComparisonConfig
) -> Reach:
    """Return what one comparison can tell; nothing where its variances cannot be told apart."""
    try:
        return plan_from_row(row, reps, test, paired_seeds=config.paired_seeds).reach
    except StatsError:
        return Reach(se=row.se)


def more_seeds(folder: Path) -> list[str]:
    """Say what a results folder's last report tells of the seeds that decisions need.

    Returns:
        A sentence for each planned comparison that is not decided; none without a report.
    """
    path = folder / "results" / FILE
    if not path.is_file():
        return []
    said = []
    for row in pd.read_csv(path).to_dict("records"):
        if row["verdict"] == "inconclusive":
            said.append(f"{row['variant']} on {row['task']}, {row['metric']}: {_sentence(row)}")
    return said


def _sentence(row: Mapping[Any, Any]) -> str:
    """Say what one comparison would take."""
    effect = f"{abs(row['effect']):.3g}"
    what = f"the margin, {effect}" if row["effect_is"] == "margin" else f"the {effect} observed"
    now = f"finds {row['detectable']:.3g} with {POWER:.0%} power"
    needed = pd.to_numeric(pd.Series([row["seeds_needed"], row["units_needed"]]))
    if row["scope"] == "checkpoint":
        units = "no number of" if needed.isna()[1] else f"{int(needed[1]):,}"
        return f"{now}; to find {what}, {units} units, of {row['n_units']:,} now"
    if needed.isna()[0]:
        return f"{now}; no number of seeds finds {what} on this test set"
    return f"{now}; to find {what}, {int(needed[0])} seeds of each arm, of {row['n_seeds']} now"
