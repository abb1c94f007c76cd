"""Published-layout checkpoints against what the published code computed from them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_dna import load_pretrained

pytestmark = pytest.mark.data
NAMES = ("hyenadna-tiny-d32", "dnabert2-toy-d48", "ntv2-toy-d48")


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest, data_folder: Path) -> Path:
    return data_folder.parent / "golden" / request.param


def test_outputs_are_the_published_ones(golden):
    vectors = load_file(golden / "io.safetensors")
    ids = vectors["input_ids"]
    mask = vectors.get("attention_mask")
    with torch.no_grad():
        output = load_pretrained(golden)(ids, mask)
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    torch.testing.assert_close(output.hidden[real], vectors["hidden"][real], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.logits[real], vectors["logits"][real], rtol=0, atol=1e-5)


def test_files_come_back_exactly(golden, tmp_path):
    published = load_file(golden / "model.safetensors")
    model = load_pretrained(golden)
    model.save_pretrained(tmp_path / "own")
    for number, source in enumerate((model, load_pretrained(tmp_path / "own"))):
        folder = tmp_path / str(number)
        source.save_pretrained(folder, layout="published")
        written = load_file(folder / "model.safetensors")
        assert written.keys() == published.keys()
        assert all(torch.equal(written[name], published[name]) for name in published)
        config = json.loads((golden / "config.json").read_text())
        assert json.loads((folder / "config.json").read_text()) == config
