"""Byte-pair training against the library ``tokenizers``, merge by merge."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers import (
    backend,
    bpe_compiled,
    bpe_exact,
    bpe_exact_compiled,
    bpe_rounds,
    bpe_rounds_compiled,
    bpe_training,
)
from lightning_dna.tokenizers.bpe_training import (
    Goal,
    train_by_vote,
    train_exact,
    train_iteratively,
    train_on_sample,
    train_streamed,
)

BACKENDS = ("numba", "python")


def library(sequences: list[str], goal: Goal) -> list[tuple[str, str]]:
    """The merges of the library on the runs between Ns."""
    reference = Tokenizer(BPE())
    trainer = BpeTrainer(
        vocab_size=goal.vocab_size,
        min_frequency=goal.min_frequency,
        special_tokens=list(goal.special),
        initial_alphabet=[*"ACGT"],
        show_progress=False,
    )
    words = [word for text in sequences for word in text.upper().split("N") if word]
    reference.train_from_iterator(words, trainer)
    return [tuple(pair) for pair in json.loads(reference.to_str())["model"]["merges"]]


def repetitive(length: int, seed: int) -> str:
    """DNA with tandem repeats, runs of one base, Ns and copies, where ties and overlaps abound."""
    rng = np.random.default_rng(seed)
    parts = ["".join(rng.choice([*"ACGT"], 60)) for _ in range(8)] + ["A" * 37, "TG" * 25, "NNNN"]
    text = ""
    while len(text) < length:
        text += parts[rng.integers(len(parts))] + "".join(rng.choice([*"ACGTn"], 9))
    return text


CORPUS = [repetitive(6000, seed) for seed in range(4)]


def corpus_of(sequences):
    return lambda: map(encode, sequences)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("size", "least"), [(9, 2), (10, 2), (60, 2), (700, 2), (5000, 2), (400, 25)]
)
def test_exact_and_streamed_are_the_library(backend, size, least):
    goal = Goal(vocab_size=size, min_frequency=least)
    expected = library(CORPUS, goal)
    exact = train_exact([encode(text) for text in CORPUS], goal, backend=backend)
    assert list(exact.merges) == expected
    assert all(count >= least for count in exact.counts)
    assert list(exact.counts) == sorted(exact.counts, reverse=True)
    if size < 5000:
        assert train_streamed(corpus_of(CORPUS), goal, backend=backend) == exact


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=60)
@given(
    sequences=st.lists(st.text("ACGTN", max_size=60) | st.text("AC", max_size=60), max_size=6),
    size=st.integers(9, 60),
    least=st.integers(1, 3),
)
def test_any_small_corpus(backend, sequences, size, least):
    goal = Goal(vocab_size=size, min_frequency=least)
    expected = library(sequences, goal)
    if not expected and size > 9:
        with pytest.raises(DataError, match=f"no pair of bases stands {least} times"):
            train_exact([encode(text) for text in sequences], goal, backend=backend)
        return
    found = train_exact([encode(text) for text in sequences], goal, backend=backend)
    assert list(found.merges) == expected
    streamed = train_streamed(corpus_of(sequences), goal, backend=backend)
    assert streamed.merges == found.merges


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("most", "covered"), [(1, 0.0), (3, 0.9), (4096, 1.0)])
def test_any_number_of_candidates_gives_the_same(backend, most, covered, monkeypatch):
    monkeypatch.setattr(bpe_rounds, "_MOST", most)
    monkeypatch.setattr(bpe_rounds, "_COVERED", covered)
    goal = Goal(vocab_size=60)
    found = train_streamed(corpus_of(CORPUS), goal, backend=backend)
    assert list(found.merges) == library(CORPUS, goal)


@pytest.mark.parametrize("few", [4, 5, 9])
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sequences=st.lists(st.text("ACGTN", max_size=60) | st.text("AC", max_size=60), max_size=6),
    size=st.integers(9, 60),
    least=st.integers(1, 3),
)
def test_lists_of_places_give_the_same(few, sequences, size, least, monkeypatch):
    """In corpora too small to get beyond the square table by themselves."""
    monkeypatch.setattr(bpe_exact, "_SQUARE", few)
    goal = Goal(vocab_size=size, min_frequency=least)
    expected = library(sequences, goal)
    if expected:
        found = train_exact([encode(text) for text in sequences], goal, backend="numba")
        assert list(found.merges) == expected


@pytest.mark.parametrize("few", [4, 20, 250])
def test_where_lists_begin_does_not_matter(few, monkeypatch):
    monkeypatch.setattr(bpe_exact, "_SQUARE", few)
    goal = Goal(vocab_size=1500)
    found = train_exact([encode(text) for text in CORPUS], goal, backend="numba")
    streamed = train_streamed(corpus_of(CORPUS), goal, backend="numba")
    assert found == streamed  # counts too, which the library does not tell
    assert list(found.merges) == library(CORPUS, goal)


def test_a_corpus_too_large_for_lists(monkeypatch):
    monkeypatch.setattr(bpe_training, "_MOST_IN_LISTS", 100)
    goal = Goal(vocab_size=60)
    found = train_exact([encode(text) for text in CORPUS], goal, backend="numba")
    assert list(found.merges) == library(CORPUS, goal)


def test_one_split_is_exact_and_order_matters():
    goal = Goal(vocab_size=300)
    exact = train_exact([encode(text) for text in CORPUS], goal)
    assert train_iteratively([corpus_of(CORPUS)], goal).merges == exact.merges
    splits = [corpus_of([text]) for text in CORPUS]
    forward, backward = train_iteratively(splits, goal), train_iteratively(splits[::-1], goal)
    assert len(forward.merges) == len(backward.merges) == len(exact.merges)
    assert forward.merges != backward.merges
    # The first split alone decides the first merges; the others start from there.
    share = goal.merges // 4
    alone = train_exact([encode(CORPUS[0])], Goal(vocab_size=9 + share))
    assert forward.merges[:share] == alone.merges


def test_votes_by_hand():
    # AC 4 + 3 votes, GT 3, ACG 3; the order of the splits does not matter.
    splits = [corpus_of(["ACTACTACTAC"]), corpus_of(["ACGNACGNACG"]), corpus_of(["GTNGTNGT"])]
    goal = Goal(vocab_size=12)
    found = train_by_vote(splits, goal)
    assert found.merges[0] == ("A", "C")
    assert found.counts[0] == 7
    assert set(found.merges[1:]) == {("G", "T"), ("AC", "G")} or ("AC", "T") in found.merges
    assert train_by_vote(splits[::-1], goal).merges == found.merges
    assert train_by_vote(splits[:1], goal).merges == train_exact(splits[0](), goal).merges


def test_every_vote_has_its_parts():
    splits = [corpus_of([text]) for text in CORPUS]
    found = train_by_vote(splits, Goal(vocab_size=400))
    known = set("ACGT")
    for left, right in found.merges:
        assert {left, right} <= known
        known.add(left + right)
    assert found.tokenizer().vocab_size == 400


def test_sample():
    goal = Goal(vocab_size=100)
    everything = train_on_sample(corpus_of(CORPUS), goal, bases=10**9, seed=1, length=10**6)
    assert everything == train_exact([encode(text) for text in CORPUS], goal)
    some = train_on_sample(corpus_of(CORPUS), goal, bases=3000, seed=1, length=500)
    assert some == train_on_sample(corpus_of(CORPUS), goal, bases=3000, seed=1, length=500)
    assert (
        some.merges
        != train_on_sample(corpus_of(CORPUS), goal, bases=3000, seed=2, length=500).merges
    )
    with pytest.raises(ConfigError, match=r"bases = 10 in windows of 500"):
        train_on_sample(corpus_of(CORPUS), goal, bases=10, seed=1, length=500)


def test_tokenizer_of_a_trained_vocabulary(tmp_path):
    trained = train_exact([encode(text) for text in CORPUS], Goal(vocab_size=200))
    trained.tokenizer().save(tmp_path / "tokenizer.json")
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert reference.get_vocab_size() == 200
    text = CORPUS[1].upper()
    ids = reference.encode(text, add_special_tokens=False).ids
    assert trained.tokenizer().encode(text).tolist() == ids


@pytest.mark.parametrize("size", [8, 0, 65535])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ConfigError, match=f"a vocabulary of {size} tokens; allowed: 9 .* to 65534"):
        Goal(vocab_size=size)


def test_goals_that_cannot_be():
    with pytest.raises(ConfigError, match="min_frequency = 0"):
        Goal(min_frequency=0)
    for train in (train_iteratively, train_by_vote):
        with pytest.raises(DataError, match="no splits"):
            train([], Goal())
    with pytest.raises(DataError, match="no pair of bases"):
        train_exact([encode("NNNN")], Goal())


@pytest.mark.data
def test_real_dna(data_folder):
    name = "hg38.chr9_1_1000000.dna_sm.fa.gz"
    with gzip.open(data_folder / "human-windows" / name, "rt") as file:
        text = "".join(line.strip() for line in file if not line.startswith(">"))[:300_000]
    windows = [text[at : at + 3000] for at in range(0, len(text), 3000)]
    goal = Goal(vocab_size=1000)
    expected = library(windows, goal)  # whose time grows with the square of the longest
    assert list(train_exact(map(encode, windows), goal).merges) == expected
    assert list(train_streamed(corpus_of(windows), goal).merges) == expected


def test_warm_up_compiles_all_there_is():
    backend.warm_up()
    called = ("count_buckets", "count_pairs", "settled", "collect", "merge", "rewrite")
    kernels = [bpe_compiled.encode, bpe_compiled.borders, bpe_compiled.stays]
    kernels += [getattr(bpe_rounds_compiled, name) for name in called]
    called = ("count_square", "merge_square", "merge_lists")
    kernels += [getattr(bpe_exact_compiled, name) for name in called]
    assert all(kernel.signatures for kernel in kernels)
