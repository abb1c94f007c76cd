"""Activation checkpointing: less kept, the same gradients."""

from dataclasses import replace

import pytest
import torch

from lightning_dna.data.config import DataConfig
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.testing.models import random_tokens
from lightning_dna.training.config import RunConfig, TrainerConfig, deciding_settings

TOY = {"width": 8, "heads": 2, "layers": 3, "max_length": 24, "hyena_filter_width": 6}


def gradients(model, tokens, mask):
    model.zero_grad()
    torch.manual_seed(3)  # of dropout
    hidden = model.backbone(tokens, mask)
    hidden[mask].square().sum().backward()
    return {name: p.grad.clone() for name, p in model.backbone.named_parameters()}


@pytest.mark.parametrize(
    "mixer", ["hyena", "attention", "dilated", ("hyena", "attention", "hyena")]
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_same_bits(mixer, dropout):
    model = build_model(ModelConfig(mixer=mixer, dropout=dropout, **TOY), seed=0)
    tokens, mask = random_tokens(2, 20), torch.ones(2, 20, dtype=torch.bool)
    mask[1, 13:] = False
    keys = list(model.state_dict())
    plain = gradients(model, tokens, mask)
    model.backbone.checkpointing = True
    again = gradients(model, tokens, mask)
    assert list(model.state_dict()) == keys
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_little_is_kept():
    model = build_model(ModelConfig(mixer="hyena", **TOY), seed=0)
    tokens = random_tokens(1, 24)

    def kept() -> int:
        stored = {}
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: stored.setdefault(tensor.data_ptr(), tensor), lambda tensor: tensor
        )
        with hooks:
            model.backbone(tokens)
        return sum(tensor.numel() for tensor in stored.values() if tensor.shape[-2:] == (24, 8))

    whole = kept()
    model.backbone.checkpointing = True
    assert kept() == (3 + 1) * 24 * 8 < whole / 3  # inputs of the blocks and of the final norm


def test_a_run_keeps_its_identity():
    run = RunConfig(data=DataConfig(), model=ModelConfig(mixer="hyena"))
    other = replace(run, trainer=TrainerConfig(activation_checkpointing=True))
    assert deciding_settings(run) == deciding_settings(other)
