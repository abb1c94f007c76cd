"""The leakage audit beside BLAST: which test sequences have a relative in training?

BLAST aligns every test sequence with every training sequence, scored as hashFrag does (a match 1, a
mismatch -1, a gap of n bases -(n + 1); relatives from 60; https://github.com/de-Boer-Lab/hashFrag,
MIT-style licence). The audit counts k-mers in common. Needs NCBI BLAST+.

    python benchmarks/homology_agreement.py TRAIN.fa TEST.fa --out reports/leakage/hashfrag.md
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from lightning_dna import atomic
from lightning_dna.genome.alphabet import decode
from lightning_dna.tasks.audit_parts import AuditPart, read_audit_part
from lightning_dna.tasks.chance_relatives import chance_similarity
from lightning_dna.tasks.relations import LeakageSettings, Relations

SCORE = 60  # from which an alignment makes relatives
WEAKER = 40
KMERS = (8, 9, 10, 11, 12, 14, 16, 21)
AUDIT, BATTERY = (11, 0.1), (21, 0.1)  # defaults of the audit, and of the unit "homology"
COLUMNS = ["query", "target", "positive", "mismatch", "gap_openings", "gaps", "strand"]
BLAST = (
    *("-task", "blastn", "-word_size", "11", "-reward", "1", "-penalty", "-1"),
    *("-gapopen", "2", "-gapextend", "1", "-xdrop_ungap", "20", "-xdrop_gap", "30"),
    *("-xdrop_gap_final", "100", "-evalue", "10", "-dust", "no", "-strand", "both"),
)
TITLES = {
    "one": "One strand: sequences as written, as hashFrag's filter compares them",
    "both": "Both strands, without whole copies",
}

Floats = npt.NDArray[np.float64]
Parts = dict[str, AuditPart]


def alignments(parts: Parts) -> pd.DataFrame:
    """Align test with train; one row for each alignment, with its score and its strand."""
    if shutil.which("blastn") is None or shutil.which("makeblastdb") is None:
        sys.exit("blastn is missing; install NCBI BLAST+ (Debian: apt install ncbi-blast+).")
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            text = "".join(f">{at}\n{decode(one)}\n" for at, one in enumerate(part.codes or []))
            Path(folder, f"{name}.fa").write_text(text)
        made = ["makeblastdb", "-in", "train.fa", "-dbtype", "nucl"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True)  # noqa: S603
        form = "6 qseqid sseqid positive mismatch gapopen gaps sstrand"
        most = str(len(parts["train"]))
        asked = ["-query", "test.fa", "-db", "train.fa", "-outfmt", form, "-max_target_seqs", most]
        command = ["blastn", *BLAST, *asked, "-out", "found.tsv"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603
        found = pd.read_csv(Path(folder, "found.tsv"), sep="\t", names=COLUMNS)
    matches = found["positive"] - found["mismatch"]
    return found.assign(score=matches - found["gap_openings"] - found["gaps"])


def best_scores(found: pd.DataFrame, size: int) -> Floats:
    """Return the best alignment score of every test sequence, 0 without one."""
    best = found.groupby("query")["score"].max()
    return np.asarray(best.reindex(range(size)).fillna(0).to_numpy(), dtype=np.float64)


def agreement(similarity: Floats, score: Floats, threshold: float) -> dict[str, float]:
    """Return recall and precision of a threshold, and what the false alarms are."""
    flagged, related = similarity >= threshold, score >= SCORE
    hits, alarms = int((flagged & related).sum()), int((flagged & ~related).sum())
    return {
        "flagged": int(flagged.sum()),
        "recall": hits / related.sum(),
        "precision": hits / max(int(flagged.sum()), 1),
        "false alarms": alarms,
        f"of these {WEAKER} to {SCORE - 1}": int((flagged & ~related & (score >= WEAKER)).sum()),
    }


def best_threshold(similarity: Floats, score: Floats) -> float:
    """Return the threshold with the largest F1, in steps of 0.005."""
    related = score >= SCORE

    def f1(threshold: float) -> float:
        flagged = similarity >= threshold
        return float(2 * (flagged & related).sum() / (flagged.sum() + related.sum()))

    return max((at * 0.005 for at in range(1, 101)), key=f1)


def measured(parts: Parts, score: Floats, rows: npt.NDArray[np.bool_], strands: str) -> str:
    """Return the table of one choice of strands."""
    lines = []
    for k in tqdm(KMERS, desc=f"{strands} strand"):
        settings = LeakageSettings(k=k, both_strands=strands == "both")
        relations = Relations.of(parts, settings)
        similarity = np.nan_to_num(relations.best("test", "train").containment)[rows]
        chance = chance_similarity(parts["test"], "train", relations)
        ranked = {
            "AUROC": roc_auc_score(score >= SCORE, similarity),
            "AUPRC": average_precision_score(score >= SCORE, similarity),
        }
        asked = {best_threshold(similarity, score): "largest F1"}
        asked |= {(np.floor(np.quantile(chance, 0.99) / 0.005) + 1) * 0.005: "chance 1 %"}
        asked |= {row[1]: "default" for row in (AUDIT, BATTERY) if row[0] == k}
        for threshold, why in sorted(asked.items()):
            found = agreement(similarity, score, threshold)
            shares = {"by chance": float((chance >= threshold).mean())}
            lines.append(
                {"k": k, "threshold": threshold, "chosen by": why} | found | shares | ranked
            )
    return as_table(lines)


def as_table(lines: list[dict[str, object]]) -> str:
    """Write rows as a Markdown table."""

    def cell(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else f"{value}"

    rows = [
        list(lines[0]),
        ["---:"] * len(lines[0]),
        *([cell(v) for v in one.values()] for one in lines),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page(parts: Parts) -> str:
    """Return the whole page."""
    found, size = alignments(parts), len(parts["test"])
    as_written = best_scores(found[found["strand"] == "plus"], size)
    either = best_scores(found, size)
    both = Relations.of(parts, LeakageSettings())
    copies = np.isin(both.copies["test"], both.copies["train"])
    rest = ~copies
    scores = {"one": (as_written, np.ones(size, np.bool_)), "both": (either[rest], rest)}
    tables = [
        f"## {TITLES[name]}\n\n{int((score >= SCORE).sum()):,} of {len(score):,} test sequences "
        f"have an alignment of {SCORE} or more.\n\n{measured(parts, score, rows, name)}"
        for name, (score, rows) in scores.items()
    ]
    words = " ".join(BLAST)
    return "\n\n".join(
        [
            "# K-mers in common beside BLAST",
            f"{len(parts['train']):,} training and {size:,} test sequences. {int(copies.sum()):,} "
            f"of the test sequences are whole copies of training sequences on either strand. BLAST "
            f"calls, of sequences as they are written, {_cut(as_written)}; with both strands "
            f"{_cut(either)}.",
            f"*recall*: share of those with an alignment of {SCORE} or more that k-mers find; "
            f"*precision*: share of those found that have one; *by chance*: share of test "
            f"sequences that are found with shuffled letters. *chance 1 %*: the lowest threshold "
            f"at which that is 1 % at most, as the audit offers it. Defaults: k {AUDIT[0]} and "
            f"{AUDIT[1]} of `data leakage`, k {BATTERY[0]} and {BATTERY[1]} of the unit "
            f"`homology`.",
            *tables,
            f"Made by `python benchmarks/homology_agreement.py TRAIN TEST`; blastn {words}.\n",
        ]
    )


def _cut(score: Floats) -> str:
    """Say how many are homologous, and how many are left."""
    related = int((score >= SCORE).sum())
    return f"{related:,} homologous, which leaves {len(score) - related:,}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("train", type=Path, help="training sequences")
    parser.add_argument("test", type=Path, help="test sequences")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file")
    options = parser.parse_args()
    given = {"train": options.train, "test": options.test}
    atomic.write_text(options.out, page({n: read_audit_part(p, n) for n, p in given.items()}))


if __name__ == "__main__":
    main()
