"""Packed rows give what padded batches give, and the head works on chosen positions alone."""

import pytest
import torch

from lightning_dna.models import backbone
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.models.packing import Packing, packing_of
from lightning_dna.testing.models import filled, random_normal, random_tokens

ROWS = ["..xxx.", "xxxxxx", "......", "xx....", "...xxx"]


def mask_of(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[place == "x" for place in row] for row in rows])


def config_of(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 12, "heads": 3, "layers": 2, "max_length": 40, **changes})


def test_where_every_token_goes():
    packing = packing_of(mask_of(ROWS), multiple=8)
    assert packing.places.tolist() == [2, 3, 4, *range(6, 12), 18, 19, 27, 28, 29]
    assert packing.lengths == (3, 6, 2, 3)
    assert packing.spare == 2
    assert packing.positions.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 0, 0]
    assert packing.starts.tolist() == [0, 3, 9, 11, 14]
    assert packing.starts.dtype == torch.int32
    assert packing.sequences.tolist() == [0] * 3 + [1] * 6 + [2] * 2 + [3] * 3 + [4] * 2
    x = random_normal(5, 6, 4)
    packed = packing.pack(x)
    assert packed.shape == (1, 16, 4)
    assert torch.equal(packed[0, :3], x[0, 2:5])
    assert packed[0, 14:].abs().max() == 0
    back = packing.unpack(packed)
    assert torch.equal(back, x * mask_of(ROWS)[..., None])


@pytest.mark.parametrize("rows", [["xxx", "xxx"], ["...", "..."], ["x.x", "xx."]])
def test_nothing_to_gain_or_a_hole(rows):
    assert packing_of(mask_of(rows)) is None


def test_each_sequence_by_itself_and_equal_lengths_together():
    packing = packing_of(mask_of(ROWS), multiple=8)
    calls = []

    def reversed_values(q, k, v):
        calls.append(tuple(v.shape[:2]))
        return v.flip(1)

    x = torch.arange(16.0).view(1, 16, 1, 1)
    out = packing.each(reversed_values, x, x, x)
    assert out.flatten().tolist() == [2, 1, 0, 8, 7, 6, 5, 4, 3, 10, 9, 13, 12, 11, 14, 15]
    assert calls == [(2, 3), (1, 6), (1, 2)]


VARIATIONS = [
    *({"position": p} for p in ("alibi", "alibi_asymmetric", "rope", "learned", "sinusoidal")),
    {"position": "alibi", "objective": "next_token"},
    {"position": "none", "attention_reach": 3},
    {"position": "rope", "norm_placement": "post"},
    {"position": "alibi", "strand": "equivariant"},
    {"position": "alibi", "attention_backend": "eager"},
]


@pytest.mark.parametrize("changes", VARIATIONS, ids=lambda c: "-".join(map(str, c.values())))
def test_packed_is_padded(changes, monkeypatch):
    """Hidden states and gradients, float32, with the packing and without."""
    model = filled(build_model(config_of(**changes), seed=0), std=0.2)
    lengths = torch.tensor([17, 33, 1, 20])
    mask = torch.arange(33) < lengths[:, None]
    mask[3] = mask[3].flip(0)  # padded on the left
    tokens = random_tokens(4, 33)
    probe = random_normal(4, 33, 12, seed=5) * mask[..., None]

    def run() -> list[torch.Tensor]:
        hidden = model.backbone(tokens, mask)
        weights = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad((hidden * probe).sum(), weights, allow_unused=True)
        return [hidden, *(g for g in gradients if g is not None)]

    packed = run()
    made = []
    monkeypatch.setattr(backbone, "packing_of", lambda *_, **__: made.append(1))
    padded = run()
    assert made
    assert packed[0][~mask].abs().max() == 0
    torch.testing.assert_close(packed[0][mask], padded[0][mask], rtol=0, atol=1e-5)
    for one, other in zip(packed[1:], padded[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def packings_made(monkeypatch, **changes) -> list[Packing | None]:
    """What the trunk decides for a padded batch."""
    made = []

    def record(*args, **kwargs):
        made.append(packing_of(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(backbone, "packing_of", record)
    model = build_model(config_of(**changes), seed=0)
    tokens = random_tokens(2, 9)
    model(tokens, torch.arange(9) < torch.tensor([[4], [9]]))
    model(tokens, torch.ones(2, 9, dtype=torch.bool))
    return made


def test_only_attention_packs_and_only_where_there_is_padding(monkeypatch):
    assert [packing.lengths for packing in packings_made(monkeypatch)] == [(4, 9)]
    assert packings_made(monkeypatch, mixer=("hyena", "attention"), position="none") == []
    assert packings_made(monkeypatch, mixer="dilated") == []


def test_short_formats_come_in_few_shapes(monkeypatch):
    assert [packing.spare for packing in packings_made(monkeypatch)] == [0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [packing.spare for packing in packings_made(monkeypatch)] == [64 - 13]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": "transform"},
        {"head": "transform_untied"},
        {"strand": "equivariant"},
        {"strand": "averaged", "head": "transform"},
        {"mixer": "hyena", "hyena_filter_width": 4, "objective": "next_token"},
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_logits_at_some_positions_are_those_of_all(changes, training):
    model = build_model(config_of(**changes), seed=0).train(training)
    tokens = random_tokens(3, 20)
    mask = torch.arange(20) < torch.tensor([[20], [12], [5]])
    where = mask & (tokens == 8)
    found = model.logits_at(tokens, mask, where)
    expected = model(tokens, mask).logits[where]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert model.logits_at(tokens, None, torch.zeros_like(where)).shape == (0, 16)
