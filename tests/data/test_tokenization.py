"""The setting ``data.tokenizer``: its forms, sizes, learned vocabularies and messages."""

import json

import numpy as np
import pytest

from lightning_dna.data.config import DataConfig
from lightning_dna.data.tokenization import (
    check_special_tokens,
    open_tokenizer,
    save_tokenizer,
    table_rows,
    tokens_per_base,
    vocabulary_rows,
)
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.bpe_training import Goal, train_exact
from lightning_dna.tokenizers.loading import load_tokenizer
from lightning_dna.training.config import RunConfig, deciding_settings


@pytest.fixture(scope="module")
def genome():
    """Three chromosomes; the third is of other words than the first two."""
    generator = np.random.default_rng(3)
    letters = {name: "".join(generator.choice([*"ACGT"], 4000)) for name in ("a", "b")}
    return Genome.from_sequences({**letters, "c": "AAAAAAAACC" * 300})


@pytest.mark.parametrize(
    ("name", "rows", "table"),
    [
        ("character", 12, 16),
        ("kmer-3", 64 + 6 + 5, 80),  # special tokens; A, T, C, G, N
        ("kmer-6", 4107, 4112),  # the published size
        ("bpe-512", 512, 512),
    ],
)
def test_sizes(name, rows, table):
    assert vocabulary_rows(name) == rows
    assert table_rows(name) == table


def test_k_mers_and_characters_open_as_they_are(genome):
    assert open_tokenizer("kmer-3", genome, ["a"]).vocab_size == 75
    assert open_tokenizer("character", genome, ["a"]).vocab_size == 12


def test_a_vocabulary_is_learned_from_the_training_chromosomes_alone(genome, tmp_path):
    found = open_tokenizer("bpe-40", genome, ["a", "b"], cache_folder=tmp_path)
    codes = [genome.codes(name) for name in ("a", "b")]
    assert found.tokens == train_exact(codes, Goal(vocab_size=40)).tokenizer().tokens
    other = open_tokenizer("bpe-40", genome, ["a", "c"], cache_folder=tmp_path)
    assert other.tokens != found.tokens
    assert len([*tmp_path.iterdir()]) == 2


def test_a_learned_vocabulary_is_kept(genome, tmp_path, monkeypatch):
    first = open_tokenizer("bpe-40", genome, ["a"], cache_folder=tmp_path)
    monkeypatch.setattr("lightning_dna.data.tokenization.train_exact", None)
    assert open_tokenizer("bpe-40", genome, ["a"], cache_folder=tmp_path).tokens == first.tokens


def test_a_vocabulary_larger_than_the_corpus_supports(genome, tmp_path):
    with pytest.raises(DataError, match=r"bpe-4096.*1 training chromosome\(s\) support \d+ tokens"):
        open_tokenizer("bpe-4096", genome, ["c"], cache_folder=tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chars", "data.tokenizer is 'chars'; allowed: character, kmer-K"),
        ("kmer-9", "kmer-K with K from 2 to 8"),
        ("kmer-1", "kmer-K with K from 2 to 8"),
        ("bpe:", "or bpe:FILE"),
        ("bpe-8", r"data.tokenizer 'bpe-8': a vocabulary of 8 tokens; allowed: 9"),
        ("bpe-99999", "a vocabulary of 99999 tokens; allowed: 9"),
    ],
)
def test_what_names_no_tokenizer(name, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(tokenizer=name)


def test_a_file_that_is_missing(genome, tmp_path):
    with pytest.raises(DataError, match=r"data.tokenizer: cannot read .*none.json"):
        open_tokenizer(f"bpe:{tmp_path / 'none.json'}", genome, ["a"])


def test_saved_beside_a_checkpoint(genome, tmp_path):
    kmer = open_tokenizer("kmer-4", genome, ["a"])
    save_tokenizer(kmer, tmp_path)
    assert load_tokenizer(tmp_path).tokens == kmer.tokens
    bpe = BPETokenizer.from_merges([("A", "C")])
    save_tokenizer(bpe, tmp_path)
    assert load_tokenizer(tmp_path).tokens == bpe.tokens


def test_tokens_per_base(genome):
    assert tokens_per_base(open_tokenizer("kmer-4", genome, ["a"]), genome, "a") == 0.25


def test_bases_that_stand_apart_are_tokens_of_their_own(genome, tmp_path):
    found = open_tokenizer("bpe-40", genome, ["a"], cache_folder=tmp_path)
    rates = [tokens_per_base(found, genome, "a", apart=share) for share in (0.0, 0.15, 1.0)]
    assert rates[0] + 0.05 < rates[1] < rates[2] == 1


def test_the_model_must_have_a_row_for_every_token():
    from lightning_dna.models.config import ModelConfig

    data = DataConfig(tokenizer="kmer-6")
    message = (
        r"model.vocab_size is 16, but the tokens of data.tokenizer 'kmer-6' have ids up to 4106"
    )
    with pytest.raises(ConfigError, match=message):
        RunConfig(data=data, model=ModelConfig())
    small = DataConfig(tokenizer="bpe-12")  # fits into the table of the single bases
    with pytest.raises(ConfigError, match=r"strand 'averaged' complements single bases, and data"):
        RunConfig(data=small, model=ModelConfig(strand="averaged"))


def test_what_decides_a_run(tmp_path):
    """Single bases are no news; of a file its content counts, not its place."""
    from lightning_dna.models.config import ModelConfig

    def content(name):
        run = RunConfig(data=DataConfig(tokenizer=name), model=ModelConfig(vocab_size=64))
        return deciding_settings(run)

    assert "tokenizer" not in content("character")["data"]
    assert content("bpe-32")["data"]["tokenizer"] == "bpe-32"
    found = []
    for folder, merges in (("one", [("A", "C")]), ("two", [("A", "C")]), ("three", [("A", "G")])):
        path = tmp_path / folder / "tokenizer.json"
        path.parent.mkdir()
        BPETokenizer.from_merges(merges).save(path)
        found.append(json.dumps(content(f"bpe:{path}"), sort_keys=True))
    assert found[0] == found[1] != found[2]
    assert "tokenizer.json" not in found[0]


def test_a_tokenizer_file_without_a_mask_token(genome, tmp_path):
    from lightning_dna.data.token_rows import TokenRows

    path = tmp_path / "tokenizer.json"
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]")
    BPETokenizer.from_merges([("A", "C")], special=special).save(path)
    tokenizer = open_tokenizer(f"bpe:{path}", genome, ["a"])
    with pytest.raises(DataError, match="mask"):
        TokenRows(tokenizer, objective="masked", seed=0, fraction=0.15)
    with pytest.raises(DataError, match="mask"):  # and before anything is trained
        check_special_tokens(f"bpe:{path}", masked=True)
    check_special_tokens(f"bpe:{path}", masked=False)
    assert len(tokenizer.encode_codes(encode("ACGT"))) == 3
