"""Attention by blocks: nothing that matters is left out, and nothing square is made."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.attention_backends import blocks, sdpa
from lightning_dna.models.mixers.attention_backends import windows as windows_file
from lightning_dna.models.mixers.attention_backends.blocks import attend_in_blocks
from lightning_dna.models.mixers.attention_backends.windows import share_left_out, windows
from lightning_dna.models.positions import OffsetBias
from lightning_dna.testing.models import filled, random_normal, random_tokens

KINDS = [
    {"position": "alibi"},
    {"position": "alibi", "objective": "next_token"},
    {"position": "alibi_asymmetric"},
    {"position": "alibi", "attention_reach": 37},
    {"position": "none", "attention_reach": 37},
    {"position": "none", "attention_reach": 300, "objective": "next_token"},
]
SLOPES = torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8], dtype=torch.float64)


def config_of(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 32, "heads": 4, "layers": 1, "max_length": 64, **changes})


def label(changes) -> str:
    return "-".join(str(value) for value in changes.values())


def drawn(length: int, dtype: torch.dtype, *, scale: float = 1.0, rows: int = 1) -> list[Tensor]:
    """q, k (both scaled) and v, (rows, length, 4 heads, 8)."""
    made = [random_normal(rows, length, 4, 8, seed=i, dtype=torch.float64) for i in range(3)]
    return [(x * factor).to(dtype) for x, factor in zip(made, (scale, scale, 1.0), strict=True)]


def weights(q: Tensor, k: Tensor, config: ModelConfig) -> Tensor:
    """The softmax by its definition, float64, (rows, heads, length, length)."""
    at = torch.arange(q.shape[1])
    ahead = at[None, :] - at[:, None]
    past = future = SLOPES[:, None, None] * (config.position_scheme != "none")
    if config.position_scheme == "alibi_asymmetric":  # heads 0 and 2 of four are lopsided
        past = past * torch.tensor([1.0, 1.0, 4.0, 1.0])[:, None, None]
        future = future * torch.tensor([4.0, 1.0, 1.0, 1.0])[:, None, None]
    scores = torch.einsum("bihd,bjhd->bhij", q.double(), k.double()) / 8**0.5
    scores = scores - torch.where(ahead > 0, future, past) * ahead.abs()
    if config.causal:
        scores = scores.masked_fill(ahead > 0, -math.inf)
    if config.attention_reach is not None:
        scores = scores.masked_fill(ahead.abs() > config.attention_reach, -math.inf)
    return scores.softmax(-1)


def exact(q: Tensor, k: Tensor, v: Tensor, config: ModelConfig) -> Tensor:
    return torch.einsum("bhij,bjhd->bihd", weights(q, k, config), v.double())


@pytest.mark.parametrize("kind", KINDS, ids=label)
@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])  # the last beyond LARGEST_SCORE
def test_output_and_gradients_in_float64(kind, scale):
    config = config_of(**kind)
    q, k, v = (x.requires_grad_() for x in drawn(700, torch.float64, scale=scale, rows=2))
    found, expected = attend_in_blocks(q, k, v, OffsetBias(config)), exact(q, k, v, config)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    probe = random_normal(2, 700, 4, 8, seed=9, dtype=torch.float64)
    pairs = zip(
        torch.autograd.grad(found, (q, k, v), probe),
        torch.autograd.grad(expected, (q, k, v), probe),
        strict=True,
    )
    for ours, right in pairs:
        torch.testing.assert_close(ours, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS, ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_short_formats_stay_close(kind, dtype, scale):
    """Off by the rounding of the output, and of scores that may be thousands, in float32."""
    config = config_of(**kind)
    q, k, v = drawn(700, dtype, scale=scale)
    found = attend_in_blocks(q, k, v, OffsetBias(config))
    assert found.dtype == dtype
    error = (found.double() - exact(q, k, v, config)).abs().max()
    largest = (q.double().norm(dim=-1).max() * k.double().norm(dim=-1).max()) / 8**0.5
    rounding = torch.finfo(dtype).eps + torch.finfo(torch.float32).eps * (8 + largest)
    assert error <= rounding * v.abs().max()


def seen_from(kind: dict[str, object], q: Tensor, k: Tensor, epsilon: float):
    config = config_of(**kind)
    past, future = OffsetBias(config).slopes()
    return windows(
        q[0].transpose(0, 1) / 8**0.5,
        k[0].transpose(0, 1),
        past=past,
        future=future,
        causal=config.causal,
        reach=config.attention_reach,
        epsilon=epsilon,
    )


def left_out(kind: dict[str, object], q: Tensor, k: Tensor, epsilon: float) -> float:
    """The largest share of any row beyond its window, measured."""
    seen = seen_from(kind, q, k, epsilon)
    at = torch.arange(q.shape[1])
    ahead = at[None, :] - at[:, None]
    beyond = (ahead > torch.tensor(seen.future)[:, None, None]) | (
        -ahead > torch.tensor(seen.past)[:, None, None]
    )
    shares = weights(q, k, config_of(**kind))[0].masked_fill(~beyond, 0.0).sum(-1)
    return shares.max().item()


@pytest.mark.parametrize("kind", KINDS[:4], ids=label)
@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 2.0])
def test_the_share_left_out_is_below_the_bound(kind, scale, monkeypatch):
    q, k, _ = drawn(400, torch.float64, scale=scale)
    for long in (2048, 1):  # with the bound by near keys
        monkeypatch.setattr(windows_file, "_LONG", long)
        for epsilon in (0.1, 1e-3, 1e-6):
            assert left_out(kind, q, k, epsilon) <= epsilon


@pytest.mark.parametrize("epsilon", [0.1, 1e-3, 1e-6])
def test_an_adversary_cannot_hide_a_far_key(epsilon, monkeypatch):
    """All keys repel their own query, and far ones attract it as strongly as the norms allow."""
    monkeypatch.setattr(windows_file, "_LONG", 1)
    length, strength = 600, 6.0
    q, k = (torch.zeros(1, length, 4, 8, dtype=torch.float64) for _ in range(2))
    q[..., 0], k[..., 0] = strength, -strength
    k[:, ::50, :, 0] = strength
    kind = {"position": "alibi"}
    assert left_out(kind, q, k, epsilon) <= epsilon
    narrow = seen_from(kind, q / 100, k / 100, epsilon)
    wide = seen_from(kind, q, k, epsilon)
    assert all(far > near for far, near in zip(wide.past[:1], narrow.past[:1], strict=True))


def test_windows_are_narrow_where_nothing_is_lost():
    q, k, _ = drawn(2100, torch.float32, scale=0.1)
    seen = seen_from({"position": "alibi"}, q, k, share_left_out(torch.float32))
    assert seen.past == seen.future
    assert seen.past[0] < 100  # slope 1/4: 2^-25 is 17.3 nats
    assert seen.past[1] < 400
    assert seen.past[3] == 2099  # slope 1/256 sees everything


def test_a_planted_key_at_the_edge_of_the_range_is_found():
    """One key with a score of 45 at a distance of 600 takes almost all of the weight."""
    q, k, v = drawn(700, torch.float64, scale=0.1)
    q[0, 10, 3], k[0, 610, 3] = torch.zeros(8), torch.zeros(8)
    q[0, 10, 3, 0] = k[0, 610, 3, 0] = math.sqrt(45 * 8**0.5)
    config = config_of()
    expected = exact(q, k, v, config)
    assert weights(q, k, config)[0, 3, 10, 610] > 0.99
    assert (q.norm(dim=-1).max() * k.norm(dim=-1).max() / 8**0.5) < blocks.LARGEST_SCORE
    found = attend_in_blocks(q.float(), k.float(), v.float(), OffsetBias(config))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_numbers_that_are_not_finite_show(bad):
    q, k, v = drawn(600, torch.float32)
    q[0, 5, 2, 0] = bad
    found = attend_in_blocks(q, k, v, OffsetBias(config_of()))
    assert found[0, 5, 2].isnan().any()
    assert found[0, :, 1].isfinite().all()


class LargestTensor(TorchDispatchMode):
    """Remembers the largest memory of any tensor that was made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                size = x.untyped_storage().nbytes() // x.element_size()
                self.numbers = max(self.numbers, size)
        return out


@pytest.mark.parametrize("kind", KINDS, ids=label)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_no_tensor_grows_with_the_square_of_the_length(kind, scale):
    length = 2048
    q, k, v = (x.requires_grad_() for x in drawn(length, torch.float32, scale=scale))
    with LargestTensor() as seen:
        attend_in_blocks(q, k, v, OffsetBias(config_of(**kind))).sum().backward()
    assert seen.numbers <= length * 300
    assert seen.numbers < length**2 / 10


def test_local_attention_computes_a_band():
    config = config_of(position="none", attention_reach=20)
    q, k, _ = drawn(5000, torch.float32)
    heads = blocks._heads(q[0], k[0], OffsetBias(config))
    pairs = sum(
        (rows.stop - rows.start) * (keys.stop - keys.start) for rows, keys in heads[0].blocks(5000)
    )
    assert pairs <= 5000 * (2 * 20 + 128)


def test_autocast_leaves_the_arithmetic_alone():
    q, k, v = drawn(600, torch.float32)
    bias = OffsetBias(config_of())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = attend_in_blocks(q, k, v, bias)
    assert torch.equal(inside, attend_in_blocks(q, k, v, bias))


@pytest.mark.parametrize("changes", [{}, {"attention_reach": 40}, {"attention_reach": 3}])
def test_a_long_sequence_and_its_reversal(changes):
    """Symmetric ALiBi by blocks, three layers in float64: f(reverse x) = reverse f(x)."""
    model = filled(build_model(config_of(layers=3, **changes), seed=0)).double()
    tokens = random_tokens(1, sdpa.LONG + 45)
    with torch.no_grad():
        forward, backward = model(tokens).logits, model(tokens.flip(1)).logits
    assert (backward.flip(1) - forward).abs().max() < 1e-10
