"""Networks and objectives with many outputs, against closed forms and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score
from torch.nn import functional

from lightning_dna.data.regions import IGNORED
from lightning_dna.errors import ConfigError
from lightning_dna.training.region_network import OneHot, RegionHead, RegionNetwork
from lightning_dna.training.region_objectives import (
    of_labels,
    of_positions,
    position_counts,
    position_value,
    predicted_classes,
)


def states(batch: int, length: int, width: int = 6) -> torch.Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("convolutions", [None, (5, 3)])
@pytest.mark.parametrize("bin_", [None, 1, 4])
def test_padding_changes_nothing(convolutions, bin_):
    head = RegionHead(6, 3, seed=0, convolutions=convolutions, bin=bin_)
    alone = states(1, 8)
    padded = torch.cat([alone, torch.full((1, 5, 6), 9.0)], dim=1)
    real = torch.arange(13)[None] < 8
    expected = head(alone, torch.ones(1, 8, dtype=torch.bool))
    found = head(padded, real)
    found = found if bin_ is None else found[:, : expected.shape[1]]
    torch.testing.assert_close(found, expected)


def test_the_head_is_two_convolutions_with_gelu_a_mean_over_bins_and_a_linear_layer():
    head = RegionHead(6, 3, seed=0, convolutions=(5, 3), bin=4)
    hidden = states(2, 8)
    parts = dict(head.named_parameters())
    x = hidden.transpose(1, 2)
    for name in ("first", "second"):
        weight, bias = parts[f"convolutions.{name}.weight"], parts[f"convolutions.{name}.bias"]
        x = functional.gelu(functional.conv1d(x, weight, bias, padding=1))
    pooled = functional.avg_pool1d(x, kernel_size=4, stride=4).transpose(1, 2)
    expected = pooled @ parts["linear.weight"].T + parts["linear.bias"]
    torch.testing.assert_close(head(hidden, torch.ones(2, 8, dtype=torch.bool)), expected)


def test_the_head_depends_on_the_seed_alone():
    torch.manual_seed(5)
    first = RegionHead(6, 3, seed=2, convolutions=(5, 3)).state_dict()
    torch.manual_seed(6)
    again = RegionHead(6, 3, seed=2, convolutions=(5, 3)).state_dict()
    other = RegionHead(6, 3, seed=3, convolutions=(5, 3)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["linear.weight"], other["linear.weight"])


def test_special_tokens_are_left_out_and_bases_keep_their_order():
    head = RegionHead(4, 2, seed=0, bin=1)
    bases = torch.tensor([[7, 10, 9, 8]])
    plain = RegionNetwork(OneHot(), head)(bases, torch.ones_like(bases, dtype=torch.bool))
    around = torch.tensor([[0, 7, 10, 9, 8, 1, 4]])
    real = torch.tensor([[True, True, True, True, True, True, False]])
    found = RegionNetwork(OneHot(), head, special_ids=(0, 1))(around, real)
    torch.testing.assert_close(found[:, :4], plain)


def test_one_hot_channels():
    ids = torch.tensor([[7, 8, 9, 10, 11, 4]])
    found = OneHot()(ids, torch.ones_like(ids, dtype=torch.bool))
    assert found[0].tolist() == [*np.eye(4).tolist(), [0.0] * 4, [0.0] * 4]


def test_labels_are_learned_by_cross_entropy_and_chosen_by_the_card_s_metric():
    rng = np.random.default_rng(0)
    labels = (rng.random((50, 4)) < 0.3).astype(np.int8)
    logits = rng.normal(size=(50, 4))
    objective = of_labels("mean_auroc")
    p = 1 / (1 + np.exp(-logits))
    entropy = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    loss = objective.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(entropy, abs=1e-12)
    expected = roc_auc_score(labels, logits, average="macro")
    assert objective.value("mcc", labels, logits) == pytest.approx(expected, abs=1e-12)
    assert objective.value("loss", labels, logits) == pytest.approx(-entropy, abs=1e-12)


def test_positions_of_many_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=(4, 10)).astype(np.int8)
    labels[2, 6:] = IGNORED
    logits = torch.from_numpy(rng.normal(size=(4, 10, 3)))
    objective = of_positions("mcc", classes=3, bins=12)
    known = labels != IGNORED
    expected = functional.cross_entropy(
        logits.reshape(-1, 3)[known.reshape(-1)], torch.from_numpy(labels[known]).long()
    )
    torch.testing.assert_close(objective.loss(logits, torch.from_numpy(labels)), expected)
    outputs = objective.outputs(logits).numpy()
    assert outputs.shape == (4, 12)
    guess = logits.argmax(dim=-1).numpy()
    wide = np.pad(labels, ((0, 0), (0, 2)), constant_values=IGNORED)
    value = objective.value("mcc", wide, outputs)
    assert value == pytest.approx(matthews_corrcoef(labels[known], guess[known]), abs=1e-12)
    with pytest.raises(ConfigError, match="'loss' is not kept for a class of every base"):
        objective.value("loss", wide, outputs)


def test_positions_of_two_classes_with_a_weight():
    rng = np.random.default_rng(0)
    labels = (rng.random((3, 8)) < 0.3).astype(np.int8)
    labels[0, 5:] = IGNORED
    logits = rng.normal(size=(3, 8, 1))
    objective = of_positions("auprc", classes=2, bins=8, positive_weight=5.0)
    known = labels != IGNORED
    p = 1 / (1 + np.exp(-logits[..., 0][known]))
    y = labels[known]
    entropy = -np.mean(5.0 * y * np.log(p) + (1 - y) * np.log(1 - p))
    loss = objective.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(entropy, abs=1e-12)
    outputs = objective.outputs(torch.from_numpy(logits)).numpy()
    expected = average_precision_score(y, logits[..., 0][known])
    assert objective.value("mcc", labels, outputs) == pytest.approx(expected, abs=1e-12)
    assert objective.value("loss", labels, outputs) == pytest.approx(-entropy, abs=1e-12)
    guess = (logits[..., 0][known] > 0).astype(int)
    value = position_value("mcc", labels, outputs, 2)
    assert value == pytest.approx(matthews_corrcoef(y, guess), abs=1e-12)


def test_counts_of_each_sequence_leave_out_what_has_no_class():
    labels = np.array([[0, 1, 2, IGNORED], [2, 2, 0, 1]], dtype=np.int8)
    guess = np.array([[0.0, 2.0, 2.0, 1.0], [2.0, 0.0, 0.0, 1.0]])
    counts = position_counts(labels, predicted_classes(guess, 3), 3)
    assert counts.tolist() == [
        [[1, 0, 1], [1, 0, 2], [1, 1, 1]],
        [[1, 1, 1], [2, 1, 1], [1, 1, 2]],
    ]
