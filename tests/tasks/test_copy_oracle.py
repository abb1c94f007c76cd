"""The copy oracle against explicit alignment of letters, planted copies, and real duplicates."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.baselines import copy_search
from lightning_dna.tasks.baselines.context_mixture import ContextMixture, score_context_mixture
from lightning_dna.tasks.baselines.copy_oracle import (
    Copies,
    CopyOracle,
    believe,
    odds_factors,
    score_copy_oracle,
)
from lightning_dna.tasks.baselines.copy_search import find_votes, seed_length
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.heldout_mlm import HeldoutMLM, WindowBases

SPLIT = ChromosomeSplit(train=("I", "II"), valid=(), test=("III",))
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def letters(length: int, seed: int, alphabet: str = "ACGT") -> str:
    return "".join(np.random.default_rng(seed).choice(list(alphabet), length))


def other_strand(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def mutated(text: str, share: float, seed: int) -> str:
    """Substitute some bases, each by another one."""
    rng = np.random.default_rng(seed)
    codes = np.array(["ACGT".index(base) for base in text])
    codes = (codes + (rng.random(len(codes)) < share) * rng.integers(1, 4, len(codes))) % 4
    return "".join("ACGT"[code] for code in codes)


def make_task(sequences, *, length=60, split=SPLIT, **changes) -> HeldoutMLM:
    base = {"name": "h", "kind": "heldout_mlm", "title": "T", "mask_fraction": 0.15}
    genome = sequences if isinstance(sequences, Genome) else Genome.from_sequences(sequences)
    return HeldoutMLM(TaskCard(**base | changes), genome, split, length)


def small_sequences() -> dict[str, str]:
    """Copies that differ here and there, on either strand, near ends and N, within and across."""
    shared = letters(150, 0)
    return {
        "I": mutated(shared, 0.05, 1) + letters(40, 2) + "NNN" + mutated(shared[:70], 0.1, 3),
        "II": letters(30, 4) + other_strand(mutated(shared, 0.08, 5)) + "AC" * 30,
        "III": letters(20, 6) + shared + "N" + other_strand(shared[40:]) + "AC" * 20,
    }


def slow_votes(texts, window, hidden, own):
    """Every alignment without gaps of a window, on both strands, that holds a visible seed."""
    size = len(window)
    k = seed_length(sum(map(len, texts.values())))
    if own is not None:
        chrom, start = own
        text = texts[chrom]
        texts = texts | {chrom: text[:start] + "N" * size + text[start + size :]}
    shown = "".join("?" if flag else base for base, flag in zip(window, hidden, strict=True))
    shown = shown.replace("N", "?")
    votes = {at: [0.0] * 4 for at in range(size) if hidden[at]}
    for strand in (1, -1):
        row = shown if strand == 1 else other_strand(shown)
        words = {at: row[at : at + k] for at in range(size - k + 1) if "?" not in row[at : at + k]}
        both = [text for one in texts.values() for text in (one, other_strand(one))]
        rare = {
            at: word
            for at, word in words.items()
            if 0
            < sum(text[j : j + k] == word for text in both for j in range(len(text)))
            <= copy_search.MAX_PLACES
        }
        for text in texts.values():
            for first in range(1 - size, len(text)):
                padded = "".join(
                    text[j] if 0 <= j < len(text) else "N" for j in range(first, first + size)
                )
                if not any(padded[at : at + k] == word for at, word in rare.items()):
                    continue
                for at in range(size):
                    if row[at] != "?" or padded[at] == "N":
                        continue
                    place = at if strand == 1 else size - 1 - at
                    if place not in votes:
                        continue  # an N of the window, not a hidden base
                    score = 0
                    for near in range(max(0, at - 32), min(size, at + 33)):
                        if row[near] != "?" and padded[near] != "N":
                            score += 1 if row[near] == padded[near] else -2
                    if score >= 8:
                        base = "ACGT".index(padded[at])
                        votes[place][base if strand == 1 else 3 - base] += 2.0**score
    return [votes[at] for at in sorted(votes)]


def slow_task_votes(task, batch):
    """Votes of every hidden base of a batch."""
    texts = {name: "".join("ACGTN"[c] for c in task.genome.codes(name)) for name in SPLIT.train}
    result = []
    for row, hidden in enumerate(batch.hidden):
        chrom = batch.windows.chroms[batch.windows.chrom_index[row]]
        own = (chrom, int(batch.windows.starts[row])) if chrom in SPLIT.train else None
        window = "".join("ACGTN"[code] for code in batch.codes[row])
        result += slow_votes(texts, window, hidden, own)
    return np.array(result)


@pytest.mark.parametrize("most", [200, 1])
@pytest.mark.parametrize("length", [60, 90])
def test_votes_against_explicit_alignment(monkeypatch, length, most):
    monkeypatch.setattr(copy_search, "MAX_PLACES", most)
    task = make_task(small_sequences(), length=length)
    voted = {}
    for part in task.parts:
        for batch in task.batches(part):
            found = find_votes(task.genome, SPLIT.train, batch)
            np.testing.assert_allclose(found, slow_task_votes(task, batch), rtol=1e-12)
            voted[part] = voted.get(part, 0) + int(found.any(axis=1).sum())
    assert min(voted.values()) > 10


def test_blocks_change_nothing(monkeypatch):
    task = make_task(small_sequences())
    batch = next(task.batches("test"))
    whole = find_votes(task.genome, SPLIT.train, batch)
    for name, value in (("_BLOCK", 11), ("_PAIRS", 3), ("_CELLS", 100)):
        monkeypatch.setattr(copy_search, name, value)
    np.testing.assert_allclose(find_votes(task.genome, SPLIT.train, batch), whole, rtol=1e-12)


def test_hidden_bases_are_never_looked_at():
    task = make_task(small_sequences())
    oracle = CopyOracle(task)
    for part in task.parts:
        for batch in task.batches(part):
            codes = batch.codes.copy()
            codes[batch.hidden] = (codes[batch.hidden] + 1) % 4
            changed = WindowBases(
                windows=batch.windows, codes=codes, repeat=batch.repeat, hidden=batch.hidden
            )
            np.testing.assert_array_equal(oracle(batch), oracle(changed))


def test_test_chromosomes_are_never_looked_at():
    sequences = small_sequences()
    batch = next(make_task(sequences).batches("test"))
    other = make_task(sequences | {"III": letters(len(sequences["III"]), 99)})
    np.testing.assert_array_equal(CopyOracle(make_task(sequences))(batch), CopyOracle(other)(batch))


def shares(task, scores=score_copy_oracle):
    sums = scores(task).frame.groupby("part")[["masked", "correct", "nats"]].sum()
    bits = sums["nats"] / sums["masked"] / np.log(2)
    return (sums["correct"] / sums["masked"]).to_dict(), bits.to_dict()


@pytest.mark.parametrize("strand", [1, -1])
@pytest.mark.parametrize("divergence", [0.0, 0.1])
def test_planted_copies_are_quoted(strand, divergence):
    """Of the two halves of I, one stands in II and one in III; a training window has one copy."""
    halves = letters(10_000, 1), letters(10_000, 2)
    turn = (lambda text: text) if strand == 1 else other_strand
    sequences = {
        "I": "".join(halves),
        "II": turn(mutated(halves[0], divergence, 3)),
        "III": turn(mutated(halves[1], divergence, 4)),
    }
    task = make_task(sequences, length=200)
    found = score_copy_oracle(task).frame
    start = found["example_id"].str.extract(r":(\d+)-")[0].astype(int)
    planted = (found["chrom"] != "I") | (start < 10_000)
    for rows, expected in ((planted, 1 - divergence), (~planted, 0.25)):
        sums = found[rows][["correct", "masked"]].sum()
        assert sums["correct"] / sums["masked"] == pytest.approx(expected, abs=0.04)
    # Believed as far as it is right.
    batch = next(task.batches("test", bases=1 << 20))
    believed = np.exp(CopyOracle(task)(batch).max(axis=1)).mean()
    assert believed == pytest.approx(1 - divergence, abs=0.03)


def test_unique_sequence_is_at_chance():
    sequences = {"I": letters(20_000, 1), "II": letters(5_000, 2), "III": letters(20_000, 3)}
    accuracy, bits = shares(make_task(sequences, length=200))
    for part in ("train", "test"):
        assert accuracy[part] == pytest.approx(0.25, abs=0.03)  # 3,000 bases: 4 standard errors
        assert bits[part] == pytest.approx(2.0, abs=0.02)


def test_a_tandem_repeat_is_not_its_own_copy():
    """What a training window has twice within itself is blanked with it."""
    unit = letters(30, 5)
    sequences = {"I": letters(300, 1) + unit * 2 + letters(300, 2), "II": "ACGT", "III": unit * 40}
    task = make_task(sequences, length=60)
    batch = next(task.batches("train"))
    row = np.flatnonzero(batch.windows.starts == 300)
    assert len(row) == 1
    of_row = np.repeat(np.arange(len(batch.hidden)), batch.hidden.sum(axis=1)) == row
    assert not find_votes(task.genome, SPLIT.train, batch)[of_row].any()
    assert find_votes(task.genome, SPLIT.train, next(task.batches("test"))).any()


def test_odds_are_counted():
    factors = odds_factors(np.array([80.0, 0.0]), np.array([20.0, 0.0]), np.array([40.0, 0.0]))
    # 80 right, 20 wrong, expected at 0.4: (80 + 0.8) / (20 + 1.2) over 0.4 / 0.6.
    odds = 80.8 / 21.2
    np.testing.assert_allclose(factors, [odds / (2 / 3), 1.0])
    fallback = np.log([[0.4, 0.3, 0.2, 0.1], [0.25] * 4])
    copies = Copies(rows=np.array([0]), base=np.array([0]), classes=np.array([0]))
    found = np.exp(believe(fallback, copies, factors))
    rest = 1 / (1 + odds)
    np.testing.assert_allclose(found[0], [odds * rest, rest / 2, rest / 3, rest / 6])
    np.testing.assert_allclose(found[1], 0.25)
    np.testing.assert_allclose(fallback, np.log([[0.4, 0.3, 0.2, 0.1], [0.25] * 4]))


def test_classes_grow_with_weight_and_agreement():
    votes = np.array(
        [[0, 2.0**8, 0, 0], [0, 0, 0, 0], [2.0**20, 2.0**20, 0, 0], [0, 0, 0, 2.0**64]]
    )
    copies = Copies.of(votes)
    assert copies.rows.tolist() == [0, 2, 3]
    assert copies.base.tolist() == [1, 0, 3]
    assert copies.classes.tolist() == [2, 9, 44]  # steps 0, 3, 14 of three classes each


def test_nothing_found_leaves_the_fallback():
    sequences = {"I": letters(400, 1), "II": letters(100, 2), "III": letters(200, 3)}
    task = make_task(sequences, train_windows=False)
    batch = next(task.batches("test"))
    fallback = ContextMixture(task.genome, SPLIT.train, 10)(batch)
    np.testing.assert_array_equal(CopyOracle(task)(batch), fallback)


def test_several_genomes_are_searched():
    source = letters(3_000, 7)
    members = {
        "one": Genome.from_sequences({"I": letters(3_000, 8), "III": source}),
        "two": Genome.from_sequences({"I": other_strand(source), "II": source}),
    }
    split = ChromosomeSplit(train=("one:I", "two:I", "two:II"), valid=(), test=("one:III",))
    task = make_task(JoinedGenome(members), split=split, train_windows=False)
    assert shares(task)[0]["test"] > 0.95


@pytest.mark.parametrize(
    ("bases", "k"), [(100, 8), (16_384, 8), (16_385, 9), (12_000_000, 13), (10**10, 17)]
)
def test_seeds_grow_with_the_genome(bases, k):
    assert seed_length(bases) == k
    assert k in (8, 17) or 2 * bases / 4**k <= 0.5 < 2 * bases / 4 ** (k - 1)


def test_as_a_baseline_of_a_card():
    task = make_task(small_sequences(), baselines=("copy_oracle",))
    around = SimpleNamespace(
        genome=task.genome, split=SPLIT, window_length=task.length, strata=None
    )
    scores, record = HeldOutTask(task.card, around).score_baseline("copy_oracle", seed=0)
    assert record == {}
    assert set(scores.frame["variant"]) == {"copy_oracle"}
    keys = ["example_id", "part", "stratum", "masked", "cluster_id"]
    assert scores.frame[keys].equals(score_markov(task, 1).frame[keys])


def test_training_chromosomes_without_a_base_are_refused():
    task = make_task({"I": "N" * 100, "II": "N", "III": "ACGT" * 50}, train_windows=False)
    with pytest.raises(DataError, match="no A, C, G or T"):
        score_copy_oracle(task)


@pytest.mark.data
@pytest.mark.slow
def test_yeast_in_minutes_and_a_gigabyte(data_folder):
    """Each reference knows more than the one before; repeats are what copies are about."""
    genome = Genome.open(data_folder / "saccer3" / "sacCer3.softmask.fa.gz")
    split = ChromosomeSplit.by_names(genome.lengths, test=("chrIV", "chrX"), exclude=("chrM",))
    task = make_task(genome, length=512, split=split)
    tracemalloc.start()
    found = [
        shares(task, scores)
        for scores in (lambda one: score_markov(one, 3), score_context_mixture, score_copy_oracle)
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 30
    for part in ("test", "train"):
        accuracy = [one[0][part] for one in found]
        bits = [one[1][part] for one in found]
        assert accuracy == sorted(accuracy)
        assert bits == sorted(bits, reverse=True)
        assert 0.36 < accuracy[1] < 0.39
        assert 0.39 < accuracy[2] < 0.43
