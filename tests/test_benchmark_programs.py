"""Programs under benchmarks/ whose output stands in reports, on files small enough to follow."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1] / "benchmarks"


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(monkeypatch, module: ModuleType, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


def test_rows_are_dealt_label_by_label():
    frame = pd.DataFrame({"seq": list("abcdefghij"), "label": [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]})
    found = program("dealt_split").dealt(frame.iloc[[0, 5, 1, 6, 2, 7, 3, 8, 4, 9]])
    assert found.loc[found["split"] == "valid", "sequence"].tolist() == ["d", "i"]
    assert found.loc[found["split"] == "test", "sequence"].tolist() == ["e", "j"]
    assert (found["split"] == "train").sum() == 6


def test_baselines_of_a_folder_are_scored_once(tmp_path, monkeypatch):
    """Sequences of one letter each: counts separate them, and base frequencies do."""
    for part, size in (("train", 40), ("valid", 10), ("test", 10)):
        rows = [f"{'ACGT'[at % 2] * 20},{at % 2}" for at in range(size)]
        (tmp_path / f"{part}.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "suite.yaml").write_text("description: x\ntasks: [whole.yaml, part.yaml]\n")
    for name, test in (("whole", "test.csv"), ("part", "absent.csv")):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\nkind: classification\ntitle: T\n"
            f"files: {{train: train.csv, valid: valid.csv, test: {test}}}\n"
        )
    module, out = program("gue_baselines"), tmp_path / "results.csv"
    words = (tmp_path, "--suite", tmp_path / "suite.yaml", "--out", out)
    run(monkeypatch, module, *words, "--baselines", "majority")
    run(monkeypatch, module, *words, "--baselines", "majority", "kmer_logistic")
    table = pd.read_csv(out).set_index("baseline")
    assert table["task"].tolist() == ["whole", "whole"]
    assert table.loc["majority", "accuracy"] == 0.5
    assert table.loc["kmer_logistic", ["accuracy", "mcc", "auroc"]].tolist() == [1, 1, 1]
    assert table["train"].tolist() == [40, 40]

    monkeypatch.setattr(module, "row_of", lambda *_: pytest.fail("scored again"))
    run(monkeypatch, module, *words, "--baselines", "majority", "kmer_logistic")


class TestHomologyAgreement:
    def test_the_best_alignment_counts_and_none_is_zero(self):
        found = pd.DataFrame({"query": [0, 0, 2], "score": [41, 62, 7]})
        assert program("homology_agreement").best_scores(found, 4).tolist() == [62, 0, 7, 0]

    def test_recall_and_precision(self):
        similarity = np.array([0.5, 0.2, 0.2, 0.0, 0.0])
        score = np.array([80.0, 60.0, 45.0, 70.0, 10.0])
        found = program("homology_agreement").agreement(similarity, score, 0.1)
        assert found["recall"] == pytest.approx(2 / 3)
        assert found["precision"] == pytest.approx(2 / 3)
        assert found["false alarms"] == found["of these 40 to 59"] == 1

    def test_the_threshold_of_the_largest_f1(self):
        similarity = np.array([0.3, 0.2, 0.1, 0.1])
        score = np.array([90.0, 60.0, 59.0, 0.0])
        assert 0.1 < program("homology_agreement").best_threshold(similarity, score) <= 0.2
