"""Every arm against itself without its training: which rows there are, and what they say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.metrics import accuracy_score

from lightning_dna.report.gain_table import gain_tables, gain_verdicts
from lightning_dna.report.page import render
from lightning_dna.report.results import load_results
from lightning_dna.stats.predictions import Predictions
from lightning_dna.study.compare import write_results
from lightning_dna.study.pretraining_gains import pretraining_gains
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.run import execute
from lightning_dna.study.study import load_study
from lightning_dna.tasks.card import TaskCard

N = 400
CARD = TaskCard(
    name="t",
    kind="classification",
    title="x",
    ways=("full", "scratch", "frozen", "random"),
    metrics=("accuracy",),
    files={"train": "a", "valid": "b", "test": "c"},
)
CONFIG = ComparisonConfig(scope="checkpoint", resamples=999, multiplicity="holm")


def predictions(way, variant, wrong, seed=0):
    """Labels of which the examples before ``wrong`` are wrong."""
    true = np.arange(N) % 2
    names = np.array([f"e{at}" for at in range(N)])
    return Predictions(
        task=f"t/{way}",
        variant=variant,
        seed=seed,
        example_id=names,
        cluster_id=names,
        y_true=true,
        y_pred=np.where(np.arange(N) < wrong, 1 - true, true),
    )


def gains(views, arms=("a", "b"), cards=(CARD,), config=CONFIG):
    metrics = dict.fromkeys(views, ("accuracy", "mcc"))
    return pretraining_gains(views, metrics, cards, config, arms)


def test_differences_are_paired_and_one_family():
    wrong = {"full": (60, 100), "scratch": (100, 108), "frozen": (50, 90), "random": (50, 91)}
    views = {
        f"t/{way}": [predictions(way, arm, n) for arm, n in zip("ab", counts, strict=True)]
        for way, counts in wrong.items()
    }
    # A baseline that is no arm stands in every view, and is nobody's control.
    views["t/full"].append(predictions("full", "majority", 200))
    table = gains(views)
    assert list(zip(table["task"], table["baseline"], table["variant"], strict=True)) == [
        ("t/full", "scratch", "a"),
        ("t/full", "scratch", "b"),
        ("t/frozen", "random", "a"),
        ("t/frozen", "random", "b"),
    ]
    assert set(table["metric"]) == {"accuracy"}  # the first one of the card
    assert not table["planned"].any()
    expected = [40 / N, 8 / N, 0.0, 1 / N]
    np.testing.assert_allclose(table["delta"], expected, atol=1e-12)
    for row, (first, second) in zip(
        table.itertuples(), [(60, 100), (100, 108), (50, 50), (90, 91)], strict=True
    ):
        assert row.estimate == pytest.approx(1 - first / N)
        assert row.baseline_estimate == pytest.approx(1 - second / N)
    # They differ on examples of one sign, so that the standard error is that of a share.
    share = expected[0]
    error = np.sqrt(share * (1 - share) / N)
    assert table["se"][0] == pytest.approx(error, rel=0.1)
    # Four tests share a family: Holm's first factor is the number of them.
    p = 2 * student.sf(share / table["se"][0], table["df"][0])
    assert table["p_adjusted"][0] == pytest.approx(4 * p, rel=1e-6)
    assert table["verdict"].tolist()[0] == "better"
    assert table["verdict"].tolist()[2] != "better"


def test_what_has_no_control_has_no_row():
    full = {"t/full": [predictions("full", "a", 60)]}
    assert gains(full).empty
    other = {"t/scratch": [predictions("scratch", "b", 60)]}
    assert gains(full | other).empty
    both = full | {"t/scratch": [predictions("scratch", "a", 70)]}
    assert len(gains(both)) == 1
    assert gains(both, cards=[replace(CARD, name="t@homology", split="homology")]).empty
    # Seeds that only one side has are left out.
    both["t/full"].append(predictions("full", "a", 0, seed=1))
    assert gains(both)["estimate"].tolist() == [1 - 60 / N]
    scores = {
        "v/llr": [replace(predictions("llr", "a", 60), task="v/llr")],
        "v/untrained_llr": [replace(predictions("llr", "a", 90), task="v/untrained_llr")],
    }
    card = TaskCard(name="v", kind="variant_effect", title="v", files={"variants": "v.csv"})
    row = gains(scores, cards=[card]).iloc[0]
    assert (row["task"], row["baseline"]) == ("v/llr", "untrained_llr")
    assert row["delta"] == pytest.approx(30 / N)


def test_a_study_from_recipe_to_page(content, write_yaml, tmp_path):
    write_yaml(
        "suite/card.yaml",
        {
            "name": "promoter",
            "kind": "simulated_classification",
            "title": "Promoters",
            "metrics": ["accuracy", "mcc"],
            "baselines": ["majority"],
            "ways": ["frozen", "random"],
            "simulated": "promoter",
            "n_train": 40,
            "n_valid": 20,
            "n_test": 30,
            "length": 96,
        },
    )
    content["seeds"] = [0]
    content["comparison"] |= {
        "planned": ["promoter/frozen:accuracy"], "margins": {}, "scope": "checkpoint",
    }  # fmt: skip
    study = load_study(write_yaml("toy.yaml", content))
    out = tmp_path / "out"
    assert execute(study, out, workers=1).failed == 0
    write_results(study, out)
    table = pd.read_csv(out / "results" / "pretraining.csv")
    assert set(table["variant"]) == {"attention", "hyena"}
    frames = {}
    for path in out.glob("runs/*/scores/promoter-*.parquet"):
        frame = pd.read_parquet(path)
        frames[frame["task"][0].rpartition("/")[2], frame["variant"][0]] = frame
    for row in table.itertuples():
        values = [
            accuracy_score(
                frames[way, row.variant]["label"], frames[way, row.variant]["prediction"]
            )
            for way in ("frozen", "random")
        ]
        assert (row.estimate, row.baseline_estimate) == pytest.approx(tuple(values))
    render(out)
    page = (out / "report.md").read_text()
    assert "## What pretraining is worth" in page
    assert "Linear probe, frozen weights minus linear probe, untrained weights: Accuracy" in page
    results = load_results(out)
    assert len(gain_tables(results)) == 1
    ((place, said, _),) = gain_verdicts(results)
    assert place.startswith("Pretraining, 1 task, linear probe, frozen weights against linear")
    first, second = table["verdict"]
    apart = f"attention: {first}; hyena: {second}."
    assert said == (f"every arm: {first}." if first == second else apart)
