"""All arms have the same examples, or an error lists who differs and where."""

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import align
from lightning_dna.stats.predictions import Predictions


def entry(variant="a", seed=0, ids=(1, 2, 3), **fields) -> Predictions:
    return Predictions(
        task=fields.pop("task", "t"), variant=variant, seed=seed, example_id=ids, **fields
    )


def test_examples_are_brought_into_one_order():
    task = align(
        [
            entry("a", ids=[3, 1, 2], y_true=[0, 1, 1], y_pred=[0, 1, 0], numerator=[30, 10, 20]),
            entry("b", ids=[2, 3, 1], y_true=[1, 0, 1], y_pred=[1, 0, 0], numerator=[2, 3, 1]),
        ]
    )
    assert task.example_id.tolist() == [1, 2, 3]
    assert task.y_true.tolist() == [1, 1, 0]
    assert task.y_pred[:, 0, 0].tolist() == [1, 0, 0]
    assert task.y_pred[:, 1, 0].tolist() == [0, 1, 0]
    assert task.numerator[""][:, 0, 0].tolist() == [10, 20, 30]
    assert task.numerator[""][:, 1, 0].tolist() == [1, 2, 3]


def test_variants_may_have_different_seeds():
    task = align(
        [
            entry("a", 0, y_pred=[0, 1, 1]),
            entry("a", 4, y_pred=[1, 1, 1]),
            entry("b", 4, y_pred=[0, 0, 0]),
        ]
    )
    assert task.seeds == (0, 4)
    assert task.present.tolist() == [[True, True], [False, True]]
    assert (task.y_pred[:, 1, 0] == -1).all()


def test_clusters_and_text_labels_are_numbered():
    fields = {"y_true": ["x", "z", "x"], "cluster_id": ["chr2", "chr1", "chr2"]}
    task = align([entry("a", y_pred=["y", "z", "x"], **fields)])
    assert task.classes.tolist() == ["x", "y", "z"]
    assert task.y_true.tolist() == [0, 2, 0]
    assert task.cluster_id.tolist() == ["chr1", "chr2"]
    assert task.cluster.tolist() == [1, 0, 1]


def test_labels_that_are_all_one_keep_one_as_the_positive_class():
    task = align([entry("a", y_true=[1, 1, 1], y_pred=[1, 1, 1])])
    assert task.classes.tolist() == [0, 1]
    assert task.y_true.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"ids": (1, 2)}, "variant 'b', seed 0 lacks 1 ids: 3"),
        ({"ids": (1, 2, 3, 9)}, "has 1 ids of its own: 9"),
        ({"ids": (1, 2, 4)}, "lacks 1 ids: 3 and has 1 ids of its own: 4"),
        ({"ids": ("1", "2", "3")}, "are integers, those of .* are text"),
        ({"task": "other"}, "one task at a time; found other, t"),
        ({"variant": "a"}, "variant 'a', seed 0 was given twice"),
    ],
)
def test_different_examples_are_an_error(second, message):
    with pytest.raises(StatsError, match=message):
        align([entry("a"), entry(**{"variant": "b", **second})])


def test_up_to_ten_missing_ids_are_listed():
    with pytest.raises(
        StatsError, match="lacks 15 ids: 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 5 more"
    ):
        align([entry("a", ids=range(20)), entry("b", ids=range(5))])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"y_true": [0, 1, 1]}, {"y_true": [0, 1, 0]}, "y_true of .*'b'.* for example 3"),
        ({"y_true": [0, 1, 1]}, {}, "'b', seed 0 has no y_true, others have"),
        ({"y_true": [0, 1, 1]}, {"y_true": ["0", "1", "1"]}, "write it the same way"),
        ({"weight": [1, 1, 1]}, {"weight": [1, 2, 1]}, "weight of .* for example 2"),
        ({"cluster_id": [1, 1, 2]}, {"cluster_id": [1, 2, 2]}, "cluster_id of .* for example 2"),
        ({"y_pred": [0, 1, 1]}, {}, "'b', seed 0 has no y_pred"),
        (
            {"y_pred": [0, 1, 1]},
            {"y_pred": ["0", "1", "1"]},
            "some labels are integers and some are text",
        ),
        ({"numerator": {"x": [1, 2, 3]}}, {}, "has no numerator for metric 'x'"),
        (
            {"denominator": {"x": [1, 2, 3]}},
            {"denominator": {"y": [1, 1, 1]}},
            "has no denominator",
        ),
    ],
)
def test_properties_of_an_example_must_agree(first, second, message):
    with pytest.raises(StatsError, match=message):
        align([entry("a", **first), entry("b", **second)])


def test_nothing_to_align_and_no_silent_join():
    with pytest.raises(StatsError, match="no predictions"):
        align([])
    with pytest.raises(StatsError, match="how='inner' is not offered; allowed: 'strict'"):
        align([entry("a")], how="inner")


def test_the_order_of_input_rows_does_not_matter():
    rng = np.random.default_rng(1)
    y_true, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    shuffled = rng.permutation(40)
    one = align([entry("a", ids=np.arange(40), y_true=y_true, y_pred=predicted)])
    two = align([entry("a", ids=shuffled, y_true=y_true[shuffled], y_pred=predicted[shuffled])])
    assert (one.example_id == two.example_id).all()
    assert (one.y_true == two.y_true).all()
    assert (one.y_pred == two.y_pred).all()
