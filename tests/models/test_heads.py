import numpy as np
import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.heads import (
    AttentionPool,
    ClassificationHead,
    mean_pool,
    pool,
    tied_logits,
)
from lightning_dna.testing.models import random_normal


def test_mean_over_real_positions():
    hidden = random_normal(3, 4, 2, dtype=torch.float64)
    mask = torch.tensor([[True] * 4, [False, True, True, False], [False] * 4])
    pooled = mean_pool(hidden, mask)
    np.testing.assert_allclose(pooled[0], hidden[0].numpy().mean(axis=0))
    np.testing.assert_allclose(pooled[1], (hidden[1, 1] + hidden[1, 2]).numpy() / 2)
    assert pooled[2].tolist() == [0.0, 0.0]
    torch.testing.assert_close(mean_pool(hidden), hidden.mean(dim=1))


def test_tied_logits_are_inner_products_with_the_embedding():
    embedding = torch.nn.Embedding(5, 3)
    hidden = random_normal(2, 4, 3)
    expected = np.einsum("blw,vw->blv", hidden.numpy(), embedding.weight.detach().numpy())
    found = tied_logits(hidden, embedding).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_classification_head_is_a_linear_map_of_the_mean():
    head = ClassificationHead(3, n_classes=2, seed=0)
    hidden, mask = random_normal(2, 4, 3), torch.tensor([[True] * 4, [True, False, True, False]])
    pooled = np.stack([hidden[0].numpy().mean(0), hidden[1, ::2].numpy().mean(0)])
    expected = pooled @ head.linear.weight.detach().numpy().T
    np.testing.assert_allclose(head(hidden, mask).detach(), expected, rtol=1e-4, atol=1e-6)


# Row 0: [CLS], two bases, [SEP], padding. Row 1: [CLS] and [SEP] around three bases.
REAL = torch.tensor([[True, True, True, True, False], [True] * 5])
BASES = torch.tensor([[False, True, True, False, False], [False, True, True, True, False]])
HIDDEN = random_normal(2, 5, 3, dtype=torch.float64)
BY_HAND = {
    "mean": lambda h: [(h[0, 1] + h[0, 2]) / 2, (h[1, 1] + h[1, 2] + h[1, 3]) / 3],
    "max": lambda h: [np.maximum(h[0, 1], h[0, 2]), h[1, 1:4].max(axis=0)],
    "first": lambda h: [h[0, 0], h[1, 0]],
    "last": lambda h: [h[0, 3], h[1, 4]],
}


@pytest.mark.parametrize("how", BY_HAND)
def test_pooling_by_hand_with_padding_on_either_side(how):
    expected = np.stack(BY_HAND[how](HIDDEN.numpy()))
    np.testing.assert_allclose(pool(HIDDEN, BASES, REAL, how), expected)
    left = pool(HIDDEN.roll(1, dims=1), BASES.roll(1, dims=1), REAL.roll(1, dims=1), how)
    np.testing.assert_allclose(left[0], expected[0])


def test_rows_without_a_base_give_zeros_and_finite_gradients():
    hidden = HIDDEN.clone().requires_grad_(True)
    none = torch.zeros_like(BASES)
    weighted = AttentionPool(3).double()
    for pooled in (*(pool(hidden, none, REAL, how) for how in ("mean", "max")),):
        assert (pooled == 0).all()
    out = weighted(hidden, none)
    assert (out == 0).all()
    out.sum().backward()
    assert torch.isfinite(weighted.query.grad).all()


def test_attention_starts_at_the_mean_and_is_a_softmax_over_bases():
    weighted = AttentionPool(3).double()
    np.testing.assert_allclose(
        weighted(HIDDEN, BASES).detach(), pool(HIDDEN, BASES, REAL, "mean"), rtol=1e-12
    )
    query = np.array([0.7, -1.2, 2.0])
    with torch.no_grad():
        weighted.query.copy_(torch.from_numpy(query))
    for row, chosen in enumerate((slice(1, 3), slice(1, 4))):
        states = HIDDEN[row, chosen].numpy()
        shares = np.exp(states @ query / np.sqrt(3))
        expected = (shares / shares.sum()) @ states
        np.testing.assert_allclose(weighted(HIDDEN, BASES)[row].detach(), expected, rtol=1e-10)


def test_a_probe_has_no_place_for_learned_pooling():
    with pytest.raises(ConfigError, match="'attention' has weights to learn"):
        pool(HIDDEN, BASES, REAL, "attention")


def test_the_pooler_is_a_tanh_layer_before_the_last():
    head = ClassificationHead(3, n_classes=2, seed=0, pooling="first", form="pooler", std=0.5)
    head = head.double()
    inner = np.tanh(HIDDEN[:, 0].numpy() @ head.pooler.weight.detach().numpy().T)
    expected = inner @ head.linear.weight.detach().numpy().T
    np.testing.assert_allclose(head(HIDDEN, BASES, REAL).detach(), expected, rtol=1e-10)


def test_dropout_of_the_head_acts_in_training_alone():
    head = ClassificationHead(3, n_classes=2, seed=0, dropout=0.5).double()
    torch.manual_seed(0)
    assert not torch.equal(head(HIDDEN), head(HIDDEN))
    assert torch.equal(head.eval()(HIDDEN), head(HIDDEN))
