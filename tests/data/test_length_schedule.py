"""Row length over the steps, against values worked out by hand."""

import pytest

from lightning_dna.data.length_schedule import LengthScheduleConfig, length_at
from lightning_dna.errors import ConfigError


def test_fixed_is_the_final_length_throughout():
    config = LengthScheduleConfig()
    assert {length_at(config, step, 100, 512) for step in range(100)} == {512}


def test_doubling_has_equal_stages_and_then_the_final_length():
    config = LengthScheduleConfig(kind="doubling", start=64, fraction=0.3)
    lengths = [length_at(config, step, 100, 512) for step in range(100)]
    assert lengths == [64] * 10 + [128] * 10 + [256] * 10 + [512] * 70


def test_doubling_never_exceeds_a_final_length_that_is_no_power_of_two():
    config = LengthScheduleConfig(kind="doubling", start=64, fraction=0.5)
    lengths = [length_at(config, step, 60, 300) for step in range(60)]
    assert lengths == [64] * 10 + [128] * 10 + [256] * 10 + [300] * 30


def test_linear_grows_and_is_floored_to_the_multiple():
    config = LengthScheduleConfig(kind="linear", start=64, fraction=0.5, multiple=8)
    lengths = [length_at(config, step, 100, 512) for step in range(100)]
    assert lengths[0] == 64
    assert lengths[25] == 288  # 64 + 448 / 2
    assert lengths[1] == 72  # 64 + 8.96 = 72.96, floored to 72
    assert lengths[50:] == [512] * 50
    assert lengths == sorted(lengths)
    assert all(length % 8 == 0 for length in lengths)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"start": 1}, "start"), ({"fraction": 0.0}, "fraction"), ({"multiple": 0}, "multiple")],
)
def test_settings_without_meaning_are_refused(change, named):
    with pytest.raises(ConfigError, match=named):
        LengthScheduleConfig(**change)
