"""Put the scores of trained and of untrained weights into one file, for `lightning-dna compare`.

A study with the scores `llr` and `untrained_llr` tabulates both, arm by arm; what training changed
is the paired difference between the two, which this makes a comparison of models.

    python benchmarks/control_predictions.py STUDY --task brca1-sge --score llr --out both.csv
    lightning-dna compare both.csv --baseline hyena_untrained --scope procedure
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from lightning_dna import atomic
from lightning_dna.tasks.base import Scores


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--task", required=True, help="name of the card")
    parser.add_argument("--score", default="llr", help="default: llr")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    options = parser.parse_args()
    tables = []
    for name, ending in ((options.score, ""), (f"untrained_{options.score}", "_untrained")):
        for path in sorted(options.study.glob(f"runs/*/scores/{options.task}-{name}-*.parquet")):
            frame = Scores.read(path).frame
            named = frame["variant"].astype(str) + ending
            tables.append(frame.assign(task=options.task, variant=named))
    if len({str(name) for one in tables for name in one["variant"].unique()}) < 2:
        sys.exit(f"{options.study} holds no scores {options.score} of both kinds.")
    atomic.write_text(options.out, pd.concat(tables).to_csv(index=False))


if __name__ == "__main__":
    main()
