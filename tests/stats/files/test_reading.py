"""Files of predictions as people write them, and what is said about those that cannot be used."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.columns import ColumnNames
from lightning_dna.stats.files.reading import ReadingOptions, read_predictions
from lightning_dna.stats.files.tables import ENDINGS

IDS = ["007", "a,b", "x"]
ROWS = {"id": IDS, "label": [1, 0, 1], "pred": [1, 1, 0], "score": [0.75, 0.5, -1e-3]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, so that messages show short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, columns=None, *, text=None) -> Path:
    """Write a table in the format that its name says, or a text as it stands."""
    path = Path(name)
    plain = name.removesuffix(".gz")
    if text is None:
        frame = pd.DataFrame(ROWS if columns is None else columns)
        if plain.endswith((".parquet", ".pq")):
            frame.to_parquet(path, index=False)
            return path
        if plain.endswith((".jsonl", ".ndjson", ".json")):
            text = "\n".join(json.dumps(row) for row in frame.to_dict("records"))
        else:
            text = frame.to_csv(index=False, sep="\t" if plain.endswith(".tsv") else ",")
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(*paths, columns=None, **options):
    return read_predictions(paths, columns, ReadingOptions(**options))


def message(*paths, columns=None, **options) -> str:
    with pytest.raises(StatsError) as caught:
        read(*paths, columns=columns, **options)
    return str(caught.value)


class TestFormats:
    @pytest.mark.parametrize("ending", [*ENDINGS, ".csv.gz", ".tsv.gz", ".jsonl.gz", ".CSV"])
    def test_all_hold_the_same_predictions(self, folder, ending):
        (one,) = read(write(f"model.v2{ending}"))
        assert (one.task, one.variant, one.seed) == ("task", "model.v2", 0)
        assert one.example_id.tolist() == IDS
        assert one.y_true.tolist() == [1, 0, 1]
        assert one.y_pred.tolist() == [1, 1, 0]
        assert one.y_score.tolist() == [0.75, 0.5, -1e-3]
        assert one.weight is None
        assert one.cluster_id is None

    def test_text_as_spreadsheets_write_it(self, folder):
        text = '\ufeffID, Y ,Pred\r\n"a\nb",1,1\r\n\r\nc,0,1\r\n'
        (one,) = read(write("a.csv", text=text))
        assert one.example_id.tolist() == ["a\nb", "c"]
        assert one.y_true.tolist() == [1, 0]

    def test_a_column_of_sequences_is_longer_than_the_usual_cell(self, folder):
        columns = ROWS | {"sequence": ["ACGT" * 50_000] * 3}
        (one,) = read(write("a.csv", columns))
        assert one.n_examples == 3

    def test_parquet_with_other_types(self, folder):
        frame = pd.DataFrame(ROWS | {"chrom": pd.Categorical(["1", "2", "1"])})
        frame["label"] = frame["label"].astype("int8")
        frame["pred"] = frame["pred"] == 1
        frame["score"] = frame["score"].astype("float32")
        frame.to_parquet("a.parquet")
        (one,) = read("a.parquet")
        assert one.y_true.tolist() == [1, 0, 1]
        assert one.y_pred.tolist() == [1, 1, 0]
        assert one.cluster_id.tolist() == [1, 2, 1]
        assert one.y_score.tolist() == np.float32([0.75, 0.5, -1e-3]).astype(float).tolist()

    def test_large_unsigned_ids_keep_their_digits(self, folder):
        pd.DataFrame({"id": np.array([2**63, 2**63 + 1], dtype=np.uint64), "y": [0, 1],
                      "pred": [0, 1]}).to_parquet("a.parquet")  # fmt: skip
        (one,) = read("a.parquet")
        assert one.example_id.tolist() == ["9223372036854775808", "9223372036854775809"]

    @pytest.mark.parametrize("ending", [*ENDINGS, ".csv.gz"])
    def test_whole_numbers_are_numbers_in_every_format(self, folder, ending):
        # As text "10" sorts before "2", and the order decides the digits of every interval.
        columns = {"id": [10, 2], "label": [0, 1], "pred": [0, 1], "cluster": [20, 3]}
        (one,) = read(write(f"a{ending}", columns))
        assert (one.example_id.tolist(), one.cluster_id.tolist()) == ([10, 2], [20, 3])

    def test_ids_of_two_formats_meet(self, folder):
        columns = {"id": [10, 2], "label": [0, 1], "pred": [0, 1]}
        one, other = read(write("a.parquet", columns), write("b.csv", columns))
        assert one.example_id.tolist() == other.example_id.tolist() == [10, 2]
        padded = write("c.csv", {**columns, "id": ["10", "02"]})
        assert "has 1 ids of its own: '02'" in message("a.parquet", padded)


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
    def test_usual_names(self, folder, name, field):
        columns = {"example_id": IDS, "y_true": [0, 1, 1], "y_pred": [1, 1, 0]}
        values = {"example_id": IDS, "cluster_id": ["p", "q", "p"]}.get(field, [1, 0, 1])
        columns = {key: value for key, value in columns.items() if key != field} | {name: values}
        (one,) = read(write("a.csv", columns))
        assert getattr(one, field).tolist() == values

    @pytest.mark.parametrize("name", ["model", "System", "variant"])
    def test_one_long_file(self, folder, name):
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

    def test_a_score_table_of_a_study_reads_as_it_is(self, folder):
        columns = {
            "task": ["promoter"] * 2, "variant": ["hyena"] * 2, "seed": [1, 1],
            "example_id": ["x", "y"], "cluster_id": ["c", "d"], "label": [0, 1],
            "prediction": [0, 0], "score": [np.nan, np.nan], "split": ["test"] * 2,
        }  # fmt: skip
        (one,) = read(write("scores.parquet", columns))
        assert one.name == "task 'promoter', variant 'hyena', seed 1"
        assert one.y_score is None  # a column without a single score is no column of scores

    def test_two_names_for_one_role_are_refused(self, folder):
        path = write("a.csv", ROWS | {"logits": [1, 2, 3]})
        assert message(path) == (
            "a.csv: columns 'score' and 'logits' could each be the score column; say which with "
            "--score-column."
        )
        (one,) = read(path, columns=ColumnNames(score="logits"))
        assert one.y_score.tolist() == [1, 2, 3]
        (one,) = read(path, columns=ColumnNames(score="none"))
        assert one.y_score is None

    def test_a_column_given_for_one_role_is_not_taken_for_another(self, folder):
        path = write("a.csv", {"name": IDS, "id": [0, 1, 1], "pred": [0, 1, 0]})
        (one,) = read(path, columns=ColumnNames(id="name", label="id"))
        assert one.example_id.tolist() == IDS
        assert one.y_true.tolist() == [0, 1, 1]

    def test_a_given_column_must_be_there(self, folder):
        text = message(write("a.csv"), columns=ColumnNames(label="labl"))
        assert text == (
            "a.csv has no column 'labl' (--label-column); its columns: id, label, pred, score. "
            "Did you mean 'label'?"
        )

    def test_a_header_with_one_name_twice(self, folder):
        assert "column 'pred' stands twice" in message(
            write("a.csv", text="id,label,pred,pred\na,1,1,0\n")
        )

    def test_named_sums(self, folder):
        columns = {"id": [1, 2], "nats": [np.log(2), np.log(4)], "masked": [1, 1],
                   "correct": [0, 1]}  # fmt: skip
        (one,) = read(write("a.csv", columns))
        assert one.numerators["bits_per_base"] == pytest.approx([1, 2])
        assert one.numerators["cross_entropy"] == pytest.approx([np.log(2), np.log(4)])
        assert one.numerators["mlm_accuracy"].tolist() == [0, 1]
        assert {key: value.tolist() for key, value in one.denominators.items()} == {
            "bits_per_base": [1, 1], "cross_entropy": [1, 1], "mlm_accuracy": [1, 1],
        }  # fmt: skip


class TestLabels:
    @pytest.mark.parametrize(
        ("written", "kind", "expected"),
        [
            (["1", "0", "1"], "i", [1, 0, 1]),
            (["1.0", "0.0", "1.0"], "i", [1, 0, 1]),
            (["True", "false", "1"], "i", [1, 0, 1]),
            (["-3", "12", "0"], "i", [-3, 12, 0]),
            (["splice", "none", "NA"], "U", ["splice", "none", "NA"]),
            (["01", "1a", "x"], "U", ["01", "1a", "x"]),
        ],
    )
    def test_kinds_of_text(self, folder, written, kind, expected):
        rows = "\n".join(f"{number},{label},{label}" for number, label in enumerate(written))
        (one,) = read(write("a.csv", text=f"id,label,pred\n{rows}\n"))
        assert one.y_true.dtype.kind == kind
        assert one.y_true.tolist() == one.y_pred.tolist() == expected

    def test_one_kind_for_all_files_of_a_task(self, folder):
        """Labels 0 and 1 in one file, and one more class in another: text in both."""
        one, other = read(
            write("a.csv", {"id": IDS, "label": ["0", "1", "z"], "pred": [0, 1, 1]}),
            write("b.csv", {"id": IDS, "label": ["0", "1", "z"], "pred": [0, 1, "z"]}),
        )
        assert one.y_pred.tolist() == ["0", "1", "1"]
        assert other.y_pred.tolist() == ["0", "1", "z"]

    def test_predictions_in_words_for_labels_in_numbers(self, folder):
        text = message(write("a.csv", ROWS | {"pred": ["yes", "no", "no"]}))
        assert "a.csv, column 'pred', line 2: predictions are text such as 'yes'" in text

    def test_positive_label(self, folder):
        path = write("a.csv", ROWS | {"label": ["neg", "pos", "pos"], "pred": ["pos", "pos", "?"]})
        (one,) = read(path, positive="pos")
        assert one.y_true.tolist() == [0, 1, 1]
        assert one.y_pred.tolist() == [1, 1, 0]
        assert "--positive 'Pos' is not among the true labels: neg, pos" in message(
            path, positive="Pos"
        )


class TestScores:
    def test_two_logits_give_their_difference(self, folder):
        columns = {"id": [1, 2], "label": [0, 1], "logits": [[1.0, 3.0], [0.5, -1.0]]}
        for name in ("a.parquet", "a.jsonl"):
            (one,) = read(write(name, columns))
            assert one.y_score.tolist() == [2.0, -1.5]

    def test_two_probabilities_give_the_last(self, folder):
        path = write("a.csv", {"id": [1, 2], "label": [0, 1], "prob_0": [0.25, 0.5],
                               "prob_1": [0.75, 0.5]})  # fmt: skip
        (one,) = read(path)
        assert one.y_score.tolist() == [0.75, 0.5]

    def test_class_scores_in_columns_given_by_name(self, folder):
        path = write("a.csv", {"id": [1, 2], "label": [0, 1], "no": [1.0, 2.0], "yes": [4.0, 1.0]})
        (one,) = read(path, columns=ColumnNames(score=("no", "yes")))
        assert one.y_score.tolist() == [3.0, -1.0]

    def test_threshold_is_reached_from_itself_on(self, folder):
        path = write("a.csv", {"id": IDS, "label": [0, 1, 1], "prob": [0.49, 0.5, 0.51]})
        (one,) = read(path, threshold=0.5)
        assert one.y_pred.tolist() == [0, 1, 1]
        assert one.y_score.tolist() == [0.49, 0.5, 0.51]

    def test_argmax_of_class_scores(self, folder):
        scores = np.array([[0.1, 0.2, 0.7], [3.0, 1.0, 2.0]])
        path = write("a.jsonl", {"id": [1, 2], "label": [2, 1], "scores": scores.tolist()})
        (one,) = read(path, threshold="argmax")
        assert one.y_pred.tolist() == np.argmax(scores, axis=1).tolist()
        assert one.y_score is None

    @pytest.mark.parametrize(
        ("columns", "threshold", "expected"),
        [
            (ROWS, 0.5, "a.csv has predicted labels in column 'pred' already"),
            ({"id": IDS, "label": [0, 1, 2], "prob": [0, 1, 1]}, 0.5, "'label', line 4"),
            ({"id": IDS, "label": ["n", "p", "p"], "prob": [0, 1, 1]}, 0.5, "by --positive"),
            ({"id": IDS, "label": [0, 1, 1], "prob": [0, 1, 1]}, "argmax", "one score only"),
            ({"id": IDS, "label": [0, 1, 1]}, 0.5, "there is no score"),
        ],
    )
    def test_what_cannot_be_cut(self, folder, columns, threshold, expected):
        assert expected in message(write("a.csv", columns), threshold=threshold)


class TestNamesOfModels:
    def test_given_names_and_seeds(self, folder):
        for name in ("run1", "run2"):
            Path(name).mkdir()
            write(f"{name}/test.csv")
        found = read("run1/test.csv", "run2/test.csv", models=["a", "a"], seeds=[0, 5])
        assert [(one.variant, one.seed) for one in found] == [("a", 0), ("a", 5)]

    def test_the_same_name_twice(self, folder):
        for name in ("run1", "run2"):
            Path(name).mkdir()
            write(f"{name}/test.csv")
        text = message("run1/test.csv", "run2/test.csv")
        assert text.startswith("run1/test.csv and run2/test.csv both hold model 'test'")
        assert "--training-seeds 0,1" in text
        assert "--models A,B" in text

    def test_a_number_of_names_that_does_not_fit(self, folder):
        assert "--models has 2 entries for 1 files" in message(write("a.csv"), models=["a", "b"])

    def test_names_beside_a_column_of_names(self, folder):
        path = write("a.csv", ROWS | {"model": ["m"] * 3})
        assert "a.csv has the column 'model', and --models was given" in message(path, models=["a"])


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.csv", b"", "a.csv is empty (0 bytes)"),
            ("a.csv", b"\n \n", "a.csv is empty"),
            ("a.csv", b"id,label,pred\n", "a.csv has no row (columns: id, label, pred)"),
            ("a.jsonl", b"\n\n", "a.jsonl is empty"),
            ("a.csv", b"PAR1....PAR1", "a.csv is a Parquet file, not text"),
            ("a.tsv", b"\x1f\x8b\x08\x00", "a.tsv is a gzip file"),
            ("a.csv", b"PK\x03\x04....", "a.csv is a ZIP file"),
            ("a.csv", b"id,label\n\x00\x01", "a.csv is binary"),
            ("a.csv", b"id,label\nx,1\n\xff,1\n", "a.csv, line 3: not UTF-8"),
            ("a.csv.gz", b"id,label\n", "a.csv.gz is not a whole gzip file"),
            ("a.csv.gz", gzip.compress(b"id,label\n" * 99)[:-9], "not a whole gzip file"),
            ("a.parquet", b"id,label\nx,1\n", "a.parquet is not a Parquet file"),
            ("a.parquet", b"PAR1 nothing PAR1", "a.parquet is a damaged Parquet file"),
            ("a.parquet.gz", b"PAR1", "unpack it"),
            ("a.jsonl", b'{"id": 1}\n\n{"id": 2\n', "a.jsonl, line 3: not valid JSON"),
            ("a.jsonl", b'[{"id": 1}]\n', "a.jsonl, line 1: holds a list"),
            ("a.csv", b"id,label,pred\nx,1\n", "a.csv, line 2: 2 cells, but the header has 3"),
            ("a.csv", b'id,label\n"x,1\n', "not valid CSV"),
            ("a.csv", b"id\tlabel\nx\t1\n", "separated by '\\t', not by ','; name it .tsv"),
            ("a.csv", b"id;label\nx;1\n", "separated by ';', not by ','; write it with commas"),
            ("a.tsv", b"id,label\nx,1\n", "separated by ',', not by '\\t'; name it .csv"),
            ("a.xlsx", b"x", "a.xlsx ends in '.xlsx'; predictions are read from .csv"),
            ("predictions", b"x", "predictions has no ending"),
        ],
    )  # fmt: skip
    def test_by_content(self, folder, name, content, expected):
        Path(name).write_bytes(content)
        assert expected in message(name)

    def test_no_such_file(self, folder):
        write("hyena.csv")
        assert message("hyenna.csv") == "there is no file hyenna.csv. Did you mean 'hyena.csv'?"
        assert message("other/hyena.csv") == "there is no file other/hyena.csv."

    def test_a_folder(self, folder):
        Path("runs").mkdir()
        write("runs/a.csv")
        assert message("runs") == (
            "runs is a folder; it holds a.csv. Name the files of predictions themselves."
        )

    def test_no_file_and_one_file_twice(self, folder):
        assert "no file" in message()
        assert "a.csv was given twice" in message(write("a.csv"), "a.csv")


class TestIds:
    def test_none(self, folder):
        columns = {"label": [0, 1], "pred": [0, 1]}
        text = message(write("a.csv", columns))
        assert text == (
            "a.csv has no column of ids (id, example_id, uid); its columns: label, pred. Add one, "
            "name it with --id-column, or pass --by-row if row k of every file is the same example."
        )
        one, other = read("a.csv", write("b.csv", columns), by_row=True)
        assert one.example_id.tolist() == other.example_id.tolist() == [0, 1]

    def test_by_row_needs_equal_lengths_and_no_ids(self, folder):
        a = write("a.csv", {"label": [0, 1], "pred": [0, 1]})
        b = write("b.csv", {"label": [0, 1, 1], "pred": [0, 1, 1]})
        assert "a.csv has 2 rows of model 'a', task 'task', seed 0, b.csv has 3" in message(
            a, b, by_row=True
        )
        assert "c.csv has ids in column 'id'" in message(write("c.csv"), by_row=True)

    def test_repeated(self, folder):
        path = write("a.csv", {"id": ["x", "y", "x", "y", "z"], "label": [1] * 5, "pred": [1] * 5})
        assert message(path).startswith(
            "a.csv, column 'id': repeated for model 'a', task 'task', seed 0: 'x' (lines 2, 4), "
            "'y' (lines 3, 5)."
        )

    def test_missing(self, folder):
        path = write("a.jsonl", text='{"id": "x", "label": 1, "pred": 1}\n{"label": 1, "pred": 0}')
        assert message(path).startswith("a.jsonl, column 'id', line 2: the cell is empty")

    def test_other_examples(self, folder):
        a = write("a.csv", {"id": ["x", "y", "z"], "label": [1, 0, 1], "pred": [1, 0, 1]})
        b = write("b.parquet", {"id": ["w", "z", "x"], "label": [1, 1, 1], "pred": [1, 0, 1]})
        text = message(a, b)
        assert "b.parquet (model 'b', task 'task', seed 0) does not hold the examples of a.csv" in (
            text
        )
        assert "lacks 1 of its ids: 'y' (a.csv line 3)" in text
        assert "has 1 ids of its own: 'w' (b.parquet row 1)" in text
        assert "--inner" in text
        assert [one.n_examples for one in read(a, b, inner=True)] == [3, 3]

    def test_only_the_first_are_listed(self, folder):
        many = {"id": range(20), "label": [1] * 20, "pred": [1] * 20}
        few = {key: list(value)[:8] for key, value in many.items()}
        text = message(write("a.csv", many), write("b.csv", few))
        assert "lacks 12 of its ids: '8' (a.csv line 10)" in text
        assert "'12' (a.csv line 14) and 7 more" in text

    def test_order_does_not_matter(self, folder):
        frame = pd.DataFrame(ROWS)
        found = read(write("a.csv", frame), write("b.csv", frame.iloc[::-1]))
        assert found[1].example_id.tolist() == IDS[::-1]


class TestValues:
    def test_labels_that_disagree(self, folder):
        a = write("a.csv", {"id": ["x", "y", "z"], "label": [1, 0, 1], "pred": [1, 0, 1]})
        b = write("b.csv", {"uid": ["z", "y", "x"], "y": [1, 1, 0], "pred": [1, 0, 1]})
        for inner in (False, True):
            text = message(a, b, inner=inner)
            assert text.startswith("b.csv, column 'y': the label of an example must be the same")
            assert "'y' is 0 in a.csv line 3, 1 in b.csv line 3" in text
            assert "'x' is 1 in a.csv line 2, 0 in b.csv line 4" in text

    @pytest.mark.parametrize("role", ["cluster", "weight"])
    def test_what_else_must_agree(self, folder, role):
        a, b = (
            write(f"{name}.csv", ROWS | {role: [1, 2, last]}) for name, last in (("a", 3), ("b", 4))
        )
        assert f"b.csv, column '{role}': the {role} of an example must be the same" in message(a, b)
        c = write("c.csv")
        assert f"a.csv has a {role} column ('{role}'), c.csv has none" in message(a, c)

    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (["1", "nan", "2"], "line 3: empty or NaN"),
            (["1", "inf", "2"], "line 3: NaN or infinite"),
            (["1", "", "NaN"], "lines 3, 4: empty or NaN"),
            (["1", "2", "high"], "line 4: 'high' is not a number"),
        ],
    )
    def test_scores_that_are_no_numbers(self, folder, cells, expected):
        rows = "".join(f"{at},{at % 2},{at % 2},{cell}\n" for at, cell in enumerate(cells))
        path = write("a.csv", text=f"id,label,pred,score\n{rows}")
        assert f"a.csv, column 'score', {expected}" in message(path)

    def test_lists_of_different_lengths(self, folder):
        path = write("a.jsonl", {"id": [1, 2], "label": [0, 1], "logits": [[1.0, 2.0], [1.0]]})
        assert "a.jsonl, column 'logits', lines 1, 2: [1.0, 2.0] is not a number" in message(path)

    @pytest.mark.parametrize("value", ["[0]", '{"a": 0}'])
    def test_labels_that_are_no_single_value(self, folder, value):
        text = '{"id": 1, "label": 0, "pred": 0}\n{"id": 2, "label": 1, "pred": ' + value + "}\n"
        told = message(write("a.jsonl", text=text))
        assert told.startswith("a.jsonl, column 'pred', line 2: holds lists or objects")

    def test_a_number_beyond_all_reals(self, folder):
        cells = ["1", "0.5", "1" + "0" * 400]
        lines = (f'{{"id": {at}, "label": {at % 2}, "score": {cell}}}'
                 for at, cell in enumerate(cells))  # fmt: skip
        told = message(write("a.jsonl", text="\n".join(lines)))
        assert told.startswith("a.jsonl, column 'score', line 3: 1000")

    def test_sums_in_one_file_only(self, folder):
        more = write("a.csv", ROWS | {"nats": [1, 2, 3], "bases": [4, 4, 4]})
        told = message(more, write("b.csv"))
        assert told.startswith("a.csv has numerators of bits_per_base, b.csv has none")

    @pytest.mark.parametrize(("role", "column"), [("score", "score"), ("prediction", "pred")])
    def test_a_column_of_answers_in_one_file_only(self, folder, role, column):
        less = {name: cells for name, cells in ROWS.items() if name != column}
        told = message(write("a.csv"), write("b.csv", less))
        assert told.startswith(f"a.csv has a {role} column ('{column}'), b.csv has none")

    @pytest.mark.parametrize("cell", ["", "nan", "NA", "null"])
    def test_labels_that_are_missing(self, folder, cell):
        path = write("a.csv", text=f"id,label,pred\nx,1,1\ny,{cell},0\n")
        assert "a.csv, column 'label', line 3: the label is empty" in message(path)

    @pytest.mark.parametrize("seed", ["-1", "0.5", "first"])
    def test_seeds(self, folder, seed):
        path = write("a.csv", text=f"id,label,pred,seed\nx,1,1,{seed}\n")
        assert "a.csv, column 'seed', line 2" in message(path)

    def test_weights_and_counts_below_zero(self, folder):
        path = write("a.csv", ROWS | {"weight": [1, -2, 1]})
        assert "a.csv, column 'weight', line 3: below 0" in message(path)
        path = write("b.csv", {"id": [1, 2], "numerator": [1, 1], "denominator": [1, -1]})
        assert "b.csv, column 'denominator', line 3: below 0" in message(path)

    def test_a_cell_with_a_line_end_does_not_shift_the_lines(self, folder):
        text = 'id,label,pred\n"x\ny",1,1\nz,,0\n'
        assert "column 'label', line 4" in message(write("a.csv", text=text))
