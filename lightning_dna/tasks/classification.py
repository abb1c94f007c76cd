"""Sequence classification: a model, probed or fine-tuned in four ways, and the baselines beside it.

Training examples fit, validation examples choose, test examples are predicted once. The functions
that fit never see a test label.
"""

import time
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.preprocessing import StandardScaler

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.errors import unknown_name
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.kmer_logistic import kmer_logistic
from lightning_dna.tasks.baselines.supervised import NETWORKS, supervised_baseline
from lightning_dna.tasks.card import CLASSIFICATION_BASELINES, TaskCard, Way
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.tasks.logistic import choose_logistic
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed, finetune

Probabilities = npt.NDArray[np.float64]
Record = dict[str, Any]

_PROBES = ("frozen", "random")  # the others update all weights
_FROM_PRETRAINED = ("frozen", "full")  # the others start from initial weights


def score_classification(
    card: TaskCard,
    task: LabelledTask,
    *,
    way: Way,
    model: LanguageModel,
    untrained: LanguageModel,
    variant: str,
    seed: int,
    config: FineTuneConfig,
    device: str = "cpu",
    encoding: Encoding = CHARACTERS,
) -> tuple[Scores, Record]:
    """Adapt a model to a task in one way and score the test examples.

    ``frozen`` fits a logistic regression on the standardised mean hidden states of the pretrained
    model (C chosen on the validation examples), ``full`` fine-tunes all its weights; ``random`` and
    ``scratch`` do the same from the initial weights.

    Args:
        card: The task's card.
        task: Its examples, from `load_examples`.
        way: One of the four.
        model: Pretrained model; not modified.
        untrained: The same architecture with the initial weights of the same seed; not modified.
        variant: Name of the arm in the score table.
        seed: Seed of the run: head, order of examples, dropout.
        config: Settings of fine-tuning and probe, the same for every arm.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.

    Returns:
        Scores with the task name ``"<card>/<way>"``, and a record with the keys ``way``,
        ``parameters_updated``, ``seconds``, ``best_epoch``, ``epochs_run``, ``chosen_c``,
        ``valid_metric``, ``n_train``, ``n_valid``, ``n_test``, ``notes``; ``None`` where a key
        means nothing.

    Raises:
        ConfigError: If the way is unknown or fine-tuning diverges.
        DataError: If a sequence is longer than the model allows.
    """
    if way not in get_args(Way):
        raise unknown_name("way", way, get_args(Way))
    started = time.perf_counter()
    start = model if way in _FROM_PRETRAINED else untrained
    if way in _PROBES:
        probabilities, record = _probe(start, task, config, device, encoding)
    else:
        probabilities, record = _full(start, task, config, seed, device, encoding)
    name = f"{card.name}/{way}"
    scores = _scores(name, task.test, probabilities, variant=variant, seed=seed)
    return scores, {
        "way": way,
        **record,
        "seconds": time.perf_counter() - started,
        "n_train": len(task.train),
        "n_valid": len(task.valid),
        "n_test": len(task.test),
    }


def score_baseline(
    card: TaskCard, task: LabelledTask, name: str, *, seed: int, device: str = "cpu"
) -> Scores:
    """Score a baseline on the test examples, with the task name ``"<card>"``.

    Args:
        card: The task's card.
        task: Its examples.
        name: One of ``CLASSIFICATION_BASELINES``; also the variant in the table.
        seed: Seed of the networks; the others have no randomness.
        device: Where the networks train.

    Raises:
        ConfigError: If the name is unknown.
    """
    probabilities, _ = fit_baseline(task, name, seed=seed, device=device)
    return _scores(card.name, task.test, probabilities, variant=name, seed=seed)


def fit_baseline(
    task: LabelledTask, name: str, *, seed: int, device: str = "cpu"
) -> tuple[Probabilities, Record]:
    """Fit a baseline; return the class probabilities of the test examples and a record.

    Raises:
        ConfigError: If the name is unknown.
    """
    n_classes, test_codes = len(task.classes), task.test.codes
    if name == "majority":
        shares = np.bincount(task.train.labels, minlength=n_classes) / len(task.train)
        return np.tile(shares, (len(test_codes), 1)), {"class": task.classes[shares.argmax()]}
    if name == "kmer_logistic":
        return kmer_logistic(task.train, task.valid, test_codes, n_classes=n_classes)
    if name in NETWORKS:
        return supervised_baseline(
            name,
            task.train,
            task.valid,
            test_codes,
            n_classes=n_classes,
            seed=seed,
            device=device,
        )
    raise unknown_name("baseline", name, CLASSIFICATION_BASELINES)


def relabel(scores: Scores, task: str) -> Scores:
    """Return the same classification scores under another task name.

    Statistics compare variants within a task, so a baseline's one prediction stands beside the arms
    of every way.
    """
    return Scores(scores.frame.assign(task=task), scores.kind)


def _probe(
    model: LanguageModel,
    task: LabelledTask,
    config: FineTuneConfig,
    device: str,
    encoding: Encoding,
) -> tuple[Probabilities, Record]:
    """Fit a linear probe on frozen embeddings; predict the test examples."""
    train, valid, test = (
        embed(model, part.codes, device=device, encoding=encoding).astype(np.float64)
        for part in (task.train, task.valid, task.test)
    )
    scaler = StandardScaler().fit(train)
    chosen = choose_logistic(
        scaler.transform(train),
        task.train.labels,
        scaler.transform(valid),
        task.valid.labels,
        strengths=config.probe_c,
        metric=config.metric,
        n_classes=len(task.classes),
    )
    notes = [] if chosen.converged else ["The logistic regression did not converge."]
    return chosen.predict(scaler.transform(test)), {
        "parameters_updated": chosen.parameters,
        "best_epoch": None,
        "epochs_run": None,
        "chosen_c": chosen.strength,
        "valid_metric": chosen.valid_metric,
        "notes": notes,
    }


def _full(
    model: LanguageModel,
    task: LabelledTask,
    config: FineTuneConfig,
    seed: int,
    device: str,
    encoding: Encoding,
) -> tuple[Probabilities, Record]:
    """Fine-tune all weights; predict the test examples."""
    tuned = finetune(
        model,
        task.train,
        task.valid,
        config,
        n_classes=len(task.classes),
        seed=seed,
        device=device,
        encoding=encoding,
    )
    return tuned.predict(task.test), {
        "parameters_updated": tuned.parameters_updated,
        "best_epoch": tuned.best_epoch,
        "epochs_run": tuned.epochs_run,
        "chosen_c": None,
        "valid_metric": tuned.valid_metric,
        "notes": [],
    }


def _scores(
    name: str, test: Examples, probabilities: Probabilities, *, variant: str, seed: int
) -> Scores:
    """Put predictions and labels of the test examples into a score table."""
    binary = probabilities.shape[1] == 2
    frame = pd.DataFrame(
        {
            "task": name,
            "variant": variant,
            "seed": seed,
            "example_id": test.ids,
            "cluster_id": test.cluster_ids,
            "label": test.labels,
            "prediction": probabilities.argmax(axis=1),
            "score": probabilities[:, 1] if binary else np.nan,
            "split": "test",
        }
    )
    return Scores(frame, "classification")
