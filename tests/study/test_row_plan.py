"""What the plan says of steps and padding is what the trainings then measure."""

import math

import pytest

from lightning_dna.study.plan import plan_table
from lightning_dna.study.record import _steadiness
from lightning_dna.study.row_plan import row_frame
from lightning_dna.training.run import fit

WARMUP = {"kind": "doubling", "start": 8, "fraction": 0.6}
ARMS = {
    "attention": {},
    "hyena": {"model": {"mixer": "attention"}, "length_schedule": WARMUP},
    "truncated": {"length_schedule": WARMUP | {"long_windows": "truncate"}},
    "shuffled": {"length_schedule": WARMUP | {"order": "shuffled"}},
    "grouped": {"length_schedule": WARMUP | {"order": "grouped"}},
    "mixed": {"length_schedule": {"kind": "mixed", "start": 8, "draw": "window"}},
    # Rows are equally long in bases, and not in tokens.
    "kmers": {"data": {"tokenizer": "kmer-3"}},
    "bytepairs": {"data": {"tokenizer": "bpe-30"}},
}


def test_padding_and_dropped_bases_are_those_that_fit_records(make_study, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = make_study(arms=ARMS)
    frame = row_frame(study).set_index("arm")
    assert list(frame.index) == list(ARMS)
    for name, arm in study.arms.items():
        record = fit(arm.settings.run(0), tmp_path / name, progress=False).record
        row = frame.loc[name]
        assert (row["steps"], row["tokens_per_step"]) == (
            record["steps"],
            record["tokens"] / record["steps"],
        )
        assert row["padding_fraction"] == pytest.approx(record["padding_fraction"], abs=1e-12)
        assert row["truncated_bases"] == record["truncated_bases"]
    assert frame["steps"].nunique() == frame["tokens_per_step"].nunique() == 1
    assert frame.loc["attention", "padding_fraction"] == 0.0
    assert frame.loc["shuffled", "padding_fraction"] > 0.2
    assert frame.loc["truncated", "truncated_bases"] > 0
    assert frame.loc["hyena", "shortest"] == 8
    assert frame.loc["kmers", "longest"] < frame.loc["attention", "longest"] / 2
    assert frame.loc["bytepairs", "padding_fraction"] > 0


def test_the_plan_shows_them(make_study, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = plan_table(make_study(arms=ARMS))
    head, *_ = [line for line in text.splitlines() if "tokens a step" in line]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "arm",
        "steps",
        "tokens a step",
        "rows a step",
        "longest row",
        "padding",
        "bases cut off",
    ]
    assert "8 to 64" in text
    assert "padding: share of the positions" in text


def test_steadiness_is_a_mean_over_seeds_and_extremes_of_any():
    first = {"steps": 10, "loss_ratio_above_1_2": 0.1, "loss_ratio_max": 1.5}
    second = {"steps": 10, "loss_ratio_above_1_2": 0.3, "loss_ratio_max": None}
    row = _steadiness([first, second])
    assert row["steps"] == 10
    assert row["loss_ratio_above_1_2"] == pytest.approx(0.2)
    assert row["loss_ratio_max"] == 1.5
    assert math.isnan(row["gradient_norm_p99"])  # a record of the first versions has none
    assert all(math.isnan(value) for value in _steadiness([]).values())
