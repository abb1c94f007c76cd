"""Baselines of whole GUE tasks: every published training example, no model of ours.

Only tasks whose three files are in the folder are scored; what is in the table already is not
scored again, so an interrupted run goes on. CPU seconds are those of one thread.

    python benchmarks/gue_baselines.py FOLDER_OF_GUE --out reports/gue-baselines/results.csv
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from sklearn.metrics import accuracy_score, matthews_corrcoef, roc_auc_score
from tqdm import tqdm

from lightning_dna import atomic
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.classification import score_baseline
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.suites import files_of, load_suite

NAMES = ("kmer_logistic", "onehot_cnn")


def row_of(card: TaskCard, name: str, root: Path) -> dict[str, object]:
    """Score one baseline on the test examples of one task."""
    task, before = load_examples(card, root), time.process_time()
    scores, record = score_baseline(card, task, name, seed=0)
    frame = scores.frame
    two = frame["label"].nunique() == 2
    return {
        "task": card.name,
        "baseline": name,
        "train": len(task.train),
        "test": len(frame),
        "mcc": matthews_corrcoef(frame["label"], frame["prediction"]),
        "accuracy": accuracy_score(frame["label"], frame["prediction"]),
        "auroc": roc_auc_score(frame["label"], frame["score"]) if two else float("nan"),
        "kmer_length": record.get("kmer_length"),
        "cpu_seconds": time.process_time() - before,
    }


def main() -> None:
    """Score what is missing of the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder that holds GUE")
    parser.add_argument("--baselines", nargs="*", default=list(NAMES))
    parser.add_argument("--suite", default="gue", help="name or file of a suite (default: gue)")
    parser.add_argument("--tasks", nargs="*", help="names of cards (default: all that are whole)")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = [
        card for card in load_suite(options.suite) if not files_of(card, options.folder).missing
    ]
    cards = [card for card in whole if not options.tasks or card.name in options.tasks]
    rows = pd.read_csv(options.out).to_dict("records") if options.out.is_file() else []
    known = {(row["task"], row["baseline"]) for row in rows}
    left = [(c, name) for name in options.baselines for c in cards if (c.name, name) not in known]
    for card, name in tqdm(left, unit="baseline"):
        rows.append(row_of(card, name, options.folder))
        atomic.write_text(options.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
