"""Score tables: what they hold, what they refuse, and that they come back from disk unchanged."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_dna.errors import ResultsError
from lightning_dna.tasks.base import Scores

MLM_COLUMNS = [
    "task",
    "variant",
    "seed",
    "example_id",
    "cluster_id",
    "chrom",
    "part",
    "stratum",
    "masked",
    "correct",
    "nats",
]


def mlm_frame(**changes) -> pd.DataFrame:
    base = {
        "task": ["h", "h", "h"],
        "variant": ["a", "a", "a"],
        "seed": [0, 0, 0],
        "example_id": ["I:0-8", "I:0-8", "I:8-16"],
        "cluster_id": ["I:0", "I:0", "I:0"],
        "chrom": ["I", "I", "I"],
        "part": ["test", "test", "train"],
        "stratum": ["unique", "repeat", "unique"],
        "masked": [3, 1, 2],
        "correct": [0, 1, 2],
        "nats": [3.5, 0.0, 1.25],
    }
    return pd.DataFrame(base | changes)


def labelled_frame(**changes) -> pd.DataFrame:
    base = {
        "task": ["t/full", "t/full"],
        "variant": ["a", "a"],
        "seed": [0, 0],
        "example_id": ["x", "y"],
        "cluster_id": ["x", "y"],
        "label": [0, 2],
        "prediction": [1, 2],
        "score": [np.nan, np.nan],
        "split": ["test", "test"],
    }
    return pd.DataFrame(base | changes)


def test_columns_are_put_into_order_and_types():
    frame = mlm_frame()
    frame["masked"] = frame["masked"].astype("uint16")
    frame["seed"] = frame["seed"].astype("int32")
    frame["nats"] = frame["nats"].astype("float32")
    shuffled = frame[frame.columns[::-1]].set_index(pd.Index([7, 7, 2]))
    scores = Scores(shuffled, "mlm")
    assert list(scores.frame.columns) == MLM_COLUMNS
    assert scores.frame.index.tolist() == [0, 1, 2]
    assert scores.frame["masked"].dtype == "int64"
    assert scores.frame["seed"].dtype == "int64"
    assert scores.frame["nats"].dtype == "float64"
    assert scores.frame["masked"].tolist() == [3, 1, 2]
    assert frame["masked"].dtype == "uint16"  # the caller's table is left alone


def test_categorical_text_is_text():
    frame = mlm_frame()
    frame["stratum"] = frame["stratum"].astype("category")
    assert Scores(frame, "mlm").frame["stratum"].tolist() == ["unique", "repeat", "unique"]


@pytest.mark.parametrize(
    ("frame", "kind"), [(mlm_frame(), "mlm"), (labelled_frame(), "classification")]
)
def test_round_trip(tmp_path, frame, kind):
    path = tmp_path / "new" / "scores.parquet"
    scores = Scores(frame, kind)
    scores.write(path)
    back = Scores.read(path)
    assert back.kind == kind
    pd.testing.assert_frame_equal(back.frame, scores.frame, check_exact=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.parquet"]


def test_file_says_what_it_is(tmp_path):
    Scores(mlm_frame(), "mlm").write(tmp_path / "s.parquet")
    metadata = pq.read_schema(tmp_path / "s.parquet").metadata
    assert json.loads(metadata[b"lightning_dna.scores"]) == {"schema": 1, "kind": "mlm"}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s.parquet"
    Scores(mlm_frame(), "mlm").write(path)
    before = path.read_bytes()

    def full_disk(table, where, **settings):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(ResultsError, match="No space left"):
        Scores(mlm_frame(seed=[1, 1, 1]), "mlm").write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": ["test", "valid", "train"]}, "part must be one of"),
        ({"stratum": ["unique", "LTR", "unique"]}, "stratum must be one of"),
        ({"masked": [3, 0, 2], "correct": [0, 0, 2]}, "masked must be 1 or more"),
        ({"correct": [4, 1, 2]}, "correct cannot exceed masked; 1 rows do not: h/a/0/I:0-8"),
        ({"correct": [-1, 1, 2]}, "'correct' holds -1"),
        ({"nats": [np.nan, 0.0, 1.0]}, "nats must be finite"),
        ({"nats": [np.inf, 0.0, 1.0]}, "nats must be finite"),
        ({"nats": [-0.1, 0.0, 1.0]}, "nats must be finite and 0 or more"),
        ({"nats": ["1", "2", "3"]}, "'nats' has type"),
        ({"nats": [True, True, True]}, "'nats' has type bool"),
        ({"masked": [3.0, 1.0, 2.0]}, "'masked' has type float64"),
        ({"seed": [-1, -1, -1]}, "'seed' holds -1"),
        ({"chrom": ["I", None, "I"]}, "'chrom' holds"),
        ({"cluster_id": ["I:0", "", "I:0"]}, "'cluster_id' holds ''"),
        ({"example_id": [1, 2, 3]}, "'example_id' holds"),
        ({"stratum": ["unique", "unique", "unique"]}, "one row for each task, variant"),
    ],
)
def test_mlm_refuses(changes, message):
    with pytest.raises(ResultsError) as caught:
        Scores(mlm_frame(**changes), "mlm")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": [-1, 0]}, "'label' holds -1"),
        ({"prediction": [0.5, 1.0]}, "'prediction' has type float64"),
        ({"score": [0.5, 1.5]}, "score must be in [0, 1] or NaN"),
        ({"score": [-0.5, 1.0]}, "score must be in [0, 1] or NaN"),
        ({"split": ["test", "valid"]}, "split must be one of"),
        ({"example_id": ["x", "x"]}, "one row for each"),
    ],
)
def test_classification_refuses(changes, message):
    with pytest.raises(ResultsError) as caught:
        Scores(labelled_frame(**changes), "classification")
    assert message in str(caught.value)


def test_refuses_other_columns_and_no_rows():
    with pytest.raises(ResultsError, match="missing columns: nats; unknown columns: loss"):
        Scores(mlm_frame().rename(columns={"nats": "loss"}), "mlm")
    with pytest.raises(ResultsError, match="no row"):
        Scores(mlm_frame().iloc[:0], "mlm")
    doubled = pd.concat([mlm_frame(), mlm_frame()[["nats"]]], axis=1)
    with pytest.raises(ResultsError, match="a column stands twice"):
        Scores(doubled, "mlm")
    with pytest.raises(ResultsError, match="scores of kind 'regression'"):
        Scores(mlm_frame(), "regression")


def test_one_example_may_stand_in_both_parts():
    frame = mlm_frame(example_id=["w", "w", "w"])
    assert len(Scores(frame, "mlm").frame) == 3


def test_read_refuses_what_is_no_score_table(tmp_path):
    with pytest.raises(ResultsError, match="cannot read the scores"):
        Scores.read(tmp_path / "missing.parquet")
    damaged = tmp_path / "damaged.parquet"
    Scores(mlm_frame(), "mlm").write(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(ResultsError, match="cannot read the scores"):
        Scores.read(damaged)
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    with pytest.raises(ResultsError, match="no score table"):
        Scores.read(foreign)


def test_read_refuses_another_schema_and_bad_content(tmp_path):
    def written(frame, **stamp):
        path = tmp_path / "s.parquet"
        table = pa.Table.from_pandas(frame, preserve_index=False)
        stamp = json.dumps({"schema": 1, "kind": "mlm"} | stamp).encode()
        pq.write_table(table.replace_schema_metadata({b"lightning_dna.scores": stamp}), path)
        return path

    with pytest.raises(ResultsError, match="has score schema 2; this version reads 1"):
        Scores.read(written(mlm_frame(), schema=2))
    with pytest.raises(ResultsError, match=r"s\.parquet: mlm scores: correct cannot exceed"):
        Scores.read(written(mlm_frame(correct=[9, 0, 0])))


EXAMPLE = {
    "task": ["t/full", "t/full"],
    "variant": ["a", "a"],
    "seed": [0, 0],
    "example_id": ["x", "y"],
    "cluster_id": ["x", "x"],
}
RANKING = EXAMPLE | {"label": [0, 1], "score": [-3.5, 12.0]}
MULTILABEL = EXAMPLE | {
    "labels": [np.array([True, False, True]), np.array([False, False, True])],
    "scores": [np.array([0.5, -2.0, 1e9]), np.array([0.0, 1.0, -1.0])],
}
PER_POSITION = EXAMPLE | {
    "hits": [np.array([3, 0]), np.array([1, 2])],
    "predicted": [np.array([5, 0]), np.array([2, 3])],
    "true": [np.array([3, 2]), np.array([2, 3])],
}
KINDS = {"ranking": RANKING, "multilabel": MULTILABEL, "per_position": PER_POSITION}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_come_back_from_disk_unchanged(kind, tmp_path):
    scores = Scores(pd.DataFrame(KINDS[kind]), kind)
    scores.write(tmp_path / "scores.parquet")
    again = Scores.read(tmp_path / "scores.parquet")
    assert again.kind == kind
    for name, column in KINDS[kind].items():
        for value, expected in zip(again.frame[name], column, strict=True):
            assert np.array_equal(value, np.asarray(expected))


def test_lists_are_stored_as_booleans_float32_and_int64():
    multilabel = Scores(pd.DataFrame(MULTILABEL), "multilabel").frame
    counts = Scores(pd.DataFrame(PER_POSITION), "per_position").frame
    assert multilabel["labels"][0].dtype == np.bool_
    assert multilabel["scores"][0].dtype == np.float32
    assert counts["hits"][0].dtype == np.int64


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("ranking", {"label": [0, 2]}, r"label must be 0 or 1; 1 rows do not: t/full/a/0/y"),
        ("ranking", {"score": [np.inf, 0.0]}, "score must be finite; 1 rows do not"),
        ("ranking", {"example_id": ["x", "x"]}, "one row for each task, variant, seed, example_id"),
        (
            "multilabel",
            {"scores": [np.zeros(3), np.zeros(2)]},
            "labels and scores must have one entry for each label; 1 rows do not: t/full/a/0/y",
        ),
        ("multilabel", {"scores": [np.zeros(3), np.array([0, np.nan, 0])]}, "must be finite"),
        ("multilabel", {"labels": [np.zeros(3), np.zeros(3)]}, "'labels' must hold a list of bool"),
        ("multilabel", {"scores": ["abc", "def"]}, "'scores' must hold a list of float32"),
        (
            "per_position",
            {"predicted": [np.array([4, 0]), np.array([2, 3])]},
            "predicted and true must count the same positions; 1 rows",
        ),
        (
            "per_position",
            {"hits": [np.array([4, 0]), np.array([1, 2])]},
            "hits cannot exceed predicted or true; 1 rows",
        ),
        (
            "per_position",
            {"hits": [np.array([-1, 0]), np.array([1, 2])]},
            "'hits' must hold a list of int64",
        ),
    ],
)
def test_other_kinds_refuse_what_cannot_be(kind, changes, message):
    with pytest.raises(ResultsError, match=message):
        Scores(pd.DataFrame(KINDS[kind] | changes), kind)
