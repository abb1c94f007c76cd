"""The labelled tasks: exact posteriors, Bayes accuracy, and what cannot be learned from where."""

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode
from lightning_dna.genome.simulate_background import transition_table
from lightning_dna.genome.simulate_long_range import LongRangeTask
from lightning_dna.genome.simulate_motifs import PROMOTER_GRAMMAR, WRONG_SPACINGS
from lightning_dna.genome.simulate_promoter import PromoterTask
from lightning_dna.genome.simulated_tasks import (
    SIMULATED_TASKS,
    LabelledPart,
    LabelledSequences,
    bayes_accuracy,
    posterior,
    simulated_task,
)

NAMES = ("promoter", "long_range")
LENGTH = 200
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def long_range() -> LabelledSequences:
    return simulated_task(
        "long_range", n_train=4000, n_valid=10, n_test=4000, length=LENGTH, seed=0
    )


@pytest.fixture(scope="module")
def promoter() -> LabelledSequences:
    return simulated_task("promoter", n_train=2000, n_valid=10, n_test=2000, length=LENGTH, seed=0)


def codes_of(part: LabelledPart) -> npt.NDArray[np.uint8]:
    return np.stack([encode(sequence) for sequence in part.sequences])


def kmer_counts(part: LabelledPart, k: int) -> npt.NDArray[np.float64]:
    codes = codes_of(part).astype(np.int64)
    n, length = codes.shape
    words = sum(codes[:, i : length - k + 1 + i] * 4 ** (k - 1 - i) for i in range(k))
    flat = np.bincount((words + 4**k * np.arange(n)[:, None]).ravel(), minlength=n * 4**k)
    return flat.reshape(n, 4**k).astype(float)


def regression_accuracy(task: LabelledSequences, k: int) -> float:
    train, test = kmer_counts(task.train, k), kmer_counts(task.test, k)
    center, scale = train.mean(axis=0), train.std(axis=0) + 1e-9
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit((train - center) / scale, task.train.labels)
    return float(model.score((test - center) / scale, task.test.labels))


@pytest.mark.parametrize("name", NAMES)
def test_parts_have_the_sizes_asked_for_and_unique_ids(name: str) -> None:
    task = simulated_task(name, n_train=30, n_valid=20, n_test=10, length=150, seed=4)
    parts = {"train": task.train, "valid": task.valid, "test": task.test}
    assert [len(part) for part in parts.values()] == [30, 20, 10]
    ids = [example for part in parts.values() for example in part.ids]
    assert len(set(ids)) == 60
    assert all(part.ids[0] == f"{name}-4-{key}-0" for key, part in parts.items())
    for part in parts.values():
        assert part.labels.dtype == np.int64
        assert set(part.labels) <= {0, 1}
        assert {len(sequence) for sequence in part.sequences} == {150}
        assert set("".join(part.sequences)) == set("ACGT")
    assert len({s for part in parts.values() for s in part.sequences}) == 60


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_parts_do_not_disturb_each_other(name: str) -> None:
    first = simulated_task(name, n_train=5, n_valid=3, n_test=4, length=150, seed=0)
    again = simulated_task(name, n_train=50, n_valid=7, n_test=4, length=150, seed=0)
    assert first.test.sequences == again.test.sequences
    assert np.array_equal(first.test.labels, again.test.labels)
    other = simulated_task(name, n_train=5, n_valid=3, n_test=4, length=150, seed=1)
    assert other.test.sequences != first.test.sequences


def test_promoter_posterior_against_direct_enumeration() -> None:
    """Multiplies out every placement of every pair with the chain, one base at a time."""
    task = PromoterTask()
    length = task.minimum_length + 2
    codes, _ = task.sample(6, length, np.random.default_rng(0))
    table = transition_table(task.gc, seed=0)

    def probability(row: npt.NDArray[np.uint8], columns: dict[int, npt.NDArray]) -> float:
        product = 1.0
        for position in range(2, length):
            base = int(row[position])
            if position in columns:
                product *= columns[position][base]
            else:
                product *= table[4 * int(row[position - 2]) + int(row[position - 1]), base]
        return product

    def mixture(row: npt.NDArray[np.uint8], right: bool) -> float:
        total = 0.0
        for pair in PROMOTER_GRAMMAR:
            spacings = [s for s in WRONG_SPACINGS if (s in pair.spacings) == right]
            for spacing in spacings:
                starts = range(
                    2, length - (len(pair.upstream) + spacing + len(pair.downstream)) + 1
                )
                for start in starts:
                    columns = dict(enumerate(pair.upstream.probabilities, start))
                    second = start + len(pair.upstream) + spacing
                    columns |= dict(enumerate(pair.downstream.probabilities, second))
                    weight = 1 / len(PROMOTER_GRAMMAR) / len(spacings) / len(starts)
                    total += weight * probability(row, columns)
        return total

    expected = []
    for row in codes:
        positive = mixture(row, right=True)
        negative = 0.5 * mixture(row, right=False) + 0.5 * probability(row, {})
        expected.append(0.03 + 0.94 * positive / (positive + negative))
    found = posterior("promoter", [decode(row) for row in codes])
    assert found == pytest.approx(expected, rel=1e-9)


def test_long_range_posterior_against_direct_enumeration() -> None:
    task = LongRangeTask()
    length = task.minimum_length
    codes, _ = task.sample(2, length, np.random.default_rng(0))
    # The third is random throughout, so that its posterior is anything but certain.
    codes = np.vstack([codes, np.random.default_rng(1).integers(0, 4, (1, length), np.uint8)])
    table = np.log(transition_table(task.gc, seed=0))
    size = int(length * 0.2) // 2 * 2
    units = {"left": ("GA", "CT"), "right": ("GT", "CA")}
    expected = []
    for row in codes:
        letters = decode(row)

        def log_ratio(start: int, unit: str, letters: str = letters) -> float:
            total = 0.0
            for offset in range(size):
                x, y, z = ("ACGT".index(letters[start + offset - back]) for back in (2, 1, 0))
                hit = letters[start + offset] == unit[offset % 2]
                total += math.log(0.92 if hit else 0.08 / 3) - table[4 * x + y, z]
            return total

        left = [[log_ratio(2 + i, unit) for i in range(9)] for unit in units["left"]]
        right = [[log_ratio(length - size - i, u) for i in range(9)] for u in units["right"]]
        likelihood = {True: 0.0, False: 0.0}
        for a, b, i, j in itertools.product((0, 1), (0, 1), range(9), range(9)):
            likelihood[a == b] += math.exp(left[a][i] + right[b][j])
        odds = likelihood[True] / (likelihood[True] + likelihood[False])
        expected.append(0.05 + 0.9 * odds)
    found = posterior("long_range", [decode(row) for row in codes])
    assert found == pytest.approx(expected, rel=1e-9)
    assert 0.05 < found[2] < 0.95


@pytest.mark.parametrize("name", NAMES)
def test_the_posterior_reaches_the_bayes_accuracy(
    name: str, promoter: LabelledSequences, long_range: LabelledSequences
) -> None:
    part = {"promoter": promoter, "long_range": long_range}[name].test
    hits = (posterior(name, part.sequences) > 0.5) == part.labels
    best = bayes_accuracy(name, length=LENGTH, n=3000)
    spread = math.sqrt(best.accuracy * (1 - best.accuracy) / len(hits))
    assert abs(hits.mean() - best.accuracy) < 4 * math.hypot(spread, best.standard_error)
    assert 0.9 < best.accuracy <= 1 - SIMULATED_TASKS[name].label_noise + 1e-12


WEAK_GRAMMAR = tuple(
    replace(
        pair,
        upstream=replace(pair.upstream, conservation=0.6),
        downstream=replace(pair.downstream, conservation=0.6),
    )
    for pair in PROMOTER_GRAMMAR
)


@pytest.mark.parametrize(
    ("task", "length"),
    [
        (PromoterTask(grammar=WEAK_GRAMMAR), 130),
        (PromoterTask(grammar=WEAK_GRAMMAR, decoy_fraction=0.0), 60),
        (LongRangeTask(conservation=0.34), 140),
    ],
)
def test_posteriors_of_weak_elements_are_calibrated(
    task: PromoterTask | LongRangeTask, length: int
) -> None:
    codes, truth = task.sample(8000, length, np.random.default_rng(5))
    probability = 1 / (1 + np.exp(-task.log_odds(codes)))
    assert ((probability > 0.2) & (probability < 0.8)).mean() > 0.1
    for group in np.array_split(np.argsort(probability), 8):
        expected = probability[group]
        # Independent Bernoulli labels, at four standard deviations of their sum.
        spread = math.sqrt((expected * (1 - expected)).sum())
        assert abs(truth[group].sum() - expected.sum()) < 4 * spread + 1e-9


def test_the_standard_error_is_that_of_a_mean_of_posteriors() -> None:
    first, second = (bayes_accuracy("promoter", length=60, n=3000, seed=s) for s in (0, 1))
    assert 0 < first.standard_error < 0.002
    together = math.hypot(first.standard_error, second.standard_error)
    assert 0 < abs(first.accuracy - second.accuracy) < 4 * together
    assert bayes_accuracy("promoter", length=60, n=3000) == first


def test_the_posterior_takes_any_case_and_mixed_lengths() -> None:
    sequences = [
        simulated_task(
            "promoter", n_train=1, n_valid=1, n_test=1, length=length, seed=0
        ).train.sequences[0]
        for length in (80, 60, 80, 200)
    ]
    together = posterior("promoter", [sequences[0].lower(), *sequences[1:]])
    alone = [posterior("promoter", [sequence])[0] for sequence in sequences]
    assert together == pytest.approx(alone, rel=1e-12)
    assert posterior("promoter", []).shape == (0,)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_kmer_regression_stays_at_chance_on_long_range(
    long_range: LabelledSequences, k: int
) -> None:
    correct = round(regression_accuracy(long_range, k) * 4000)
    interval = stats.binomtest(correct, 4000).proportion_ci(0.99)
    assert interval.low <= 0.5 <= interval.high


def test_kmer_regression_beats_chance_on_promoter(promoter: LabelledSequences) -> None:
    accuracy = regression_accuracy(promoter, 4)
    assert 0.62 < accuracy < 0.8


def test_no_kmer_count_differs_between_the_labels_of_long_range(
    long_range: LabelledSequences,
) -> None:
    part = long_range.train
    counts = kmer_counts(part, 4)
    test = stats.mannwhitneyu(counts[part.labels == 1], counts[part.labels == 0])
    assert test.pvalue.min() > 0.01 / counts.shape[1]


def test_neither_end_says_anything_about_the_label_and_both_say_all(
    long_range: LabelledSequences,
) -> None:
    part = long_range.train
    left = np.array([s[:60].count("GA") > s[:60].count("CT") for s in part.sequences])
    right = np.array([s[-60:].count("GT") > s[-60:].count("CA") for s in part.sequences])
    labels = part.labels == 1
    for end in (left, right):
        assert end.mean() == pytest.approx(0.5, abs=0.04)
        assert stats.chi2_contingency(stats.contingency.crosstab(end, labels).count).pvalue > 0.001
    assert ((left == right) == labels).mean() == pytest.approx(0.95, abs=0.02)


def test_the_best_threshold_on_an_additive_score_stays_below_three_quarters(
    long_range: LabelledSequences,
) -> None:
    """The bound of the module's text, with the threshold picked on the very examples scored."""
    part = long_range.test
    left = np.array([s[:60].count("GA") - s[:60].count("CT") for s in part.sequences])
    right = np.array([s[-60:].count("GT") - s[-60:].count("CA") for s in part.sequences])
    best = 0.0
    for weight in (-2, -1, -0.5, 0.5, 1, 2):
        order = np.argsort(left + weight * right)
        labels = part.labels[order]
        above = np.concatenate([[0], np.cumsum(labels == 0)]) + np.concatenate(
            [np.cumsum((labels == 1)[::-1])[::-1], [0]]
        )
        best = max(best, above.max() / len(labels), 1 - above.min() / len(labels))
    noisy_bound = 0.05 * 0.25 + 0.95 * 0.75
    assert 0.6 < best < noisy_bound + 4 * math.sqrt(0.25 / len(part))


@pytest.mark.parametrize("length", [137, 200, 257])
def test_the_two_tracts_are_far_apart(length: int) -> None:
    task = LongRangeTask()
    size = len(task.tracts(length)[0])
    gap = length - 2 * size - 2 * task.jitter - 2
    assert task.minimum_length == 137
    assert gap >= task.minimum_distance
    assert all(len(tract) == size for tract in task.tracts(length))


def test_long_range_reads_the_same_from_either_strand(long_range: LabelledSequences) -> None:
    """Turning the molecule round swaps the ends' places and both orientations."""
    sequence = long_range.test.sequences[0]
    other = sequence.translate(COMPLEMENT)[::-1]
    left, right = sequence[:60], sequence[-60:]
    far_left, far_right = other[:60], other[-60:]
    agree = (left.count("GA") > left.count("CT")) == (right.count("GT") > right.count("CA"))
    turned = (far_right.count("GA") > far_right.count("CT")) == (
        far_left.count("GT") > far_left.count("CA")
    )
    assert agree == turned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "promotor"}, "Did you mean 'promoter'"),
        ({"n_train": 0}, "n_train is 0; at least 1"),
        ({"n_test": -2}, "n_test is -2"),
        ({"seed": -1}, "seed is -1; allowed are 0 and above"),
        ({"length": 50}, "length is 50 bases; the elements need at least 56"),
        ({"name": "long_range", "length": 100}, "length is 100 bases.*at least 137"),
    ],
)
def test_settings_that_make_no_task(changes: dict[str, object], message: str) -> None:
    settings = {"n_train": 1, "n_valid": 1, "n_test": 1, "length": 80, "seed": 0}
    name = str(changes.pop("name", "promoter"))
    with pytest.raises(ConfigError, match=message):
        simulated_task(name, **(settings | changes))  # type: ignore[arg-type]


def test_sequences_without_a_posterior() -> None:
    with pytest.raises(DataError, match="sequence 1 has 12 bases"):
        posterior("promoter", ["ACGT" * 20, "ACGT" * 3])
    with pytest.raises(DataError, match="sequence 0 has 80 bases, 1 of them N"):
        posterior("promoter", ["ACGT" * 19 + "ACGN"])
    with pytest.raises(DataError, match="not a nucleotide"):
        posterior("promoter", ["ACG-" * 20])
    with pytest.raises(ConfigError, match="unknown simulated task"):
        posterior("nothing", [])
    with pytest.raises(ConfigError, match="unknown simulated task"):
        bayes_accuracy("nothing", length=100)
