"""Files in which there is nothing to test are refused; the statistics keep their rows."""

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.comparison import ComparisonChoices, compare_files
from lightning_dna.stats.files.testable import check_testable

HALF = [0, 1] * 10
VALUES = (np.arange(20) * 7 % 20 / 4).tolist()


@pytest.fixture
def compared(folder, write):
    """Return a function that compares X and Y with these columns."""

    def run(x, y=None, metrics=None, **choices):
        for name, columns in (("X", x), ("Y", x if y is None else y)):
            size = len(next(iter(columns.values())))
            write(f"{name}.csv", {"id": list(range(size))} | columns)
        asked = ComparisonChoices(baseline="X", metrics=metrics, n_resamples=99, **choices)
        return compare_files(["X.csv", "Y.csv"], asked)

    return run


@pytest.fixture
def refused(compared):
    """Return a function that compares X and Y, which must be refused, and gives the message."""

    def run(*arguments, **choices) -> str:
        found = compared(*arguments, **choices)
        with pytest.raises(StatsError) as caught:
            check_testable(found)
        return str(caught.value)

    return run


class TestAllAlike:
    def test_one_class_of_labels(self, refused):
        x, y = ({"label": [0] * 20, "pred": HALF, "score": s} for s in (VALUES, VALUES[::-1]))
        assert refused(x, y) == (
            "each of the metrics 'auroc', 'auprc' needs examples of two classes, and X.csv, column "
            "'label', holds 0 only (20 rows, the first on line 2). Give a test set with both "
            "classes, or leave them out: --metrics accuracy,mcc."
        )
        assert refused(x, y, metrics=["auroc"]).endswith(
            "or use another metric: --metrics accuracy,balanced_accuracy,f1."
        )

    def test_one_true_value(self, refused):
        columns = {"target": [0.5] * 20, "pred": VALUES}
        text = refused(columns, metrics=["pearson", "spearman", "r2", "mae"])
        assert text == (
            "each of the metrics 'pearson', 'spearman', 'r2' needs true values that differ, and "
            "X.csv, column 'target', holds 0.5 only (20 rows, the first on line 2). Give a test "
            "set in which they differ, or leave them out: --metrics mae."
        )

    def test_one_predicted_value(self, refused, compared):
        columns = {"target": VALUES, "pred": [0.25] * 20}
        text = refused(columns, metrics=["spearman", "r2"])
        assert text.startswith(
            "metric 'spearman' needs predictions that differ, and X.csv, column 'pred', holds 0.25 "
            "only (20 rows, the first on line 2); so it is for all models."
        )
        assert text.endswith("or leave it out: --metrics r2.")
        # One model whose predictions differ has a value: its row says why there is no difference.
        found = compared(columns, {"target": VALUES, "pred": VALUES}, ["spearman"])
        check_testable(found)
        assert "constant_scores" in found.comparisons.rows[0].flags

    def test_one_task_of_two_keeps_its_rows(self, compared, refused):
        columns = {"task": ["t"] * 20 + ["u"] * 20, "label": HALF + [0] * 20, "score": VALUES * 2}
        found = compared(columns, metrics=["auroc"])
        check_testable(found)
        assert ["undefined" in row.flags for row in found.comparisons.rows] == [False, True]
        both = columns | {"label": [0] * 40}
        assert (
            "'label', holds 0 only (20 rows, the first on line 2), and likewise in 1 more task"
            in (refused(both, metrics=["auroc"]))
        )


class TestOneUnit:
    def test_one_example(self, refused):
        assert refused({"label": [1], "pred": [0]}) == (
            "X.csv has 1 row (line 2): one example has a value and no error. An interval needs two "
            "or more units; add examples to the test set."
        )

    def test_one_cluster(self, refused):
        text = refused({"label": HALF, "pred": HALF, "chrom": ["7"] * 20})
        assert text.startswith(
            "X.csv has 20 rows (the first on line 2), all of one cluster, '7' in"
        )
        assert "--unit example" in text

    def test_one_example_in_one_of_two_tasks(self, compared, refused):
        columns = {"task": ["t"] + ["u"] * 20, "label": [1, *HALF], "pred": [0, *HALF]}
        check_testable(compared(columns))
        single = {"task": ["t", "u"], "label": [1, 0], "pred": [0, 0]}
        assert "X.csv has 1 row (line 2) of task 't', and the other tasks" in refused(single)
