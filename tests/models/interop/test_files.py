"""Folders and files of weights: every published form is read, and none of them runs code."""

import argparse
import json
import os
import struct
from collections import OrderedDict

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lightning_dna.atomic import UnwritableError
from lightning_dna.errors import DataError
from lightning_dna.models.interop import files

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
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    found, path = files.read_weights(tmp_path)
    assert same(found)
    assert path == tmp_path / "model.safetensors"


def test_weights_in_parts(tmp_path):
    for name, tensor in WEIGHTS.items():
        save_file({name: tensor}, tmp_path / f"part-{name}.safetensors")
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


def header_of(entries: dict[str, object], data: bytes) -> bytes:
    """The format by hand: the header's length, the header, the numbers."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_reads_what_the_safetensors_format_says(tmp_path):
    entries = {
        "__metadata__": {"format": "pt"},
        "a": entry(0, 16, 2, 2),
        "half": entry(16, 20, 2, dtype="BF16"),
        "scalar": entry(20, 28, dtype="I64"),
    }
    data = struct.pack("<4f", 1.5, -2.0, 0.0, 3.25) + b"\x80\x3f\x00\xc0" + struct.pack("<q", -7)
    (tmp_path / "model.safetensors").write_bytes(header_of(entries, data))
    found, _ = files.read_weights(tmp_path)
    assert found["a"].tolist() == [[1.5, -2.0], [0.0, 3.25]]
    assert (found["half"].tolist(), found["half"].dtype) == ([1.0, -2.0], torch.bfloat16)
    assert (found["scalar"].item(), found["scalar"].shape) == (-7, ())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60) + b"{}",
        b"PK\x03\x04" + b"\x00" * 40,
        header_of({"a": entry(0, 8, 2)}, b"\x00" * 4),
        header_of({"a": entry(0, 4, 2)}, b"\x00" * 4),
        header_of({"a": entry(0, 4, 1), "b": entry(2, 4, 2, dtype="U8")}, b"\x00" * 4),
        header_of({"a": entry(0, 4, 4, dtype="X8")}, b"\x00" * 4),
        struct.pack("<Q", 1) + b"{",
    ],
)
def test_damaged_safetensors(tmp_path, raw):
    (tmp_path / "model.safetensors").write_bytes(raw)
    with pytest.raises(
        DataError, match=r"model.safetensors is no safetensors file, or was cut off"
    ):
        files.read_weights(tmp_path)


def test_a_file_cut_off_anywhere_is_damaged(tmp_path):
    path = tmp_path / "model.safetensors"
    files.write_safetensors(path, WEIGHTS)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="Fetch it again"):
            files.read_weights(tmp_path)
    with pytest.raises(DataError, match="No such file"):
        files.read_safetensors(tmp_path / "absent.safetensors")


def test_written_tensors_are_read_by_the_library(tmp_path):
    table = torch.arange(6.0).reshape(2, 3)
    tensors = {
        "table": table,
        "tied": table,  # shares its memory
        "turned": table.T,
        "upper": table[:1],
        "half": table.bfloat16(),
        "number": torch.tensor(3),
        "none": torch.zeros(0, 2),
        "grown": torch.nn.Parameter(table),
    }
    files.write_safetensors(tmp_path / "new" / "model.safetensors", tensors)
    found = load_file(tmp_path / "new" / "model.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_weights_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    files.write_safetensors(path, WEIGHTS)
    before = path.read_bytes()

    def broken(*arguments, **named):
        arguments[1].write_bytes(before[:10])
        raise SafetensorError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    with pytest.raises(UnwritableError, match="no space left"):
        files.write_safetensors(path, {"a": torch.zeros(9)})
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_the_digest_is_of_what_is_computed_and_not_of_where(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        files.write_safetensors(folder / "model.safetensors", WEIGHTS)
        (folder / "config.json").write_text("{}")
        (folder / "README.md").write_text(folder.name)
    assert files.digest(one) == files.digest(other)
    seen = {files.digest(one)}
    for name in ("config.json", "vocab.txt", "tokenizer.json"):
        (other / name).write_text("changed")
        seen.add(files.digest(other))
    files.write_safetensors(other / "model.safetensors", WEIGHTS | {"a": torch.zeros(2)})
    seen.add(files.digest(other))
    assert len(seen) == 5
    (other / "config.json").unlink()
    with pytest.raises(DataError, match="cannot read"):
        files.digest(other)


def test_the_digest_of_parts_is_of_all_of_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for name, tensor in WEIGHTS.items():
        files.write_safetensors(tmp_path / f"part-{name}.safetensors", {name: tensor})
    places = {name: f"part-{name}.safetensors" for name in WEIGHTS}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    before = files.digest(tmp_path)
    files.write_safetensors(tmp_path / "part-b.safetensors", {"b": torch.zeros(1)})
    assert files.digest(tmp_path) != before
