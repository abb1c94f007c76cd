"""The same task under other splits in one study: its views, its drops, and the page."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from lightning_dna.errors import ConfigError
from lightning_dna.report.page import render
from lightning_dna.stats.predictions import Predictions
from lightning_dna.study.compare import write_results
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.run import execute
from lightning_dna.study.similarity_views import similarity_views
from lightning_dna.study.split_drops import COLUMNS, split_drops
from lightning_dna.study.study import load_study
from lightning_dna.tasks.card import TaskCard

LENGTH = 60


def random_genome(path: Path) -> dict[str, str]:
    """Three chromosomes of 3 kb in which stretches share k-mers where they overlap alone."""
    rng = np.random.default_rng(1)
    text = {name: "".join(rng.choice(list("ACGT"), 3000)) for name in ("chr1", "chr2", "chr3")}
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in text.items()))
    return text


def write_task(text: dict[str, str], folder: Path) -> None:
    """Stretches of a genome; some of the test ones overlap training ones."""
    rng = np.random.default_rng(0)
    slots = [(chrom, start) for chrom in text for start in range(0, 2900, 100)]
    order = rng.permutation(len(slots)).tolist()
    parts = {"train": order[:40], "valid": order[40:52], "test": order[52:]}
    rows = {part: [slots[index] for index in held] for part, held in parts.items()}
    rows["test"] += [(chrom, start + 20) for chrom, start in rows["train"][:20]]
    for part, places in rows.items():
        with (folder / f"{part}.csv").open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["sequence", "label"])
            for at, (chrom, start) in enumerate(places):
                writer.writerow([text[chrom][start : start + LENGTH], at % 2])


@pytest.fixture
def recipe(content, write_yaml, tmp_path):
    """The recipe of the other tests, with a labelled task."""
    write_yaml(
        "suite/card.yaml",
        {
            "name": "toy",
            "kind": "classification",
            "title": "Labels without meaning",
            "files": {part: f"{part}.csv" for part in ("train", "valid", "test")},
            "ways": ["frozen"],
            "metrics": ["accuracy"],
            "baselines": ["majority"],
        },
    )
    write_task(random_genome(tmp_path / "random.fa"), tmp_path / "suite")
    content["shared"]["data"]["genome"] = str(tmp_path / "random.fa")
    content["seeds"] = [0]
    content["comparison"] |= {
        "planned": ["toy/frozen:accuracy"],
        "margins": {},
        "scope": "checkpoint",
    }
    content["tasks"] = {
        "splits": ["original", "deoverlapped", "homology", "chromosome"],
        "similarity_strata": True,
    }
    return content


def test_a_study_under_every_split(recipe, write_yaml, tmp_path):
    study = load_study(write_yaml("toy.yaml", recipe))
    names = [card.name for card in study.cards]
    assert names == ["toy", "toy@deoverlapped", "toy@homology", "toy@chromosome"]
    out = tmp_path / "out"
    assert execute(study, out, workers=1).failed == 0
    write_results(study, out)
    table = pd.read_csv(out / "results" / "splits.csv")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["variant"]) == {"attention", "hyena", "majority"}
    assert table.set_index("split")["paired"].to_dict() == {
        "deoverlapped": True,
        "homology": False,
        "chromosome": False,
    }
    assert np.allclose(table["drop"], table["original"] - table["resplit"])
    assert ((table["low"] <= table["drop"]) & (table["drop"] <= table["high"])).all()
    estimates = pd.read_csv(out / "results" / "estimates.csv")
    strata = [task for task in estimates["task"].unique() if "similarity" in task]
    assert strata == ["toy/frozen/similarity_0_10"]
    render(out)
    page = (out / "report.md").read_text()
    assert "What training had seen before" in page
    assert "toy@deoverlapped" in page
    assert "are left out; the test examples are the original ones" in page


def test_an_unknown_split_is_refused(recipe, write_yaml):
    recipe["tasks"] = {"splits": ["original", "homologous"]}
    with pytest.raises(ConfigError, match="homologous"):
        load_study(write_yaml("toy.yaml", recipe))


def test_a_repeated_split_is_refused(recipe, write_yaml):
    recipe["tasks"] = {"splits": ["original", "original"]}
    with pytest.raises(ConfigError, match="each once"):
        load_study(write_yaml("toy.yaml", recipe))


def predictions(task, variant, seed, n=300, wrong=0.2):
    rng = np.random.default_rng(seed)
    true = np.arange(n) % 2
    return Predictions(
        task=task,
        variant=variant,
        seed=0,
        example_id=np.array([f"e{at}" for at in range(n)]),
        cluster_id=np.array([f"e{at}" for at in range(n)]),
        y_true=true,
        y_pred=np.where(rng.random(n) < wrong, 1 - true, true),
    )


CARD = TaskCard(
    name="t",
    kind="classification",
    title="x",
    ways=("full",),
    files={"train": "a", "valid": "b", "test": "c"},
)


def drops(first, second, split):
    cards = [CARD, replace(CARD, name=f"t@{split}", split=split)]
    views = {"t/full": first, f"t@{split}/full": second}
    config = ComparisonConfig(scope="checkpoint", resamples=999)
    metrics = dict.fromkeys(views, ("accuracy",))
    return split_drops(views, metrics, cards, config, ["a"]).iloc[0]


def test_a_paired_drop_knows_that_the_examples_are_the_same():
    """Predictions that differ on few examples differ certainly, however hard the task."""
    first = predictions("t/full", "a", 0)
    changed = first.y_pred.copy()
    changed[:15] = 1 - first.y_true[:15]
    second = replace(first, task="t@deoverlapped/full", y_pred=changed)
    row = drops([first], [second], "deoverlapped")
    expected = accuracy_score(first.y_true, first.y_pred) - accuracy_score(first.y_true, changed)
    assert row["drop"] == pytest.approx(expected)
    # The differences are 0 or 1, so their standard error is that of a share.
    half = 1.96 * np.sqrt(expected * (1 - expected) / 300)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.1)


def test_an_unpaired_drop_adds_the_variances():
    first = predictions("t/full", "a", 0)
    second = predictions("t@homology/full", "a", 1, n=200, wrong=0.4)
    row = drops([first], [second], "homology")
    shares = [accuracy_score(one.y_true, one.y_pred) for one in (first, second)]
    assert row["drop"] == pytest.approx(shares[0] - shares[1])
    error = np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, (300, 200), strict=True)))
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (row["n_original"], row["n_resplit"]) == (300, 200)


def test_a_card_that_corrects_another_has_its_drop_beside_it():
    """Its examples are its own: the two shares are independent."""
    first = predictions("leaky/full", "a", 0)
    second = predictions("sound/full", "a", 1, n=200, wrong=0.4)
    leaky = replace(CARD, name="leaky")
    sound = replace(leaky, name="sound", supersedes="leaky")
    views = {"leaky/full": [first], "sound/full": [second]}
    config = ComparisonConfig(scope="checkpoint", resamples=999)
    metrics = dict.fromkeys(views, ("accuracy",))
    row = split_drops(views, metrics, [sound, leaky], config, ["a"]).iloc[0]
    shares = [accuracy_score(one.y_true, one.y_pred) for one in (first, second)]
    assert (row["task"], row["split"], row["paired"]) == ("leaky", "sound", False)
    assert row["drop"] == pytest.approx(shares[0] - shares[1])
    alone = split_drops(views, metrics, [sound], config, ["a"])
    assert alone.empty  # the other card is not in the study


def test_strata_need_enough_examples_of_two_classes():
    one = predictions("t/full", "a", 0)
    strata = {f"e{at}": "similarity_0_10" for at in range(300)}
    strata |= {f"e{at}": "similarity_10_50" for at in range(20)}
    strata |= {f"e{at}": "similarity_90_100" for at in range(100, 200, 2)}  # all of one class
    found = similarity_views({"t/full": [one], "u/full": [one]}, {"t": strata})
    assert list(found) == ["t/full/similarity_0_10"]
    assert found["t/full/similarity_0_10"][0].n_examples == 300 - 20 - 50
