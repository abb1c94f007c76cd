"""Files in every format, and those that are not what their ending says."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_dna.stats.files.tables import ENDINGS

IDS = ["007", "a,b", "x"]
ROWS = {"id": IDS, "label": [1, 0, 1], "pred": [1, 1, 0], "score": [0.75, 0.5, -1e-3]}


class TestFormats:
    @pytest.mark.parametrize("ending", [*ENDINGS, ".csv.gz", ".tsv.gz", ".jsonl.gz", ".CSV"])
    def test_all_hold_the_same_predictions(self, folder, write, read, ending):
        (one,) = read(write(f"model.v2{ending}"))
        assert (one.task, one.variant, one.seed) == ("task", "model.v2", 0)
        assert one.example_id.tolist() == IDS
        assert one.y_true.tolist() == [1, 0, 1]
        assert one.y_pred.tolist() == [1, 1, 0]
        assert one.y_score.tolist() == [0.75, 0.5, -1e-3]
        assert one.weight is None
        assert one.cluster_id is None

    def test_text_as_spreadsheets_write_it(self, folder, write, read):
        text = '\ufeffID, Y ,Pred\r\n"a\nb",1,1\r\n\r\nc,0,1\r\n'
        (one,) = read(write("a.csv", text=text))
        assert one.example_id.tolist() == ["a\nb", "c"]
        assert one.y_true.tolist() == [1, 0]

    def test_a_column_of_sequences_is_longer_than_the_usual_cell(self, folder, write, read):
        columns = ROWS | {"sequence": ["ACGT" * 50_000] * 3}
        (one,) = read(write("a.csv", columns))
        assert one.n_examples == 3

    def test_parquet_with_other_types(self, folder, read):
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

    def test_large_unsigned_ids_keep_their_digits(self, folder, read):
        pd.DataFrame({"id": np.array([2**63, 2**63 + 1], dtype=np.uint64), "y": [0, 1],
                      "pred": [0, 1]}).to_parquet("a.parquet")  # fmt: skip
        (one,) = read("a.parquet")
        assert one.example_id.tolist() == ["9223372036854775808", "9223372036854775809"]

    @pytest.mark.parametrize("ending", [*ENDINGS, ".csv.gz"])
    def test_whole_numbers_are_numbers_in_every_format(self, folder, write, read, ending):
        # As text "10" sorts before "2", and the order decides the digits of every interval.
        columns = {"id": [10, 2], "label": [0, 1], "pred": [0, 1], "cluster": [20, 3]}
        (one,) = read(write(f"a{ending}", columns))
        assert (one.example_id.tolist(), one.cluster_id.tolist()) == ([10, 2], [20, 3])

    def test_ids_of_two_formats_meet(self, folder, write, read, message):
        columns = {"id": [10, 2], "label": [0, 1], "pred": [0, 1]}
        one, other = read(write("a.parquet", columns), write("b.csv", columns))
        assert one.example_id.tolist() == other.example_id.tolist() == [10, 2]
        padded = write("c.csv", {**columns, "id": ["10", "02"]})
        assert "has 1 id of its own: '02'" in message("a.parquet", padded)


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
            ("a.jsonl", b'[{"id": 1}]\n', "a.jsonl, line 1: holds a list, not an object"),
            ("a.jsonl", b'{"id": 1}\nnull\n', "a.jsonl, line 2: holds null, not an object"),
            ("a.jsonl", b'{"id": 1}\n{"id": 2, "pred": 1, "pred": 0}\n',
             "a.jsonl, line 2: the key 'pred' stands twice in one object"),
            ("a.csv", b"id,label,pred\nx,1\n", "a.csv, line 2: 2 cells, but the header has 3"),
            ("a.csv", b"id,label,pred\nx\n", "a.csv, line 2: 1 cell, but the header has 3"),
            ("a.csv", b'id,label\n"x,1\n', "not valid CSV"),
            ("a.csv", b"id\tlabel\nx\t1\n", "separated by '\\t', not by ','; name it .tsv"),
            ("a.csv", b"id;label\nx;1\n", "separated by ';', not by ','; write it with commas"),
            ("a.tsv", b"id,label\nx,1\n", "separated by ',', not by '\\t'; name it .csv"),
            ("a.xlsx", b"x", "a.xlsx ends in '.xlsx'; predictions are read from .csv"),
            ("predictions", b"x", "predictions has no ending"),
        ],
    )  # fmt: skip
    def test_by_content(self, folder, message, name, content, expected):
        Path(name).write_bytes(content)
        assert expected in message(name)

    def test_no_such_file(self, folder, write, message):
        write("hyena.csv")
        assert message("hyenna.csv") == "there is no file hyenna.csv. Did you mean 'hyena.csv'?"
        assert message("other/hyena.csv") == "there is no file other/hyena.csv."

    def test_a_folder(self, folder, write, message):
        Path("runs").mkdir()
        write("runs/a.csv")
        assert message("runs") == (
            "runs is a folder; it holds a.csv. Name the files of predictions themselves."
        )

    def test_no_file_and_one_file_twice(self, folder, write, message):
        assert "no file" in message()
        assert "a.csv was given twice" in message(write("a.csv"), "a.csv")
