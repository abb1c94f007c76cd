"""Counting baselines against hand-written numbers and a slow program that works on letters."""

import math
from fractions import Fraction

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines import markov
from lightning_dna.tasks.baselines.majority import base_counts, base_probabilities, score_majority
from lightning_dna.tasks.baselines.markov import (
    CONCENTRATION,
    context_tables,
    log_probabilities,
    score_markov,
    word_counts,
)
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout_mlm import HeldoutMLM, WindowBases

SPLIT = ChromosomeSplit(train=("I", "II"), valid=(), test=("III",))


def letters(length: int, seed: int, alphabet: str = "ACGTacgt") -> str:
    return "".join(np.random.default_rng(seed).choice(list(alphabet), length))


def make_task(sequences, *, length=25, **changes) -> HeldoutMLM:
    base = {"name": "h", "kind": "heldout_mlm", "title": "T", "mask_fraction": 0.25}
    return HeldoutMLM(TaskCard(**base | changes), Genome.from_sequences(sequences), SPLIT, length)


def small_task(**changes) -> HeldoutMLM:
    sequences = {
        "I": letters(300, 0) + "NN" + letters(100, 1, "AACGTT"),
        "II": letters(90, 2, "AAACGT"),
        "III": letters(150, 3) + "N" + letters(149, 4),
    }
    return make_task(sequences, **changes)


def count_word(texts, word):
    """Occurrences of a word, overlaps included."""
    return sum(
        text[start : start + len(word)] == word
        for text in texts
        for start in range(len(text) - len(word) + 1)
    )


def slow_probability(texts, left, base, right):
    """The estimate of the module's docstring, straight from letters."""
    if not left and not right:
        total = sum(count_word(texts, other) for other in "ACGT")
        return (count_word(texts, base) + 1) / (total + 4)
    if len(left) >= len(right):
        shorter = slow_probability(texts, left[1:], base, right)
    else:
        shorter = slow_probability(texts, left, base, right[:-1])
    total = sum(count_word(texts, left + other + right) for other in "ACGT")
    seen = count_word(texts, left + base + right)
    return (seen + CONCENTRATION * shorter) / (total + CONCENTRATION)


def slow_markov(task, order):
    """Correct predictions and nats of every window and stratum, base by base."""
    genome = task.genome
    texts = ["".join("ACGTN"[code] for code in genome.codes(chrom)) for chrom in task.split.train]
    rows = {}
    for part in task.parts:
        for batch in task.batches(part):
            for row, name in enumerate(batch.windows.example_ids().tolist()):
                hidden = batch.hidden[row]
                text = "".join("ACGTN"[code] for code in batch.codes[row])
                shown = "".join(
                    "?" if flag else base for base, flag in zip(text, hidden, strict=True)
                )
                for at in np.flatnonzero(hidden).tolist():
                    left = right = ""
                    while len(left) < order and at > len(left):
                        base = shown[at - len(left) - 1]
                        if base in "?N":
                            break
                        left = base + left
                    while len(right) < order and at + len(right) + 1 < len(shown):
                        base = shown[at + len(right) + 1]
                        if base in "?N":
                            break
                        right += base
                    guesses = [slow_probability(texts, left, base, right) for base in "ACGT"]
                    assert sum(guesses) == pytest.approx(1)
                    truth = "ACGT".index(text[at])
                    stratum = "repeat" if batch.repeat[row, at] else "unique"
                    entry = rows.setdefault((part, name, stratum), [0, 0, 0.0])
                    entry[0] += 1
                    entry[1] += int(np.argmax(guesses)) == truth
                    entry[2] -= math.log(guesses[truth])
    return rows


def as_rows(scores: Scores):
    return {
        (row.part, row.example_id, row.stratum): [row.masked, row.correct, row.nats]
        for row in scores.frame.itertuples()
    }


def test_base_counts_leave_out_n_and_other_chromosomes():
    genome = Genome.from_sequences({"a": "AAcgtNN", "b": "TTTt", "c": "GGGG"})
    assert base_counts(genome, ["a", "b"]).tolist() == [2, 1, 1, 5]


def test_base_probabilities():
    assert base_probabilities(np.array([5, 2, 0, 1])).tolist() == [6 / 12, 3 / 12, 1 / 12, 2 / 12]
    with pytest.raises(DataError, match="no A, C, G or T"):
        base_probabilities(np.zeros(4, dtype=np.int64))


def test_majority_by_hand():
    task = make_task(
        {"I": "AAAAAC" * 5, "II": "GTTN", "III": "ACGTACGTac" * 5}, length=10, train_windows=False
    )
    # 25 A, 5 C, 1 G, 2 T on the training chromosomes; one more of each.
    probability = {0: 26 / 37, 1: 6 / 37, 2: 2 / 37, 3: 3 / 37}
    rows = {}
    for batch in task.batches("test"):
        for row, name in enumerate(batch.windows.example_ids().tolist()):
            for at in np.flatnonzero(batch.hidden[row]).tolist():
                base = "ACGTACGTac"[at]
                key = ("test", name, "repeat" if at >= 8 else "unique")
                entry = rows.setdefault(key, [0, 0, 0.0])
                entry[0] += 1
                entry[1] += base.upper() == "A"
                entry[2] -= math.log(probability["ACGT".index(base.upper())])
    scores = score_majority(task)
    assert set(scores.frame["variant"]) == {"majority"}
    assert set(scores.frame["seed"]) == {0}
    found = as_rows(scores)
    assert found.keys() == rows.keys()
    for key, values in rows.items():
        assert found[key] == pytest.approx(values)


def test_word_counts_against_letters():
    sequences = {"a": letters(120, 5) + "NnN" + letters(40, 6), "b": "AC", "c": "TTTT"}
    genome = Genome.from_sequences(sequences)
    texts = [sequences["a"].upper(), sequences["b"].upper()]
    counts = word_counts(genome, ["a", "b"], 4)
    assert [len(table) for table in counts] == [4, 16, 64, 256]
    for size, table in enumerate(counts, start=1):
        for number in range(4**size):
            word = "".join("ACGT"[number // 4**digit % 4] for digit in reversed(range(size)))
            assert table[number] == count_word(texts, word)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50])
def test_block_borders_lose_and_double_nothing(monkeypatch, block):
    genome = Genome.from_sequences({"a": letters(50, 7) + "N" + letters(20, 8), "b": "ACG"})
    whole = word_counts(genome, ["a", "b"], 5)
    monkeypatch.setattr(markov, "_BLOCK", block)
    for first, second in zip(whole, word_counts(genome, ["a", "b"], 5), strict=True):
        np.testing.assert_array_equal(first, second)


def test_tables_by_hand():
    # AC occurs 3 times, AG once, CA 3 times; contexts of one base on either side.
    genome = Genome.from_sequences({"a": "ACACACAG"})
    tables = context_tables(word_counts(genome, ["a"], 3), 1)
    c = Fraction(CONCENTRATION)
    none = [Fraction(n + 1, 12) for n in (4, 3, 1, 0)]
    after_a = [(seen + c * p) / (4 + c) for seen, p in zip((0, 3, 1, 0), none, strict=True)]
    np.testing.assert_allclose(tables[1, 0][0, :, 0], [float(p) for p in after_a])
    before_c = [(seen + c * p) / (3 + c) for seen, p in zip((3, 0, 0, 0), none, strict=True)]
    np.testing.assert_allclose(tables[0, 1][0, :, 1], [float(p) for p in before_c])
    # Between A and A: ACA three times; the left base is dropped first.
    before_a = [(seen + c * p) / (3 + c) for seen, p in zip((0, 3, 0, 0), none, strict=True)]
    between = [(seen + c * p) / (3 + c) for seen, p in zip((0, 3, 0, 0), before_a, strict=True)]
    np.testing.assert_allclose(tables[1, 1][0, :, 0], [float(p) for p in between])
    # A context that never occurred falls back on the shorter one.
    np.testing.assert_allclose(tables[1, 1][3, :, 3], tables[0, 1][0, :, 3])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_table_is_a_distribution(order):
    genome = Genome.from_sequences({"a": letters(500, 9, "AAACGT")})
    tables = context_tables(word_counts(genome, ["a"], 2 * order + 1), order)
    assert len(tables) == (order + 1) ** 2
    for (left, right), table in tables.items():
        assert table.shape == (4**left, 4, 4**right)
        assert (table > 0).all()
        np.testing.assert_allclose(table.sum(axis=1), 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_scores_against_letters(order):
    task = small_task()
    expected = slow_markov(task, order)
    found = as_rows(score_markov(task, order))
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values)


def test_hardly_anything_hidden_uses_full_contexts():
    task = small_task(mask_fraction=0.03, mask_seed=2)
    expected = slow_markov(task, 2)
    assert as_rows(score_markov(task, 2)) == {
        key: pytest.approx(values) for key, values in expected.items()
    }


def test_hidden_bases_are_never_looked_at():
    task = small_task(mask_fraction=0.4)
    tables = context_tables(word_counts(task.genome, SPLIT.train, 7), 3)
    for batch in task.batches("test"):
        codes = batch.codes.copy()
        codes[batch.hidden] = (codes[batch.hidden] + 1) % 4
        changed = WindowBases(
            windows=batch.windows, codes=codes, repeat=batch.repeat, hidden=batch.hidden
        )
        np.testing.assert_array_equal(
            log_probabilities(tables, batch, 3), log_probabilities(tables, changed, 3)
        )


def test_test_chromosomes_are_never_counted():
    task = small_task()
    sequences = {
        name: "".join("ACGTN"[code] for code in task.genome.codes(name)) for name in ("I", "II")
    }
    other = make_task(sequences | {"III": letters(299, 99)})
    counts, same = (word_counts(t.genome, t.split.train, 3) for t in (task, other))
    for first, second in zip(counts, same, strict=True):
        np.testing.assert_array_equal(first, second)


def test_baselines_are_scored_on_the_same_bases():
    task = small_task()
    keys = ["example_id", "part", "stratum", "masked", "cluster_id"]
    majority, two_sided = score_majority(task).frame, score_markov(task, 2).frame
    assert majority[keys].equals(two_sided[keys])


def test_a_markov_source_is_learned():
    # Each base is the next of ACGT after the one before, nine times in ten.
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(40_000) < 0.9, 1, rng.integers(0, 4, 40_000))
    text = "".join("ACGT"[code] for code in np.cumsum(steps) % 4)
    task = make_task(
        {"I": text[:30_000], "II": "A", "III": text[30_000:]}, length=50, mask_fraction=0.01
    )
    frame = score_markov(task, 1).frame
    frame = frame[frame["part"] == "test"]
    # The most probable middle base given both sides: exact, from the transition matrix.
    step = np.full((4, 4), 0.025) + 0.9 * np.roll(np.eye(4), 1, axis=1)
    joint = step[:, :, None] * step[None] / 4
    best = joint.max(axis=1).sum()
    accuracy = frame["correct"].sum() / frame["masked"].sum()
    assert accuracy == pytest.approx(best, abs=0.06)
    assert score_majority(task).frame["correct"].sum() < frame["correct"].sum()


def test_names_and_refusals():
    task = small_task()
    assert set(score_markov(task, 2).frame["variant"]) == {"markov_2"}
    named = score_markov(task, 1, variant="counts", seed=4).frame
    assert set(named["variant"]) == {"counts"}
    assert set(named["seed"]) == {4}
    for order in (0, 6):
        with pytest.raises(ConfigError, match=f"Markov order is {order}; allowed: 1 to 5"):
            score_markov(task, order)
    unknown = make_task({"I": "NNNN", "II": "N", "III": "ACGT" * 10}, train_windows=False)
    for score in (score_majority, lambda t: score_markov(t, 1)):
        with pytest.raises(DataError, match="no A, C, G or T"):
            score(unknown)


@pytest.mark.data
def test_yeast_has_its_published_composition(data_folder):
    """Measured elsewhere, every base visible: 31.1 %; order 3 has 36.6 % and 1.917 bits."""
    genome = Genome.open(data_folder / "saccer3" / "sacCer3.softmask.fa.gz")
    split = ChromosomeSplit.by_names(genome.lengths, test=("chrIV", "chrX"), exclude=("chrM",))
    table = np.log2(context_tables(word_counts(genome, split.train, 7), 3)[3, 3])
    words = word_counts(genome, split.test, 7)
    truth = words[6].reshape(64, 4, 64)
    chosen = np.take_along_axis(truth, table.argmax(axis=1)[:, None], axis=1)
    assert words[0].max() / words[0].sum() == pytest.approx(0.311, abs=5e-4)
    assert chosen.sum() / truth.sum() == pytest.approx(0.366, abs=5e-4)
    assert -(truth * table).sum() / truth.sum() == pytest.approx(1.917, abs=1e-3)

    card = TaskCard(name="h", kind="heldout_mlm", title="T", mask_fraction=0.15)
    task = HeldoutMLM(card, genome, split, 512)
    share, bits = {}, {}
    for order in (0, 3):
        frame = (score_markov(task, order) if order else score_majority(task)).frame
        sums = frame[frame["part"] == "test"][["masked", "correct", "nats"]].sum()
        share[order] = sums["correct"] / sums["masked"]
        bits[order] = sums["nats"] / sums["masked"] / math.log(2)
    assert share[0] == pytest.approx(0.311, abs=0.003)
    # Contexts that stop at hidden bases know less than whole ones.
    assert 0.350 < share[3] < 0.366
    assert 1.917 < bits[3] < 1.935 < bits[0]
