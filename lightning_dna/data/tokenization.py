"""Which tokens a model is trained on: the setting ``data.tokenizer`` and the vocabulary behind it.

======================  ==========================================================================
``character``           one token for each base, the default
``kmer-K``              K bases side by side by the rules of the Nucleotide Transformer, K of 2 to 8
``bpe-V``               byte pairs, a vocabulary of V tokens learned here from the training
                        chromosomes alone, forward strand, whole runs between Ns; kept in the cache
``bpe:FILE``            byte pairs of a ``tokenizer.json``
======================  ==========================================================================

Overlapping k-mers are not offered: a hidden token could be read off its neighbours. No torch here.
"""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightning_dna import settings
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import N
from lightning_dna.genome.fasta import Genome
from lightning_dna.tokenizers.base import Tokenizer
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.bpe_training import Goal, train_exact
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer, vocabulary

CHARACTER = "character"
_FILE = "bpe:"
_NAME = re.compile(r"(?:kmer-(?P<k>[2-8])|bpe-(?P<size>[1-9][0-9]{0,5}))")
_ROWS = 16  # tables of a model are padded to a multiple of this many rows
_FORMAT = 1  # raise it whenever training or the file changes: older vocabularies are made again
_SAMPLE = 100_000  # bases from which the number of tokens per base is counted


def check_tokenizer(name: str) -> None:
    """Refuse a text that names no tokenizer; files are not opened.

    Raises:
        ConfigError: If it is none of the four forms, or a vocabulary has an impossible size.
    """
    if name == CHARACTER or (name.startswith(_FILE) and len(name) > len(_FILE)):
        return
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(
            f"data.tokenizer is '{name}'; allowed: character, kmer-K with K from 2 to 8, bpe-V with"
            " a vocabulary of V tokens, or bpe:FILE with a tokenizer.json."
        )
    if found["size"]:
        try:
            Goal(vocab_size=int(found["size"]))
        except ConfigError as error:
            raise ConfigError(f"data.tokenizer '{name}': {error}") from error


def check_mask_unit(unit: str, name: str) -> None:
    """Refuse a unit of masking that a tokenizer does not have.

    Raises:
        ConfigError: If there is no such unit, or single bases of k-mers are to be hidden.
    """
    if unit not in ("token", "base"):
        raise unknown_name("value", unit, ("token", "base"), where="data.mask_unit")
    if unit == "base" and not name.startswith("bpe"):
        raise ConfigError(
            f"data.mask_unit is 'base' and data.tokenizer '{name}': single bases can be set apart"
            " from byte pairs only. A token of one base is a base already; to hide as many k-mers"
            " as single hidden bases touch, raise data.mask_fraction."
        )


def file_of(name: str) -> str | None:
    """Return the file that a tokenizer is read from; ``None`` where it is none."""
    return name.removeprefix(_FILE) if name.startswith(_FILE) else None


def in_file(path: str) -> str:
    """Return the name of the tokenizer in a file."""
    return _FILE + path


def vocabulary_rows(name: str) -> int:
    """Return how many tokens a tokenizer has, without a genome.

    Raises:
        ConfigError: If the name is no tokenizer's.
        DataError: If its file cannot be used.

    Example:
        >>> [vocabulary_rows(name) for name in ("character", "kmer-6", "bpe-4096")]
        [12, 4107, 4096]
    """
    check_tokenizer(name)
    if name == CHARACTER:
        return CharacterTokenizer.vocab_size
    path = file_of(name)
    if path is not None:
        return _read(path).vocab_size
    found = _NAME.fullmatch(name)
    if found is not None and found["k"]:
        return len(vocabulary(int(found["k"])))
    return int(name.removeprefix("bpe-"))


def check_special_tokens(name: str, *, masked: bool) -> None:
    """Refuse a file whose vocabulary lacks a token that training needs, before anything is trained.

    Args:
        name: The setting ``data.tokenizer``; those that are made here have every token.
        masked: Whether tokens are to be hidden.

    Raises:
        DataError: If there is no padding token, or no mask token where one is needed.
    """
    path = file_of(name)
    if path is not None:
        tokenizer = _read(path)
        _ = (tokenizer.pad_id, tokenizer.mask_id) if masked else (tokenizer.pad_id,)


def table_rows(name: str) -> int:
    """Return the rows of a model's table for a tokenizer: its tokens, padded to a multiple of 16.

    Example:
        >>> table_rows("character"), table_rows("kmer-6")
        (16, 4112)
    """
    return -(-vocabulary_rows(name) // _ROWS) * _ROWS


def open_tokenizer(
    name: str,
    genome: Genome,
    chroms: Sequence[str],
    *,
    cache_folder: str | Path | None = None,
) -> Tokenizer:
    """Return the tokenizer of a training, learning its vocabulary where that is asked for.

    Args:
        name: The setting ``data.tokenizer``.
        genome: The genome.
        chroms: Its training chromosomes: nothing else is looked at.
        cache_folder: Where learned vocabularies are kept. Default: ``$XDG_CACHE_HOME`` or
            ``~/.cache``, then ``lightning_dna/tokenizers``.

    Raises:
        ConfigError: If the name is no tokenizer's.
        DataError: If a file cannot be used, or the chromosomes do not support the vocabulary.
    """
    check_tokenizer(name)
    path = file_of(name)
    if name == CHARACTER:
        return CharacterTokenizer()
    if path is not None:
        return _read(path)
    found = _NAME.fullmatch(name)
    if found is not None and found["k"]:
        return KmerTokenizer(int(found["k"]))
    return _learned(name, genome, chroms, cache_folder)


def tokens_per_base(
    tokenizer: Tokenizer, genome: Genome, chrom: str, *, apart: float = 0.0
) -> float:
    """Count tokens per base in the middle 100 kb of a chromosome.

    Args:
        tokenizer: The tokenizer.
        genome: The genome.
        chrom: The chromosome.
        apart: Share of the bases that are tokens of their own, as with ``mask_unit: base``.
    """
    length = genome.lengths[chrom]
    first = max(0, (length - _SAMPLE) // 2)
    codes = genome.codes(chrom, first, min(length, first + _SAMPLE))
    if apart:
        codes = np.where(np.random.default_rng(0).random(len(codes)) < apart, np.uint8(N), codes)
    return len(tokenizer.encode_codes(codes)) / len(codes)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer where :func:`lightning_dna.tokenizers.loading.load_tokenizer` finds it.

    Nothing is written for single bases, which need no file.
    """
    from lightning_dna import atomic

    if isinstance(tokenizer, BPETokenizer):
        tokenizer.save(folder / "tokenizer.json")
    elif isinstance(tokenizer, KmerTokenizer):
        atomic.write_text(folder / "vocab.txt", "\n".join(tokenizer.tokens) + "\n")


def _read(path: str) -> BPETokenizer:
    """Read a file once for each of its states."""
    place = Path(path).expanduser()
    try:
        stat = place.stat()
    except OSError as error:
        raise DataError(f"data.tokenizer: cannot read {path}: {error}; check the path.") from error
    return _read_state(place, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read_state(path: Path, size: int, changed: int) -> BPETokenizer:
    """Read a file."""
    return BPETokenizer.from_file(path)


def _learned(
    name: str, genome: Genome, chroms: Sequence[str], cache_folder: str | Path | None
) -> BPETokenizer:
    """Learn a byte-pair vocabulary from some chromosomes, once."""
    size = int(name.removeprefix("bpe-"))
    if cache_folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache_folder = Path(base) / "lightning_dna" / "tokenizers"
    content = {
        "format": _FORMAT,
        "sequences": [genome.digests[chrom] for chrom in chroms],
        "vocab_size": size,
    }
    path = Path(cache_folder) / f"{name}-{settings.fingerprint(content)}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        trained = train_exact(
            (genome.stored(chrom) for chrom in chroms), Goal(vocab_size=size, min_frequency=2)
        )
        if len(trained.merges) < trained.goal.merges:
            most = size - trained.goal.merges + len(trained.merges)
            raise DataError(
                f"data.tokenizer is '{name}', but the {len(chroms)} training chromosome(s) support"
                f" {most} tokens: no other pair stands twice; use bpe-{most} or fewer."
            )
        trained.tokenizer().save(path)
    return _read(str(path))
