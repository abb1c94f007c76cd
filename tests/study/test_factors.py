"""Factors: every combination, or one at a time."""

import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.study.factors import expand_factors

GRID = {
    "model.mixer": ["attention", "hyena"],
    "repeats": {"kept": None, "removed": {"data": {"repeats": "remove"}}},
    "model.layers": [1, 2, 3],
}


def test_factorial_is_every_combination_in_order():
    arms = expand_factors(GRID, "factorial", where="x")
    assert len(arms) == 2 * 2 * 3
    assert list(arms)[:4] == [
        "attention+kept+1",
        "attention+kept+2",
        "attention+kept+3",
        "attention+removed+1",
    ]
    assert arms["hyena+removed+3"] == {
        "model": {"mixer": "hyena", "layers": 3},
        "data": {"repeats": "remove"},
    }
    assert arms["hyena+kept+1"] == {"model": {"mixer": "hyena", "layers": 1}}


def test_one_at_a_time_changes_one_level_of_the_centre():
    assert list(expand_factors(GRID, "one_factor_at_a_time", where="x")) == [
        "attention+kept+1",
        "hyena+kept+1",
        "attention+removed+1",
        "attention+kept+2",
        "attention+kept+3",
    ]


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({}, "'factors' is empty"),
        ({"model.mixer": ["hyena"]}, "'model.mixer' has 1 level"),
        ({"model.mixer": "hyena"}, "'model.mixer' holds 'hyena'"),
        ({"model.layers": [1, "1"]}, "repeats a level"),
        ({"warmup": {True: {}, False: {}}}, "level True.*in quotes"),
        ({"warmup": {"a": {}, "b": 3}}, "level 'b': 3"),
        (
            {"p": {"a": {}, "a+b": {}}, "q": {"b+c": {}, "c": {}}},
            r"two arms are called 'a\+b\+c'",
        ),
    ],
)
def test_factors_of_another_form_are_refused(factors, words):
    with pytest.raises(ConfigError, match=words):
        expand_factors(factors, "factorial", where="x")
