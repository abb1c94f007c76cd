import math

import pytest
import torch
from torch import nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.heads import ClassificationHead
from lightning_dna.models.initialisation import initialise, parameter_generator
from lightning_dna.models.language_model import build_model

PINNED = 0.00647580623626709


def state(seed: int = 0, **changes):
    settings = {"width": 32, "heads": 4, "layers": 2, "max_length": 64}
    return build_model(ModelConfig(**{**settings, **changes}), seed=seed).state_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"mixer": "hyena"},
        {"position": "rope"},
        {"position": "learned"},
        {"feedforward": "swiglu"},
        {"objective": "next_token"},
        {"heads": 8},
        {"attention_reach": 4},
        {"max_length": 128},
    ],
)
def test_arms_share_what_has_the_same_name_and_shape(changes):
    baseline, arm = state(), state(**changes)
    shared = [n for n in baseline if n in arm and baseline[n].shape == arm[n].shape]
    assert "backbone.embedding.weight" in shared
    assert all(torch.equal(baseline[name], arm[name]) for name in shared)


def test_a_deeper_arm_shares_all_but_the_scaled_projections():
    shallow, deep = state(), state(layers=8)
    for name, value in shallow.items():
        if name.endswith(("output.weight", "contract.weight")):
            torch.testing.assert_close(value / 2, deep[name])  # sqrt(2/8)
        else:
            assert torch.equal(value, deep[name])


def test_seeds_differ_and_zero_is_one_of_them():
    weight = "backbone.blocks.0.mixer.query_key_value.weight"
    drawn = [state(seed)[weight] for seed in (0, 1, 2, -1)]
    for i, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[:i])


def test_parameters_of_one_model_are_unrelated():
    drawn = state(width=64, heads=4)
    first = drawn["backbone.blocks.0.mixer.query_key_value.weight"].flatten()
    second = drawn["backbone.blocks.1.mixer.query_key_value.weight"].flatten()
    assert abs(torch.corrcoef(torch.stack((first, second)))[0, 1]) < 4 / math.sqrt(len(first))


def test_the_global_generator_does_not_matter():
    torch.manual_seed(5)
    first = state()
    torch.manual_seed(6)
    second = state()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_standard_deviations():
    drawn = state(width=128, layers=8, mixer="hyena", initial_std=0.05)
    block = "backbone.blocks.3."
    assert drawn[block + "mixer.input.weight"].std() == pytest.approx(0.05, rel=0.03)
    assert drawn[block + "mixer.output.weight"].std() == pytest.approx(0.05 / 4, rel=0.03)
    assert drawn[block + "feedforward.contract.weight"].std() == pytest.approx(0.05 / 4, rel=0.03)
    assert drawn["backbone.embedding.weight"].std() == pytest.approx(0.05, rel=0.06)
    assert drawn[block + "mixer.skip"].std() == pytest.approx(1.0, rel=0.2)
    assert drawn[block + "mixer.short_weight"].abs().max() <= 3**-0.5
    assert drawn[block + "mixer.short_weight"].std() == pytest.approx(1 / 3, rel=0.05)
    assert (drawn[block + "mixer.filter.frequency"] == 10).all()
    assert not drawn[block + "mixer.input.bias"].any()
    assert (drawn[block + "mixer_norm.weight"] == 1).all()


def test_stream_of_a_parameter_is_pinned():
    """The same numbers on every machine and in every version, or old runs cannot be repeated."""
    first = torch.rand(1, generator=parameter_generator(0, "backbone.embedding.weight")).item()
    again = torch.rand(1, generator=parameter_generator(0, "backbone.embedding.weight")).item()
    other = torch.rand(1, generator=parameter_generator(0, "backbone.embedding.bias")).item()
    assert first == again != other
    assert first == pytest.approx(PINNED, abs=1e-7)


def test_a_layer_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="no rule for the initial weights of Conv1d at '0'"):
        initialise(nn.Sequential(nn.Conv1d(2, 2, 1)), seed=0, std=0.02)


def test_classification_head_depends_on_the_seed_alone():
    first, again = (ClassificationHead(8, n_classes=3, seed=0) for _ in range(2))
    other = ClassificationHead(8, n_classes=3, seed=1)
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)
    assert not first.linear.bias.any()
