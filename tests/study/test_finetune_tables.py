"""Records of fine-tuning as rows, and a study that tries several learning rates from end to end."""

import pandas as pd
import pytest

from lightning_dna.report.page import render
from lightning_dna.study.compare import write_results
from lightning_dna.study.finetune_tables import finetune_row, read_record, tried_rows
from lightning_dna.study.run import execute

KEY = {"arm": "a", "seed": 0, "task": "t", "way": "full"}


def entry(lr: float, value: float | None):
    return {"lr": lr, "valid_metric": value, "best_epoch": 1, "epochs_run": 2, "seconds": 3.0}


def test_a_row_for_every_rate_and_the_chosen_one_is_marked():
    record = {"chosen_lr": 1e-3, "tried": [entry(1e-4, None), entry(1e-3, 0.5)]}
    rows = tried_rows(KEY, record)
    assert [(row["lr"], row["valid_metric"], row["chosen"], row["fold"]) for row in rows] == [
        (1e-4, None, False, ""),
        (1e-3, 0.5, True, ""),
    ]
    assert rows[0].items() >= KEY.items()


def test_every_fold_has_its_own():
    folds = [
        {"fold": "fold1", "chosen_lr": 1e-4, "tried": [entry(1e-4, 0.5)]},
        {"fold": "fold2", "chosen_lr": 1e-3, "tried": [entry(1e-4, 0.2), entry(1e-3, 0.3)]},
    ]
    rows = tried_rows(KEY, {"chosen_lr": None, "tried": None, "folds": folds})
    assert [(row["fold"], row["lr"], row["chosen"]) for row in rows] == [
        ("fold1", 1e-4, True),
        ("fold2", 1e-4, False),
        ("fold2", 1e-3, True),
    ]


def test_a_record_without_choices_and_none_at_all(tmp_path):
    assert tried_rows(KEY, {"chosen_c": 1.0, "tried": []}) == []
    assert read_record(tmp_path / "x.parquet") == {}
    row = finetune_row(KEY, {"seconds": 2.0})
    assert (row["seconds"], row["chosen_lr"], row["arm"]) == (2.0, None, "a")


@pytest.mark.slow
def test_a_study_of_several_rates_says_what_it_tried(make_study, add_promoters, tmp_path):
    study = make_study(
        tasks={"ways": ["frozen", "full"], "baselines": ["gc_content", "onehot_cnn"]},
        shared={"finetune": {"lr": [1e-4, 1e-2]}},
    )
    folder = tmp_path / "out"
    assert execute(study, folder, workers=1).failed == 0
    write_results(study, folder)
    tried = pd.read_csv(folder / "results" / "learning_rates.csv", keep_default_na=False)
    arms, seeds = list(study.arms), list(study.recipe.seeds)
    assert len(tried) == 2 * len(seeds) * (len(arms) + 1)  # the arms and one network, two rates
    chosen = tried[tried["chosen"].astype(str) == "True"]
    assert len(chosen) == len(seeds) * (len(arms) + 1)
    best = tried.assign(value=tried["valid_metric"].astype(float)).groupby(["arm", "seed"])["value"]
    kept = chosen.set_index(["arm", "seed"])["valid_metric"].astype(float)
    pd.testing.assert_series_equal(kept.sort_index(), best.max(), check_names=False)
    tuned = pd.read_csv(folder / "results" / "finetune.csv")
    assert set(tuned["way"]) == {"frozen", "full"}
    assert tuned[tuned["way"] == "full"]["chosen_lr"].isin([1e-4, 1e-2]).all()
    page = render(folder).read_text()
    assert "Learning rates tried." in page
    assert "learning rates 0.001, 0.00316" in page
    # what is on disk is not made again, and the embeddings lie beside the weights
    assert execute(study, folder, workers=1).done > 0
    assert list(folder.glob("runs/*/embeddings/*.npy"))
