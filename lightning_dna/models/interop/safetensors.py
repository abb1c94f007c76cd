"""The safetensors format: a length, a JSON table of names, shapes and places, then raw numbers.

Written out here because it is so small, and because a checkpoint from elsewhere has to be read with
every number in its header in doubt.

References:
    https://github.com/huggingface/safetensors, section Format.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lightning_dna import atomic
from lightning_dna.errors import DataError

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_PREFIX = 8  # bytes of the header's length
_LONGEST_HEADER = 100_000_000
_ALIGNMENT = 8


def read(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU, in the file's dtypes.

    Raises:
        DataError: The file is missing, cut off, or not what the format allows.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error


def write(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, in the order of their names, whole or not at all.

    Args:
        path: The file to write.
        tensors: Tensors by name, any device; copies that share memory are written twice.
        metadata: Texts for the header.

    Raises:
        UnwritableError: The folder cannot be written to.
        DataError: A dtype that the format has no name for.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise DataError(
                f"{path}: tensor '{name}' is of {tensor.dtype}, which cannot be written; allowed: "
                f"{', '.join(str(dtype) for dtype in _NAMES)}."
            )
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(_PREFIX, "little") + text)
        for name in sorted(tensors):
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes())


def _read(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    """Read header and tensors of an open file."""
    size = file.seek(0, 2)
    file.seek(0)
    header_size = int.from_bytes(file.read(_PREFIX), "little")
    if size < _PREFIX or header_size > min(size - _PREFIX, _LONGEST_HEADER):
        raise _damaged(path, f"{size} bytes cannot hold a header of {header_size}")
    try:
        header = json.loads(file.read(header_size))
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, f"its header is {type(header).__name__}, not a mapping")
    header.pop("__metadata__", None)
    tensors: dict[str, Tensor] = {}
    start = _PREFIX + header_size
    for name, entry in header.items():
        dtype, shape, begin, end = _checked(entry, name, size - start, path)
        if begin == end:
            tensors[name] = torch.empty(shape, dtype=dtype)
            continue
        file.seek(start + begin)
        raw = bytearray(file.read(end - begin))  # its own memory, which is aligned and writable
        tensors[name] = torch.frombuffer(raw, dtype=dtype).reshape(shape)
    _check_apart(header.values(), path)
    return tensors


def _checked(
    entry: Any, name: str, size: int, path: Path
) -> tuple[torch.dtype, list[int], int, int]:
    """Return an entry's dtype, shape and place, after every doubt."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"the entry of tensor '{name}' is incomplete") from error
    if kind not in DTYPES:
        raise DataError(
            f"{path}: tensor '{name}' is of type {kind}, which is not supported; allowed: "
            f"{', '.join(DTYPES)}. Convert the file to one of these."
        )
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _damaged(path, f"tensor '{name}' has shape {shape} and place {begin}, {end}")
    wanted = math.prod(shape) * DTYPES[kind].itemsize
    if end - begin != wanted or end > size:
        raise _damaged(
            path,
            f"tensor '{name}' of {kind} {shape} takes {wanted} bytes, and its place is {begin} to "
            f"{end} of {size}",
        )
    return DTYPES[kind], shape, begin, end


def _check_apart(entries: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Refuse tensors that lie on top of each other."""
    places = sorted(tuple(entry["data_offsets"]) for entry in entries)
    for (_, end), (begin, _) in itertools.pairwise(places):
        if begin < end:
            raise _damaged(path, f"two tensors share the bytes {begin} to {end}")


def _damaged(path: Path, what: str) -> DataError:
    """Return the error for a file that breaks the format."""
    return DataError(
        f"{path} is no safetensors file, or was cut off while it was copied: {what}. "
        "Fetch it again."
    )
