"""Which columns and names a file of predictions may have."""

from pathlib import Path

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.columns import ColumnNames
from lightning_dna.stats.files.reading import read_entries

IDS = ["007", "a,b", "x"]
ROWS = {"id": IDS, "label": [1, 0, 1], "pred": [1, 1, 0], "score": [0.75, 0.5, -1e-3]}


class TestColumns:
    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("uid", "example_id"), ("example_id", "example_id"), ("ID", "example_id"),
            ("y", "y_true"), ("Y_True", "y_true"), ("target", "y_true"),
            ("y_pred", "y_pred"), ("prediction", "y_pred"),
            ("prob", "y_score"), ("y_score", "y_score"), ("probability", "y_score"),
            ("logits", "y_score"),
            ("group", "cluster_id"), ("chrom", "cluster_id"), ("weight", "weight"),
        ],
    )  # fmt: skip
    def test_usual_names(self, folder, write, read, name, field):
        columns = {"example_id": IDS, "y_true": [0, 1, 1], "y_pred": [1, 1, 0]}
        values = {"example_id": IDS, "cluster_id": ["p", "q", "p"]}.get(field, [1, 0, 1])
        columns = {key: value for key, value in columns.items() if key != field} | {name: values}
        (one,) = read(write("a.csv", columns))
        assert getattr(one, field).tolist() == values

    @pytest.mark.parametrize("name", ["model", "System", "variant"])
    def test_one_long_file(self, folder, write, read, name):
        columns = {
            name: ["b", "a"] * 4,
            "seed": [0, 0, 3, 3] * 2,
            "task": ["t"] * 4 + ["u"] * 4,
            "id": ["x"] * 8,
            "label": [1, 1, 1, 1, 0, 0, 0, 0],
            "pred": [0, 1, 0, 1, 0, 1, 0, 1],
        }
        found = read(write("long.csv", columns))
        assert [(one.task, one.variant, one.seed, int(one.y_pred[0])) for one in found] == [
            ("t", "b", 0, 0), ("t", "a", 0, 1), ("t", "b", 3, 0), ("t", "a", 3, 1),
            ("u", "b", 0, 0), ("u", "a", 0, 1), ("u", "b", 3, 0), ("u", "a", 3, 1),
        ]  # fmt: skip

    def test_a_score_table_of_a_study_reads_as_it_is(self, folder, write, read):
        columns = {
            "task": ["promoter"] * 2, "variant": ["hyena"] * 2, "seed": [1, 1],
            "example_id": ["x", "y"], "cluster_id": ["c", "d"], "label": [0, 1],
            "prediction": [0, 0], "score": [np.nan, np.nan], "split": ["test"] * 2,
        }  # fmt: skip
        (one,) = read(write("scores.parquet", columns))
        assert one.name == "task 'promoter', variant 'hyena', seed 1"
        assert one.y_score is None  # a column without a single score is no column of scores

    def test_two_names_for_one_role_are_refused(self, folder, write, read, message):
        path = write("a.csv", ROWS | {"logits": [1, 2, 3]})
        assert message(path) == (
            "a.csv: columns 'score' and 'logits' could each be the score column; say which with "
            "--score-column."
        )
        (one,) = read(path, columns=ColumnNames(score="logits"))
        assert one.y_score.tolist() == [1, 2, 3]
        (one,) = read(path, columns=ColumnNames(score="none"))
        assert one.y_score is None

    def test_a_column_given_for_one_role_is_not_taken_for_another(self, folder, write, read):
        path = write("a.csv", {"name": IDS, "id": [0, 1, 1], "pred": [0, 1, 0]})
        (one,) = read(path, columns=ColumnNames(id="name", label="id"))
        assert one.example_id.tolist() == IDS
        assert one.y_true.tolist() == [0, 1, 1]

    def test_a_given_column_must_be_there(self, folder, write, message):
        text = message(write("a.csv"), columns=ColumnNames(label="labl"))
        assert text == (
            "a.csv has no column 'labl' (--label-column); its columns: id, label, pred, score. "
            "Did you mean 'label'?"
        )

    def test_a_header_with_one_name_twice(self, folder, write, message):
        assert "column 'pred' stands twice" in message(
            write("a.csv", text="id,label,pred,pred\na,1,1,0\n")
        )

    def test_named_sums(self, folder, write, read):
        columns = {"id": [1, 2], "nats": [np.log(2), np.log(4)], "masked": [1, 1],
                   "correct": [0, 1]}  # fmt: skip
        (one,) = read(write("a.csv", columns))
        assert one.numerators["bits_per_base"] == pytest.approx([1, 2])
        assert one.numerators["cross_entropy"] == pytest.approx([np.log(2), np.log(4)])
        assert one.numerators["mlm_accuracy"].tolist() == [0, 1]
        assert {key: value.tolist() for key, value in one.denominators.items()} == {
            "bits_per_base": [1, 1], "cross_entropy": [1, 1], "mlm_accuracy": [1, 1],
        }  # fmt: skip


class TestNamesOfModels:
    def test_given_names_and_seeds(self, folder, write, read):
        for name in ("run1", "run2"):
            Path(name).mkdir()
            write(f"{name}/test.csv")
        found = read("run1/test.csv", "run2/test.csv", models=["a", "a"], seeds=[0, 5])
        assert [(one.variant, one.seed) for one in found] == [("a", 0), ("a", 5)]

    def test_the_same_name_twice(self, folder, write, message):
        for name in ("run1", "run2"):
            Path(name).mkdir()
            write(f"{name}/test.csv")
        text = message("run1/test.csv", "run2/test.csv")
        assert text.startswith("run1/test.csv and run2/test.csv both hold model 'test'")
        assert "--training-seeds 0,1" in text
        assert "--models A,B" in text

    def test_a_number_of_names_that_does_not_fit(self, folder, write, message):
        assert "--models has 2 entries for 1 file;" in message(write("a.csv"), models=["a", "b"])

    def test_names_beside_a_column_of_names(self, folder, write, message):
        path = write("a.csv", ROWS | {"model": ["m"] * 3})
        assert "a.csv has the column 'model', and --models was given" in message(path, models=["a"])


LONG = {
    "id": [1, 2] * 4,
    "task": ["t"] * 4 + ["u"] * 4,
    "model": ["a", "a", "b", "b"] * 2,
    "label": [0, 1] * 4,
    "pred": [0, 1] * 4,
}


class TestEmptyScores:
    """A long file has a column of scores as soon as one of its tasks or models has scores."""

    @pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
    def test_of_one_task(self, folder, write, read, ending):
        found = read(write(f"long.{ending}", LONG | {"score": [0.1] * 4 + [np.nan] * 4}))
        assert [one.y_score is None for one in found] == [False, False, True, True]

    def test_of_one_model_are_refused_where_they_are_needed(self, folder, write, message):
        path = write("long.csv", LONG | {"score": [0.1, 0.2, np.nan, np.nan] * 2})
        assert message(path) == (
            "long.csv has a score column ('score'), long.csv has an empty one for model 'b', task "
            "'t', seed 0; give it in all files or in none (--score-column none leaves it out)."
        )

    def test_of_some_rows_are_a_mistake(self, folder, write, message):
        path = write("long.csv", LONG | {"score": [0.1] * 7 + [np.nan]})
        assert "long.csv, column 'score', line 9: empty or NaN" in message(path)

    def test_of_a_column_given_by_name_are_a_mistake_if_there_is_none(self, folder, write, message):
        path = write("long.csv", LONG | {"s": [np.nan] * 8})
        assert "column 's', lines 2, 3" in message(path, columns=ColumnNames(score="s"))

    @pytest.mark.parametrize(
        ("metrics", "has_scores", "has_labels"),
        [
            (["accuracy", "mcc"], [False, False], [True, True]),
            (["auroc"], [], []),
            (["auroc", "accuracy"], [], []),
            (["mean"], [False, False], [True, True]),
            (None, [], []),
        ],
    )
    def test_in_a_file_that_does_not_need_them(
        self, folder, write, metrics, has_scores, has_labels
    ):
        columns = {"id": [1, 2], "label": [0, 1], "pred": [0, 1]}
        paths = [write("a.csv", columns | {"score": [0.5, 1]}), write("b.csv", columns)]
        if not has_scores:
            with pytest.raises(StatsError, match=r"a\.csv has a score column \('score'\), b\.csv"):
                read_entries(paths, metrics=metrics)
            return
        found = [entry.predictions for entry in read_entries(paths, metrics=metrics)]
        assert [one.y_score is not None for one in found] == has_scores
        assert [one.y_pred is not None for one in found] == has_labels

    def test_labels_that_no_metric_needs(self, folder, write):
        columns = {"id": [1, 2], "label": [0, 1], "score": [0, 1]}
        paths = [write("a.csv", columns | {"pred": [0, 1]}), write("b.csv", columns)]
        found = [entry.predictions for entry in read_entries(paths, metrics=["auroc"])]
        assert [one.y_pred for one in found] == [None, None]
