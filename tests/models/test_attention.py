"""Attention against a float64 reference written with loops over heads and a dense matrix."""

import math

import pytest
import torch
from torch import Tensor

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.attention import Attention
from lightning_dna.testing.models import filled, random_normal, random_tokens


def config_of(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 12, "heads": 3, "layers": 2, "max_length": 16, **changes})


def turned(x: Tensor) -> Tensor:
    """RoPE on (length, head_width) as complex multiplication."""
    half = x.shape[1] // 2
    angle = torch.outer(
        torch.arange(len(x), dtype=torch.float64),
        10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half),
    )
    pairs = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((pairs.real, pairs.imag), dim=1)


def reference(mixer: Attention, x: Tensor, config: ModelConfig) -> Tensor:
    """One sequence (length, width), float64, every head by itself."""
    slopes = [2.0**-4, 2.0**-8, 2.0**-2]  # three heads: those of two, then the first of four
    steeper = {0: (1, 4), 1: (1, 1), 2: (4, 1)}  # past, future
    length, d = len(x), config.head_width
    qkv = x @ mixer.query_key_value.weight.T + mixer.query_key_value.bias
    heads = []
    for head in range(config.heads):
        q, k, v = (
            qkv[:, part * config.width + head * d : part * config.width + (head + 1) * d]
            for part in range(3)
        )
        if config.position_scheme == "rope":
            q, k = turned(q), turned(k)
        scores = q @ k.T / math.sqrt(d)
        for i in range(length):
            for j in range(length):
                if config.position_scheme == "alibi":
                    scores[i, j] -= slopes[head] * abs(i - j)
                if config.position_scheme == "alibi_asymmetric":
                    scores[i, j] -= steeper[head][j > i] * slopes[head] * abs(i - j)
                beyond = config.attention_reach is not None and abs(i - j) > config.attention_reach
                if beyond or (config.causal and j > i):
                    scores[i, j] = -math.inf
        heads.append(torch.softmax(scores, dim=1) @ v)
    return torch.cat(heads, dim=1) @ mixer.output.weight.T + mixer.output.bias


@pytest.mark.parametrize(
    ("position", "objective"),
    [
        *[(p, o) for p in ("alibi", "rope", "none") for o in ("masked", "next_token")],
        ("alibi_asymmetric", "masked"),
    ],
)
@pytest.mark.parametrize("reach", [None, 2])
def test_equals_the_reference(position, objective, reach):
    config = config_of(position=position, objective=objective, attention_reach=reach)
    mixer = filled(Attention(config)).double()
    x = random_normal(2, 10, 12, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([reference(mixer, row, config) for row in x])
        torch.testing.assert_close(mixer(x), expected, rtol=0, atol=1e-12)
        single = filled(Attention(config))(x.float())
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("position", ["alibi", "rope", "none"])
@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_a_row_of_padding_only_stays_finite(position, objective):
    mixer = filled(Attention(config_of(position=position, objective=objective)))
    x = random_normal(2, 6, 12).requires_grad_()
    mask = torch.tensor([[True] * 6, [False] * 6])
    out = mixer(x, mask)
    assert out[0].isfinite().all()
    out[0].sum().backward()
    assert x.grad.isfinite().all()


def test_padding_needs_no_square_matrix_and_survives_strong_scores():
    """Scores of a thousand do not let the padding through."""
    mixer = filled(Attention(config_of()), std=8.0)
    x = random_normal(1, 9, 12)
    mask = torch.ones(1, 9, dtype=torch.bool)
    mask[0, 6:] = False
    other = x.clone()
    other[0, 6:] = 1e3
    assert torch.equal(mixer(x, mask)[:, :6], mixer(other, mask)[:, :6])


def reversed_difference(**changes) -> float:
    """Largest |f(reverse x) - reverse f(x)| of a three-layer model in float64."""
    config = config_of(**{"layers": 3, "heads": 2, **changes})
    model = filled(build_model(config, seed=0)).double()
    tokens = random_tokens(2, 16)
    with torch.no_grad():
        forward, backward = model(tokens).logits, model(tokens.flip(1)).logits
    return (backward.flip(1) - forward).abs().max().item()


def test_symmetric_alibi_cannot_tell_a_sequence_from_its_reversal():
    assert reversed_difference(position="alibi") < 1e-13
    assert reversed_difference(position="none") < 1e-13
    assert reversed_difference(position="alibi", attention_reach=3) < 1e-13


@pytest.mark.parametrize(
    "changes",
    [
        {"position": "rope"},
        {"position": "rope", "rope_scaling": "linear", "rope_factor": 2.0},
        {"position": "alibi_asymmetric"},
        {"position": "alibi_asymmetric", "heads": 1},
        {"position": "sinusoidal"},
        {"position": "learned"},
        {"mixer": "convolution"},
        {"mixer": "dilated"},
        {"mixer": ("hyena", "attention", "attention"), "position": "alibi"},
        {"position": "alibi", "objective": "next_token"},
        {"mixer": "hyena"},
    ],
)
def test_everything_that_knows_directions_can(changes):
    assert reversed_difference(**changes) > 1e-3


def test_alibi_and_rope_go_beyond_max_length():
    for position in ("alibi", "rope", "none"):
        model = build_model(config_of(position=position, max_length=8, heads=2), seed=0).double()
        longer = build_model(config_of(position=position, max_length=64, heads=2), seed=0).double()
        tokens = random_tokens(1, 40)
        torch.testing.assert_close(model(tokens).logits, longer(tokens).logits, rtol=0, atol=1e-12)


def test_the_copying_path_for_accelerators_gives_the_same(monkeypatch: pytest.MonkeyPatch):
    """What runs on CUDA (dense bias, eight more channels) is checked here without a device."""
    from lightning_dna.models.mixers.attention_backends import sdpa

    q, k, v = (random_normal(2, 3, 7, 4, seed=i) for i in range(3))
    bias = random_normal(3, 7, 7, seed=3)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    on_cpu = sdpa.attend_with_bias(q, k, v, bias, mask)
    monkeypatch.setattr(sdpa, "STRIDED_BIAS_DEVICES", frozenset())
    copied = sdpa.attend_with_bias(q, k, v, bias, mask)
    torch.testing.assert_close(copied, on_cpu, rtol=0, atol=1e-6)
