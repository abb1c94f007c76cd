"""Where a checkpoint folder keeps its settings and weights, and how the weights are read.

Pickled files (``.bin``, ``.ckpt``) can run code when they are opened. Here they cannot: what is no
tensor is replaced by an empty stand-in, so that training checkpoints full of a framework's own
objects can be read for their weights.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lightning_dna import atomic
from lightning_dna.errors import DataError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# In the order in which they are looked for: safe formats first.
CANDIDATES = (
    WEIGHTS,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "weights.ckpt",
)
_ENDINGS = (".safetensors", ".bin", ".ckpt")
TOKENIZERS = ("tokenizer.json", "vocab.txt")


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json``.

    Raises:
        DataError: The folder or the file is missing, or the file holds no JSON mapping.
    """
    path = folder / CONFIG
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; give the folder that holds {CONFIG} and the weights."
        )
    if not path.is_file():
        raise DataError(
            f"{folder} holds no {CONFIG}, which says what the weights are; "
            f"put the published {CONFIG} beside them. Found: {_listing(folder)}."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}, not a mapping of settings.")
    return content


def read_weights(folder: Path) -> tuple[dict[str, Tensor], Path]:
    """Find and read the weights.

    Looked for in this order: ``model.safetensors``, its index of several files,
    ``pytorch_model.bin``, its index, ``weights.ckpt``, else the only file with one of these
    endings.

    Returns:
        Tensors by name, on the CPU, and the file (or index) they came from.

    Raises:
        DataError: There are none, more than one could be meant, or the file is damaged.
    """
    path = _weights_file(folder)
    if path.name.endswith(".index.json"):
        return _read_parts(path), path
    return _read_file(path), path


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of the safetensors format.

    Returns:
        Tensors by name, on the CPU, in the file's dtypes.

    Raises:
        DataError: The file is missing, cut off, or not what the format allows.
    """
    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise DataError(
            f"{path} is no safetensors file, or was cut off while it was copied: {error}. Fetch it "
            "again."
        ) from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the safetensors format, whole or not at all.

    Args:
        path: The file to write.
        tensors: Tensors by name, any device and layout; what shares memory is written twice.

    Raises:
        UnwritableError: The folder cannot be written to.
    """
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    with atomic.replacing(path) as temporary:
        try:
            safetensors.torch.save_file(own, temporary, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            raise atomic.unwritable(path, OSError(str(error))) from error


def digest(folder: Path) -> str:
    """Hash the files that decide what a checkpoint computes, wherever the folder lies.

    Those are ``config.json``, the weights (all parts of an index) and the tokenizer beside them.

    Returns:
        SHA-256, in hexadecimal.

    Raises:
        DataError: A file is missing or cannot be read.
    """
    path = _weights_file(folder)
    names = [CONFIG, path.name, *(name for name in TOKENIZERS if (folder / name).is_file())]
    if path.name.endswith(".index.json"):
        names += sorted(set(_parts_of(path).values()))
    total = hashlib.sha256()
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {folder / name}: {error.strerror or error}.") from error
        total.update(f"{name} {part}\n".encode())
    return total.hexdigest()


def check_vocabulary(folder: Path, tokens: int) -> None:
    """Refuse a tokenizer in the folder that gives ids which the model has no row for.

    A tokenizer with fewer ids is well: tables are often rounded up.

    Args:
        folder: Where ``tokenizer.json`` or ``vocab.txt`` would be.
        tokens: Rows of the model's token table.

    Raises:
        DataError: The tokenizer has more, or its file is damaged.
    """
    for name, count in zip(TOKENIZERS, (_ids_of_json, _ids_of_text), strict=True):
        path = folder / name
        if not path.is_file():
            continue
        try:
            found = count(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is no tokenizer: {error!r}.") from error
        if found > tokens:
            raise DataError(
                f"{path} has {found} tokens, and the checkpoint beside it has {tokens}; they do "
                "not belong together: fetch the tokenizer that was published with these weights."
            )


def _ids_of_json(text: str) -> int:
    """Count the ids of a ``tokenizer.json``, from 0 to the highest."""
    content = json.loads(text)
    ids = [entry["id"] for entry in content.get("added_tokens", [])]
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return 1 + max(map(int, [*ids, *vocabulary.values()]), default=-1)
    return max([len(vocabulary), *(int(number) + 1 for number in ids)])  # a list of pairs


def _ids_of_text(text: str) -> int:
    """Count the ids of a ``vocab.txt``, one token a line."""
    return len(text.splitlines())


def _weights_file(folder: Path) -> Path:
    """Return the file of weights in a folder."""
    for name in CANDIDATES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{folder} holds several files of weights: {', '.join(p.name for p in found)}; keep "
            f"one, or name the right one {WEIGHTS}, pytorch_model.bin or weights.ckpt."
        )
    raise DataError(
        f"{folder} holds no weights; allowed: {', '.join(CANDIDATES)}. Found: {_listing(folder)}."
    )


def _listing(folder: Path) -> str:
    """Name the first files of a folder."""
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def _read_parts(index: Path) -> dict[str, Tensor]:
    """Read weights that are spread over several files."""
    parts = _parts_of(index)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(parts.values())):
        tensors |= _read_file(index.parent / name)
    absent = sorted(parts.keys() - tensors.keys())
    if absent:
        raise DataError(f"{index} promises tensors that no file holds: {', '.join(absent)}.")
    return tensors


def _parts_of(index: Path) -> dict[str, str]:
    """Return the file of each tensor that an index names."""
    try:
        parts = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        outside = [name for name in parts.values() if Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is no index of weights: {error!r}.") from error
    if outside:
        raise DataError(f"{index} names a file outside of its folder: {outside[0]}.")
    return parts


def _read_file(path: Path) -> dict[str, Tensor]:
    """Read one file of weights of any format."""
    if not path.is_file():
        raise DataError(f"{path} is missing; fetch it from where the checkpoint came from.")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        content = _unpickled(path)
    except Exception as error:  # whatever a damaged pickle makes of itself
        raise DataError(
            f"cannot read the weights in {path}: {error}. Fetch the file again; it may be cut off."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # a training checkpoint
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds {type(content).__name__}, not a state dict.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _unpickled(path: Path) -> Any:
    """Read a pickled file: as torch reads weights, else (a training checkpoint) its tensors."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_TENSORS_ONLY)


class _StandIn:
    """Takes the place of any object of a pickled file that is no tensor; it does nothing."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __call__(self, *arguments: Any, **named: Any) -> "_StandIn":
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...


_HARMLESS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows the few names that tensors are made of, and puts a stand-in for all others."""

    def find_class(self, module: str, name: str) -> Any:
        known = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if known or (module, name) in _HARMLESS:
            return super().find_class(module, name)
        return _StandIn


def _load(file: Any, **settings: Any) -> Any:
    """Read one pickled object, as ``pickle.load`` does."""
    return _TensorUnpickler(file, **settings).load()


_TENSORS_ONLY = SimpleNamespace(Unpickler=_TensorUnpickler, load=_load, __name__="pickle")
