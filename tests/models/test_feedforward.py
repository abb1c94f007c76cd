import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import FEEDFORWARDS
from lightning_dna.models.language_model import build_model
from lightning_dna.testing.models import filled, random_normal


def made(**changes):
    config = ModelConfig(**{"width": 6, "heads": 1, "layers": 1, **changes})
    return filled(FEEDFORWARDS[config.feedforward](config)).double()


def arrays(module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def silu(x: np.ndarray) -> np.ndarray:
    return x * expit(x)


def test_mlp_formula():
    mlp, x = made(), random_normal(2, 3, 6, dtype=torch.float64)
    w = arrays(mlp)
    inner = gelu(x.numpy() @ w["expand.weight"].T + w["expand.bias"])
    expected = inner @ w["contract.weight"].T + w["contract.bias"]
    np.testing.assert_allclose(mlp(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("kind", "activation"), [("geglu", gelu), ("swiglu", silu)])
def test_gated_formula(kind, activation):
    gated, x = made(feedforward=kind), random_normal(2, 3, 6, dtype=torch.float64)
    w = arrays(gated)
    both = x.numpy() @ w["gate_and_value.weight"].T
    half = both.shape[-1] // 2
    expected = (activation(both[..., :half]) * both[..., half:]) @ w["contract.weight"].T
    np.testing.assert_allclose(gated(x).detach().numpy(), expected, atol=1e-12)


def test_tanh_approximation_is_another_function_close_by():
    x = random_normal(1, 50, 6, dtype=torch.float64)
    difference = (made()(x) - made(gelu_approximation="tanh")(x)).abs().max().item()
    assert 1e-7 < difference < 5e-3


def test_gates_differ_in_the_activation_alone():
    models = {}
    for kind in ("geglu", "swiglu"):
        config = ModelConfig(width=6, heads=1, layers=1, feedforward=kind)
        models[kind] = build_model(config, seed=3).state_dict()
    assert models["geglu"].keys() == models["swiglu"].keys()
    assert all(
        torch.equal(models["geglu"][name], models["swiglu"][name]) for name in models["geglu"]
    )


@pytest.mark.parametrize("kind", ["mlp", "geglu", "swiglu"])
def test_each_position_by_itself(kind):
    layer, x = made(feedforward=kind), random_normal(1, 5, 6, dtype=torch.float64)
    shuffled = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(x[:, shuffled]), layer(x)[:, shuffled])
