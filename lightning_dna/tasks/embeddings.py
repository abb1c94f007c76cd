"""Embeddings of labelled sequences, computed once and kept beside the arm that they belong to.

Probes of one arm differ in their labels, their grid and their examples far more often than in the
model, and running the model is what costs. A file is named by a hash of everything that decides its
numbers: the weights, the token ids of the sequences, the pooling and the layer. Nothing in it can
therefore be out of date; what is not asked for any more is removed when the folder is full.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lightning_dna import atomic, settings
from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed

Embeddings = npt.NDArray[np.float32]

MAX_BYTES = 2 * 1024**3
_VERSION = 1  # raised when the same weights and sequences would give other numbers


@dataclass(frozen=True, kw_only=True)
class EmbeddingCache:
    """A folder of embeddings.

    Attributes:
        folder: Where they lie; made when first needed.
        max_bytes: Most bytes of the folder. The files read longest ago are removed first; one that
            alone is larger is not kept.
    """

    folder: Path
    max_bytes: int = MAX_BYTES

    def read(self, key: str, rows: int) -> Embeddings | None:
        """Return the embeddings of a key, or ``None`` where there are none that can be used."""
        path = self.folder / f"{key}.npy"
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if found.dtype != np.float32 or found.ndim != 2 or len(found) != rows:
            return None
        path.touch()
        return np.asarray(found, dtype=np.float32)

    def write(self, key: str, embeddings: Embeddings) -> None:
        """Keep embeddings, whole or not at all, and remove old ones where there is no room."""
        if embeddings.nbytes > self.max_bytes:
            return
        with atomic.replacing(self.folder / f"{key}.npy") as temporary, temporary.open("wb") as out:
            np.save(out, embeddings, allow_pickle=False)
        files = []
        for path in self.folder.glob("*.npy"):
            if not atomic.is_partial(path):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def embeddings_of(
    model: LanguageModel,
    codes: Sequence[Codes],
    config: FineTuneConfig,
    *,
    device: str = "cpu",
    encoding: Encoding = CHARACTERS,
    cache: EmbeddingCache | None = None,
) -> Embeddings:
    """Return one vector for each sequence, from the cache where it is there.

    Args:
        model: The model; it is not modified.
        codes: Base codes of the sequences, batched by length whatever their order.
        config: Pooling and layer.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.
        cache: Where they are kept; ``None``: nowhere.

    Returns:
        Shape ``(n, width)``, in the order given.

    Raises:
        DataError: If there is no sequence, or one is longer than the model allows.
    """

    def compute() -> Embeddings:
        return embed(
            model,
            codes,
            device=device,
            encoding=encoding,
            pooling=config.pooling,
            layer=config.layer,
            too_long=config.too_long,
        )

    if cache is None:
        return compute()
    key = _key(model, codes, config, device, encoding)
    found = cache.read(key, len(codes))
    if found is None:
        found = compute()
        cache.write(key, found)
    return found


def _key(
    model: LanguageModel,
    codes: Sequence[Codes],
    config: FineTuneConfig,
    device: str,
    encoding: Encoding,
) -> str:
    """Hash what decides the embeddings; another kind of device rounds in another way."""
    digest = hashlib.blake2b(digest_size=16)
    how = {
        "version": _VERSION,
        "model": settings.plain(model.config),
        "pooling": [config.pooling, config.layer, config.too_long],
        "special": list(encoding.special_ids),
        "device": torch.device(device).type,
    }
    digest.update(settings.fingerprint(how).encode())
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(array.shape)} {array.dtype}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    for row in encoding.rows(codes):
        ids = np.ascontiguousarray(row, dtype=np.int64)
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(ids.tobytes())
    return digest.hexdigest()
