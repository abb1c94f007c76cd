"""Schedule and parameter groups, against closed forms."""

import math

import pytest
import torch

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import OptimizerConfig
from lightning_dna.training.optim import adamw, parameter_groups, rate_at, seed_of_step


def test_the_rate_rises_linearly_then_follows_half_a_cosine():
    rates = [rate_at(step, 100, 0.1, 0.2) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 89)) / 2 for i in range(90)]
    assert rates[10:] == pytest.approx(expected)
    assert rates[-1] == pytest.approx(0.2)


def test_without_warmup_the_first_step_has_the_peak_rate():
    assert rate_at(0, 10, 0.0, 0.1) == 1.0


def test_a_single_step_does_not_divide_by_zero():
    assert rate_at(0, 1, 0.0, 0.1) == pytest.approx(1.0)


def test_only_matrices_outside_the_filters_decay():
    model = build_model(
        ModelConfig(mixer="hyena", width=8, layers=1, heads=2, max_length=32), seed=0
    )
    decayed, free = parameter_groups(model, model.without_weight_decay(), 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(p)] for p in decayed["params"]}
    free_names = {names[id(p)] for p in free["params"]}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert decayed_names | free_names == set(names.values())
    assert not decayed_names & free_names
    assert all(parameter.dim() == 2 for parameter in decayed["params"])
    assert not any(
        word in name for name in decayed_names for word in ("embedding", "norm", "bias", "filter")
    )


def test_the_scheduled_optimizer_takes_the_step_that_adamw_takes():
    """One parameter, constant gradient 1: AdamW's first update is lr * rate, plus decay."""
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    config = OptimizerConfig(lr=0.1, weight_decay=0.5, warmup_fraction=0.5)
    optimizer, schedule = adamw(layer, frozenset(), config, total_steps=4)
    assert schedule.get_last_lr() == pytest.approx([0.05])
    layer.weight.grad = torch.ones_like(layer.weight)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2.0 * (1 - 0.05 * 0.5) - 0.05, rel=1e-5)


def test_step_seeds_are_reproducible_and_distinct():
    seeds = {seed_of_step(seed, step) for seed in range(5) for step in range(200)}
    assert len(seeds) == 1000
    assert seed_of_step(0, 3) == seed_of_step(0, 3)
