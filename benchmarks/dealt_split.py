"""Deal the rows of one labelled file to training, validation and test, in turn and label by label.

For benchmarks of which one file alone is at hand. Of five rows of a label three go to training,
the fourth to validation, the fifth to test, in the order of the file: nothing is drawn at random.

    python benchmarks/dealt_split.py test_human_nontata_promoters.csv.gz --out FOLDER/dealt.csv
"""

import argparse
from pathlib import Path

import pandas as pd

from lightning_dna import atomic

TURNS = ("train", "train", "train", "valid", "test")


def dealt(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``sequence``, ``label`` and ``split`` of a table with ``seq`` or ``sequence``."""
    frame = frame.rename(columns={"seq": "sequence"})[["sequence", "label"]]
    turns = frame.groupby("label").cumcount() % len(TURNS)
    return frame.assign(split=turns.map(dict(enumerate(TURNS))))


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="CSV with seq (or sequence) and label")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    options = parser.parse_args()
    atomic.write_text(options.out, dealt(pd.read_csv(options.file)).to_csv(index=False))


if __name__ == "__main__":
    main()
