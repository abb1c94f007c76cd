"""Folders and files of weights: every published form is read, and none of them runs code."""

import argparse
import json
import os
from collections import OrderedDict

import pytest
import torch

from lightning_dna.errors import DataError
from lightning_dna.models.interop import files, safetensors

WEIGHTS = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]], dtype=torch.float16)}


class RunsOnLoad:
    """Its pickle calls ``os.mkdir``."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype
        for name, value in WEIGHTS.items()
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.ckpt", "mine.bin", "mine.ckpt"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_weights(tmp_path, name, zipped):
    weights = OrderedDict(WEIGHTS)
    weights["a"] = torch.nn.Parameter(weights["a"])
    weights._metadata = OrderedDict(version=1)
    torch.save(weights, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert same(files.read_weights(tmp_path)[0])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_training_checkpoints_full_of_other_objects(tmp_path, zipped):
    content = {
        "epoch": 3,
        "hyper_parameters": argparse.Namespace(lr=1e-3, betas={1, 2}),
        "callbacks": {"best": OrderedDict(path=tmp_path, kinds=[float, torch.float32])},
        "state_dict": WEIGHTS,
        "optimizer_states": [{"state": {0: torch.zeros(2)}}],
    }
    path = tmp_path / "weights.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(files.read_weights(tmp_path)[0])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_cannot_run_code(tmp_path, zipped):
    made = tmp_path / "made"
    content = {"state_dict": WEIGHTS, "evil": RunsOnLoad(str(made))}
    path = tmp_path / "weights.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(files.read_weights(tmp_path)[0])
    assert not made.exists()
    torch.load(path, weights_only=False)  # and so it would, where pickles are trusted
    assert made.exists()


def test_safe_formats_come_first(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    safetensors.write(tmp_path / "model.safetensors", WEIGHTS)
    found, path = files.read_weights(tmp_path)
    assert same(found)
    assert path == tmp_path / "model.safetensors"


def test_weights_in_parts(tmp_path):
    for name, tensor in WEIGHTS.items():
        safetensors.write(tmp_path / f"part-{name}.safetensors", {name: tensor})
    places = {name: f"part-{name}.safetensors" for name in WEIGHTS}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert same(files.read_weights(tmp_path)[0])
    index.write_text(json.dumps({"weight_map": places | {"c": "part-a.safetensors"}}))
    with pytest.raises(DataError, match="promises tensors that no file holds: c"):
        files.read_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": places | {"c": "part-c.safetensors"}}))
    with pytest.raises(DataError, match=r"part-c.safetensors is missing"):
        files.read_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": {"c": "../c.safetensors"}}))
    with pytest.raises(DataError, match="outside of its folder"):
        files.read_weights(tmp_path)
    index.write_text("[]")
    with pytest.raises(DataError, match="no index of weights"):
        files.read_weights(tmp_path)


def test_absent_and_ambiguous_weights(tmp_path):
    with pytest.raises(DataError, match=r"holds no weights; allowed: model.safetensors.*nothing"):
        files.read_weights(tmp_path)
    for name in ("one.bin", "two.ckpt"):
        torch.save(WEIGHTS, tmp_path / name)
    with pytest.raises(DataError, match=r"several files of weights: one.bin, two.ckpt; keep one"):
        files.read_weights(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 cut off"])
def test_damaged_pickles(tmp_path, content):
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(DataError, match="cannot read the weights in"):
        files.read_weights(tmp_path)


def test_pickles_of_something_else(tmp_path):
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="holds list, not a state dict"):
        files.read_weights(tmp_path)


def test_absent_and_damaged_configs(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        files.read_config(tmp_path / "absent")
    (tmp_path / "weights.ckpt").touch()
    with pytest.raises(DataError, match=r"holds no config.json.*Found: weights.ckpt"):
        files.read_config(tmp_path)
    for text, message in (("{", "cannot read"), ("[]", "holds list, not a mapping")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(DataError, match=message):
            files.read_config(tmp_path)
