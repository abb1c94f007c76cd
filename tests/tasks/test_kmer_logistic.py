"""The k-mer baseline and the regression below it, against counting by hand and scikit-learn."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import encode
from lightning_dna.tasks import logistic
from lightning_dna.tasks.baselines.kmer_logistic import (
    gc_content,
    gc_logistic,
    kmer_counts,
    kmer_logistic,
    kmer_profiles,
)
from lightning_dna.tasks.logistic import choose_logistic


def brute_force_counts(sequence: str, length: int) -> np.ndarray:
    counts = np.zeros(4**length)
    for start in range(len(sequence) - length + 1):
        kmer = sequence[start : start + length]
        if set(kmer) <= set("ACGT"):
            digits = "".join(str("ACGT".index(base)) for base in kmer)
            counts[int(digits, base=4)] += 1
    return counts


def examples_of(sequences: list[str], labels: list[int]) -> Examples:
    return Examples(
        codes=[encode(sequence) for sequence in sequences],
        labels=np.array(labels),
        ids=tuple(f"e{index}" for index in range(len(labels))),
    )


def motif_examples(n: int, seed: int, motif: str = "GATTA") -> Examples:
    """Random sequences; those of class 1 hold the motif."""
    rng = np.random.default_rng(seed)
    sequences, labels = [], []
    for index in range(n):
        row = "".join(rng.choice(list("ACGT"), size=60))
        at = rng.integers(0, 50)
        sequences.append(row[:at] + motif + row[at + len(motif) :] if index % 2 else row)
        labels.append(index % 2)
    return examples_of(sequences, labels)


class TestCounts:
    @pytest.mark.parametrize("length", [1, 2, 3, 5])
    def test_equals_counting_by_hand(self, length):
        rng = np.random.default_rng(length)
        sequences = [
            "".join(rng.choice(list("ACGTN"), p=[0.24] * 4 + [0.04], size=rng.integers(1, 70)))
            for _ in range(40)
        ]
        expected = np.stack([brute_force_counts(sequence, length) for sequence in sequences])
        counts = kmer_counts([encode(sequence) for sequence in sequences], length)
        np.testing.assert_array_equal(counts.toarray(), expected)

    def test_no_kmer_reaches_into_the_next_sequence(self):
        counts = kmer_counts([encode("AC"), encode("GT")], 3)
        assert counts.shape == (2, 64)
        assert counts.sum() == 0

    def test_repeats_add_up(self):
        assert kmer_counts([encode("AAAAA")], 2).toarray()[0, 0] == 4

    def test_profiles_have_norm_one_or_are_zero(self):
        profiles = kmer_profiles([encode("ACGTACGT"), encode("AC"), encode("AAAACAAAAC")], 3)
        norms = np.linalg.norm(profiles.toarray(), axis=1)
        np.testing.assert_allclose(norms, [1, 0, 1])
        counts = brute_force_counts("ACGTACGT", 3)
        np.testing.assert_allclose(profiles.toarray()[0], counts / np.linalg.norm(counts))


class TestStrands:
    @pytest.mark.parametrize("length", [1, 2, 3, 4])
    def test_a_sequence_and_its_other_strand_have_one_profile(self, length):
        rng = np.random.default_rng(length)
        sequence = "".join(rng.choice(list("ACGT"), size=50))
        other = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))
        both = kmer_profiles([encode(sequence), encode(other)], length, both_strands=True)
        np.testing.assert_allclose(both.toarray()[0], both.toarray()[1], rtol=1e-12)
        apart = kmer_profiles([encode(sequence), encode(other)], length).toarray()
        assert not np.allclose(apart[0], apart[1])

    @pytest.mark.parametrize(("length", "columns"), [(1, 2), (2, 10), (3, 32), (4, 136)])
    def test_there_is_a_column_for_each_pair(self, length, columns):
        # 4**k k-mers; those of even length that are their own other strand stand alone
        assert kmer_profiles([encode("ACGTA")], length, both_strands=True).shape == (1, columns)

    def test_counts_by_hand(self):
        # AAC: AA with TT, AC with GT; columns AA AC AG AT CA CC CG GA GC TA
        both = kmer_profiles([encode("AAC")], 2, both_strands=True).toarray()[0]
        np.testing.assert_allclose(both, np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]) / np.sqrt(2))

    def test_sites_on_either_strand_choose_both(self):
        def sites(n: int, seed: int) -> Examples:
            rng = np.random.default_rng(seed)
            rows = motif_examples(n, seed, motif="GATTACA")
            codes = [
                (3 - code[::-1]).astype(np.uint8) if rng.random() < 0.5 else code
                for code in rows.codes
            ]
            return Examples(codes=codes, labels=rows.labels, ids=rows.ids)

        _, record = kmer_logistic(sites(300, 1), sites(300, 2), sites(10, 3).codes, n_classes=2)
        assert record["both_strands"]


class TestGCContent:
    def test_of_known_bases(self):
        codes = [encode(text) for text in ("GGCC", "ACGT", "NNNG", "NN", "ACGC")]
        np.testing.assert_allclose(gc_content(codes), [1, 0.5, 1, 0.5, 0.75])

    def test_it_finds_what_composition_tells_and_nothing_else(self):
        rng = np.random.default_rng(0)

        def part(n: int, share: tuple[float, float]) -> Examples:
            labels = np.arange(n) % 2
            rows = [
                "".join(
                    rng.choice(list("ACGT"), p=[(1 - p) / 2, p / 2, p / 2, (1 - p) / 2], size=80)
                )
                for p in np.array(share)[labels]
            ]
            return examples_of(rows, labels.tolist())

        for share, low, high in (((0.3, 0.7), 0.95, 1.0), ((0.5, 0.5), 0.3, 0.7)):
            test = part(200, share)
            found, record = gc_logistic(part(200, share), part(100, share), test.codes, n_classes=2)
            assert low <= (found.argmax(axis=1) == test.labels).mean() <= high
            assert record["parameters_updated"] == 2


class TestKmerLogistic:
    def test_finds_a_motif(self):
        test = motif_examples(200, seed=3)
        probabilities, record = kmer_logistic(
            motif_examples(600, seed=1), motif_examples(200, seed=2), test.codes, n_classes=2
        )
        assert probabilities.shape == (200, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.argmax(axis=1) == test.labels).mean() > 0.85
        assert record["kmer_length"] in (4, 5, 6)  # three bases say little about five
        assert record["parameters_updated"] == 4 ** record["kmer_length"] + 1
        assert record["converged"]

    def test_is_deterministic_and_three_classes_have_three_columns(self):
        parts = [motif_examples(60, seed=seed) for seed in range(3)]
        for part in parts:
            part.labels[::3] = 2
        first, _ = kmer_logistic(*parts[:2], parts[2].codes, n_classes=3)
        again, _ = kmer_logistic(*parts[:2], parts[2].codes, n_classes=3)
        assert first.shape == (60, 3)
        np.testing.assert_array_equal(first, again)


class TestChooseLogistic:
    """Against scikit-learn fitted once for each strength, without a warm start."""

    def data(self, seed: int = 0, n: int = 200, noise: float = 1.5):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(n, 5))
        labels = (features[:, 0] - features[:, 1] + rng.normal(scale=noise, size=n) > 0).astype(int)
        return features, labels

    def choose(self, strengths=(0.01, 1.0, 100.0), **settings):
        train, valid = self.data(0), self.data(1)
        defaults = {"strengths": strengths, "metric": "accuracy", "n_classes": 2}
        return choose_logistic(*train, *valid, **(defaults | settings))

    def test_coefficients_and_probabilities(self):
        for strength in (0.01, 1.0, 100.0):
            chosen = self.choose(strengths=(strength,))
            reference = LogisticRegression(C=strength, tol=1e-8).fit(*self.data(0))
            np.testing.assert_allclose(chosen.regression.coef_, reference.coef_, atol=1e-3)
            features, labels = self.data(1)
            np.testing.assert_allclose(
                chosen.predict(features), reference.predict_proba(features), atol=1e-3
            )
            assert chosen.valid_metric == reference.score(features, labels)

    def test_the_best_on_validation_is_kept(self):
        scores = {}
        for strength in (0.01, 1.0, 100.0):
            reference = LogisticRegression(C=strength, tol=1e-8).fit(*self.data(0))
            scores[strength] = reference.score(*self.data(1))
        chosen = self.choose()
        assert chosen.valid_metric == max(scores.values())
        assert chosen.strength == min(c for c, s in scores.items() if s == max(scores.values()))

    def test_the_order_of_the_strengths_does_not_matter(self):
        first, second = self.choose((0.01, 1.0, 100.0)), self.choose((100.0, 0.01, 1.0))
        assert first.strength == second.strength
        np.testing.assert_array_equal(first.regression.coef_, second.regression.coef_)

    def test_sparse_features_give_the_same(self):
        (train, labels), (valid, valid_labels) = self.data(0), self.data(1)
        settings = {"strengths": (1.0,), "metric": "mcc", "n_classes": 2}
        dense = choose_logistic(train, labels, valid, valid_labels, **settings)
        csr = sparse.csr_array(train), sparse.csr_array(valid)
        from_csr = choose_logistic(csr[0], labels, csr[1], valid_labels, **settings)
        np.testing.assert_allclose(from_csr.regression.coef_, dense.regression.coef_, atol=1e-4)

    def test_a_class_that_never_occurs_has_probability_zero(self):
        features, _ = self.data(0)
        chosen = self.choose(n_classes=4)
        assert chosen.predict(features).shape == (200, 4)
        assert chosen.predict(features)[:, 2:].max() == 0

    def test_non_convergence_is_told_and_not_warned_about(self, monkeypatch):
        monkeypatch.setattr(logistic, "_MAX_ITERATIONS", 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not self.choose().converged
        monkeypatch.undo()
        assert self.choose().converged
