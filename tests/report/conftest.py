"""A realistic results folder made of plain rows, written without any code of the package."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Content = dict[str, Any]

ARMS = {
    "attention_alibi": {"model.mixer": "attention", "model.position": "alibi"},
    "attention_rope": {"model.position": "rope"},
    "hyena": {"model.mixer": "hyena"},
    "swiglu": {"model.feedforward": "swiglu"},
    "geglu": {"model.feedforward": "geglu"},
    "warmup": {"length_schedule.kind": "doubling"},
    "repeats_removed": {"data.repeats": "remove"},
}
BASELINE = "attention_alibi"
REFERENCES = ("majority", "markov_3", "kmer_logistic")
EFFECT = {
    "attention_alibi": 0.0,
    "attention_rope": 0.0021,
    "hyena": -0.0112,
    "swiglu": 0.0008,
    "geglu": -0.0013,
    "warmup": 0.0094,
    "repeats_removed": -0.0276,
}
VERDICT = {
    "attention_rope": "inconclusive",
    "hyena": "worse",
    "swiglu": "equivalent",
    "geglu": "inconclusive",
    "warmup": "better",
    "repeats_removed": "worse",
}
# task -> (metric, value of the baseline arm, slope of the effect, half width, unit, units)
SCORES = [
    ("heldout_mlm", "mlm_accuracy", 0.4431, 1.0, 0.0061, "cluster", 184),
    ("heldout_mlm", "bits_per_base", 1.7312, -1.6, 0.0093, "cluster", 184),
    ("heldout_mlm/repeat", "mlm_accuracy", 0.5823, 2.4, 0.0148, "cluster", 171),
    ("heldout_mlm/repeat", "bits_per_base", 1.4127, -3.8, 0.0301, "cluster", 171),
    ("heldout_mlm/unique", "mlm_accuracy", 0.3894, 0.4, 0.0049, "cluster", 184),
    ("heldout_mlm/unique", "bits_per_base", 1.8541, -0.7, 0.0077, "cluster", 184),
    ("heldout_mlm/gap", "mlm_accuracy", 0.0126, 0.5, 0.0052, "cluster", 368),
    ("heldout_mlm", "cross_entropy", 1.2000, -1.1, 0.0065, "cluster", 184),
    ("heldout_mlm/train", "mlm_accuracy", 0.4557, 1.5, 0.0057, "cluster", 184),
    ("promoter/frozen", "accuracy", 0.7315, 1.9, 0.0195, "example", 2000),
    ("promoter/frozen", "mcc", 0.4642, 3.8, 0.0391, "example", 2000),
    ("promoter/full", "accuracy", 0.8820, 1.1, 0.0142, "example", 2000),
    ("promoter/full", "mcc", 0.7644, 2.2, 0.0285, "example", 2000),
    ("long_range/full", "accuracy", 0.6135, -5.0, 0.0213, "example", 2000),
    ("long_range/full", "mcc", 0.2271, -10.0, 0.0425, "example", 2000),
]
REFERENCE_SCORES = {
    ("heldout_mlm", "mlm_accuracy"): {"majority": 0.3093, "markov_3": 0.3712},
    ("heldout_mlm", "bits_per_base"): {"majority": 1.9603, "markov_3": 1.8884},
    ("heldout_mlm/repeat", "mlm_accuracy"): {"majority": 0.3051, "markov_3": 0.3880},
    ("heldout_mlm/unique", "mlm_accuracy"): {"majority": 0.3108, "markov_3": 0.3655},
    ("heldout_mlm/gap", "mlm_accuracy"): {"majority": 0.0004, "markov_3": 0.0011},
    ("promoter/frozen", "accuracy"): {"majority": 0.5035, "kmer_logistic": 0.7725},
    ("promoter/full", "accuracy"): {"majority": 0.5035, "kmer_logistic": 0.7725},
    ("long_range/full", "accuracy"): {"majority": 0.5010, "kmer_logistic": 0.5065},
}
ONLY_ESTIMATED = {("heldout_mlm", "cross_entropy"), ("heldout_mlm/train", "mlm_accuracy")}
PLANNED = [["heldout_mlm", "mlm_accuracy"], ["heldout_mlm", "bits_per_base"]]
CHROMS = ("chr1", "chr2", "chr3", "chr4", "chr5", "chr6")


def signature(task: str, unit: str, n_units: int) -> str:
    return (
        f"task:{task}|unit:{unit}|n:{n_units}|seeds:2|resamples:9999"
        "|interval:se-t,procedure,0.95|rng:splitmix64,0|version:0.1.0"
    )


def _estimate(variant: str, kind: str, row: tuple, value: float) -> Content:
    task, metric, _, _, half, unit, n_units = row
    half = half * 0.8
    return {
        "variant": variant, "kind": kind, "task": task, "metric": metric, "estimate": value,
        "se": half / 2.1, "df": 31.4, "low": value - half, "high": value + half,
        "n_units": n_units, "n_examples": n_units * 3 if unit == "cluster" else n_units,
        "n_seeds": 2 if kind == "model" else 1, "unit": unit, "scope": "procedure",
        "flags": "few_seeds" if kind == "model" else "",
        "signature": signature(task, unit, n_units),
    }  # fmt: skip


def _difference(variant: str, row: tuple, value: float, generator: np.random.Generator) -> Content:
    task, metric, base, _, half, unit, n_units = row
    delta = value - base
    verdict = VERDICT.get(variant, "worse")
    if task == "long_range/full":
        verdict = "inconclusive" if abs(delta) < half else "better" if delta > 0 else "worse"
    p = {"inconclusive": 0.21, "equivalent": 0.83}.get(verdict, 0.0004)
    return {
        "task": task, "variant": variant, "baseline": BASELINE, "metric": metric,
        "estimand": "mean over seeds", "scope": "procedure", "unit": unit, "n_units": n_units,
        "n_examples": n_units * 3, "n_seeds": 2, "estimate": value, "baseline_estimate": base,
        "delta": delta, "se": half / 2.1, "df": 12.2, "low": delta - half, "high": delta + half,
        "p": p / 3, "p_adjusted": p, "verdict": verdict,
        "mde80": half * (1.35 + 0.1 * float(generator.random())), "design_effect": 1.4,
        "n_undefined": 0, "mc_error": 1e-4, "flags": "few_seeds",
        "signature": signature(task, unit, n_units),
        "planned": [task, metric] in PLANNED,
    }  # fmt: skip


def _scores(generator: np.random.Generator) -> tuple[list[Content], list[Content]]:
    estimates, comparisons = [], []
    for row in SCORES:
        task, metric, base, slope = row[:4]
        for arm, effect in EFFECT.items():
            value = base + slope * effect
            estimates.append(_estimate(arm, "model", row, value))
            if arm != BASELINE and (task, metric) not in ONLY_ESTIMATED:
                comparisons.append(_difference(arm, row, value, generator))
        for name, value in REFERENCE_SCORES.get((task, metric), {}).items():
            estimates.append(_estimate(name, "baseline", row, value))
            comparisons.append(_difference(name, row, value, generator))
    return estimates, comparisons


def _curves(generator: np.random.Generator) -> list[Content]:
    rows = []
    for arm, effect in EFFECT.items():
        for seed in (0, 1):
            shift = float(generator.normal(0, 0.003))
            for step in range(0, 1001, 20):
                fall = math.exp(-step / 160)
                loss = 1.20 - 1.2 * effect + 0.17 * fall + shift
                valid = step % 100 == 0
                rows.append(
                    {
                        "arm": arm, "seed": seed, "step": step, "tokens": step * 8192,
                        "length": 512, "train_loss": loss + float(generator.normal(0, 0.006)),
                        "train_accuracy": 0.44 + effect - 0.15 * fall,
                        "valid_loss": loss + 0.004 if valid else "",
                        "valid_accuracy": 0.443 + effect - 0.14 * fall - shift if valid else "",
                    }
                )  # fmt: skip
    return rows


def _chromosomes(generator: np.random.Generator) -> list[Content]:
    rows = []
    for variant in (*ARMS, "majority", "markov_3"):
        reference = {"majority": 0.309, "markov_3": 0.371}
        for chrom in CHROMS:
            part = {"chr3": "test", "chr6": "test", "chr5": "valid"}.get(chrom, "train")
            value = reference.get(variant, 0.443 + EFFECT.get(variant, 0.0))
            value += (0.012 if part == "train" and variant in ARMS else 0) + float(
                generator.normal(0, 0.004)
            )
            rows.append(
                {
                    "variant": variant, "chrom": chrom, "part": part, "metric": "mlm_accuracy",
                    "estimate": value, "low": value - 0.009, "high": value + 0.009, "n_units": 92,
                }
            )  # fmt: skip
    return rows


def _arms() -> list[Content]:
    rows = []
    for number, arm in enumerate(ARMS):
        rows.append(
            {
                "arm": arm, "kind": "model", "parameters": 812_544 + 3_072 * number,
                "flops_per_base": 1.71e6 * (0.82 if arm == "hyena" else 1.0),
                "tokens": 8_192_000, "train_seconds": 96.4 + 7 * number,
                "tokens_per_second": 84_980 / (1 + 0.07 * number),
                "peak_memory_mib": 711.2 + 40 * number, "padding_fraction": 0.013,
                "seeds_done": 2, "seeds_failed": 0,
            }
        )  # fmt: skip
    for name in REFERENCES:
        rows.append(
            {
                "arm": name, "kind": "baseline", "parameters": "", "flops_per_base": "",
                "tokens": "", "train_seconds": "", "tokens_per_second": "", "peak_memory_mib": "",
                "padding_fraction": "", "seeds_done": 1, "seeds_failed": 0,
            }
        )  # fmt: skip
    return rows


def make_content() -> Content:
    """The whole results folder as plain Python: file name to JSON mapping or list of CSV rows."""
    generator = np.random.default_rng(7)
    estimates, comparisons = _scores(generator)
    arms = [{"name": name, "kind": "model", "changes": changes} for name, changes in ARMS.items()]
    arms += [{"name": name, "kind": "baseline", "changes": {}} for name in REFERENCES]
    return {
        "study.json": {
            "name": "quickstart", "baseline": BASELINE, "scope": "procedure", "level": 0.95,
            "question": "On a small simulated genome, which of mixer, position, feed-forward,"
            " length warm-up and repeat handling changes what the model learns?",
            "seeds": [0, 1], "margin": {"mlm_accuracy": 0.01, "bits_per_base": 0.02},
            "arms": arms, "planned": PLANNED, "version": "0.1.0",
            "created": "2026-11-20T21:04:00+00:00",
            "recipe": "question: ...\nbaseline: attention_alibi\nseeds: [0, 1]\n", "notes": [],
        },
        "arms.csv": _arms(),
        "estimates.csv": estimates,
        "comparisons.csv": comparisons,
        "curves.csv": _curves(generator),
        "chromosomes.csv": _chromosomes(generator),
        "provenance.json": {
            "versions": {"lightning_dna": "0.1.0", "torch": "2.11.0", "numpy": "2.4.6"},
            "commit": "3f2a9d1c0b7e", "platform": "Linux x86_64, Python 3.12, 2 cores",
            "data": {
                "genome": "simulated.fa", "digest": "SQ.Kx2v0dY9aA3f",
                "chromosomes": dict.fromkeys(CHROMS, 100_000),
                "train": ["chr1", "chr2", "chr4"], "valid": ["chr5"], "test": ["chr3", "chr6"],
            },
            "runs": [
                {"run_id": f"{97 * number + seed:08x}", "arm": arm, "seed": seed, "state": "done",
                 "seconds": 120.5 + number}
                for number, arm in enumerate(ARMS) for seed in (0, 1)
            ],
            "failures": [],
        },
    }  # fmt: skip


def write_content(content: Content, folder: Path) -> Path:
    """Write a results folder; a file whose content is ``None`` is left out."""
    place = folder / "results"
    place.mkdir(parents=True, exist_ok=True)
    for name, rows in content.items():
        if rows is None:
            continue
        if name.endswith(".json"):
            (place / name).write_text(json.dumps(rows), encoding="utf-8")
            continue
        with (place / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.fixture
def content() -> Content:
    """A fresh copy of the synthetic results, to be changed at will."""
    return make_content()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Content], Path]:
    """Write results into a temporary study folder and return it."""
    return lambda content: write_content(content, tmp_path / "study")


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic results, written once; not to be changed."""
    return write_content(make_content(), tmp_path_factory.mktemp("report") / "quickstart")
