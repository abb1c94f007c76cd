"""Row length over the steps, against values worked out by hand."""

import math

import numpy as np
import pytest

from lightning_dna.data.length_schedule import (
    LengthScheduleConfig,
    drawn_lengths,
    length_at,
    length_shares,
)
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


def lengths_of(config, steps=100, final=512, seed=0):
    return [length_at(config, step, steps, final, seed=seed) for step in range(steps)]


def test_root_pacing_takes_the_root_of_the_share_of_the_warmup():
    config = LengthScheduleConfig(kind="root", start=64, fraction=0.5, multiple=8)
    lengths = lengths_of(config)
    assert lengths[0] == 64
    assert lengths[8] == 240  # 64 + 448 * sqrt(8 / 50) = 243.2
    assert lengths[25] == 376  # 64 + 448 * sqrt(1 / 2) = 380.8
    assert lengths[50:] == [512] * 50
    assert lengths == sorted(lengths)
    cubic = LengthScheduleConfig(kind="root", start=64, fraction=0.5, multiple=1, degree=3)
    assert lengths_of(cubic)[8] == 307  # 64 + 448 * cbrt(8 / 50) = 307.2


def test_the_first_root_is_linear():
    root = LengthScheduleConfig(kind="root", degree=1.0, fraction=0.7)
    assert lengths_of(root) == lengths_of(LengthScheduleConfig(kind="linear", fraction=0.7))


def test_stages_follow_the_list_and_leave_the_rest_to_the_final_length():
    config = LengthScheduleConfig(kind="stages", stages=((128, 0.1), (256, 0.25)))
    assert lengths_of(config, 40) == [128] * 4 + [256] * 10 + [512] * 26
    # Shares that leave no rest leave none, and lengths may fall.
    config = LengthScheduleConfig(kind="stages", stages=((128, 1 / 3), (64, 1 / 3), (96, 1 / 3)))
    assert lengths_of(config, 9) == [128] * 3 + [64] * 3 + [96] * 3


def test_mixed_lengths_have_their_probabilities_and_follow_seed_and_step_alone():
    config = LengthScheduleConfig(kind="mixed", stages=((128, 0.5), (256, 0.2)))
    lengths = lengths_of(config, 4000)
    for length, share in ((128, 0.5), (256, 0.2), (512, 0.3)):
        assert lengths.count(length) / 4000 == pytest.approx(share, abs=4 * 0.5 / 4000**0.5)
    assert [length_at(config, step, 9, 512) for step in (7, 3, 7)] == [
        lengths[7],
        lengths[3],
        lengths[7],
    ]
    other = lengths_of(config, 4000, seed=1)
    same = sum(a == b for a, b in zip(lengths, other, strict=True)) / 4000
    assert same == pytest.approx(0.5**2 + 0.2**2 + 0.3**2, abs=0.04)  # independent draws


def test_mixed_lengths_without_a_list_are_log_uniform():
    config = LengthScheduleConfig(kind="mixed", start=32, multiple=8)
    lengths = np.array(lengths_of(config, 5000, 512))
    assert (lengths.min(), lengths.max()) == (32, 512)
    assert (lengths % 8 == 0).all()
    for low, high in ((32, 64), (64, 128), (128, 256), (256, 512)):
        share = ((lengths >= low) & (lengths < high)).mean()
        assert share == pytest.approx(math.log(2) / math.log(520 / 32), abs=0.03)


def test_a_length_for_each_window_is_no_matter_of_the_step():
    config = LengthScheduleConfig(kind="mixed", draw="window", start=32)
    assert set(lengths_of(config)) == {512}
    drawn = drawn_lengths(config, np.arange(1000), 512, seed=3)
    again = drawn_lengths(config, np.array([999, 0]), 512, seed=3)
    assert again.tolist() == [drawn[999], drawn[0]]


def test_shares_of_the_tokens_at_each_length():
    doubling = LengthScheduleConfig(kind="doubling", start=128, fraction=0.5)
    assert length_shares(doubling, 40, 512) == {128: 0.25, 256: 0.25, 512: 0.5}
    shuffled = LengthScheduleConfig(kind="doubling", start=128, fraction=0.5, order="shuffled")
    assert length_shares(shuffled, 40, 512) == {128: 0.25, 256: 0.25, 512: 0.5}
    mixed = LengthScheduleConfig(kind="mixed", draw="window", stages=((64, 0.25),))
    assert length_shares(mixed, 40, 512) == {64: 0.25, 512: 0.75}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "rot"}, r"kind: unknown value 'rot'; allowed: .* Did you mean 'root'\?"),
        ({"order": "random"}, r"order: unknown value 'random'; allowed: grouped, scheduled, shuf"),
        ({"kind": "root", "degree": 0.0}, r"degree is 0\.0; allowed: above 0"),
        ({"kind": "stages"}, r"stages is empty; list pairs of a length and a share"),
        ({"kind": "stages", "stages": ((1, 0.5),)}, r"pair \[1, 0\.5\]; allowed: a length of 2"),
        ({"kind": "stages", "stages": ((64, 0.0),)}, r"pair \[64, 0\.0\]; allowed"),
        ({"kind": "mixed", "stages": ((64, 0.7), (32, 0.7))}, r"sum to 1\.4; allowed: at most 1"),
        ({"kind": "linear", "stages": ((64, 0.5),)}, r"stages is set, but .*kind 'linear'; leave"),
        ({"kind": "linear", "degree": 3.0}, r"degree is set, but .* or use kind root"),
        ({"kind": "linear", "draw": "window"}, r"draw is set, but .* or use kind mixed"),
        ({"long_windows": "truncate"}, r"'truncate' with kind 'fixed'.*any kind but fixed"),
        (
            {"kind": "mixed", "draw": "window", "long_windows": "truncate"},
            r"'truncate' with kind 'mixed', draw 'window'",
        ),
        (
            {"kind": "linear", "long_windows": "truncate", "order": "sorted"},
            r"'truncate' with .* order 'sorted'; .* order: scheduled",
        ),
        ({"order": "shuffled"}, r"'shuffled' with kind 'fixed'.*leave it out"),
    ],
)
def test_settings_that_would_do_nothing_or_harm_say_what_to_do(change, says):
    with pytest.raises(ConfigError, match=says):
        LengthScheduleConfig(**change)


def test_lengths_are_checked_against_the_windows():
    with pytest.raises(ConfigError, match=r"start is 600, above data\.length 512; start with"):
        LengthScheduleConfig(kind="root", start=600).check_against(512)
    stages = LengthScheduleConfig(kind="stages", stages=((64, 0.1), (1024, 0.1)))
    with pytest.raises(ConfigError, match=r"length 1024, above data\.length 512; list"):
        stages.check_against(512)
    with pytest.raises(ConfigError, match=r"'sorted', but every row of the run has 512 bases"):
        LengthScheduleConfig(order="sorted").check_against(512, equal_windows=True)
    LengthScheduleConfig(order="sorted").check_against(512)
    LengthScheduleConfig(start=600).check_against(512)  # without warm-up, start says nothing
