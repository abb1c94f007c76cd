"""Our causal Hyena against what the published HyenaDNA code computed from random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model

pytestmark = pytest.mark.data

# Published key (within a layer) -> ours, and how the published shape becomes ours.
LAYER_KEYS = {
    "norm1.weight": "mixer_norm.weight",
    "norm1.bias": "mixer_norm.bias",
    "norm2.weight": "feedforward_norm.weight",
    "norm2.bias": "feedforward_norm.bias",
    "mlp.fc1.weight": "feedforward.expand.weight",
    "mlp.fc1.bias": "feedforward.expand.bias",
    "mlp.fc2.weight": "feedforward.contract.weight",
    "mlp.fc2.bias": "feedforward.contract.bias",
    "mixer.in_proj.weight": "mixer.input.weight",
    "mixer.in_proj.bias": "mixer.input.bias",
    "mixer.out_proj.weight": "mixer.output.weight",
    "mixer.out_proj.bias": "mixer.output.bias",
    "mixer.short_filter.weight": "mixer.short_weight",
    "mixer.short_filter.bias": "mixer.short_bias",
    "mixer.filter_fn.bias": "mixer.skip",
    "mixer.filter_fn.implicit_filter.0.weight": "mixer.filter.first.weight",
    "mixer.filter_fn.implicit_filter.0.bias": "mixer.filter.first.bias",
    "mixer.filter_fn.implicit_filter.1.freq": "mixer.filter.frequency",
    "mixer.filter_fn.implicit_filter.2.weight": "mixer.filter.second.weight",
    "mixer.filter_fn.implicit_filter.2.bias": "mixer.filter.second.bias",
    "mixer.filter_fn.implicit_filter.4.weight": "mixer.filter.third.weight",
    "mixer.filter_fn.implicit_filter.4.bias": "mixer.filter.third.bias",
    "mixer.filter_fn.implicit_filter.6.weight": "mixer.filter.last.weight",
}
WHOLE_KEYS = {
    "backbone.embeddings.word_embeddings.weight": "backbone.embedding.weight",
    "backbone.ln_f.weight": "backbone.final_norm.weight",
    "backbone.ln_f.bias": "backbone.final_norm.bias",
}
DTYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the format by its definition: header length, JSON header, raw little-endian arrays."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(raw[8 + size + begin : 8 + size + end], DTYPES[entry["dtype"]])
        tensors[name] = torch.from_numpy(array.reshape(entry["shape"]).copy())
    return tensors


@pytest.fixture(scope="module")
def golden(data_folder: Path) -> Path:
    return data_folder.parent / "golden" / "hyenadna-tiny-d32"


@pytest.fixture(scope="module")
def config(golden: Path) -> ModelConfig:
    published = json.loads((golden / "config.json").read_text())
    return ModelConfig(
        objective="next_token",
        mixer="hyena",
        width=published["d_model"],
        layers=published["n_layer"],
        max_length=published["layer"]["l_max"],
        feedforward_width=published["d_inner"],
        hyena_filter_width=published["layer"]["filter_order"],
        gelu_approximation="tanh",
        hyena_filter_shift=0.05,
    )


def our_names(published: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    ours = {mine: published[theirs] for theirs, mine in WHOLE_KEYS.items()}
    for layer in range(layers):
        for theirs, mine in LAYER_KEYS.items():
            value = published[f"backbone.layers.{layer}.{theirs}"]
            ours[f"backbone.blocks.{layer}.{mine}"] = value
    return ours


def test_published_weights_give_the_published_outputs(golden: Path, config: ModelConfig):
    model = build_model(config, seed=0).eval()
    ours = our_names(read_safetensors(golden / "model.safetensors"), config.layers)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict({name: value.reshape(shapes[name]) for name, value in ours.items()})
    vectors = read_safetensors(golden / "io.safetensors")
    with torch.no_grad():
        output = model(vectors["input_ids"])
    torch.testing.assert_close(output.hidden, vectors["hidden"], rtol=0, atol=1e-5)
    torch.testing.assert_close(output.logits, vectors["logits"], rtol=0, atol=1e-5)


def test_decay_rates_and_features_are_the_published_ones(golden: Path, config: ModelConfig):
    published = read_safetensors(golden / "model.safetensors")
    written = build_model(config, seed=0).backbone.blocks[0].mixer.filter
    time, features = written._features(config.max_length, torch.zeros(()))
    prefix = "backbone.layers.0.mixer.filter_fn."
    z, t = published[prefix + "pos_emb.z"][0], published[prefix + "pos_emb.t"][0, :, 0]
    torch.testing.assert_close(features, z, rtol=0, atol=1e-6)
    torch.testing.assert_close(time, t, rtol=0, atol=1e-6)
    rates = published[prefix + "modulation.deltas"].flatten().abs()
    expected = torch.exp(-rates[:, None] * t) + 0.05
    torch.testing.assert_close(written._decay(time)[0], expected, rtol=0, atol=1e-5)
