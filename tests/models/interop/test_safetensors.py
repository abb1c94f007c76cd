"""The safetensors format, against bytes written out by hand."""

import json
import struct

import pytest
import torch

from lightning_dna.errors import DataError
from lightning_dna.models.interop import safetensors


def file_of(path, header: object, data: bytes = b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_reads_what_the_format_says(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "b": entry(0, 3, 3, dtype="U8"),
        "a": entry(3, 19, 2, 2),  # 3 bytes in: not aligned
        "half": entry(19, 23, 2, dtype="BF16"),
        "scalar": entry(23, 31, dtype="I64"),
        "nothing": entry(31, 31, 0, 5),
    }
    data = bytes([1, 2, 255]) + struct.pack("<4f", 1.5, -2.0, 0.0, 3.25)
    data += b"\x80\x3f\x00\xc0" + struct.pack("<q", -7)
    found = safetensors.read(file_of(tmp_path / "x.safetensors", header, data))
    assert found["b"].tolist() == [1, 2, 255]
    assert found["a"].tolist() == [[1.5, -2.0], [0.0, 3.25]]
    assert (found["half"].tolist(), found["half"].dtype) == ([1.0, -2.0], torch.bfloat16)
    assert (found["scalar"].item(), found["scalar"].shape) == (-7, ())
    assert found["nothing"].shape == (0, 5)
    found["a"] += 1  # a tensor of its own, not a view of the file


def test_writes_what_the_format_says(tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    tensors = {"z": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([True, False])}
    safetensors.write(path, tensors, metadata={"format": "pt"})
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    assert size % 8 == 0
    assert json.loads(raw[8 : 8 + size]) == {
        "__metadata__": {"format": "pt"},
        "a": entry(0, 2, 2, dtype="BOOL"),
        "z": entry(2, 10, 1, 2),
    }
    assert raw[8 + size :] == b"\x01\x00" + struct.pack("<2f", 1.0, 2.0)


@pytest.mark.parametrize("dtype", safetensors.DTYPES.values(), ids=str)
def test_every_dtype_comes_back(tmp_path, dtype):
    tensors = {
        "scalar": torch.tensor(1).to(dtype),
        "turned": torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype).T,
        "empty": torch.zeros(2, 0, dtype=dtype),
    }
    safetensors.write(tmp_path / "x.safetensors", tensors)
    found = safetensors.read(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": entry(0, 8, 2)}, r"takes 8 bytes, and its place is 0 to 8 of 4"),
        ({"a": entry(0, 4, 2)}, "takes 8 bytes"),
        ({"a": entry(4, 0, 1)}, "takes 4 bytes"),
        ({"a": entry(-4, 0, 1)}, "has shape"),
        ({"a": entry(0, 4, -1)}, "has shape"),
        ({"a": entry(0, 4, True)}, "has shape"),
        ({"a": entry(0, 4, 1), "b": entry(2, 4, 2, dtype="U8")}, "share the bytes"),
        ({"a": entry(0, 4, 4, dtype="F8_E4M3")}, "type F8_E4M3.*allowed: F64"),
        ({"a": {"dtype": "F32"}}, "entry of tensor 'a' is incomplete"),
        ({"a": 3}, "entry of tensor 'a' is incomplete"),
        ([1], "not a mapping"),
        (b"{", "not JSON"),
    ],
)
def test_damage_is_named(tmp_path, header, message):
    path = file_of(tmp_path / "x.safetensors", header, b"\x00" * 4)
    with pytest.raises(DataError, match=message):
        safetensors.read(path)


def test_a_header_longer_than_the_file_takes_no_memory(tmp_path):
    path = tmp_path / "x.safetensors"
    for raw in (b"", b"abc", struct.pack("<Q", 2**60) + b"{}", b"PK\x03\x04" + b"\x00" * 40):
        path.write_bytes(raw)
        with pytest.raises(DataError, match="no safetensors file, or was cut off"):
            safetensors.read(path)
    with pytest.raises(DataError, match="No such file"):
        safetensors.read(tmp_path / "absent.safetensors")


def test_a_dtype_without_a_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"'a' is of torch.complex64.*allowed: torch.float64"):
        safetensors.write(tmp_path / "x", {"a": torch.zeros(1, dtype=torch.complex64)})
    assert not (tmp_path / "x").exists()
