"""Known truth: a model that cannot see far must lose on the task that needs it."""

import numpy as np
import pytest

from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.simulated_tasks import bayes_accuracy, simulated_task
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import finetune

LENGTH = 200


def examples(part) -> Examples:
    return Examples(
        codes=[encode(text) & np.uint8(7) for text in part.sequences],
        labels=part.labels,
        ids=tuple(part.ids),
    )


@pytest.mark.slow
def test_an_arm_that_cannot_see_long_range_loses_on_the_long_range_task():
    """The cap of additive local evidence is 0.725 accuracy, the best possible 0.95."""
    task = simulated_task(
        "long_range", n_train=3000, n_valid=400, n_test=1000, length=LENGTH, seed=1
    )
    train, valid, test = (examples(part) for part in (task.train, task.valid, task.test))
    config = FineTuneConfig(epochs=6, lr=2e-3, batch_size=16, patience=6, metric="accuracy")
    accuracy = {}
    for name, reach in (("everything", None), ("sixteen bases", 16)):
        model = build_model(
            ModelConfig(
                position="rope",
                width=64,
                layers=2,
                heads=4,
                max_length=LENGTH,
                attention_reach=reach,
            ),
            seed=0,
        )
        tuned = finetune(model, train, valid, config, n_classes=2, seed=0)
        accuracy[name] = float((tuned.predict(test).argmax(axis=1) == test.labels).mean())
    best = bayes_accuracy("long_range", length=LENGTH, n=4000).accuracy
    assert best == pytest.approx(0.95, abs=0.02)
    assert accuracy["everything"] > 0.85
    assert accuracy["sixteen bases"] < 0.75
