"""Predictions refuse what cannot be scored, and say which field and which examples."""

import dataclasses

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.predictions import PLAIN, Predictions, listed


def entry(**fields) -> Predictions:
    defaults = {"task": "t", "variant": "a", "seed": 0, "example_id": [1, 2, 3]}
    return Predictions(**{**defaults, **fields})


def test_lists_and_tables_become_arrays():
    found = entry(
        example_id=np.array(["x", "y", "z"], dtype=object),
        y_true=[True, False, True],
        y_pred=np.array([1.0, 0.0, 0.0]),
        numerator=[1, 2, 3],
        denominator={"ratio": [1, 1, 2]},
    )
    assert found.example_id.dtype.kind == "U"
    assert found.y_true.tolist() == [1, 0, 1]
    assert found.y_pred.dtype == np.int64
    assert found.numerators[PLAIN].tolist() == [1.0, 2.0, 3.0]
    assert found.denominators["ratio"].tolist() == [1.0, 1.0, 2.0]
    assert found.n_examples == 3


def test_seed_zero_is_a_seed():
    assert entry(seed=0).seed == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"example_id": []}, "no example"),
        ({"example_id": [1, 2, 2]}, "repeated: 2"),
        ({"example_id": [1.5, 2.0, 3.0]}, "example_id must hold integers or text"),
        ({"example_id": ["a", None, "b"]}, "example_id must hold integers or text"),
        ({"example_id": [[1], [2], [3]]}, "one axis"),
        ({"variant": ""}, "empty"),
        ({"seed": -1}, "seed must be an integer of 0 or more, not -1"),
        ({"y_true": [0, 1]}, "y_true has 2 values for 3 examples"),
        ({"y_pred": [0, 1, 1, 0]}, "y_pred has 4 values for 3 examples"),
        ({"y_pred": [0.0, np.nan, 1.0]}, "y_pred is NaN or infinite for example 2"),
        ({"y_score": [[0.0, 0.5, 1.0]] * 3}, "y_score has 3 columns"),
        ({"cluster_id": [0.0, 0.5, 1.0]}, "cluster_id must hold integers or text"),
        ({"y_true": [0, "x", 1.5]}, "y_true"),
        ({"y_score": [0.1, np.nan, 0.2]}, "y_score is NaN or infinite for example 2"),
        (
            {"y_score": [[0.1, 0.9], [np.inf, 0], [0, 1]]},
            "y_score is NaN or infinite for example 2",
        ),
        ({"y_score": ["high", "low", "low"]}, "y_score must hold numbers"),
        ({"y_score": 0.5}, "one per example"),
        ({"numerator": [1, 2, np.nan]}, "numerator is NaN or infinite for example 3"),
        ({"numerator": {"ratio": [1, 2]}}, r"numerator\[ratio\] has 2 values for 3 examples"),
        ({"denominator": {"ratio": [1, -1, 2]}}, "denominator ratio is negative for example 2"),
        ({"weight": [1, -1, 1]}, "weight must be 0 or more"),
        ({"weight": [0, 0, 0]}, "not 0 everywhere"),
        ({"cluster_id": ["a", None, "b"]}, "cluster_id must hold integers or text"),
    ],
)
def test_bad_input_names_the_field(fields, message):
    with pytest.raises(StatsError, match=message):
        entry(**fields)


def test_messages_name_task_variant_and_seed():
    with pytest.raises(StatsError, match="task 't', variant 'a', seed 3"):
        entry(seed=3, y_true=[1])


def test_at_most_ten_ids_are_listed():
    with pytest.raises(StatsError, match=r"repeated: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more"):
        entry(example_id=[*range(15), *range(15)])
    assert listed(np.arange(3)) == "0, 1, 2"


def test_some_examples_keep_all_that_is_known_of_them():
    """Every field that has a value for each example is cut, and nothing else is."""
    whole = Predictions(
        task="t",
        variant="a",
        seed=3,
        example_id=["x", "y", "z"],
        y_true=[0, 1, 1],
        y_pred=[1, 1, 0],
        y_score=[0.1, 0.2, 0.3],
        weight=[1.0, 2.0, 3.0],
        numerator={"mean": [4.0, 5.0, 6.0]},
        denominator=[7.0, 8.0, 9.0],
        cluster_id=["p", "p", "q"],
        labels=[[0, 1, 0], [1, 1, 0], [1, 0, 0]],
        label_scores=np.arange(9.0).reshape(3, 3),
        counts=[[[1, 0], [1, 0], [1, 0]], [[0, 1], [0, 1], [0, 1]], [[0, 0], [1, 0], [0, 1]]],
    )
    for rows in (np.array([True, False, True]), np.array([0, 2])):
        part = whole.select(rows, columns=slice(1, 3), task="t/part")
        assert (part.task, part.variant, part.seed) == ("t/part", "a", 3)
        assert part.example_id.tolist() == ["x", "z"]
        assert (part.y_true.tolist(), part.y_pred.tolist()) == ([0, 1], [1, 0])
        assert (part.y_score.tolist(), part.weight.tolist()) == ([0.1, 0.3], [1.0, 3.0])
        assert part.numerators["mean"].tolist() == [4.0, 6.0]
        assert part.denominators[""].tolist() == [7.0, 9.0]
        assert part.cluster_id.tolist() == ["p", "q"]
        assert part.labels.tolist() == [[True, False], [False, False]]
        assert part.label_scores.tolist() == [[1.0, 2.0], [7.0, 8.0]]
        assert part.counts.tolist() == [[[1, 0], [1, 0], [1, 0]], [[0, 0], [1, 0], [0, 1]]]
    fields = {one.name for one in dataclasses.fields(Predictions)} - {"task", "variant", "seed"}
    assert all(len(getattr(part, name)) in (1, 2) for name in fields)
    with pytest.raises(StatsError, match="there is no example"):
        whole.select(np.zeros(3, dtype=bool))
