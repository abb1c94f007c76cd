"""Long sequences, real ones, in blocks and without numba: always the ids of the library."""

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers import backend, bpe_encoder
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.bpe_tables import border_rows, build_tables

from .conftest import BACKENDS, MERGES, dna, ids_of, library, vocabularies


def streamed(tokenizer: BPETokenizer, parts: list[np.ndarray], block_length: int):
    """All tokens of a stream: ids, offsets, and how many came at a time."""
    blocks = list(tokenizer.encode_stream(parts, block_length=block_length))
    ids = [i for block, _ in blocks for i in block.tolist()]
    offsets = [span for _, block in blocks for span in block.tolist()]
    return ids, offsets, [len(block) for block, _ in blocks]


@settings(deadline=None)
@given(
    merges=vocabularies(),
    text=st.text("ACGTN", max_size=200) | st.text("A", max_size=200),
    length=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_blocks_of_any_length_give_the_whole(merges, text, length, cuts):
    tokenizer = BPETokenizer.from_merges(merges)
    parts = np.split(encode(text), sorted(cut for cut in cuts if cut <= len(text)))
    ids, offsets, _ = streamed(tokenizer, parts, length)
    assert ids == ids_of(library(tokenizer), text)
    assert offsets == tokenizer.offsets(encode(text)).tolist()


@pytest.mark.parametrize("backend_name", BACKENDS)
def test_a_block_holds_little_back(backend_name):
    tokenizer = BPETokenizer.from_merges(MERGES, backend=backend_name)
    text = dna(20_000, 1) + "TTACG" * 3000 + "A" * 5000
    ids, _, sizes = streamed(tokenizer, [encode(text)], 2000)
    assert ids == ids_of(library(tokenizer), text)
    assert len(sizes) == 21  # ten blocks of each kind, and the rest
    assert max(sizes) < 2000


def test_memory_of_a_stream_is_that_of_a_block():
    tokenizer = BPETokenizer.from_merges(MERGES)
    block = encode(dna(10_000, 2))
    sum(len(ids) for ids, _ in tokenizer.encode_stream([block], block_length=10_000))

    def peak(blocks: int) -> int:
        tracemalloc.start()
        total = sum(
            len(ids)
            for ids, _ in tokenizer.encode_stream(
                (block for _ in range(blocks)), block_length=10_000
            )
        )
        assert total > blocks * 1000
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40) < 1.2 * peak(4)


def test_blocks_must_have_a_length():
    with pytest.raises(ConfigError, match="block_length = 0"):
        list(BPETokenizer.from_merges(MERGES).encode_stream([], block_length=0))
    assert list(BPETokenizer.from_merges(MERGES).encode_stream([])) == []


def test_without_numba_the_slower_path_is_taken(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    backend.compiled_kernels.cache_clear()
    try:
        tokenizer = BPETokenizer.from_merges(MERGES)
        text = dna(3000, 7, "ACGTN")
        assert tokenizer.encode(text).tolist() == ids_of(library(tokenizer), text)
        assert isinstance(tokenizer.encoder, bpe_encoder.PlainEncoder)
        with pytest.raises(ConfigError, match=r"pip install 'lightning-dna\[fast\]'"):
            _ = BPETokenizer.from_merges(MERGES, backend="numba").encoder
    finally:
        monkeypatch.undo()
        backend.compiled_kernels.cache_clear()


@settings(deadline=None, max_examples=30)
@given(merges=vocabularies())
def test_borders_three_ways(merges):
    """A border stays exactly where the two tokens together are still these two tokens."""
    tokenizer = BPETokenizer.from_merges(merges)
    tokenizer.encode("A")
    encoder, plain = tokenizer.encoder, BPETokenizer.from_merges(merges, backend="python").encoder
    tables = build_tables(encoder._tables.merges)
    if not tables.n_symbols:
        return
    rows = border_rows(tables)
    bits = encoder._borders().view(np.uint8)
    assert (np.unpackbits(bits, axis=1, bitorder="little")[:, : len(rows)] == rows).all()
    reference, texts = library(tokenizer), tables.merges.texts
    letters = {symbol: letter for letter, symbol in tokenizer._alphabet.symbols.items()}
    words = ["".join(letters[symbol] for symbol in text) for text in texts]
    occurs = [len(ids_of(reference, word)) == 1 for word in words]
    for a in range(len(rows)):
        for b in range(len(rows)):
            assert encoder.stays(a, b) == plain.stays(a, b) == rows[a, b]
            if occurs[a] and occurs[b]:
                found = reference.encode(words[a] + words[b], add_special_tokens=False).tokens
                assert rows[a, b] == (found == [words[a], words[b]])


def test_a_vocabulary_too_large_for_a_table_of_borders(monkeypatch):
    monkeypatch.setattr(bpe_encoder, "MOST_BORDERS", 2)
    for name in BACKENDS:
        tokenizer = BPETokenizer.from_merges(MERGES, backend=name)
        text = dna(2000, 5)
        assert tokenizer.encode(text).tolist() == ids_of(library(tokenizer), text)


@pytest.fixture
def path(data_folder) -> Path:
    return data_folder / "dnabert2-tokenizer" / "tokenizer.json"


@pytest.fixture
def human(data_folder) -> str:
    """A megabase of chromosome 9 with its gap and its repeats in lower case."""
    name = "hg38.chr9_1_1000000.dna_sm.fa.gz"
    with gzip.open(data_folder / "human-windows" / name, "rt") as file:
        return "".join(line.strip() for line in file if not line.startswith(">"))


@pytest.mark.data
def test_a_megabase_with_gaps(path, human):
    """Upper case, N runs and all; ids, offsets and special tokens."""
    expected = Tokenizer.from_file(str(path)).encode(human.upper())
    tokenizer = BPETokenizer.from_file(path)
    assert human.startswith("nnnn")
    assert len(human) == 1_000_000
    ids, offsets = tokenizer.encode_with_offsets(encode(human))
    assert tokenizer.with_special(ids).tolist() == expected.ids
    assert offsets.tolist() == [list(span) for span in expected.offsets[1:-1]]
    assert tokenizer.encode(human.upper()).tolist() == ids.tolist()
    found, spans, sizes = streamed(tokenizer, [encode(human)], 100_000)
    assert (found, spans) == (ids.tolist(), offsets.tolist())
    assert len(sizes) == 11


@pytest.mark.data
def test_lower_case_is_unknown_to_the_published_file(path, human):
    reference, tokenizer = Tokenizer.from_file(str(path)), BPETokenizer.from_file(path)
    part = human[200_000:260_000]
    assert not part.isupper()
    assert tokenizer.encode(part).tolist() == ids_of(reference, part)


@pytest.mark.data
def test_without_numba(path, human):
    tokenizer = BPETokenizer.from_file(path, backend="python")
    part = human[:100_000].upper()
    assert tokenizer.encode(part).tolist() == ids_of(Tokenizer.from_file(str(path)), part)


@pytest.mark.data
def test_saved_again_it_is_the_same_file(path, tmp_path):
    BPETokenizer.from_file(path).save(tmp_path / "tokenizer.json")
    again = json.loads((tmp_path / "tokenizer.json").read_text())
    assert again == json.loads(path.read_text())
