"""A suite of linear probes on one model: embeddings, the path of C, and a run from the cache.

Tasks are simulated promoters of different seeds. The peer is scikit-learn's ``LogisticRegression``
fitted once for each C from zero, on the same standardised embeddings and with the same tolerance:
what everyone writes first. Ours fits from small to large C, each from the one before. Times are CPU
time of the process on one thread; the ways take turns, and the medians of three rounds are shown.

    python benchmarks/speed/probe_suite.py --out reports/speed/probe_suite.md
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.classification import score_classification
from lightning_dna.tasks.embeddings import EmbeddingCache
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.logistic import choose_logistic
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed
from lightning_dna.training.loop import selection_metric

ROUNDS = 3
SETTINGS = FineTuneConfig(probe_c=(0.001, 0.01, 0.1, 1.0, 10.0))
Features = np.ndarray
Data = tuple[Features, np.ndarray, Features, np.ndarray]


def card(seed: int, options: argparse.Namespace) -> TaskCard:
    """Return the card of one task."""
    return TaskCard(
        name=f"promoter-{seed}",
        kind="simulated_classification",
        title="Simulated promoters",
        simulated="promoter",
        n_train=options.train,
        n_valid=options.train // 10,
        n_test=options.train // 4,
        length=options.length,
        seed=seed,
    )


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def suite_seconds(
    tasks: list[tuple[TaskCard, LabelledTask]], model: LanguageModel, cache: EmbeddingCache
) -> float:
    """Score every task with a probe."""

    def work() -> None:
        for one, task in tasks:
            score_classification(
                one,
                task,
                way="frozen",
                model=model,
                untrained=model,
                variant="model",
                seed=0,
                config=SETTINGS,
                cache=cache,
            )

    return timed(work)


def standardised(model: LanguageModel, task: LabelledTask) -> Data:
    """Return features and labels of the training and validation part."""
    train, valid = (embed(model, part.codes).astype(float) for part in (task.train, task.valid))
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), task.train.labels, scaler.transform(valid), task.valid.labels


def ours(data: Data) -> tuple[float, float]:
    """Fit the path; returns the chosen C and its validation metric."""
    chosen = choose_logistic(*data, strengths=SETTINGS.probe_c, metric="mcc", n_classes=2)
    return chosen.strength, chosen.valid_metric


def peer(data: Data) -> tuple[float, float]:
    """Fit every C from zero."""
    train, labels, valid, valid_labels = data
    found = {}
    for strength in SETTINGS.probe_c:
        probe = LogisticRegression(C=strength, max_iter=1_000).fit(train, labels)
        found[strength] = selection_metric("mcc", valid_labels, probe.predict(valid))
    best = max(found, key=lambda strength: found[strength])
    return best, found[best]


def in_turns(data: list[Data]) -> tuple[float, float]:
    """Return the median CPU seconds of our path and of the peer, over all tasks."""
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(timed(lambda: [ours(one) for one in data]))
        theirs.append(timed(lambda: [peer(one) for one in data]))
    return statistics.median(mine), statistics.median(theirs)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=18)
    parser.add_argument("--train", type=int, default=2_000)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [
        (one, load_examples(one)) for one in (card(at, options) for at in range(options.tasks))
    ]
    lines = [
        f"{options.tasks} tasks of {options.train} training sequences of {options.length} bases; "
        f"{options.layers} layers of width {options.width}; {len(SETTINGS.probe_c)} values of C; "
        "CPU seconds, one thread.",
        "",
        "| mixer | suite, nothing kept | suite, from the cache | path of C, all tasks | "
        "scikit-learn, each C from zero | ratio | same C chosen |",
        "|---|---|---|---|---|---|---|",
    ]
    for mixer in ("hyena", "attention"):
        config = ModelConfig(
            mixer=mixer,
            width=options.width,
            layers=options.layers,
            heads=4,
            max_length=options.length,
        )
        model = build_model(config, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            cache = EmbeddingCache(folder=Path(folder))
            first = suite_seconds(tasks, model, cache)
            again = suite_seconds(tasks, model, cache)
        data = [standardised(model, task) for _, task in tasks]
        mine, theirs = in_turns(data)
        same = sum(ours(one)[0] == peer(one)[0] for one in data)
        lines.append(
            f"| {mixer} | {first:.1f} | {again:.1f} | {mine:.2f} | {theirs:.2f} | "
            f"{theirs / mine:.2f} | "
            f"{same} of {len(data)} |"
        )
    text = "\n".join(lines) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
