"""Writing ``results/``: the tables from which the report is a pure function."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import lightning_dna
from lightning_dna import atomic, settings
from lightning_dna.data.tokenization import CHARACTER, file_of
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.study import looks
from lightning_dna.study.data_files import with_data_files
from lightning_dna.study.data_notes import data_notes
from lightning_dna.study.environment import environment
from lightning_dna.study.gather import Gathered
from lightning_dna.study.homology_views import window_notes
from lightning_dna.study.kfold import fold_note
from lightning_dna.study.machine import step_memory, tokens_of
from lightning_dna.study.model_source import with_places
from lightning_dna.study.plan import training_flops
from lightning_dna.study.recipe import Arm
from lightning_dna.study.study import Study, read_record
from lightning_dna.study.tuned import tuned_notes
from lightning_dna.tasks.baselines.network import with_budget
from lightning_dna.tasks.card_kinds import TRAINED_BASELINES

# Keys of fit.json that records of the first versions lack.
_STEADINESS = (
    "steps",
    "truncated_bases",
    "loss_ratio_above_1_2",
    "loss_ratio_above_1_5",
    "loss_ratio_max",
    "gradient_norm_p50",
    "gradient_norm_p95",
    "gradient_norm_p99",
    "gradient_norm_max",
    "adam_variance_max",
    "adam_variance_norm_max",
)


def write_tables(
    study: Study,
    folder: Path,
    *,
    gathered: Gathered,
    planned: Sequence[tuple[str, str]],
    estimates: pd.DataFrame,
    comparisons: pd.DataFrame,
    chromosomes: pd.DataFrame,
    drops: pd.DataFrame,
    gains: pd.DataFrame,
) -> None:
    """Write every table of the results folder.

    Raises:
        ResultsError: If the folder cannot be written to.
    """
    results = folder / "results"
    kinds = dict.fromkeys(study.arms, "model")
    references = [name for name in estimates["variant"].unique() if name not in kinds]
    kinds |= dict.fromkeys(references, "baseline")
    atomic.write_json(results / "study.json", _study(study, folder, planned, references, gathered))
    _write(results / "arms.csv", _arms(study, gathered, references))
    _write(results / "estimates.csv", estimates.assign(kind=estimates["variant"].map(kinds)))
    _write(results / "comparisons.csv", comparisons)
    _write(results / "curves.csv", gathered.curves)
    _write(results / "finetune.csv", gathered.finetunes)
    _write(results / "learning_rates.csv", gathered.tried)
    _write(results / "chromosomes.csv", chromosomes)
    if len(drops):
        _write(results / "splits.csv", drops)
    if len(gains):
        _write(results / "pretraining.csv", gains)
    atomic.write_json(results / "provenance.json", provenance(study, gathered))


def _write(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV; lists of flags are joined by blanks."""
    plain = frame.copy()
    if "flags" in plain:
        plain["flags"] = plain["flags"].map(
            lambda flags: flags if isinstance(flags, str) else " ".join(flags)
        )
    atomic.write_text(path, plain.to_csv(index=False))


def _study(
    study: Study,
    folder: Path,
    planned: Sequence[tuple[str, str]],
    references: Sequence[str],
    gathered: Gathered,
) -> dict[str, Any]:
    """Describe what was declared; the time is when the folder was begun, and stays the same."""
    comparison = study.recipe.comparison
    record = read_record(folder)
    arms: list[dict[str, Any]] = [
        {"name": arm.name, "kind": "model", "changes": arm.changes} for arm in study.arms.values()
    ]
    arms += [{"name": name, "kind": "baseline", "changes": {}} for name in references]
    notes = [f"arm '{arm.name}': {arm.matched}" for arm in study.arms.values() if arm.matched]
    notes += _objective_notes(study)
    notes += _token_notes(study)
    notes += _checkpoint_notes(study)
    notes += data_notes(study, gathered)
    notes += [] if study.recipe.folds is None else [fold_note(study.recipe.folds)]
    notes += _window_notes(study, gathered)
    notes += _budget_notes(study)
    notes += tuned_notes(study.recipe.tuned, [arm.name for arm in study.trained])
    notes += [*_remarks(study, record.get("declared"), planned, gathered)]
    notes += looks.remarks(looks.entries(folder), [cell.name for cell in study.cells()])
    notes += [
        f"arm '{arm}' has {len(seeds)} of {len(study.recipe.seeds)} seeds"
        for arm, seeds in gathered.seeds.items()
        if len(seeds) < len(study.recipe.seeds)
    ]
    return {
        "name": study.name,
        "question": " ".join(study.recipe.question.split()),
        "baseline": study.recipe.baseline,
        "scope": comparison.scope,
        "level": comparison.level,
        "seeds": list(study.recipe.seeds),
        "margin": comparison.margins,
        "arms": arms,
        "planned": [list(row) for row in planned],
        "version": lightning_dna.__version__,
        "created": record.get("created", ""),
        "recipe": yaml.safe_dump(_without_folders(study.content), sort_keys=False),
        "notes": notes,
        "deviations": {name: list(said) for name, said in gathered.deviations.items()},
        "neutral": [card.name for card in study.cards if card.rules.neutral],
    }


def _window_notes(study: Study, gathered: Gathered) -> list[str]:
    """Say what views by similarity, homology clusters and matched strata are made of."""
    bases = sum(study.genome.lengths[chrom] for chrom in study.split.train)
    return window_notes(gathered.windows, gathered.matched, bases)


def _objective_notes(study: Study) -> list[str]:
    """Say which arms see one side of a base, where others see both."""
    causal = [name for name, arm in study.arms.items() if arm.settings.model.causal]
    if not causal or len(causal) == len(study.arms):
        return []
    return [
        f"next-token arms ({', '.join(causal)}) predict a base from what precedes it, none of it"
        " hidden; the other arms from both sides, hidden bases left out. Their held-out scores are"
        " on the same bases, but answer different questions"
    ]


def _budget_notes(study: Study) -> list[str]:
    """Say how the networks among the baselines were trained, where there are any."""
    used = {name for card in study.cards for name in card.baselines} & {*TRAINED_BASELINES}
    if not used:
        return []
    rates = len(study.baseline.settings.finetune.rates)
    config = with_budget(rates)
    listed = ", ".join(f"{rate:g}" for rate in config.rates)
    tried = "learning rates" if rates > 1 else "learning rate"
    return [
        f"networks among the baselines ({', '.join(sorted(used))}) trained on the task alone: at"
        f" most {config.epochs} epochs in batches of {config.batch_size}, until {config.patience}"
        f" epochs were no better on validation; {tried} {listed}, as many as an arm may try"
    ]


def _token_notes(study: Study) -> list[str]:
    """Say of arms that read longer tokens what their numbers are of."""
    found = {
        arm.name: arm.settings.data.tokenizer
        for arm in study.trained
        if arm.settings.data.tokenizer != CHARACTER
    }
    if not found:
        return []
    listed = ", ".join(
        f"{name}: {Path(tokens).name if file_of(tokens) else tokens}"
        for name, tokens in found.items()
    )
    return [
        f"some arms read tokens of several bases ({listed}). Budgets are in bases, so that all arms"
        " saw the same bases in the same steps, with fewer tokens for less computation; held-out"
        " scores are of the same hidden bases, token probabilities added up by the base. Losses and"
        " accuracies of learning curves are of tokens, and not comparable between these arms"
    ]


def _checkpoint_notes(study: Study) -> list[str]:
    """Say of every arm that is a checkpoint what its numbers do not mean."""
    return [
        f"arm '{arm.name}' is a checkpoint ({arm.source.layout}, {arm.source.digest[:12]}) that was"
        " pretrained elsewhere: on which sequence, whether the held-out chromosomes were among it,"
        " and at what cost is not known here, and it spent none of this study's tokens. There is"
        " one pretraining: its held-out scores are the same under every seed, and its intervals do"
        " not tell what pretraining it again would give. Seeds vary its fine-tuning, and the"
        " initial weights of its controls"
        for arm in study.arms.values()
        if arm.source is not None
    ]


def _remarks(
    study: Study, declared: Any, planned: Sequence[tuple[str, str]], gathered: Gathered
) -> list[str]:
    """Return what a reader must know about how the study was made."""
    remarks = [*study.skipped]
    now = settings.plain(study.recipe.comparison)
    if declared is not None and declared != now:
        changed = sorted(key for key in now if declared.get(key) != now[key])
        first = ", ".join(f"{key}: {declared.get(key)}" for key in changed)
        remarks.append(
            f"how arms are compared was changed after the study had begun; at first {first}"
        )
    for row in study.recipe.comparison.planned:
        if "*" not in row and tuple(row.split(":")) not in planned:
            remarks.append(f"planned comparison {row} could not be made: there are no such scores")
    if len(gathered.environments) > 1:
        remarks.append(
            f"cells were made in {len(gathered.environments)} environments (versions, commits or "
            "machines); provenance.json in each run's folder tells them apart"
        )
    return remarks


def _without_folders(content: Mapping[str, Any]) -> dict[str, Any]:
    """Name files in the recipe without this machine's folders: a report is read elsewhere."""
    shown = with_data_files(content, lambda path: Path(str(path)).name)
    shown = with_places(shown, lambda folder: Path(str(folder)).name)
    for key in ("tasks_root", "suite"):
        if isinstance(named := shown.get(key), list):
            shown[key] = [Path(str(one)).name for one in named]
        elif named:
            shown[key] = Path(named).name
    return shown


def _arms(study: Study, gathered: Gathered, references: Sequence[str]) -> pd.DataFrame:
    """Return the price of every arm: means over its finished seeds, and the largest memory."""
    rows: list[dict[str, Any]] = []
    for arm in study.arms.values():
        records = [gathered.records[arm.name, seed] for seed in gathered.seeds[arm.name]]
        states = [gathered.states[arm.name, seed] for seed in study.recipe.seeds]

        def mean(key: str, records: list[Any] = records) -> float:
            found = [record.get(key) for record in records]
            known = [value for value in found if value is not None]
            return float(np.mean(known)) if known else np.nan

        peaks = [record["peak_memory_mib"] for record in records if arm.source is None]

        rows.append(
            {
                "arm": arm.name,
                "kind": "model",
                "parameters": parameter_counts(arm.settings.model).total,
                **_predicted(arm, records),
                "tokens": mean("tokens"),
                "train_seconds": mean("seconds"),
                "tokens_per_second": mean("tokens_per_second"),
                "tokens_per_base": mean("tokens_per_base"),
                "peak_memory_mib": max(peaks, default=np.nan),
                "padding_fraction": mean("padding_fraction"),
                **_steadiness(records if arm.source is None else []),
                "seeds_done": states.count("done"),
                "seeds_failed": states.count("failed"),
            }
        )
    rows += [{"arm": n, "kind": "baseline", "seeds_done": 0, "seeds_failed": 0} for n in references]
    return pd.DataFrame(rows)


def _steadiness(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return steps and measures of stability: means over seeds, and extremes of any seed."""
    row = {}
    for name in _STEADINESS:
        found = [record[name] for record in records if record.get(name) is not None]
        measure = max if name.endswith("_max") else np.mean
        row[name] = float(measure(found)) if found else np.nan
    return row


def _predicted(arm: Arm, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what the settings say an arm costs; memory in the precision of its trainings."""
    model, length = arm.settings.model, arm.settings.data.length
    if arm.source is not None:  # nothing is trained; a forward pass over the tokens of a window
        rate = records[0]["tokens_per_base"] if records else np.nan
        tokens = tokens_of(length, rate) if records else 1
        return {"flops_per_base": rate * flops_per_base(model, tokens).forward_total}
    rate = records[0].get("tokens_per_base", 1.0) if records else 1.0
    flops = flops_per_base(model, tokens_of(length, rate))
    row = {
        "flops_per_base": rate * flops.forward_total,
        "training_flops_per_base": rate * flops.training_total,
        "training_flops": training_flops(arm.settings, rate),
    }
    if not records:
        return row
    half = str(records[0].get("precision")).startswith("bf16")
    memory = step_memory(
        arm.settings,
        precision="bf16" if half else "32",
        rate=rate,
        devices=records[0].get("devices", 1),
    )
    return row | {
        "activation_mib": memory.activations / 2**20,
        "predicted_memory_mib": memory.peak / 2**20,
    }


def provenance(study: Study, gathered: Gathered) -> dict[str, Any]:
    """Describe where the numbers come from: versions, commit, machine, data, runs."""
    genome, split, data = study.genome, study.split, study.baseline.settings.data
    folds = [study.at_fold(fold).split.test for fold in range(study.recipe.folds or 0)]
    return {
        **environment(),
        "data": {
            "genome": ", ".join(Path(one.genome).name for one in data.members.values()),
            "digest": genome.digest,
            "chromosomes": {name: genome.digests[name] for name in genome.names},
            "train": list(split.train),
            "valid": list(split.valid),
            "test": list(split.test),
            **({"held out by fold": [list(chroms) for chroms in folds]} if folds else {}),
        },
        "runs": [
            {
                "run_id": cell.run_id,
                "arm": cell.arm.name,
                "seed": cell.seed,
                "state": gathered.states[cell.arm.name, cell.seed],
                "seconds": gathered.records.get((cell.arm.name, cell.seed), {}).get("seconds"),
            }
            for cell in study.cells()
        ],
        "failures": [
            {"arm": arm, "seed": seed, "message": message}
            for (arm, seed), message in gathered.failures.items()
        ],
    }
