import numpy as np
import torch

from lightning_dna.models.heads import ClassificationHead, mean_pool, tied_logits
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
