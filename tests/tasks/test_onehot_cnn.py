"""The convolutional baseline: padding, N, initial weights, and that order matters to it."""

import numpy as np
import pytest
import torch

from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import encode
from lightning_dna.tasks.baselines.onehot_cnn import OneHotCNN
from lightning_dna.tasks.baselines.supervised import supervised_baseline
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import padded_batch, predict

CPU = torch.device("cpu")
QUICK = FineTuneConfig(epochs=6, lr=3e-3, batch_size=32, patience=6)


def ordered_pairs(n: int, seed: int) -> Examples:
    """Class 1 has GATTACA before TGCCGTT, class 0 after it: the k-mers are the same."""
    rng = np.random.default_rng(seed)
    sequences = []
    for index in range(n):
        row = "".join(rng.choice(list("ACGT"), size=40))
        at = rng.integers(0, 24)
        motifs = ("TGCCGTT", "GATTACA") if index % 2 == 0 else ("GATTACA", "TGCCGTT")
        sequences.append(row[:at] + "AA".join(motifs) + row[at + 16 :])
    return Examples(
        codes=[encode(sequence) for sequence in sequences],
        labels=np.arange(n) % 2,
        ids=tuple(f"e{index}" for index in range(n)),
    )


@pytest.mark.parametrize("extra", [1, 2, 3, 4, 5, 21])
@pytest.mark.parametrize("length", [1, 3, 13, 32])
def test_padding_never_changes_the_output(length, extra):
    network = OneHotCNN(3, seed=0)
    rng = np.random.default_rng(length)
    short = rng.integers(0, 5, length).astype(np.uint8)
    long = rng.integers(0, 5, length + extra).astype(np.uint8)
    with torch.no_grad():
        alone = network(*padded_batch([short], np.array([0]), CPU))
        padded = network(*padded_batch([short, long], np.array([0, 1]), CPU))
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-5)


def test_every_base_is_seen_and_n_is_nothing():
    network = OneHotCNN(2, seed=0).double()
    inputs = torch.zeros(1, 22, dtype=torch.int64) + 11  # N
    mask = torch.ones_like(inputs, dtype=torch.bool)
    with torch.no_grad():
        empty = network(inputs, mask)
        np.testing.assert_allclose(empty[0], 0)  # no bias yet, and only zeros come in
        for position in range(22):  # the last window of the pooling is a short one
            for base in (7, 8, 9, 10):
                one = inputs.clone()
                one[0, position] = base
                assert (network(one, mask) - empty).abs().max() > 1e-6


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first, again, other = OneHotCNN(2, seed=0), OneHotCNN(2, seed=0), OneHotCNN(2, seed=1)
    assert torch.equal(torch.rand(2), expected)
    for one, two, three in zip(
        first.parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        assert one.ndim == 1 or not torch.equal(one, three)


def test_weights_keep_the_variance_through_relu():
    for convolution in OneHotCNN(2, seed=0).convolutions:
        inputs = convolution.in_channels * convolution.kernel_size[0]
        assert convolution.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.05)


def test_parameter_count():
    # 4*64*11+64, twice 64*64*7+64, 64*2+2
    assert sum(part.numel() for part in OneHotCNN(2, seed=0).parameters()) == 60_482


def trained(train, valid, test):
    return supervised_baseline(
        "onehot_cnn", train, valid, test.codes, n_classes=2, seed=0, config=QUICK
    )


def test_learns_the_order_of_two_motifs_and_is_deterministic():
    train, valid, test = (ordered_pairs(n, seed) for seed, n in enumerate((300, 100, 100)))
    probabilities, record = trained(train, valid, test)
    assert probabilities.shape == (100, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == test.labels).mean() > 0.9
    assert record["parameters_updated"] == 60_482
    assert 1 <= record["best_epoch"] <= record["epochs_run"] <= 6
    again, _ = trained(train, valid, test)
    np.testing.assert_array_equal(again, probabilities)


def test_predictions_do_not_depend_on_what_else_is_predicted():
    network = OneHotCNN(2, seed=0)
    codes = [codes[: 10 + index] for index, codes in enumerate(ordered_pairs(20, 0).codes)]
    together = predict(network, codes)
    alone = np.concatenate([predict(network, [row]) for row in codes])
    np.testing.assert_allclose(together, alone, atol=1e-6)
