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
    with pytest.raises(StatsError, match="how='outer' is not offered; allowed: 'strict', 'inner'"):
        align([entry("a")], how="outer")


def test_inner_join_keeps_the_common_examples_and_counts_the_others():
    task = align(
        [
            entry("a", ids=[4, 1, 3], y_true=[1, 0, 1], y_score=[0.4, 0.1, 0.3], y_pred=[1, 0, 1]),
            entry("b", ids=[3, 2, 4], y_true=[1, 0, 1], y_score=[3.0, 2.0, 4.0], y_pred=[1, 1, 0]),
        ],
        how="inner",
    )
    assert task.example_id.tolist() == [3, 4]
    assert task.n_dropped == 2  # examples 1 and 2
    assert task.y_score[:, :, 0].tolist() == [[0.3, 3.0], [0.4, 4.0]]
    assert task.y_pred[:, 1, 0].tolist() == [1, 0]
    with pytest.raises(StatsError, match="no example in common"):
        align([entry("a", ids=[1, 2, 3]), entry("b", ids=[4, 5, 6])], how="inner")
    with pytest.raises(StatsError, match=r"are integers, those of .* are text"):
        align([entry("a", ids=[1, 2, 3]), entry("b", ids=list("123"))], how="inner")


def test_real_numbers_are_targets_and_not_classes():
    task = align([entry("a", y_true=[0.5, 1.5, 2.0], y_pred=[0.4, 1.0, 2.5])])
    assert task.y_true is None
    assert task.y_pred is None
    assert task.target.tolist() == [0.5, 1.5, 2.0]
    assert task.y_score[:, 0, 0].tolist() == [0.4, 1.0, 2.5]
    counts = align([entry("a", y_true=[0, 1, 1], y_pred=[0.2, 0.7, 0.9])])
    assert counts.y_true.tolist() == [0, 1, 1]  # the truth may still be classes
    assert counts.y_pred is None


def test_two_columns_of_scores_are_their_difference():
    logits = np.array([[0.0, 2.0], [1.0, -1.0], [3.0, 3.5]])
    task = align([entry("a", y_true=[1, 0, 1], y_score=logits)])
    assert task.y_score[:, 0, 0].tolist() == [2.0, -2.0, 0.5]
    with pytest.raises(StatsError, match="y_score has 3 columns"):
        entry("a", y_score=np.zeros((3, 3)))


def test_scores_must_be_given_by_all_or_none():
    with pytest.raises(StatsError, match="'b', seed 0 has no y_score, others have"):
        align([entry("a", y_score=[1, 2, 3]), entry("b")])


def test_the_order_of_input_rows_does_not_matter():
    rng = np.random.default_rng(1)
    y_true, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    shuffled = rng.permutation(40)
    one = align([entry("a", ids=np.arange(40), y_true=y_true, y_pred=predicted)])
    two = align([entry("a", ids=shuffled, y_true=y_true[shuffled], y_pred=predicted[shuffled])])
    assert (one.example_id == two.example_id).all()
    assert (one.y_true == two.y_true).all()
    assert (one.y_pred == two.y_pred).all()
