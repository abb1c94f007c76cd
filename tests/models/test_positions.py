import math

import numpy as np
import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.mixers.attention import Attention
from lightning_dna.models.positions import (
    LearnedPositions,
    OffsetBias,
    RotaryEmbedding,
    SinusoidalPositions,
    alibi_slopes,
    asymmetric_slopes,
    offset_bias,
)

CPU = torch.device("cpu")
# Read from the published DNABERT-2 checkpoint's code, 12 heads.
DNABERT2_SLOPES = [
    0.5,
    0.25,
    0.125,
    0.0625,
    0.03125,
    0.015625,
    0.0078125,
    0.00390625,
    0.7071067811865476,
    0.35355339059327384,
    0.17677669529663692,
    0.08838834764831849,
]


def config_of(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 12, "heads": 2, "layers": 1, "max_length": 8, **changes})


def test_slopes_for_powers_of_two():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]
    assert alibi_slopes(16)[:2].tolist() == pytest.approx([2**-0.5, 0.5])


def test_slopes_for_twelve_heads_are_the_published_ones():
    np.testing.assert_allclose(alibi_slopes(12), DNABERT2_SLOPES, rtol=1e-12)


@pytest.mark.parametrize("heads", range(1, 20))
def test_slopes_are_distinct_and_within_one(heads):
    slopes = alibi_slopes(heads).tolist()
    assert len(set(slopes)) == heads
    assert all(0 < slope < 1 for slope in slopes)


def published_slopes(heads: int) -> list[float]:
    """The published rule, as its authors describe it: recursion on the next lower power of two."""
    if heads & (heads - 1) == 0:
        start = 2.0 ** (-(2.0 ** -(heads.bit_length() - 1 - 3)))
        return [start * start**i for i in range(heads)]
    lower = 1 << (heads.bit_length() - 1)
    return published_slopes(lower) + published_slopes(2 * lower)[0::2][: heads - lower]


@pytest.mark.parametrize("heads", range(1, 66))
def test_slopes_follow_the_published_rule_for_any_number_of_heads(heads):
    np.testing.assert_allclose(alibi_slopes(heads), published_slopes(heads), rtol=1e-12)


def test_asymmetric_slopes_by_hand():
    past, future = asymmetric_slopes(8)
    assert past.tolist() == [2**-1, 2**-2, 2**-1, 2**-4, 2**-5, 2**-6, 2**-5, 2**-8]
    assert future.tolist() == [2**1, 2**-2, 2**-3, 2**-4, 2**-3, 2**-6, 2**-7, 2**-8]


@pytest.mark.parametrize("heads", range(1, 20))
def test_half_of_the_heads_are_lopsided_whatever_their_number(heads):
    past, future = asymmetric_slopes(heads)
    assert (past != future).sum() == (heads + 1) // 2


def dense(config: ModelConfig, length: int) -> torch.Tensor:
    """The matrix written by two loops."""
    sides = {  # two heads: 2^-4 and 2^-8
        "alibi": [(0.0625, 0.0625), (0.00390625, 0.00390625)],
        "alibi_asymmetric": [(0.0625, 0.25), (0.00390625, 0.00390625)],
        "none": [(0.0, 0.0)],
    }[config.position_scheme]
    matrix = torch.zeros(len(sides), length, length)
    for head, (past, future) in enumerate(sides):
        for i in range(length):
            for j in range(length):
                hidden = config.causal and j > i
                far = config.attention_reach is not None and abs(i - j) > config.attention_reach
                slope = future if j > i else past
                matrix[head, i, j] = -math.inf if hidden or far else -slope * abs(i - j)
    return matrix


@pytest.mark.parametrize(
    ("position", "objective"),
    [
        *[(p, o) for p in ("alibi", "none") for o in ("masked", "next_token")],
        ("alibi_asymmetric", "masked"),
    ],
)
@pytest.mark.parametrize("reach", [None, 0, 2])
@pytest.mark.parametrize("length", [1, 5, 8, 11])  # 11 is beyond max_length
def test_bias_is_the_dense_matrix_with_reversed_rows(objective, reach, position, length):
    config = config_of(objective=objective, attention_reach=reach, position=position)
    view = OffsetBias(config)(length, torch.float32, CPU)
    assert torch.equal(view.flip(-2), dense(config, length))


def test_bias_is_a_view_of_a_table_as_long_as_twice_the_sequence():
    bias = OffsetBias(config_of(max_length=512))
    view = bias(512, torch.float32, CPU)
    assert view.shape == (2, 512, 512)
    assert view.untyped_storage().nbytes() == 2 * 1023 * 4


def test_table_is_kept_and_grows():
    bias = OffsetBias(config_of())
    bias(5, torch.float32, CPU)
    kept = bias.table
    bias(8, torch.float32, CPU)
    assert bias.table is kept
    bias(9, torch.float32, CPU)
    assert bias.table is not kept
    assert bias(9, torch.float64, CPU).dtype == torch.float64
    assert bias.state_dict() == {}


def test_offset_bias_runs_from_the_past_to_the_future():
    table = offset_bias(config_of(objective="next_token", heads=1), 3)
    slope = 2.0**-8
    assert table.tolist() == [[-2 * slope, -slope, 0.0, -math.inf, -math.inf]]


def test_rotary_turns_pairs_by_position_and_frequency():
    head_width, length = 6, 5
    x = torch.randn(1, length, 1, head_width, generator=torch.Generator().manual_seed(0))
    out = RotaryEmbedding(head_width, max_length=4)(x.double())
    for position in range(length):
        for pair in range(3):
            a, b = x[0, position, 0, pair].item(), x[0, position, 0, pair + 3].item()
            turned = complex(a, b) * np.exp(1j * position * 10_000 ** (-pair / 3))
            assert out[0, position, 0, pair].item() == pytest.approx(turned.real, abs=1e-12)
            assert out[0, position, 0, pair + 3].item() == pytest.approx(turned.imag, abs=1e-12)


def angles(rotary: RotaryEmbedding, position: int) -> np.ndarray:
    """Turn of every pair at a position, in (-pi, pi]."""
    x = torch.zeros(1, position + 1, 1, 2 * rotary.pairs, dtype=torch.float64)
    x[..., : rotary.pairs] = 1.0
    turned = rotary(x)[0, position, 0]
    return torch.atan2(turned[rotary.pairs :], turned[: rotary.pairs]).numpy()


def test_rotary_base_sets_the_frequencies():
    for base in (100.0, 500_000.0):
        rotary = RotaryEmbedding(8, max_length=8, base=base)
        expected = 3 * base ** (-np.arange(4) / 4)
        np.testing.assert_allclose(angles(rotary, 3), np.angle(np.exp(1j * expected)), rtol=1e-9)


def test_linear_scaling_presses_positions_together():
    plain, scaled = (
        RotaryEmbedding(8, max_length=8),
        RotaryEmbedding(8, max_length=8, scaling="linear", factor=4.0),
    )
    np.testing.assert_allclose(angles(scaled, 4 * 2), angles(plain, 2), rtol=1e-9)


def test_ntk_scaling_slows_the_slowest_pair_by_the_factor_and_leaves_the_fastest():
    plain, scaled = (
        RotaryEmbedding(8, max_length=8),
        RotaryEmbedding(8, max_length=8, scaling="ntk", factor=4.0),
    )
    ratio = angles(plain, 1) / angles(scaled, 1)
    np.testing.assert_allclose(ratio, 4.0 ** (np.arange(4) / 3), rtol=1e-9)


def test_settings_reach_the_rotation():
    mixers = [
        Attention(config_of(position="rope", rope_base=base, **scaling)).rotary
        for base in (10_000.0, 50.0)
        for scaling in (
            {},
            {"rope_scaling": "linear", "rope_factor": 2.0},
            {"rope_scaling": "ntk", "rope_factor": 2.0},
        )
    ]
    found = {tuple(angles(rotary, 3).round(9)) for rotary in mixers if rotary is not None}
    assert len(found) == 6


def test_sinusoidal_vectors_by_their_formula():
    config = config_of(position="sinusoidal", initial_std=0.5)
    vectors = SinusoidalPositions(config)(torch.zeros(1, 11, dtype=torch.long), None)[0]
    for position in range(11):  # beyond max_length, 8
        for channel in range(12):
            angle = position / 10_000 ** ((channel - channel % 2) / 12)
            wave = math.cos(angle) if channel % 2 else math.sin(angle)
            expected = 0.5 * math.sqrt(2) * wave
            assert vectors[position, channel].item() == pytest.approx(expected, abs=1e-12)


def test_sinusoidal_positions_count_real_tokens_and_have_the_size_of_token_vectors():
    layer = SinusoidalPositions(config_of(position="sinusoidal", width=64))
    ids = torch.zeros(1, 5, dtype=torch.long)
    mask = torch.tensor([[False, False, True, True, True]])
    plain, padded = layer(ids, None)[0], layer(ids, mask)[0]
    assert torch.equal(padded[2:], plain[:3])
    assert plain.square().mean().sqrt().item() == pytest.approx(0.02, rel=1e-6)
    assert layer.state_dict() == {}


def test_rotary_scores_depend_on_signed_distance_alone():
    generator = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    rotary = RotaryEmbedding(8, max_length=20)
    q_at = rotary(q.expand(1, 20, 1, 8))[0, :, 0]
    k_at = rotary(k.expand(1, 20, 1, 8))[0, :, 0]
    scores = q_at @ k_at.T
    assert scores[3, 7].item() == pytest.approx(scores[10, 14].item(), abs=1e-12)
    assert abs(scores[3, 7] - scores[7, 3]) > 1e-3


def test_rotary_keeps_lengths_of_vectors_and_dtype():
    x = torch.randn(2, 30, 3, 4, generator=torch.Generator().manual_seed(2))
    rotary = RotaryEmbedding(4, max_length=8)
    torch.testing.assert_close(rotary(x).norm(dim=-1), x.norm(dim=-1))
    assert rotary(x.bfloat16()).dtype == torch.bfloat16
    assert rotary.table.dtype == torch.float32  # angles are never bfloat16
    assert rotary.state_dict() == {}


def learned() -> LearnedPositions:
    layer = LearnedPositions(config_of(position="learned", max_length=4))
    with torch.no_grad():
        layer.table.weight.copy_(torch.arange(4.0)[:, None].expand(4, 12))
    return layer


def test_learned_positions_count_real_tokens():
    ids = torch.zeros(2, 4, dtype=torch.long)
    mask = torch.tensor([[False, False, True, True], [True, True, True, False]])
    layer = learned()
    assert layer(ids, mask)[0, 2:, 0].tolist() == [0.0, 1.0]
    assert layer(ids, mask)[1, :3, 0].tolist() == [0.0, 1.0, 2.0]
    assert layer(ids, None)[..., 0].tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_learned_positions_refuse_what_is_beyond_the_table():
    with pytest.raises(ConfigError, match=r"5 tokens.*learned positions.*model.max_length = 4"):
        learned()(torch.zeros(1, 5, dtype=torch.long), None)
