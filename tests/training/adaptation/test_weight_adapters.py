"""LoRA and IA3: what they compute, against the same written out on activations in float64."""

import copy
import math

import numpy as np
import pytest
import torch

from lightning_dna.models.linear_maps import linear_maps
from lightning_dna.training.adaptation.weight_adapters import (
    LowRank,
    Rows,
    Scaled,
    adapters,
    add_ia3,
    add_lora,
    merge,
)

IDS = torch.randint(7, 11, (3, 20), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(20) < torch.tensor([20, 13, 7])[:, None]
EVERY = ["attention", "rope", "learned", "glu", "hyena", "causal", "mamba"]
EVERY += ["convolution", "dilated", "hybrid"]


def hidden(backbone: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return backbone(IDS, MASK)[MASK]


def shaken(backbone: torch.nn.Module) -> None:
    """Give adapters values as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in adapters(backbone):
            for part in one.adapter.parameters():
                part.add_(0.3 * torch.randn(part.shape, generator=generator))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("method", ["lora", "ia3"])
class TestEveryMixer:
    def add(self, method: str, backbone: torch.nn.Module) -> None:
        if method == "lora":
            add_lora(backbone, (), rank=2, alpha=4.0, seed=0)
        else:
            add_ia3(backbone, ())

    def test_starts_as_the_frozen_model_and_then_matters(self, toy, name, method):
        backbone = copy.deepcopy(toy.models[name].backbone)
        plain = hidden(backbone)
        self.add(method, backbone)
        np.testing.assert_array_equal(hidden(backbone), plain)
        shaken(backbone)
        assert (hidden(backbone) - plain).abs().max() > 1e-3

    def test_merging_keeps_every_bit_and_leaves_a_plain_model(self, toy, name, method):
        backbone = copy.deepcopy(toy.models[name].backbone)
        names = set(backbone.state_dict())
        self.add(method, backbone)
        shaken(backbone)
        adapted = hidden(backbone)
        merge(backbone)
        np.testing.assert_array_equal(hidden(backbone), adapted)
        assert set(backbone.state_dict()) == names
        assert adapters(backbone) == []

    def test_every_adapter_gets_a_gradient(self, toy, name, method):
        backbone = copy.deepcopy(toy.models[name].backbone).train()
        self.add(method, backbone)
        shaken(backbone)
        backbone(IDS, MASK)[MASK].square().sum().backward()
        trained = {key: p for key, p in backbone.named_parameters() if p.requires_grad}
        assert trained
        assert all(part.grad.abs().max() > 0 for part in trained.values())


def test_the_linear_maps_of_every_part_are_named(toy):
    def names(which: str) -> list[str]:
        return [one.name for one in linear_maps(toy.models[which].backbone)]

    assert names("attention") == ["query", "key", "value", "output", "expand", "contract"] * 2
    assert names("glu")[-2:] == ["gate_and_value", "contract"]
    for mixer in ("hyena", "mamba", "convolution", "dilated"):
        assert names(mixer) == ["input", "output", "expand", "contract"] * 2
    assert names("hybrid")[:2] == ["input", "output"]
    assert names("hybrid")[4:8] == ["query", "key", "value", "output"]


def test_usual_places_are_query_and_value_or_both_projections(toy):
    def places(which: str) -> list[tuple[str, list[tuple[int, int]]]]:
        backbone = copy.deepcopy(toy.models[which].backbone)
        found = add_lora(backbone, (), rank=2, alpha=4.0, seed=0)
        return [(one.path, [(b.start, b.stop) for b in one.adapter.blocks]) for one in found]

    assert places("hybrid") == [
        ("blocks.0.mixer.input", [(0, 48)]),
        ("blocks.0.mixer.output", [(0, 16)]),
        ("blocks.1.mixer.query_key_value", [(0, 16), (32, 48)]),
    ]


def test_lora_on_query_and_value_equals_two_layers_on_activations(toy):
    """x (W + s B A)' against x W' + s (x A') B', in float64, the rows of the key untouched."""
    backbone = copy.deepcopy(toy.models["attention"].backbone).double()
    add_lora(backbone, ("value", "query"), rank=3, alpha=6.0, seed=0)
    shaken(backbone)
    layer = backbone.blocks[0].mixer.query_key_value
    adapter = adapters(backbone)[0].adapter
    x = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    plain = x @ layer.parametrizations.weight.original.T + layer.bias
    expected = plain.clone()
    for first, down, up in zip((0, 32), adapter.down, adapter.up, strict=True):
        expected[:, first : first + 16] += 2.0 * (x @ down.double().T) @ up.double().T
    got = layer(x)
    np.testing.assert_allclose(got.detach(), expected.detach(), rtol=1e-12)
    np.testing.assert_array_equal(got[:, 16:32].detach(), plain[:, 16:32].detach())


def test_ia3_multiplies_key_value_and_inner_channels(toy):
    backbone = copy.deepcopy(toy.models["attention"].backbone).double()
    add_ia3(backbone, ())
    shaken(backbone)
    block = backbone.blocks[0]
    x = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    layer, factors = block.mixer.query_key_value, adapters(backbone)[0].adapter.factors
    plain = x @ layer.parametrizations.weight.original.T + layer.parametrizations.bias.original
    np.testing.assert_array_equal(layer(x)[:, :16].detach(), plain[:, :16].detach())
    for first, factor in ((16, factors[0]), (32, factors[1])):
        expected = plain[:, first : first + 16] * factor
        np.testing.assert_allclose(layer(x)[:, first : first + 16].detach(), expected.detach())
    feedforward = block.feedforward
    inner = torch.nn.functional.gelu(feedforward.expand(x))
    (by_column,) = adapters(backbone)[1].adapter.factors
    weight = feedforward.contract.parametrizations.weight.original
    expected = (inner * by_column) @ weight.T + feedforward.contract.bias
    np.testing.assert_allclose(feedforward(x[None])[0].detach(), expected.detach(), rtol=1e-9)


def test_factors_are_drawn_within_the_published_range_and_by_the_seed():
    def drawn(seed: int) -> torch.Tensor:
        blocks = [Rows(0, 8), Rows(16, 24)]
        adapter = LowRank(blocks, 64, rank=16, scale=1.0, seed=seed, path="a")
        assert all((up == 0).all() for up in adapter.up)
        return torch.cat([*adapter.down]).detach()

    first = drawn(0)
    assert torch.equal(first, drawn(0))
    assert not torch.equal(first, drawn(1))
    assert first.abs().max() <= 1 / math.sqrt(64)
    assert first.std() == pytest.approx(1 / math.sqrt(3 * 64), rel=0.05)  # of a uniform
    assert not torch.equal(first[:16], first[16:])


def test_scaled_rows_leave_the_others_alone():
    adapter = Scaled([Rows(1, 2)])
    with torch.no_grad():
        adapter.factors[0].fill_(3.0)
    assert adapter(torch.ones(3, 2)).tolist() == [[1, 1], [3, 3], [1, 1]]
    assert adapter(torch.ones(3)).tolist() == [1, 3, 1]
