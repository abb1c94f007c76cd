"""What decides a run, and that settings invented later leave the runs from before as they were."""

import pytest

from lightning_dna import settings
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import YOUNGER_FIELDS as YOUNGER_SCHEDULE_FIELDS
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.errors import ConfigError
from lightning_dna.models.choices import YOUNGER_FIELDS
from lightning_dna.models.config import ModelConfig
from lightning_dna.training.config import RunConfig, deciding_settings


def mark(**model) -> str:
    run = RunConfig(data=DataConfig(), model=ModelConfig(**model))
    return settings.fingerprint(deciding_settings(run))


@pytest.mark.parametrize(
    ("model", "expected"),
    # Computed by the version that published the first studies.
    [
        ({}, "fc54f267946e"),
        ({"mixer": "hyena"}, "3abbc8237f0d"),
        ({"position": "rope", "feedforward": "swiglu"}, "dac283e83155"),
        ({"objective": "next_token", "norm": "rmsnorm"}, "61ae76afbe63"),
    ],
)
def test_runs_of_the_first_version_keep_their_identity(model, expected):
    assert mark(**model) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"strand": "averaged"},
        {"strand": "equivariant"},
        {"norm_placement": "post"},
        {"convolution_taps": 7},
        {"convolution_cycle": 3},
        {"mixer": ["hyena", "attention"]},
        {"position": "rope", "rope_base": 500.0},
        {"position": "rope", "rope_scaling": "linear"},
        {"position": "rope", "rope_scaling": "ntk", "rope_factor": 2.0},
    ],
)
def test_a_later_setting_that_is_used_makes_another_run(changes):
    plain = {"position": changes["position"]} if "position" in changes else {}
    assert mark(**changes) != mark(**plain)


def test_only_fields_that_exist_are_left_out():
    kept = set(deciding_settings(RunConfig(data=DataConfig(), model=ModelConfig()))["model"])
    assert kept | set(YOUNGER_FIELDS) == set(settings.plain(ModelConfig()))
    assert kept & set(YOUNGER_FIELDS) == set()


def schedule_mark(**schedule) -> str:
    run = RunConfig(
        data=DataConfig(),
        model=ModelConfig(),
        length_schedule=LengthScheduleConfig(**schedule),
    )
    return settings.fingerprint(deciding_settings(run))


def test_warmups_of_the_first_version_keep_their_identity():
    """Computed by the version that published the first studies."""
    assert schedule_mark(kind="doubling") == "3d383d6c03cd"
    assert schedule_mark(kind="linear", start=32, fraction=0.5) == "8ac3ae4a0823"


@pytest.mark.parametrize(
    ("plain", "changes"),
    [
        ({"kind": "root"}, {"degree": 3.0}),
        ({"kind": "mixed"}, {"stages": ((64, 0.5),)}),
        ({"kind": "mixed"}, {"draw": "window"}),
        ({"kind": "linear"}, {"long_windows": "truncate"}),
        ({"kind": "linear"}, {"order": "shuffled"}),
        ({"kind": "linear"}, {"order": "grouped"}),
    ],
)
def test_a_later_setting_of_the_schedule_makes_another_run(plain, changes):
    assert schedule_mark(**plain, **changes) != schedule_mark(**plain)
    assert set(changes) <= set(YOUNGER_SCHEDULE_FIELDS)


def test_a_vocabulary_that_lacks_bases():
    with pytest.raises(ConfigError, match=r"model.vocab_size is 8, .* allowed: 12 or more"):
        RunConfig(data=DataConfig(), model=ModelConfig(vocab_size=8))
