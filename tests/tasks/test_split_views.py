"""Other splits of a task: nothing related is left on both sides, and nothing gets lost."""

import itertools

import numpy as np
import pytest

from lightning_dna.data.examples import Examples
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Interval
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.tasks.relations import SIMILARITY_K, SIMILARITY_THRESHOLD
from lightning_dna.tasks.split_views import (
    located,
    resplit,
    similarity_stratum,
    similarity_to_training,
)
from lightning_dna.tasks.suites import TaskChanges

COMPLEMENT = str.maketrans("ACGT", "TGCA")
PARTS = ("train", "valid", "test")


def letters(seed, length=80):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def examples(name, texts, coordinates=None):
    return Examples(
        codes=[encode(text) for text in texts],
        labels=np.arange(len(texts)) % 2,
        ids=tuple(f"{name}:{at}" for at in range(len(texts))),
        coordinates=coordinates,
    )


def task_of(train, valid, test):
    parts = {"train": train, "valid": valid, "test": test}
    return LabelledTask(
        **{name: examples(name, texts) for name, texts in parts.items()}, classes=("0", "1")
    )


@pytest.fixture
def task():
    """Families of three overlapping sequences, some of which stand in two parts."""
    families = []
    for seed in range(40):
        long = letters(seed, 120)
        pieces = [long[:80], long[30:110], long[20:100][::-1].translate(COMPLEMENT)]
        families.append(pieces)
    everything = [one for family in families for one in family]
    order = np.random.default_rng(0).permutation(len(everything)).tolist()
    shuffled = [everything[at] for at in order]
    return task_of(shuffled[:80], shuffled[80:95], shuffled[95:])


def kmers(codes):
    text = decode(codes)
    words = {text[at : at + SIMILARITY_K] for at in range(len(text) - SIMILARITY_K + 1)}
    return {min(word, word[::-1].translate(COMPLEMENT)) for word in words}


def related(first, second):
    left, right = kmers(first), kmers(second)
    return len(left & right) >= SIMILARITY_THRESHOLD * min(len(left), len(right))


def any_related(some, others):
    return any(related(one, two) for one, two in itertools.product(some.codes, others.codes))


def all_ids(task):
    return [one for part in PARTS for one in getattr(task, part).ids]


def test_the_original_is_the_original(task):
    assert resplit(task, "original", name="t") is task


def test_deoverlapped_keeps_the_test_and_drops_relatives_alone(task):
    found = resplit(task, "deoverlapped", name="t")
    assert found.test is task.test
    for part in ("train", "valid"):
        kept, before = getattr(found, part), getattr(task, part)
        expected = [
            name
            for name, codes in zip(before.ids, before.codes, strict=True)
            if not any(related(codes, other) for other in task.test.codes)
        ]
        assert list(kept.ids) == expected
        assert 0 < len(kept) < len(before)
    dropped = len(task.train) - len(found.train)
    assert f"{dropped} of 80 training" in found.notes[-1]


def test_deoverlapped_by_places():
    task = LabelledTask(
        train=examples(
            "train",
            [letters(seed) for seed in range(4)],
            tuple(Interval("I", at, at + 80) for at in (0, 70, 200, 300)),
        ),
        valid=examples("valid", [letters(8), letters(9)], (None, None)),
        test=examples("test", [letters(5), letters(6)], (Interval("I", 149, 229), None)),
        classes=("0", "1"),
    )
    found = resplit(task, "deoverlapped", name="t")
    assert found.train.ids == ("train:0", "train:3")
    assert len(found.valid) == 2


def test_homology_keeps_families_together(task):
    found = resplit(task, "homology", name="t")
    assert sorted(all_ids(found)) == sorted(all_ids(task))
    for first, second in itertools.combinations(PARTS, 2):
        assert not any_related(getattr(found, first), getattr(found, second))
    assert len(found.test) == pytest.approx(len(task.test), abs=3)
    assert len(found.valid) == pytest.approx(len(task.valid), abs=3)
    assert found.test.clusters is not None
    again = resplit(task, "homology", name="t")
    assert again.test.ids == found.test.ids


def test_one_giant_family_cannot_be_shared_out():
    long = letters(0, 400)
    pieces = [long[at : at + 80] for at in range(0, 300, 10)]
    task = task_of(pieces[:20], pieces[20:25], pieces[25:])
    with pytest.raises(DataError, match="one cluster holds 30 of 30 sequences"):
        resplit(task, "homology", name="t")


def test_what_would_leave_nothing_is_refused():
    texts = [letters(seed) for seed in range(4)]
    with pytest.raises(DataError, match="the train part holds 0 examples of 0 class"):
        resplit(task_of(texts, [letters(8), letters(9)], texts), "deoverlapped", name="t")


def chromosome_task(n=120):
    chroms = {f"chr{index}": letters(100 + index, 4_000) for index in range(6)}
    rng = np.random.default_rng(1)
    texts = []
    for _ in range(n):
        chrom = f"chr{rng.integers(6)}"
        start = int(rng.integers(0, 3_900))
        texts.append(chroms[chrom][start : start + 80])
    texts[5] = letters(7)  # stands nowhere
    return task_of(texts[:80], texts[80:100], texts[100:]), Genome.from_sequences(chroms)


def test_chromosomes_are_held_out_whole():
    task, genome = chromosome_task()
    found = resplit(task, "chromosome", name="t", genome=genome)
    homes = [{place.chrom for place in getattr(found, part).coordinates} for part in PARTS]
    assert all(not first & second for first, second in itertools.combinations(homes, 2))
    assert sorted(all_ids(found)) == sorted(set(all_ids(task)) - {"train:5"})
    for part in PARTS:
        held = getattr(found, part)
        for codes, place in zip(held.codes, held.coordinates, strict=True):
            there = genome.codes(place.chrom, place.start, place.end)
            assert np.array_equal(there, codes)
    assert "1 of 120 examples of unknown place" in found.notes[-1]


def test_chromosomes_of_examples_that_know_their_place():
    task, genome = chromosome_task()
    parts = {part: getattr(task, part) for part in PARTS}
    known = LabelledTask(
        **{
            name: Examples(
                codes=one.codes, labels=one.labels, ids=one.ids, coordinates=located(one, genome)
            )
            for name, one in parts.items()
        },
        classes=task.classes,
    )
    assert all_ids(resplit(known, "chromosome", name="t")) == all_ids(
        resplit(task, "chromosome", name="t", genome=genome)
    )


def test_chromosomes_that_cannot_be_held_out():
    task, genome = chromosome_task()
    with pytest.raises(DataError, match="needs coordinates, or a genome"):
        resplit(task, "chromosome", name="t")
    other = Genome.from_sequences({"I": letters(55, 500)})
    with pytest.raises(DataError, match="is this the genome that they were made from"):
        resplit(task, "chromosome", name="t", genome=other)
    one = Genome.from_sequences(
        {"all": "".join(decode(genome.codes(name)) for name in genome.names)}
    )
    with pytest.raises(DataError, match="all examples lie on all; three chromosomes"):
        resplit(task, "chromosome", name="t", genome=one)


def test_similarity_to_training_against_sets(task):
    found = similarity_to_training(task)
    for value, codes in zip(found.tolist(), task.test.codes, strict=True):
        mine = kmers(codes)
        best = max(len(mine & kmers(other)) for other in task.train.codes) / len(mine)
        assert value == pytest.approx(best)


def test_a_short_copy_is_as_similar_as_can_be():
    task = task_of(["ACG", letters(0)], [letters(1), letters(2)], ["CGT", "AAA", letters(0)])
    found = similarity_to_training(task)
    assert found[[0, 2]].tolist() == [1.0, 1.0]
    assert np.isnan(found[1])
    strata = similarity_stratum(found).tolist()
    assert strata == ["similarity_90_100", "", "similarity_90_100"]


def card(**changes):
    files = {part: f"{part}.csv" for part in PARTS}
    return TaskCard(name="t", kind="classification", title="x", files=files, **changes)


def test_cards_of_other_splits():
    held_out = TaskCard(name="bases", kind="heldout_mlm", title="x")
    changes = TaskChanges(splits=("original", "homology"))
    assert [one.name for one in changes.views(card())] == ["t", "t@homology"]
    assert changes.views(card())[1].split == "homology"
    assert changes.views(held_out) == [held_out]
    assert [one.split for one in TaskChanges().views(card())] == ["original"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [((), "one or more"), (("homology", "homology"), "each once"), (("exon",), "unknown split")],
)
def test_lists_of_splits_that_are_refused(splits, message):
    with pytest.raises(ConfigError, match=message):
        TaskChanges(splits=splits)


def test_a_card_cannot_pretend_to_be_another_split():
    files = {part: f"{part}.csv" for part in PARTS}
    with pytest.raises(ConfigError, match="name 't@homology' is not allowed"):
        TaskCard(name="t@homology", kind="classification", title="x", files=files)
    with pytest.raises(ConfigError, match=r"name 't' does not end in '@homology'.*tasks\.splits"):
        card(split="homology")
