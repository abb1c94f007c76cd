"""Every kind of model part trains, comes back from its folder and goes on to a labelled task."""

import numpy as np
import pytest
import torch

from lightning_dna.genome.alphabet import encode, reverse_complement
from lightning_dna.training.finetune import embed
from lightning_dna.training.run import fit, load_checkpoint

PARTS = {
    "hybrid": {"mixer": ["hyena", "attention"], "layers": 2, "position": "rope"},
    "dilated": {"mixer": "dilated", "position": "sinusoidal", "norm_placement": "post"},
    "averaged": {"mixer": "convolution", "strand": "averaged"},
    "equivariant": {"position": "alibi_asymmetric", "strand": "equivariant"},
}


@pytest.mark.parametrize("name", PARTS)
def test_trains_and_comes_back(toy_run, tmp_path, name):
    run = toy_run(model=PARTS[name])
    made = fit(run, tmp_path, progress=False)
    model = load_checkpoint(tmp_path).model()
    assert model.config == run.model
    first = made.untrained().state_dict()
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, first[key])]
    assert len(moved) == len(first)
    codes = [encode("ACGTTGCATTAACCGGGATA"), encode("TTTGACCA")]
    found = embed(model, codes)
    other = embed(model, [reverse_complement(one) for one in codes])
    if run.model.strand == "single":
        assert np.abs(found - other).max() > 1e-3
    else:
        np.testing.assert_allclose(found, other, atol=1e-5)
