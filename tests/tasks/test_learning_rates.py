"""The budget of learning rates: what is chosen, what is told, and that test labels play no part."""

import dataclasses

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DivergedError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.baselines.network import TRAINING, with_budget
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.classification import score_baseline, score_classification
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.learning_rates import choose_rate
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import finetune

RATES = (1e-4, 1e-3, 1e-2)


@dataclasses.dataclass
class Tuned:
    """Stands for a trained classifier."""

    valid_metric: float
    best_epoch: int = 1
    epochs_run: int = 2
    seconds: float = 3.0


def choose(metrics: dict[float, float | None], rates=RATES):
    """Choose among rates of which the validation metric is given; ``None`` diverges."""

    def train(config: FineTuneConfig) -> Tuned:
        value = metrics[config.rate]
        if value is None:
            raise DivergedError("fine-tuning diverged.")
        return Tuned(value)

    return choose_rate(train, FineTuneConfig(lr=rates))


class TestChoice:
    def test_the_best_on_validation(self):
        choice = choose({1e-4: 0.1, 1e-3: 0.3, 1e-2: 0.2})
        assert (choice.rate, choice.tuned.valid_metric, choice.at_edge) == (1e-3, 0.3, False)
        assert [(one["lr"], one["valid_metric"]) for one in choice.tried] == [
            (1e-4, 0.1),
            (1e-3, 0.3),
            (1e-2, 0.2),
        ]
        assert choice.seconds == 9.0

    @pytest.mark.parametrize("rates", [RATES, RATES[::-1]])
    def test_the_smallest_of_equals_in_whatever_order(self, rates):
        assert choose({1e-4: 0.1, 1e-3: 0.3, 1e-2: 0.3}, rates).rate == 1e-3

    @pytest.mark.parametrize("best", [1e-4, 1e-2])
    def test_the_edge_of_the_list_is_told(self, best):
        assert choose({rate: float(rate == best) for rate in RATES}).at_edge

    def test_one_rate_has_no_edge(self):
        assert not choose({1e-3: 0.3}, rates=1e-3).at_edge

    def test_less_than_nothing_is_still_chosen(self):
        assert choose({1e-4: -0.4, 1e-3: -0.2, 1e-2: -0.3}).rate == 1e-3

    def test_a_rate_that_diverges_was_tried_and_lost(self):
        choice = choose({1e-4: 0.1, 1e-3: 0.3, 1e-2: None})
        assert choice.rate == 1e-3
        assert choice.tried[2] == {
            "lr": 1e-2,
            "valid_metric": None,
            "best_epoch": None,
            "epochs_run": None,
            "seconds": None,
        }
        assert choice.seconds == 6.0

    def test_all_diverge(self):
        with pytest.raises(ConfigError, match=r"at every learning rate of .*fine-tuning diverged"):
            choose(dict.fromkeys(RATES))


CARD = TaskCard(
    name="sim",
    kind="simulated_classification",
    title="Simulated",
    simulated="promoter",
    n_train=64,
    n_valid=32,
    n_test=32,
    length=60,
)
MODEL = ModelConfig(width=16, layers=1, heads=2, max_length=64)
SETTINGS = FineTuneConfig(epochs=2, batch_size=16, lr=(1e-4, 1e-2))


@pytest.fixture(scope="module")
def task() -> LabelledTask:
    return load_examples(CARD)


def test_a_study_scores_the_training_that_validation_chose(task):
    model = build_model(MODEL, seed=1)
    scores, record = score_classification(
        CARD,
        task,
        way="full",
        model=model,
        untrained=model,
        variant="arm",
        seed=0,
        config=SETTINGS,
    )
    by_hand = {}
    for rate in SETTINGS.rates:
        one = dataclasses.replace(SETTINGS, lr=rate)
        by_hand[rate] = finetune(model, task.train, task.valid, one, n_classes=2, seed=0)
    best = max(by_hand, key=lambda rate: by_hand[rate].valid_metric)
    assert record["chosen_lr"] == best
    assert record["lr_at_edge"] is True  # of two rates, each is an edge
    assert {one["lr"]: one["valid_metric"] for one in record["tried"]} == {
        rate: tuned.valid_metric for rate, tuned in by_hand.items()
    }
    expected = by_hand[best].predict(task.test)[:, 1]
    np.testing.assert_array_equal(scores.frame["score"], expected)


def test_the_networks_get_as_many_rates_as_the_arms(task):
    assert with_budget(1) is TRAINING
    assert with_budget(2).lr == (0.001, 0.00316)
    assert with_budget(4).lr == (0.000316, 0.001, 0.00316, 0.01)
    _, record = score_baseline(CARD, task, "gb_cnn_fixed", seed=0, rates=2)
    assert [one["lr"] for one in record["tried"]] == [0.001, 0.00316]
