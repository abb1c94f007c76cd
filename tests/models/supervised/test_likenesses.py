"""ConvNova's and Enformer's likenesses: promises to padding, reach, and mathematics by hand."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.supervised.convnova import ConvNovaLike, dilations
from lightning_dna.models.supervised.enformer import AttentionPool, EnformerLike, tower_widths
from lightning_dna.models.supervised.inputs import BASE_IDS, base_codes, left_aligned
from lightning_dna.testing.models import random_tokens
from lightning_dna.tokenizers.character import CharacterTokenizer


def convnova(**changes) -> nn.Module:
    return ConvNovaLike(3, **{"seed": 0, "width": 8, "layers": 4, **changes})


def enformer(**changes) -> nn.Module:
    return EnformerLike(3, **{"seed": 0, "width": 16, "halvings": 3, "layers": 2, **changes})


NETWORKS = pytest.mark.parametrize("make", [convnova, enformer])


def whole(ids: Tensor) -> Tensor:
    return torch.ones_like(ids, dtype=torch.bool)


def test_ids_are_those_of_the_character_tokenizer():
    tokenizer = CharacterTokenizer()
    assert [tokenizer.tokens[token] for token in BASE_IDS] == list("ACGTN")
    codes = base_codes(torch.arange(16)).tolist()
    assert codes == [5] * 7 + [0, 1, 2, 3, 4] + [5] * 4


def test_real_positions_move_to_the_front_in_their_order():
    ids = torch.tensor([[4, 7, 4, 8, 9], [7, 8, 9, 10, 11]])
    mask = ids != 4
    moved, real = left_aligned(ids, mask)
    assert moved.tolist() == [[7, 8, 9, 4, 4], [7, 8, 9, 10, 11]]
    assert real.tolist() == [[True] * 3 + [False] * 2, [True] * 5]


@NETWORKS
@pytest.mark.parametrize("length", [1, 2, 7, 16, 33])
def test_padding_never_changes_the_output(make, length):
    network = make().double().eval()
    ids = random_tokens(2, length)
    with torch.no_grad():
        alone = network(ids, whole(ids))
        for left, right in ((0, 1), (0, 20), (3, 0), (5, 8)):
            padded = functional.pad(ids, (left, right), value=4)
            mask = functional.pad(whole(ids), (left, right))
            torch.testing.assert_close(network(padded, mask), alone, rtol=0, atol=1e-10)
            rubbish = torch.where(mask, padded, 9)
            torch.testing.assert_close(network(rubbish, mask), alone, rtol=0, atol=1e-10)


@NETWORKS
def test_every_base_is_seen(make):
    network = make().double()
    ids = random_tokens(1, 21)
    with torch.no_grad():
        before = network(ids, whole(ids))
        for place in range(21):
            changed = ids.clone()
            changed[0, place] = 7 + (int(ids[0, place]) - 6) % 4
            assert (network(changed, whole(ids)) - before).abs().max() > 1e-9


@NETWORKS
def test_rows_are_independent_and_every_parameter_learns(make):
    network = make().double()
    ids = random_tokens(3, 25)
    together = network(ids, whole(ids))
    alone = torch.cat([network(row[None], whole(row[None])) for row in ids])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    functional.cross_entropy(together, torch.tensor([0, 1, 2])).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@NETWORKS
def test_weights_depend_on_the_seed_alone(make):
    before = torch.random.get_rng_state()
    first, again, other = make(), make(), make(seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = zip(first.parameters(), again.parameters(), other.parameters(), strict=True)
    moved = 0
    for one, two, three in pairs:
        assert torch.equal(one, two)
        moved += not torch.equal(one, three)
    assert moved > 10


def test_convnova_by_hand():
    """The published trunk, written again from the weights: two streams, one gates the other."""
    network = convnova().double()
    w = {name: value.detach() for name, value in network.named_parameters()}
    ids = torch.tensor([[7, 8, 9, 10, 11, 7, 7, 9, 10, 8, 9, 9, 7]])
    letters = ids[0] - 7

    def stem(name: str, codes: Tensor) -> Tensor:
        hot = torch.eye(5, dtype=torch.float64)[codes].T[None]
        return functional.gelu(
            functional.conv1d(hot, w[f"{name}.weight"], w[f"{name}.bias"], padding=4)
        )

    def norm(name: str, x: Tensor) -> Tensor:  # channels first
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return functional.layer_norm(x.transpose(1, 2), (len(weight),), weight, bias).transpose(
            1, 2
        )

    def linear(name: str, x: Tensor) -> Tensor:
        return torch.einsum("oi,bil->bol", w[f"{name}.weight"], x) + w[f"{name}.bias"][:, None]

    complement = torch.tensor([3, 2, 1, 0, 4])[letters]  # in place: the order is kept
    values, gates = stem("stem", letters), stem("gate_stem", complement)
    for layer, step in enumerate((1, 1, 1, 2)):
        own = f"layers.{layer}."
        convolved = {
            part: functional.conv1d(
                norm(f"{own}{part}_norm", x),
                w[f"{own}{part}.weight"],
                w[f"{own}{part}.bias"],
                padding=4 * step,
                dilation=step,
            )
            for part, x in (("value", values), ("gate", gates))
        }
        gate = 1 / (1 + (-convolved["gate"]).exp())
        values = values + functional.gelu(convolved["value"]) * gate
        gates = gates + gate
        transformed = functional.gelu(linear(f"{own}transform", values))
        values = values + norm(f"{own}transform_norm", transformed)
    x = linear("last.2", functional.gelu(linear("last.0", values)))
    x = linear("last.6", functional.gelu(linear("last.4", norm("last.3", x))))
    expected = values + norm("last.7", x)
    with torch.no_grad():
        hidden = network.trunk(ids, whole(ids))
        logits = network(ids, whole(ids))
    torch.testing.assert_close(hidden, expected.transpose(1, 2), rtol=0, atol=1e-12)
    mean = expected[0].mean(dim=1)
    torch.testing.assert_close(
        logits[0], w["output.weight"] @ mean + w["output.bias"], rtol=0, atol=1e-12
    )


def test_convnova_has_at_most_two_million_parameters():
    d = 128
    stems = 2 * (5 * 9 * d + d)
    layer = 2 * (9 * d * d + d) + (d * d + d) + 3 * 2 * d
    last = (d * 2 * d + 2 * d) + 2 * (4 * d * d + 2 * d) + 4 * d + (2 * d * d + d) + 2 * d
    total = stems + 5 * layer + last + 2 * d + 2
    assert sum(p.numel() for p in ConvNovaLike(2, seed=0).parameters()) == total == 1_772_546
    assert dilations(5) == [1, 1, 1, 2, 4]


def test_attention_pooling_by_hand():
    pool = AttentionPool(2).double()
    with torch.no_grad():
        pool.scores.weight.copy_(torch.tensor([[1.0, 0.5], [0.0, -1.0]]))
    x = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [5.0, 7.0]]], dtype=torch.float64)
    pooled, real = pool(x, torch.tensor([[True, True, True]]))
    # Scores of the first pair: 1 + 0.5*2 = 2 and 3; -2 and 0.
    first = torch.tensor([2.0, 3.0], dtype=torch.float64).softmax(0)
    second = torch.tensor([-2.0, 0.0], dtype=torch.float64).softmax(0)
    assert pooled[0, 0, 0].item() == pytest.approx((first @ x[0, :2, 0]).item())
    assert pooled[0, 0, 1].item() == pytest.approx((second @ x[0, :2, 1]).item())
    assert pooled[0, 1].tolist() == [5.0, 7.0]  # a bin of one position is that position
    assert real.tolist() == [[True, True]]
    _, real = pool(x, torch.tensor([[True, False, False]]))
    assert real.tolist() == [[True, False]]


def test_pooling_begins_close_to_a_maximum():
    pool = AttentionPool(1)
    x = torch.tensor([[[0.0], [4.0]]])
    pooled, _ = pool(x, torch.tensor([[True, True]]))
    assert pooled.item() > 3.99


def test_enformer_tower_halves_positions_and_grows_channels():
    assert tower_widths(128, 4) == [64, 80, 104, 128]
    widths = tower_widths(1_536, 7)
    assert (widths[0], widths[-1]) == (768, 1_536)
    ratios = [later / earlier for earlier, later in itertools.pairwise(widths)]
    assert max(ratios) / min(ratios) < 1.02
    network = enformer()
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    ids = random_tokens(2, 41)
    network(ids, whole(ids))
    assert seen == [(2, 6, 16)]  # 41 to 21 to 11 to 6


@NETWORKS
def test_low_precision_follows_float64(make):
    network = make().eval()
    ids = random_tokens(3, 30)
    mask = whole(ids)
    mask[1, 11:] = False
    with torch.no_grad():
        low = network.float()(ids, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = network(ids, mask)
        exact = network.double()(ids, mask)
    torch.testing.assert_close(low.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.double(), exact, rtol=0, atol=0.05)
