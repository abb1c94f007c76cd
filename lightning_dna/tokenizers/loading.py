"""The tokenizer of a published checkpoint, from its folder."""

import json
from pathlib import Path
from typing import Any

from lightning_dna.errors import DataError
from lightning_dna.tokenizers.base import Tokenizer
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer, vocabulary

_NUCLEOTIDE_TRANSFORMER = len(vocabulary(6))
_OURS = "lightning_dna"  # the format of checkpoints that save_pretrained writes
_CHARACTER_ROWS = 16


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that belongs to a checkpoint.

    Looks, in this order, for ``tokenizer.json`` (byte-pair encoding, DNABERT-2), ``vocab.txt``
    (k-mers, Nucleotide Transformer and DNABERT), and ``config.json``: HyenaDNA and our own
    checkpoints of at most 16 rows read characters, and an ``esm`` model of 4,107 rows the 6-mers
    of the Nucleotide Transformer.

    Args:
        folder: The folder of the checkpoint, or its tokenizer file.

    Raises:
        DataError: If the folder is missing, or nothing in it says which tokenizer it needs.

    Example:
        >>> import tempfile
        >>> config = '{"model_type": "esm", "vocab_size": 4107}'
        >>> with tempfile.TemporaryDirectory() as name:
        ...     _ = Path(name, "config.json").write_text(config)
        ...     load_tokenizer(name).vocab_size
        4107
    """
    place = Path(folder)
    if place.is_file():
        return _from_vocabulary(place) if place.suffix == ".txt" else BPETokenizer.from_file(place)
    if not place.is_dir():
        raise DataError(f"no folder {place}; expected that of a checkpoint with its tokenizer.")
    if (place / "tokenizer.json").is_file():
        return BPETokenizer.from_file(place / "tokenizer.json")
    if (place / "vocab.txt").is_file():
        return _from_vocabulary(place / "vocab.txt")
    return _from_config(place)


def _from_vocabulary(path: Path) -> KmerTokenizer:
    """Read a vocabulary of k-mers, one token a line, and the settings beside it."""
    try:
        tokens = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the vocabulary {path}: {error}.") from error
    lengths = {len(token) for token in tokens if token and set(token) <= set("ACGT")}
    if not lengths:
        raise DataError(
            f"{path}: {len(tokens)} tokens and none of them of A, C, G and T; expected k-mers, one"
            " token a line, or a tokenizer.json beside it for another kind of tokenizer."
        )
    # With single bases in the vocabulary tokens stand side by side; without, they overlap.
    overlapping = "N" not in tokens
    settings = path.parent / "tokenizer_config.json"
    ends = settings.is_file() and bool(_read(settings).get("eos_token"))
    try:
        return KmerTokenizer(
            max(lengths), overlapping=overlapping, tokens=tokens, closed=overlapping or ends
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _from_config(folder: Path) -> Tokenizer:
    """Tell the tokenizer from the settings of the model."""
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(
            f"{folder}: no tokenizer.json, vocab.txt or config.json; copy the tokenizer of the"
            " checkpoint there."
        )
    config = _read(path)
    if config.get("format") == _OURS:
        origin, model = config.get("origin") or {}, config.get("model") or {}
        if not origin and model.get("vocab_size", 0) <= _CHARACTER_ROWS:
            return CharacterTokenizer()
        config = origin.get("config") or model
    rows = config.get("vocab_size")
    # HyenaDNA's own configurations name no model; these two settings no other family has.
    described = isinstance(config.get("layer"), dict) or "attn_layer_idx" in config
    if (described and "d_model" in config) or config.get("model_type") == "hyenadna":
        return CharacterTokenizer()
    if config.get("model_type") == "esm" and rows == _NUCLEOTIDE_TRANSFORMER:
        return KmerTokenizer(6)
    raise DataError(
        f"{path}: a {config.get('model_type', 'model without model_type')} of {rows} rows does not"
        " say which tokenizer it needs; copy its tokenizer.json or vocab.txt into the folder"
        f" (known without: HyenaDNA, and esm of {_NUCLEOTIDE_TRANSFORMER:,} rows)."
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}, not a mapping.")
    return content
