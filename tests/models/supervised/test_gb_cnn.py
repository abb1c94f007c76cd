"""The GenomicBenchmarks network: its tokens by hand, its layers and its loss in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna.models.supervised.gb_cnn import (
    BEGIN,
    END,
    PADDING,
    SHORTEST,
    VOCABULARY,
    GenomicBenchmarksCNN,
    input_length,
)
from lightning_dna.testing.models import random_tokens


def network(n_classes: int = 2, *, length: int = 70, double_sigmoid: bool = True, seed: int = 0):
    return GenomicBenchmarksCNN(n_classes, length=length, seed=seed, double_sigmoid=double_sigmoid)


def whole(ids: Tensor) -> Tensor:
    return torch.ones_like(ids, dtype=torch.bool)


def published(net: GenomicBenchmarksCNN, tokens: Tensor) -> Tensor:
    """The layers in their published order with running batch statistics, up to the output."""
    state = net.state_dict()
    x = state["embedding.weight"][tokens].transpose(1, 2)
    for convolution, relu in ((0, True), (4, False), (7, False)):
        own = f"convolutions.{convolution}."
        norm = {
            name: state[f"convolutions.{convolution + 1}.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        }
        x = functional.conv1d(x, state[own + "weight"], state[own + "bias"])
        x = (x - norm["running_mean"][:, None]) / (norm["running_var"][:, None] + 1e-5).sqrt()
        x = x * norm["weight"][:, None] + norm["bias"][:, None]
        x = x.clamp(min=0) if relu else x
        x = x[..., : x.shape[-1] // 2 * 2].unflatten(-1, (-1, 2)).amax(dim=-1)
    x = x.flatten(1) @ state["hidden.weight"].T + state["hidden.bias"]
    return x @ state["output.weight"].T + state["output.bias"]


def test_tokens_by_hand():
    ids = torch.tensor([[7, 8, 11, 10, 4, 4], [4, 4, 9, 9, 6, 7]])  # A C N T - -; - - G G ? A
    mask = torch.tensor([[True] * 4 + [False] * 2, [False] * 2 + [True] * 4])
    net = network(length=60)
    expected = [
        [BEGIN, 0, 1, 4, 3, END] + [PADDING] * 54,
        [BEGIN, 2, 2, 5, 0, END] + [PADDING] * 54,
    ]
    assert net.tokens(ids, mask).tolist() == expected


def test_a_longer_sequence_loses_its_end():
    net = network(length=60)
    ids = random_tokens(1, 80)
    read = net.tokens(ids, whole(ids))[0].tolist()
    assert read == [BEGIN, *(ids[0, :59] - 7).tolist()]
    exact = net.tokens(ids[:, :58], whole(ids[:, :58]))[0].tolist()
    assert exact == [BEGIN, *(ids[0, :58] - 7).tolist(), END]


def test_input_length_counts_both_ends_and_padding_where_lengths_differ():
    assert input_length([200, 200, 200]) == 202
    assert input_length([200, 199]) == 203
    assert input_length([10]) == SHORTEST
    network(length=SHORTEST)  # one position left
    positions = SHORTEST
    for _ in range(3):
        positions = (positions - 7) // 2
    assert positions == 1


@pytest.mark.parametrize(("length", "flat"), [(57, 4), (202, 76), (502, 224), (4779, 2364)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_parameter_counts_in_closed_form(length, flat, n_classes):
    """100 to 16 to 8 to 4 channels of 8 taps, batch norms, 512 hidden; one output for two."""
    outputs = 1 if n_classes == 2 else n_classes
    expected = (
        9 * 100
        + (100 * 8 * 16 + 16 + 32)
        + (16 * 8 * 8 + 8 + 16)
        + (8 * 8 * 4 + 4 + 8)
        + (flat * 512 + 512)
        + (512 * outputs + outputs)
    )
    net = network(n_classes, length=length)
    assert sum(part.numel() for part in net.parameters()) == expected
    assert VOCABULARY == 9
    # As the published class counts itself with a vocabulary of nine, in genomic_benchmarks 1.0.0.
    assert expected == {(2, 57): 18_137, (2, 202): 55_001, (3, 57): 19_163, (3, 202): 56_027}.get(
        (n_classes, length), expected
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_published_layers(n_classes):
    net = network(n_classes).double()
    net.train()
    for seed in range(3):  # batch statistics that are not their defaults
        ids = random_tokens(8, 68, seed=seed)
        net(ids, whole(ids))
    net.eval()
    ids = random_tokens(5, 60, seed=9)
    mask = whole(ids)
    mask[1, 20:] = False
    with torch.no_grad():
        expected = published(net, net.tokens(ids, mask))
        logits = net(ids, mask)
    if n_classes == 2:
        assert not logits[:, 0].any()
        logits = logits[:, 1:]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


def test_the_published_loss_sees_numbers_between_0_and_1():
    """So class 1 can cost no less than log(1 + 1/e), and class 0 no less than log 2."""
    ids = random_tokens(16, 68)
    labels = torch.arange(16) % 2
    as_published, fixed = network(), network(double_sigmoid=False)
    for net in (as_published, fixed):
        net.train()
        with torch.no_grad():
            net.output.weight *= 1_000
    seen, free = as_published(ids, whole(ids))[:, 1], fixed(ids, whole(ids))[:, 1]
    assert ((seen >= 0) & (seen <= 1)).all()
    assert free.abs().max() > 10
    torch.testing.assert_close(seen, free.sigmoid())
    for value, logits in ((seen, as_published), (free, fixed)):
        entropy = functional.cross_entropy(logits(ids, whole(ids)), labels)
        published_loss = functional.binary_cross_entropy_with_logits(value, labels.float())
        torch.testing.assert_close(entropy, published_loss)
    losses = functional.cross_entropy(as_published(ids, whole(ids)), labels, reduction="none")
    assert losses[labels == 1].min() >= math.log(1 + math.exp(-1)) - 1e-6
    assert losses[labels == 0].min() >= math.log(2) - 1e-6


def test_predictions_are_those_of_rounding_after_one_sigmoid():
    ids = random_tokens(40, 68)
    as_published, fixed = network().eval(), network(double_sigmoid=False).eval()
    with torch.no_grad():
        for norm in (as_published, fixed):
            norm.output.bias.fill_(0.0)
        logits = as_published(ids, whole(ids))
        assert torch.equal(logits, fixed(ids, whole(ids)))
        rounded = logits[:, 1].sigmoid().round().long()
    assert torch.equal(logits.argmax(dim=1), rounded)
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], logits[:, 1].sigmoid())


def test_three_classes_have_no_sigmoid_in_either():
    ids = random_tokens(4, 68)
    one, other = network(3).train(), network(3, double_sigmoid=False).train()
    assert torch.equal(one(ids, whole(ids)), other(ids, whole(ids)))
    assert (one(ids, whole(ids)) < 0).any()


def test_padding_of_a_batch_changes_nothing():
    net = network().eval()
    ids = random_tokens(2, 40)
    padded = functional.pad(ids, (3, 50), value=4)
    mask = torch.zeros_like(padded, dtype=torch.bool)
    mask[:, 3:43] = True
    with torch.no_grad():
        assert torch.equal(net(padded, mask), net(ids, whole(ids)))


def test_weights_depend_on_the_seed_alone():
    before = torch.random.get_rng_state()
    first, again, other = network(), network(), network(seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.hidden.weight, other.hidden.weight)
