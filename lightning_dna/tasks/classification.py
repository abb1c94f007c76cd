"""Sequence classification: a model used in one way, and the baselines beside it.

Training examples fit, validation examples choose (epoch, learning rate, regularisation), test
examples are predicted once, by what was chosen. The functions that fit never see a test label.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Examples
from lightning_dna.errors import unknown_name
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.kmer_logistic import gc_logistic, kmer_logistic
from lightning_dna.tasks.baselines.network import with_budget
from lightning_dna.tasks.baselines.supervised import NETWORKS, supervised_baseline
from lightning_dna.tasks.card import PROBES, TaskCard, Way
from lightning_dna.tasks.card_kinds import CLASSIFICATION_BASELINES
from lightning_dna.tasks.embeddings import EmbeddingCache
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.tasks.folds import Fold, divide, pool
from lightning_dna.tasks.learning_rates import choose_rate
from lightning_dna.tasks.probe import Embedder, fit_probe
from lightning_dna.training.adaptation.cnn import keep_parts
from lightning_dna.training.adaptation.ways import STARTS_FRESH, adapt
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import FineTuned
from lightning_dna.training.inputs import StateInputs
from lightning_dna.training.loop import CLASSES

Probabilities = npt.NDArray[np.float64]
Record = dict[str, Any]
Outcome = tuple[Probabilities, Record]

_LOGISTIC = {"kmer_logistic": kmer_logistic, "gc_content": gc_logistic}


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
    cache: EmbeddingCache | None = None,
) -> tuple[Scores, Record]:
    """Adapt a model to a task in one way and score the test examples.

    ``frozen`` and ``random`` fit a logistic regression on embeddings; every other way trains, once
    for each learning rate of the settings, and keeps what is best on validation. With ``folds`` on
    the card all of this happens once for each fold, see :mod:`lightning_dna.tasks.folds`.

    Args:
        card: The task's card.
        task: Its examples, from `load_examples`.
        way: How the weights are used.
        model: Pretrained model; not modified, nor is the next.
        untrained: The same architecture with the initial weights of the same seed.
        variant: Name of the arm in the score table.
        seed: Seed of the run: head, order of examples, dropout.
        config: Settings of fine-tuning and probe, the same for every arm.
        device: Where to compute.
        encoding: How sequences become the ids that the model reads.
        cache: Where embeddings are kept.

    Returns:
        Scores with the task name ``"<card>/<way>"``, and a record with the keys ``way``,
        ``parameters_updated``, ``seconds``, ``best_epoch``, ``epochs_run``, ``chosen_c``,
        ``c_at_edge``, ``chosen_lr``, ``lr_at_edge``, ``tried``, ``valid_metric``,
        ``examples_per_second``, ``context_length``, ``n_train``, ``n_valid``, ``n_test``,
        ``notes``; ``None`` where a key means nothing. With folds also ``folds``, the record of
        each, and ``mean_of_folds``, the mean of each fold's metrics on the test part.

    Raises:
        ConfigError: If the way is unknown or fine-tuning diverges at every learning rate.
        DataError: If a sequence is longer than the model allows.
    """
    if way not in get_args(Way):
        raise unknown_name("way", way, get_args(Way))
    started = time.perf_counter()
    divisions = divide(task, card.folds)
    embedder = Embedder(
        model=untrained if way in STARTS_FRESH else model,
        config=config,
        device=device,
        encoding=encoding,
        cache=cache,
    )
    outcomes = _outcomes(embedder, way, task, divisions, seed)
    name = f"{card.name}/{way}"
    scores = _scores(name, task.test, outcomes, divisions, variant=variant, seed=seed)
    seconds = time.perf_counter() - started
    return scores, {
        "way": way,
        "context_length": max(map(len, task.train.codes)),
        "examples_per_second": sum(map(len, (task.train, task.valid, task.test))) / seconds,
        **_merged(card, task, outcomes, divisions),
        "seconds": seconds,
        "n_train": len(divisions[0].train),
        "n_valid": len(divisions[0].valid),
        "n_test": len(task.test),
    }


def score_baseline(
    card: TaskCard,
    task: LabelledTask,
    name: str,
    *,
    seed: int,
    device: str = "cpu",
    rates: int = 1,
) -> tuple[Scores, Record]:
    """Score a baseline on the test examples, with the task name ``"<card>"``.

    Args:
        card: The task's card.
        task: Its examples.
        name: One of ``CLASSIFICATION_BASELINES``; also the variant in the table.
        seed: Seed of the networks; the others have no randomness.
        device: Where the networks train.
        rates: Learning rates that the networks may try: as many as the arms.

    Returns:
        The scores, and a record of what was chosen.

    Raises:
        ConfigError: If the name is unknown.
    """
    divisions = divide(task, card.folds)
    outcomes = [
        fit_baseline(_in_fold(task, fold), name, seed=seed, device=device, rates=rates)
        for fold in divisions
    ]
    scores = _scores(card.name, task.test, outcomes, divisions, variant=name, seed=seed)
    return scores, _merged(card, task, outcomes, divisions)


def fit_baseline(
    task: LabelledTask, name: str, *, seed: int, device: str = "cpu", rates: int = 1
) -> Outcome:
    """Fit a baseline; return the class probabilities of the test examples and a record.

    Raises:
        ConfigError: If the name is unknown.
    """
    n_classes, test_codes = len(task.classes), task.test.codes
    if name == "majority":
        shares = np.bincount(task.train.labels, minlength=n_classes) / len(task.train)
        return np.tile(shares, (len(test_codes), 1)), {"class": task.classes[shares.argmax()]}
    if name in _LOGISTIC:
        return _LOGISTIC[name](task.train, task.valid, test_codes, n_classes=n_classes)
    if name in NETWORKS:
        return supervised_baseline(
            name,
            task.train,
            task.valid,
            test_codes,
            n_classes=n_classes,
            seed=seed,
            device=device,
            config=with_budget(rates),
        )
    raise unknown_name("baseline", name, CLASSIFICATION_BASELINES)


def relabel(scores: Scores, task: str) -> Scores:
    """Return the same classification scores under another task name.

    Statistics compare variants within a task, so a baseline's one prediction stands beside the arms
    of every way.
    """
    return Scores(scores.frame.assign(task=task), scores.kind)


def _in_fold(task: LabelledTask, fold: Fold) -> LabelledTask:
    """Return the task with the training and validation examples of a fold."""
    if not fold.name:
        return task
    everything = pool(task)
    return dataclasses.replace(
        task, train=everything.select(fold.train), valid=everything.select(fold.valid)
    )


def _outcomes(
    start: Embedder, way: Way, task: LabelledTask, divisions: Sequence[Fold], seed: int
) -> list[Outcome]:
    """Use a model in one way, once for each division of the examples."""
    if way in PROBES:
        return _probe(start, task, divisions)
    kept: dict[str, StateInputs] = {}  # frozen states, the same at every rate
    if way == "frozen_cnn" and len(divisions) > 1:
        kept = keep_parts(
            start.model,
            start.config,
            start.encoding,
            pool(task).codes,
            [rows for fold in divisions for rows in (fold.train, fold.valid)],
            device=start.device,
        )
    return [_tuned(start, way, _in_fold(task, fold), seed, kept) for fold in divisions]


def _probe(embedder: Embedder, task: LabelledTask, divisions: Sequence[Fold]) -> list[Outcome]:
    """Fit a linear probe for each division on one set of embeddings."""
    parts = [embedder(part.codes) for part in (task.train, task.valid)]
    everything, test = np.concatenate(parts), embedder(task.test.codes)
    outcomes = []
    for fold in divisions:
        features = everything[fold.train], everything[fold.valid], test
        part = _in_fold(task, fold)
        outcomes.append(
            fit_probe(
                features, part.train, part.valid, embedder.config, n_classes=len(task.classes)
            )
        )
    return outcomes


def _tuned(
    start: Embedder, way: Way, task: LabelledTask, seed: int, kept: dict[str, StateInputs]
) -> Outcome:
    """Train at each learning rate, and predict the test examples with the best on validation."""

    def train(one: FineTuneConfig) -> FineTuned:
        return adapt(
            start.model,
            way,
            task.train,
            task.valid,
            one,
            n_classes=len(task.classes),
            seed=seed,
            device=start.device,
            encoding=start.encoding,
            kept=kept,
        )

    choice = choose_rate(train, start.config)
    tuned = choice.tuned
    return tuned.predict(task.test), {
        "parameters_updated": tuned.parameters_updated,
        "best_epoch": tuned.best_epoch,
        "epochs_run": tuned.epochs_run,
        "chosen_c": None,
        "c_at_edge": None,
        "chosen_lr": choice.rate,
        "lr_at_edge": choice.at_edge,
        "tried": list(choice.tried),
        "valid_metric": tuned.valid_metric,
        "examples_per_second": tuned.examples_per_second,
        "context_length": tuned.context_length,
        "notes": [],
    }


def _merged(
    card: TaskCard, task: LabelledTask, outcomes: Sequence[Outcome], divisions: Sequence[Fold]
) -> Record:
    """Return the record of the only division, or what is common to those of all folds."""
    records = [record for _, record in outcomes]
    if not divisions[0].name:
        return records[0]
    merged = {
        key: value if all(one[key] == value for one in records) else None
        for key, value in records[0].items()
    }
    merged["valid_metric"] = _mean([one.get("valid_metric") for one in records])
    merged["notes"] = list(dict.fromkeys(note for one in records for note in one.get("notes", [])))
    merged["folds"] = [
        {"fold": fold.name, **record} for fold, record in zip(divisions, records, strict=True)
    ]
    merged["mean_of_folds"] = {
        metric: _mean([CLASSES.value(metric, task.test.labels, found) for found, _ in outcomes])
        for metric in card.metrics
    }
    return merged


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or ``None`` where a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _scores(
    name: str,
    test: Examples,
    outcomes: Sequence[Outcome],
    divisions: Sequence[Fold],
    *,
    variant: str,
    seed: int,
) -> Scores:
    """Put predictions and labels of the test examples into a score table, fold below fold.

    The rows of one example share a cluster: it is one unit, however often it was predicted.
    """
    frames = []
    for (probabilities, _), fold in zip(outcomes, divisions, strict=True):
        binary = probabilities.shape[1] == 2
        frame = pd.DataFrame(
            {
                "task": name,
                "variant": variant,
                "seed": seed,
                "example_id": [f"{one}/{fold.name}" if fold.name else one for one in test.ids],
                "cluster_id": test.cluster_ids,
                "label": test.labels,
                "prediction": probabilities.argmax(axis=1),
                "score": probabilities[:, 1] if binary else np.nan,
                "split": "test",
            }
        )
        frames.append(frame)
    return Scores(pd.concat(frames, ignore_index=True), "classification")
