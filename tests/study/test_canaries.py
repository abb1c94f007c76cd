"""Canaries in a study: rows by repetitions, control arms, and what the page says of them."""

import numpy as np
import pandas as pd
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.report.page import render
from lightning_dna.stats.exposure import null_mean
from lightning_dna.study.canary_views import canaries_of
from lightning_dna.study.compare import write_results
from lightning_dna.study.data_notes import data_lines
from lightning_dna.study.run import execute
from lightning_dna.study.scoring import Scorer
from lightning_dna.tasks.base import Scores

PLANTED = {"length": 20, "per_count": 2, "repetitions": [1, 4], "references": 31, "max_share": 0.5}
PLANTED |= {"tracked_references": 20}


@pytest.fixture
def with_canaries(content, write_yaml):
    """Canaries under 'shared', and a suite that ranks them beside the held-out bases."""
    write_yaml("suite/canaries.yaml", {"name": "canaries", "kind": "canaries", "title": "Canaries"})
    there = {"name": "canaries-in-place", "kind": "canaries", "title": "x", "reading": "in_place"}
    write_yaml("suite/in_place.yaml", there)
    tasks = ["card.yaml", "canaries.yaml", "in_place.yaml"]
    write_yaml("suite/suite.yaml", {"description": "x", "tasks": tasks})
    content["shared"]["data"]["canaries"] = PLANTED
    content["comparison"]["planned"].append("canaries/x4:exposure")


@pytest.mark.usefixtures("with_canaries")
def test_a_study_with_canaries_from_recipe_to_page(make_study, tmp_path):
    study, out = make_study(), tmp_path / "out"
    line = data_lines(study)
    assert line == [
        "data        arms attention, hyena: 20 copies of canaries in the place of 400"
        " training bases (13.59%)"
    ]
    execute(study, out, workers=1)
    write_results(study, out)
    estimates = pd.read_csv(out / "results" / "estimates.csv")
    exposures = estimates[estimates["metric"] == "exposure"]
    views = {f"{card}{group}" for card in ("canaries", "canaries-in-place")
             for group in ("", "/x0", "/x1", "/x4")}  # fmt: skip
    assert set(exposures["task"]) == views
    counts = exposures.query("variant == 'hyena'").set_index("task")["n_examples"]
    assert {counts[view] for view in views if view.endswith(("x0", "x1", "x4"))} == {4}
    assert counts["canaries"] == counts["canaries-in-place"] == 8
    compared = pd.read_csv(out / "results" / "comparisons.csv")
    assert compared.query("planned")["task"].tolist().count("canaries/x4") == 1

    in_place = [Scores.read(file).frame for file in out.rglob("scores/canaries-in-place-*.parquet")]
    assert len(in_place) == 4
    assert {places for frame in in_place for places in frame["places"]} == {21}
    files = sorted(out.rglob("scores/canaries-*.parquet"))
    files = [file for file in files if "in-place" not in file.name]
    table = Scores.read(files[0])
    frame = table.frame
    assert table.kind == "canaries"
    assert len(frame) == 2 * 3 * 2
    assert (frame["places"] == 32).all()
    assert np.allclose(frame["exposure"], np.log2(32 / frame["rank"]))
    of_arm = pd.concat([Scores.read(file).frame for file in files]).query("variant == 'hyena'")
    mean = of_arm.query("repetitions == 4").groupby("seed")["exposure"].mean().mean()
    row = exposures.query("variant == 'hyena' and task == 'canaries/x4'")
    assert row["estimate"].item() == pytest.approx(mean)

    values = pd.read_csv(out / "results" / "curves.csv")["exposure_x4"].dropna()
    assert len(values) == 2 * 2 * 2  # arms, seeds, validations
    assert values.between(0, np.log2(21)).all()

    page = render(out).read_text()
    assert "20 copies of canaries in the place of 400 training bases" in page
    assert f"is {null_mean(32):.2f} bits on average where nothing was learned" in page


@pytest.mark.usefixtures("with_canaries")
def test_an_arm_without_canaries_is_scored_on_those_of_the_others(make_study, content):
    content["arms"]["hyena"] = {"data": {"canaries": None}}
    study = make_study()
    assert canaries_of(study.arms).length == 20
    scorer = Scorer(study)
    scorer.tasks["canaries"].load()
    assert len(scorer.tasks["canaries"].canaries.canaries) == 12
    ids = {arm: study.arms[arm].settings.data.canaries for arm in study.arms}
    assert ids["hyena"] is None


@pytest.mark.usefixtures("with_canaries")
def test_arms_with_different_canaries_are_refused(make_study, content):
    content["arms"]["hyena"] = {"data": {"canaries": {"seed": 7}}}
    study = make_study()
    with pytest.raises(ConfigError, match=r"arms 'attention' and 'hyena' have different data.can"):
        Scorer(study).check()


@pytest.mark.usefixtures("with_canaries")
def test_a_suite_with_canaries_and_no_canaries_is_refused_by_name(make_study, content):
    del content["shared"]["data"]["canaries"]
    content["comparison"]["planned"].pop()
    with pytest.raises(ConfigError, match=r"no arm has data.canaries; give it under 'shared'"):
        Scorer(make_study()).check()


@pytest.mark.usefixtures("with_canaries")
def test_a_group_that_was_not_planted_cannot_be_planned(make_study, content):
    content["comparison"]["planned"].append("canaries/x32:exposure")
    with pytest.raises(ConfigError, match="canaries/x32"):
        make_study()
