"""The networks as baselines: they learn, they answer by name, and nothing else is scored again."""

import dataclasses

import numpy as np
import pytest

from lightning_dna.data.examples import Examples
from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import encode
from lightning_dna.models.supervised.convnova import ConvNovaLike
from lightning_dna.models.supervised.enformer import EnformerLike
from lightning_dna.study.scoring import RANDOM_BASELINES
from lightning_dna.tasks.baselines.network import train_network
from lightning_dna.tasks.baselines.supervised import NETWORKS, supervised_baseline
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import CLASSIFICATION_BASELINES
from lightning_dna.tasks.classification import score_baseline
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.training.config import FineTuneConfig

QUICK = FineTuneConfig(epochs=6, lr=3e-3, batch_size=16, patience=6)
MOTIF = "GATTACAGATTACA"


def planted(n: int, seed: int) -> Examples:
    """Class 1 holds the motif somewhere, class 0 does not; lengths differ."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        row = "".join(rng.choice(list("ACGT"), size=64 - int(rng.integers(0, 6))))
        if index % 2:
            at = int(rng.integers(0, len(row) - len(MOTIF)))
            row = row[:at] + MOTIF + row[at + len(MOTIF) :]
        rows.append(row)
    return Examples(
        codes=[encode(row) for row in rows],
        labels=np.arange(n) % 2,
        ids=tuple(f"e{index}" for index in range(n)),
    )


TRAIN, VALID, TEST = (planted(n, seed) for seed, n in enumerate((300, 100, 200)))


def accuracy(probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == TEST.labels).mean())


@pytest.mark.parametrize("name", ["gb_cnn", "gb_cnn_fixed"])
def test_gb_cnn_learns_a_planted_motif(name):
    probabilities, record = supervised_baseline(
        name, TRAIN, VALID, TEST.codes, n_classes=2, seed=0, config=QUICK
    )
    assert accuracy(probabilities) > 0.85
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert record["seed"] == 0
    assert record["parameters_updated"] == 20_185  # 64 bases, two ends, one of padding
    again, _ = supervised_baseline(
        name, TRAIN, VALID, TEST.codes, n_classes=2, seed=0, config=QUICK
    )
    np.testing.assert_array_equal(again, probabilities)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ConvNovaLike(2, seed=0, width=16, layers=3),
        lambda: EnformerLike(2, seed=0, width=32, halvings=3, layers=1),
    ],
    ids=["convnova_like", "enformer_like"],
)
def test_likenesses_learn_a_planted_motif(build):
    probabilities, _ = train_network(build, TRAIN, VALID, TEST.codes, seed=0, config=QUICK)
    assert accuracy(probabilities) > 0.9


def test_without_the_motif_nothing_is_learned():
    """The control: labels that the sequences say nothing about."""
    shuffled = dataclasses.replace(TRAIN, labels=np.random.default_rng(5).permutation(TRAIN.labels))
    probabilities, _ = supervised_baseline(
        "gb_cnn_fixed", shuffled, VALID, TEST.codes, n_classes=2, seed=0, config=QUICK
    )
    assert accuracy(probabilities) < 0.75


def small_task() -> LabelledTask:
    parts = (TRAIN, VALID, TEST)
    train, valid, test = (part.select(np.arange(16)) for part in parts)
    return LabelledTask(train=train, valid=valid, test=test, classes=("0", "1"))


@pytest.fixture
def card() -> TaskCard:
    return TaskCard(
        name="planted",
        kind="simulated_classification",
        title="A planted motif",
        simulated="promoter",
        baselines=tuple(NETWORKS),
    )


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_each_is_scored_by_name_and_seed(card, name, monkeypatch):
    monkeypatch.setattr(
        "lightning_dna.tasks.classification.supervised_baseline",
        lambda *given, **named: supervised_baseline(
            *given, **(named | {"config": dataclasses.replace(QUICK, epochs=1)})
        ),
    )
    tables = [score_baseline(card, small_task(), name, seed=seed)[0].frame for seed in (0, 1)]
    assert [set(table["seed"]) for table in tables] == [{0}, {1}]
    assert set(tables[0]["variant"]) == {name}
    assert tables[0]["score"].tolist() != tables[1]["score"].tolist()


def test_the_tables_of_names_agree():
    assert set(NETWORKS) == set(RANDOM_BASELINES) < set(CLASSIFICATION_BASELINES)
    with pytest.raises(ConfigError, match=r"unknown network 'gb_cn'.*Did you mean 'gb_cnn'"):
        supervised_baseline("gb_cn", TRAIN, VALID, TEST.codes, n_classes=2, seed=0)


def test_a_card_refuses_what_is_no_baseline(card):
    with pytest.raises(ConfigError, match=r"baselines.*'enformer'.*Did you mean 'enformer_like'"):
        dataclasses.replace(card, baselines=("enformer",))
