"""Files that disagree about the examples, and values that cannot be used."""

import unicodedata

import pandas as pd
import pytest

IDS = ["007", "a,b", "x"]
ROWS = {"id": IDS, "label": [1, 0, 1], "pred": [1, 1, 0], "score": [0.75, 0.5, -1e-3]}


class TestIds:
    def test_none(self, folder, write, read, message):
        columns = {"label": [0, 1], "pred": [0, 1]}
        text = message(write("a.csv", columns))
        assert text == (
            "a.csv has no column of ids (id, example_id, uid); its columns: label, pred. Add one, "
            "name it with --id-column, or pass --by-row if row k of every file is the same example."
        )
        one, other = read("a.csv", write("b.csv", columns), by_row=True)
        assert one.example_id.tolist() == other.example_id.tolist() == [0, 1]

    def test_by_row_needs_equal_lengths_and_no_ids(self, folder, write, message):
        a = write("a.csv", {"label": [0, 1], "pred": [0, 1]})
        b = write("b.csv", {"label": [0, 1, 1], "pred": [0, 1, 1]})
        assert "a.csv has 2 rows of model 'a', task 'task', seed 0, b.csv has 3" in message(
            a, b, by_row=True
        )
        assert "c.csv has ids in column 'id'" in message(write("c.csv"), by_row=True)

    def test_repeated(self, folder, write, message):
        path = write("a.csv", {"id": ["x", "y", "x", "y", "z"], "label": [1] * 5, "pred": [1] * 5})
        assert message(path).startswith(
            "a.csv, column 'id': repeated for model 'a', task 'task', seed 0: 'x' (lines 2, 4), "
            "'y' (lines 3, 5)."
        )

    def test_missing(self, folder, write, message):
        path = write("a.jsonl", text='{"id": "x", "label": 1, "pred": 1}\n{"label": 1, "pred": 0}')
        assert message(path).startswith("a.jsonl, column 'id', line 2: the cell is empty")

    def test_other_examples(self, folder, write, read, message):
        a = write("a.csv", {"id": ["x", "y", "z"], "label": [1, 0, 1], "pred": [1, 0, 1]})
        b = write("b.parquet", {"id": ["w", "z", "x"], "label": [1, 1, 1], "pred": [1, 0, 1]})
        text = message(a, b)
        assert "b.parquet (model 'b', task 'task', seed 0) does not hold the examples of a.csv" in (
            text
        )
        assert "lacks 1 of its ids: 'y' (a.csv line 3)" in text
        assert "has 1 id of its own: 'w' (b.parquet row 1)" in text
        assert "--inner" in text
        assert [one.n_examples for one in read(a, b, inner=True)] == [3, 3]

    def test_only_the_first_are_listed(self, folder, write, message):
        many = {"id": range(20), "label": [1] * 20, "pred": [1] * 20}
        few = {key: list(value)[:8] for key, value in many.items()}
        text = message(write("a.csv", many), write("b.csv", few))
        assert "lacks 12 of its ids: '8' (a.csv line 10)" in text
        assert "'12' (a.csv line 14) and 7 more" in text

    def test_order_does_not_matter(self, folder, write, read):
        frame = pd.DataFrame(ROWS)
        found = read(write("a.csv", frame), write("b.csv", frame.iloc[::-1]))
        assert found[1].example_id.tolist() == IDS[::-1]

    @pytest.mark.parametrize("inner", [False, True])
    def test_two_forms_of_unicode(self, folder, write, message, inner):
        ids = ["café-1", "café-2", "plain"]
        a, b = (
            write(f"{form}.csv", {"id": [unicodedata.normalize(form, i) for i in ids],
                                  "label": [0, 1, 1], "pred": [0, 1, 1]})
            for form in ("NFC", "NFD")
        )  # fmt: skip
        text = message(a, b, inner=inner)
        assert "2 ids look the same and differ in Unicode normalisation only" in text
        assert "(NFC.csv line 2, NFD.csv line 2)" in text
        assert "unicodedata.normalize('NFC', id)" in text

    def test_nothing_in_common(self, folder, write, message):
        a = write("a.csv", {"id": ["x", "y"], "label": [0, 1], "pred": [0, 1]})
        b = write("b.csv", {"id": ["p", "q"], "label": [0, 1], "pred": [0, 1]})
        text = message(a, b, inner=True)
        assert text.startswith("--inner leaves no example of task 'task': with b.csv")
        assert "Ids of a.csv look like 'x', ids of b.csv like 'p'" in text

    def test_three_files_without_an_example_in_all(self, folder, write, message):
        pairs = {"a": ["x", "y"], "b": ["y", "z"], "c": ["z", "x"]}
        paths = [write(f"{name}.csv", {"id": ids, "label": [1, 1], "pred": [0, 1]})
                 for name, ids in pairs.items()]  # fmt: skip
        assert "with c.csv" in message(*paths, inner=True)


class TestValues:
    def test_labels_that_disagree(self, folder, write, message):
        a = write("a.csv", {"id": ["x", "y", "z"], "label": [1, 0, 1], "pred": [1, 0, 1]})
        b = write("b.csv", {"uid": ["z", "y", "x"], "y": [1, 1, 0], "pred": [1, 0, 1]})
        for inner in (False, True):
            text = message(a, b, inner=inner)
            assert text.startswith("b.csv, column 'y': the label of an example must be the same")
            assert "'y' is 0 in a.csv line 3, 1 in b.csv line 3" in text
            assert "'x' is 1 in a.csv line 2, 0 in b.csv line 4" in text

    @pytest.mark.parametrize("role", ["cluster", "weight"])
    def test_what_else_must_agree(self, folder, write, message, role):
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
    def test_scores_that_are_no_numbers(self, folder, write, message, cells, expected):
        rows = "".join(f"{at},{at % 2},{at % 2},{cell}\n" for at, cell in enumerate(cells))
        path = write("a.csv", text=f"id,label,pred,score\n{rows}")
        assert f"a.csv, column 'score', {expected}" in message(path)

    def test_lists_of_different_lengths(self, folder, write, message):
        path = write("a.jsonl", {"id": [1, 2], "label": [0, 1], "logits": [[1.0, 2.0], [1.0]]})
        assert "a.jsonl, column 'logits', lines 1, 2: [1.0, 2.0] is not a number" in message(path)

    @pytest.mark.parametrize("value", ["[0]", '{"a": 0}'])
    def test_labels_that_are_no_single_value(self, folder, write, message, value):
        text = '{"id": 1, "label": 0, "pred": 0}\n{"id": 2, "label": 1, "pred": ' + value + "}\n"
        told = message(write("a.jsonl", text=text))
        assert told.startswith("a.jsonl, column 'pred', line 2: holds lists or objects")

    def test_a_number_beyond_all_reals(self, folder, write, message):
        cells = ["1", "0.5", "1" + "0" * 400]
        lines = (f'{{"id": {at}, "label": {at % 2}, "score": {cell}}}'
                 for at, cell in enumerate(cells))  # fmt: skip
        told = message(write("a.jsonl", text="\n".join(lines)))
        assert told.startswith("a.jsonl, column 'score', line 3: 1000")

    def test_sums_in_one_file_only(self, folder, write, message):
        more = write("a.csv", ROWS | {"nats": [1, 2, 3], "bases": [4, 4, 4]})
        told = message(more, write("b.csv"))
        assert told.startswith("a.csv has numerators of bits_per_base, b.csv has none")

    @pytest.mark.parametrize(("role", "column"), [("score", "score"), ("prediction", "pred")])
    def test_a_column_of_answers_in_one_file_only(self, folder, write, message, role, column):
        less = {name: cells for name, cells in ROWS.items() if name != column}
        told = message(write("a.csv"), write("b.csv", less))
        assert told.startswith(f"a.csv has a {role} column ('{column}'), b.csv has none")

    @pytest.mark.parametrize("cell", ["", "nan", "NA", "null"])
    def test_labels_that_are_missing(self, folder, write, message, cell):
        path = write("a.csv", text=f"id,label,pred\nx,1,1\ny,{cell},0\n")
        assert "a.csv, column 'label', line 3: the label is empty" in message(path)

    @pytest.mark.parametrize("seed", ["-1", "0.5", "first"])
    def test_seeds(self, folder, write, message, seed):
        path = write("a.csv", text=f"id,label,pred,seed\nx,1,1,{seed}\n")
        assert "a.csv, column 'seed', line 2" in message(path)

    def test_weights_and_counts_below_zero(self, folder, write, message):
        path = write("a.csv", ROWS | {"weight": [1, -2, 1]})
        assert "a.csv, column 'weight', line 3: below 0" in message(path)
        path = write("b.csv", {"id": [1, 2], "numerator": [1, 1], "denominator": [1, -1]})
        assert "b.csv, column 'denominator', line 3: below 0" in message(path)

    def test_a_cell_with_a_line_end_does_not_shift_the_lines(self, folder, write, message):
        text = 'id,label,pred\n"x\ny",1,1\nz,,0\n'
        assert "column 'label', line 4" in message(write("a.csv", text=text))
