"""The finite-context mixture against a slow program that searches letters."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.baselines.context_mixture import ContextMixture, score_context_mixture
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


def make_task(sequences, *, length=40, split=SPLIT, **changes) -> HeldoutMLM:
    base = {"name": "h", "kind": "heldout_mlm", "title": "T", "mask_fraction": 0.15}
    genome = sequences if isinstance(sequences, Genome) else Genome.from_sequences(sequences)
    return HeldoutMLM(TaskCard(**base | changes), genome, split, length)


def small_sequences() -> dict[str, str]:
    """Random letters, and stretches that come back on either strand, also within a window."""
    shared, twin = letters(120, 0), letters(25, 1)
    return {
        "I": shared + letters(80, 2, "AACGT") + "NNN" + twin + "ac" + twin + letters(60, 3),
        "II": letters(50, 4) + other_strand(shared) + "ACACACACACACACACACACACAC",
        "III": letters(30, 5) + shared[10:90] + "N" + other_strand(shared) + letters(40, 6),
    }


def search(texts, word):
    """Occurrences on both strands, overlaps included."""
    return sum(
        text[at : at + len(word)] == one
        for text in texts
        for one in (word, other_strand(word))
        for at in range(len(text) - len(word) + 1)
    )


def slow_probabilities(texts, shown, at, order):
    """The formula of the module's docstring, straight from letters; ``?`` is hidden."""
    left = len(shown[:at]) - 1 - max(shown.rfind(one, 0, at) for one in "?N")
    left = min(left, at, 16)
    right = 0
    while right < 16 and at + right + 1 < len(shown) and shown[at + right + 1] not in "?N":
        right += 1
    total = [search(texts, base) for base in "ACGT"]
    found = [(count + 1) / (sum(total) + 4) for count in total]
    bases = sum(map(len, texts))
    before = after = 0
    for k in range(1, order + 1):
        # One more base on the shorter side, the right one if both are equal, where there is one.
        if after < right and (after <= before or before == left):
            after += 1
        elif before < left:
            before += 1
        else:
            break
        around = shown[at - before : at], shown[at + 1 : at + 1 + after]
        counts = [search(texts, around[0] + base + around[1]) for base in "ACGT"]
        weight = min(100 * (2 * bases / 4**k) ** 0.6, 500)
        found = [
            (n + weight * p) / (sum(counts) + weight) for n, p in zip(counts, found, strict=True)
        ]
    return found


def texts_without(task, chrom, start, end):
    """The training chromosomes in letters, a stretch of one of them replaced by N."""
    texts = {name: "".join("ACGTN"[c] for c in task.genome.codes(name)) for name in SPLIT.train}
    if chrom in texts:
        texts[chrom] = texts[chrom][:start] + "N" * (end - start) + texts[chrom][end:]
    return list(texts.values())


@pytest.mark.parametrize(("order", "fraction"), [(16, 0.06), (16, 0.2), (5, 0.15), (0, 0.15)])
def test_probabilities_against_letters(order, fraction):
    task = make_task(small_sequences(), mask_fraction=fraction)
    mixture = ContextMixture(task.genome, SPLIT.train, order)
    certain = 0
    for part in task.parts:
        for batch in task.batches(part):
            found = np.exp(mixture(batch))
            expected = []
            for row, hidden in enumerate(batch.hidden):
                windows = batch.windows.select(np.array([row]))
                chrom = windows.chroms[windows.chrom_index[0]]
                start = int(windows.starts[0])
                texts = texts_without(task, chrom, start, start + task.length)
                codes = zip(batch.codes[row], hidden, strict=True)
                shown = "".join("?" if flag else "ACGTN"[code] for code, flag in codes)
                for at in np.flatnonzero(hidden).tolist():
                    expected.append(slow_probabilities(texts, shown, at, order))
            np.testing.assert_allclose(found, expected, rtol=1e-10)
            np.testing.assert_allclose(found.sum(axis=1), 1)
            certain += int((found.max(axis=1) > 0.9).sum())
    assert (certain > 3) == (order == 16)


def test_a_training_window_does_not_quote_itself():
    unique = {"I": letters(2000, 10), "II": letters(200, 11), "III": letters(2000, 12)}
    task = make_task(unique, length=100, mask_fraction=0.05)
    frame = score_context_mixture(task).frame
    share = frame.groupby("part")[["correct", "masked"]].sum()
    assert (share["correct"] / share["masked"]).max() < 0.5
    # The same windows where the genome holds them once more.
    task = make_task(unique | {"II": other_strand(unique["I"])}, length=100, mask_fraction=0.05)
    sums = score_context_mixture(task).frame.query("part == 'train'")[["correct", "masked"]].sum()
    assert sums["correct"] > 0.9 * sums["masked"] > 50


def test_hidden_bases_are_never_looked_at():
    task = make_task(small_sequences())
    mixture = ContextMixture(task.genome, SPLIT.train)
    for part in task.parts:
        for batch in task.batches(part):
            codes = batch.codes.copy()
            codes[batch.hidden] = (codes[batch.hidden] + 1) % 4
            changed = WindowBases(
                windows=batch.windows, codes=codes, repeat=batch.repeat, hidden=batch.hidden
            )
            np.testing.assert_array_equal(mixture(batch), mixture(changed))


def test_batches_and_blocks_change_nothing():
    task = make_task(small_sequences())
    whole = score_context_mixture(task).frame
    mixture = ContextMixture(task.genome, SPLIT.train)
    one_by_one = task.score_with(mixture, variant="context_mixture", seed=0, bases_per_batch=1)
    np.testing.assert_allclose(whole["nats"], one_by_one.frame["nats"], rtol=1e-12)
    assert whole.drop(columns="nats").equals(one_by_one.frame.drop(columns="nats"))


def test_several_genomes_count_together():
    sequences = small_sequences()
    members = {
        "one": Genome.from_sequences({"I": sequences["I"], "III": sequences["III"]}),
        "two": Genome.from_sequences({"I": sequences["II"]}),
    }
    split = ChromosomeSplit(train=("one:I", "two:I"), valid=(), test=("one:III",))
    joined = make_task(JoinedGenome(members), split=split)
    # Which bases are hidden depends on the names, so the one genome has the same.
    names = dict(zip(("one:I", "two:I", "one:III"), sequences.values(), strict=True))
    alone = make_task(names, split=split)
    for part in alone.parts:
        for batch in alone.batches(part):
            found = ContextMixture(joined.genome, split.train)(batch)
            np.testing.assert_array_equal(found, ContextMixture(alone.genome, split.train)(batch))
    sums = [
        score_context_mixture(one).frame.groupby("part")["nats"].sum() for one in (joined, alone)
    ]
    assert sums[0]["test"] == pytest.approx(sums[1]["test"])


def test_pseudo_counts_fall_with_chance():
    mixture = ContextMixture(Genome.from_sequences({"I": letters(2000, 1)}), ("I",))
    found = [mixture.pseudo_count(k) for k in range(1, 17)]
    assert found[:2] == [500.0, 500.0]
    assert found[5] == pytest.approx(100 * (4000 / 4096) ** 0.6)
    assert found[15] == pytest.approx(100 * math.exp(0.6 * math.log(4000 / 4**16)))
    assert all(np.diff(found) <= 0)


def test_as_a_baseline_of_a_card():
    task = make_task(small_sequences(), baselines=("context_mixture",))
    around = SimpleNamespace(
        genome=task.genome, split=SPLIT, window_length=task.length, strata=None
    )
    scores, record = HeldOutTask(task.card, around).score_baseline("context_mixture", seed=0)
    assert record == {}
    assert set(scores.frame["variant"]) == {"context_mixture"}
    keys = ["example_id", "part", "stratum", "masked", "cluster_id"]
    assert scores.frame[keys].equals(score_markov(task, 1).frame[keys])


def test_refusals():
    genome = Genome.from_sequences({"I": "ACGT", "II": "NNNN"})
    for order in (-1, 17):
        with pytest.raises(ConfigError, match=f"context mixture is {order}; allowed: 0 to 16"):
            ContextMixture(genome, ("I",), order)
    with pytest.raises(DataError, match="no A, C, G or T"):
        ContextMixture(genome, ("II",))
