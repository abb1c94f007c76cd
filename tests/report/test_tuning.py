"""A finished search as tables and figures."""

import math

import numpy as np
import pandas as pd
import pytest

from lightning_dna.report.tuning import expected, write_tuning
from lightning_dna.study.setting_importance import importance
from lightning_dna.study.tune import Search


def search(*, sampler="random", rows=12, broken=()):
    """Two arms whose result depends on the learning rate alone."""
    rng, frames = np.random.default_rng(0), []
    for arm, offset in (("alibi", 0.0), ("hyena", 0.1)):
        rate = 10 ** rng.uniform(-4, -1, rows)
        frame = pd.DataFrame(
            {
                "arm": arm,
                "trial": range(rows),
                "state": "complete",
                "valid_bits_per_base": 1.9 + offset + 0.02 * (np.log10(rate) + 2) ** 2,
                "failure": None,
                "optimizer.lr": rate,
                "model.heads": rng.choice([2, 4], rows),
            }
        )
        for index in broken:
            frame.loc[index, ["state", "valid_bits_per_base"]] = ["fail", math.nan]
        frames.append(frame)
    trials = pd.concat(frames, ignore_index=True)
    best = {}
    for arm, mine in trials.groupby("arm"):
        row = mine.loc[mine["valid_bits_per_base"].idxmin()]
        best[arm] = {"optimizer.lr": float(row["optimizer.lr"]), "model.heads": 2}
    return Search(
        trials=trials,
        best=best,
        space=("optimizer.lr", "model.heads"),
        sampler=sampler,
        recipe="out/tuned.yaml",
    )


def test_the_expected_best_ends_at_the_best_and_begins_at_the_mean():
    found, one = search(), expected(search(), "alibi")
    values = found.trials.query("arm == 'alibi'")["valid_bits_per_base"]
    assert one.estimate[0] == pytest.approx(values.mean())
    assert one.estimate[-1] == pytest.approx(values.min())
    assert (np.diff(one.estimate) <= 0).all()


def test_a_trial_that_failed_counts_as_the_worst():
    one = expected(search(broken=(0, 1)), "alibi")
    assert np.isinf(one.estimate[:2]).all()
    assert np.isfinite(one.estimate[2:]).all()


def test_importance_finds_the_setting_that_matters():
    weights = importance(search(rows=40)).set_index(["arm", "setting"])["importance"]
    for arm in ("alibi", "hyena"):
        assert weights[arm].sum() == pytest.approx(1.0)
        assert weights[arm, "optimizer.lr"] > 0.8


def test_with_too_few_trials_there_is_no_importance(tmp_path):
    assert importance(search(rows=3)).empty
    assert "explains" not in write_tuning(search(rows=3), tmp_path)


def test_everything_is_written_and_the_text_says_how_to_read_it(tmp_path):
    text = write_tuning(search(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"best_of.csv", "importance.csv", "best_of.svg", "sensitivity.svg"}
    table = pd.read_csv(tmp_path / "best_of.csv")
    assert table.groupby("arm")["n"].max().to_dict() == {"alibi": 12, "hyena": 12}
    assert (tmp_path / "sensitivity.svg").read_text().startswith("<svg")
    for words in ("| n = 1 ", "| n = 8 ", "| n = 12 ", "explains", "tuned recipe: out/tuned.yaml"):
        assert words in text
    assert "learns from earlier" not in text
    assert "not independent" in write_tuning(search(sampler="tpe"), tmp_path)


def test_the_same_search_gives_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_tuning(search(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
