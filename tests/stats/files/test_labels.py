"""Labels as people write them, and labels cut from scores."""

import numpy as np
import pytest

from lightning_dna.stats.files.columns import ColumnNames

IDS = ["007", "a,b", "x"]
ROWS = {"id": IDS, "label": [1, 0, 1], "pred": [1, 1, 0], "score": [0.75, 0.5, -1e-3]}


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
    def test_kinds_of_text(self, folder, write, read, written, kind, expected):
        rows = "\n".join(f"{number},{label},{label}" for number, label in enumerate(written))
        (one,) = read(write("a.csv", text=f"id,label,pred\n{rows}\n"))
        assert one.y_true.dtype.kind == kind
        assert one.y_true.tolist() == one.y_pred.tolist() == expected

    def test_one_kind_for_all_files_of_a_task(self, folder, write, read):
        """Labels 0 and 1 in one file, and one more class in another: text in both."""
        one, other = read(
            write("a.csv", {"id": IDS, "label": ["0", "1", "z"], "pred": [0, 1, 1]}),
            write("b.csv", {"id": IDS, "label": ["0", "1", "z"], "pred": [0, 1, "z"]}),
        )
        assert one.y_pred.tolist() == ["0", "1", "1"]
        assert other.y_pred.tolist() == ["0", "1", "z"]

    def test_predictions_in_words_for_labels_in_numbers(self, folder, write, message):
        text = message(write("a.csv", ROWS | {"pred": ["yes", "no", "no"]}))
        assert "a.csv, column 'pred', line 2: predictions are text such as 'yes'" in text

    def test_positive_label(self, folder, write, read, message):
        path = write("a.csv", ROWS | {"label": ["neg", "pos", "pos"], "pred": ["pos", "pos", "?"]})
        (one,) = read(path, positive="pos")
        assert one.y_true.tolist() == [0, 1, 1]
        assert one.y_pred.tolist() == [1, 1, 0]
        assert "--positive 'Pos' is not among the true labels: neg, pos" in message(
            path, positive="Pos"
        )


class TestScores:
    def test_two_logits_give_their_difference(self, folder, write, read):
        columns = {"id": [1, 2], "label": [0, 1], "logits": [[1.0, 3.0], [0.5, -1.0]]}
        for name in ("a.parquet", "a.jsonl"):
            (one,) = read(write(name, columns))
            assert one.y_score.tolist() == [2.0, -1.5]

    def test_two_probabilities_give_the_last(self, folder, write, read):
        path = write("a.csv", {"id": [1, 2], "label": [0, 1], "prob_0": [0.25, 0.5],
                               "prob_1": [0.75, 0.5]})  # fmt: skip
        (one,) = read(path)
        assert one.y_score.tolist() == [0.75, 0.5]

    def test_class_scores_in_columns_given_by_name(self, folder, write, read):
        path = write("a.csv", {"id": [1, 2], "label": [0, 1], "no": [1.0, 2.0], "yes": [4.0, 1.0]})
        (one,) = read(path, columns=ColumnNames(score=("no", "yes")))
        assert one.y_score.tolist() == [3.0, -1.0]

    def test_threshold_is_reached_from_itself_on(self, folder, write, read):
        path = write("a.csv", {"id": IDS, "label": [0, 1, 1], "prob": [0.49, 0.5, 0.51]})
        (one,) = read(path, threshold=0.5)
        assert one.y_pred.tolist() == [0, 1, 1]
        assert one.y_score.tolist() == [0.49, 0.5, 0.51]

    def test_argmax_of_class_scores(self, folder, write, read):
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
    def test_what_cannot_be_cut(self, folder, write, message, columns, threshold, expected):
        assert expected in message(write("a.csv", columns), threshold=threshold)
