import doctest
import importlib
import math

import pytest

from lightning_dna.report.numbers import (
    display,
    duration,
    fixed,
    listing,
    magnitude,
    p_equation,
    p_value,
)

MODULES = ["numbers", "results", "series", "plain_text", "wording", "exports"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    module = importlib.import_module(f"lightning_dna.report.{name}")
    outcome = doctest.testmod(module)
    assert outcome.failed == 0
    assert outcome.attempted > 0


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "expected"),
    [
        (0.0, 2, True, "0.00"),
        (-0.0, 2, True, "0.00"),
        (-0.004, 2, True, "0.00"),
        (0.004, 2, True, "0.00"),
        (-0.006, 2, False, "−0.01"),
        (1234567.0, 0, False, "1\u2009234\u2009567"),
        (math.nan, 2, True, "—"),
        (math.inf, 2, False, "∞"),
        (-math.inf, 2, True, "−∞"),
        (12.5, 1, True, "+12.5"),
    ],
)
def test_fixed(value, decimals, sign, expected):
    assert fixed(value, decimals, sign=sign) == expected


@pytest.mark.parametrize(
    ("p", "text", "equation"),
    [
        (0.0, "<0.001", "p < 0.001"),
        (0.000999, "<0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.0499, "0.050", "p = 0.050"),
        (0.9994, "0.999", "p = 0.999"),
        (1.0, "1", "p = 1"),
        (math.nan, "—", "p = —"),
    ],
)
def test_p_values(p, text, equation):
    assert p_value(p) == text
    assert p_equation(p) == equation


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (7.4, "7"),
        (999.4, "999"),
        (1000, "1.00 k"),
        (999_600, "1.00 M"),
        (812_544, "813 k"),
        (12_340, "12.3 k"),
        (99_960, "100 k"),
        (3.2e9, "3.20 G"),
        (5e13, "50.0 T"),
        (math.nan, "—"),
    ],
)
def test_magnitude(value, expected):
    assert magnitude(value) == expected


def test_duration_and_listing():
    assert duration(119) == "119 s"
    assert duration(121) == "2.0 min"
    assert duration(math.nan) == "—"
    assert listing([]) == ""


def test_accuracies_are_percentages_and_their_differences_points():
    shown = display("mlm_accuracy")
    assert shown.number(0.44312) == "44.31"
    assert shown.signed(-0.0082) == "−0.82"
    assert shown.difference_with_unit(0.011).split() == ["1.10", "points"]
    assert shown.interval(0.003, 0.013).split() == ["[0.30,", "1.30]"]
    assert shown.direction == "higher is better"


def test_bits_have_four_decimals_and_lower_is_better():
    shown = display("bits_per_base")
    assert shown.number(1.73123) == "1.7312"
    assert shown.direction == "lower is better"


def test_metric_without_a_row_keeps_its_name_and_has_no_direction():
    shown = display("my_new_metric")
    assert shown.title == "My new metric"
    assert shown.number(0.5) == "0.5000"
    assert shown.direction == ""
    assert shown.with_unit(0.5) == "0.5000"


def test_interval_with_an_absent_limit_is_not_half_written():
    assert display("accuracy").interval(math.nan, 0.5) == "no interval"
