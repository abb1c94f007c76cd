"""Embeddings of a task's sequences, or of a FASTA file, as a file for other programs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna import atomic
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import CODE_BITS, Codes
from lightning_dna.genome.fasta import Genome
from lightning_dna.study.variant_scoring import ScoredModel
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.probe import Embedder
from lightning_dna.training.config import FineTuneConfig

ENDINGS = (".npz", ".parquet")
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """What is to be embedded.

    Attributes:
        codes: Base codes of each sequence.
        ids: Its name.
        parts: ``train``, ``valid`` or ``test``; empty for a FASTA file.
        labels: Number of its class, -1 where there is none.
        classes: Name of each class; empty for a FASTA file.
    """

    codes: list[Codes]
    ids: tuple[str, ...]
    parts: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()


def task_sequences(card: TaskCard, tasks_root: Path | None) -> Sequences:
    """Return the examples of all parts of a task, in the order train, valid, test.

    Raises:
        ConfigError: If the task has no labelled sequences.
        DataError: If its files are missing or wrong.
    """
    if card.kind not in ("classification", "simulated_classification"):
        raise ConfigError(
            f"task '{card.name}' is of kind '{card.kind}'; allowed: classification,"
            " simulated_classification."
        )
    task = load_examples(card, tasks_root)
    parts = {"train": task.train, "valid": task.valid, "test": task.test}
    return Sequences(
        codes=[codes for part in parts.values() for codes in part.codes],
        ids=tuple(name for part in parts.values() for name in part.ids),
        parts=tuple(name for name, part in parts.items() for _ in part.codes),
        labels=np.concatenate([part.labels for part in parts.values()]),
        classes=task.classes,
    )


def fasta_sequences(path: Path) -> Sequences:
    """Return the records of a FASTA file, plain or compressed.

    Raises:
        DataError: If the file is missing or no FASTA file of DNA.
    """
    genome = Genome.open(path)
    codes = [np.bitwise_and(genome.stored(name), np.uint8(CODE_BITS)) for name in genome.names]
    return Sequences(
        codes=codes,
        ids=tuple(genome.names),
        parts=("",) * len(codes),
        labels=np.full(len(codes), NO_LABEL, dtype=np.int64),
    )


def export_embeddings(
    scored: ScoredModel,
    sequences: Sequences,
    out: Path,
    *,
    config: FineTuneConfig,
    device: str = "cpu",
) -> tuple[int, int]:
    """Compute one vector for each sequence and write them, whole or not at all.

    ``.npz`` holds the arrays ``embeddings`` (float32, ``(n, width)``), ``id``, ``part``, ``label``
    and ``classes``; ``.parquet`` the columns ``id``, ``part``, ``label`` and ``e0``, ``e1``, ... A
    probe of a study is scikit-learn's ``StandardScaler`` and ``LogisticRegression`` on these.

    Args:
        scored: The model, from `lightning_dna.study.variant_scoring.open_model`.
        sequences: What is embedded.
        out: The file.
        config: Pooling and layer, and what becomes of sequences longer than the model.
        device: Where to compute.

    Returns:
        Number of sequences and of columns.

    Raises:
        ConfigError: If the file has another ending.
        DataError: If a sequence is longer than the model allows.
        ResultsError: If the file cannot be written.
    """
    if out.suffix not in ENDINGS:
        raise ConfigError(f"--out {out.name} ends in '{out.suffix}'; allowed: {', '.join(ENDINGS)}")
    if not sequences.codes:
        raise DataError("there is no sequence to embed.")
    embedder = Embedder(model=scored.model, config=config, device=device, encoding=scored.encoding)
    found = embedder(sequences.codes).astype(np.float32)
    with atomic.replacing(out) as temporary:
        if out.suffix == ".npz":
            with temporary.open("wb") as stream:
                np.savez(
                    stream,
                    embeddings=found,
                    id=np.array(sequences.ids, dtype=np.str_),
                    part=np.array(sequences.parts, dtype=np.str_),
                    label=sequences.labels,
                    classes=np.array(sequences.classes, dtype=np.str_),
                )
        else:
            columns = {f"e{at}": found[:, at] for at in range(found.shape[1])}
            frame = pd.DataFrame(
                {"id": sequences.ids, "part": sequences.parts, "label": sequences.labels, **columns}
            )
            frame.to_parquet(temporary, index=False)
    return found.shape
