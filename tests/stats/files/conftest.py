"""Predictions written to files and read back, and what is said about those that cannot be."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.reading import ReadingOptions, read_predictions
from lightning_dna.stats.predictions import Predictions

ROWS = {
    "id": ["007", "a,b", "x"],
    "label": [1, 0, 1],
    "pred": [1, 1, 0],
    "score": [0.75, 0.5, -1e-3],
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder, so that messages show short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Return a writer of tables in the format that a name says, or of a text as it stands."""

    def build(name: str, columns=None, *, text=None) -> Path:
        path = Path(name)
        plain = name.removesuffix(".gz")
        if text is None:
            frame = pd.DataFrame(ROWS if columns is None else columns)
            if plain.endswith((".parquet", ".pq")):
                frame.to_parquet(path, index=False)
                return path
            if plain.endswith((".jsonl", ".ndjson", ".json")):
                text = "\n".join(json.dumps(row) for row in frame.to_dict("records"))
            else:
                text = frame.to_csv(index=False, sep="\t" if plain.endswith(".tsv") else ",")
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return build


@pytest.fixture(scope="session")
def read() -> Callable[..., list[Predictions]]:
    """Return a reader of files, with reading options as keywords."""
    return lambda *paths, columns=None, **options: read_predictions(
        paths, columns, ReadingOptions(**options)
    )


@pytest.fixture(scope="session")
def message(read) -> Callable[..., str]:
    """Return a reader of files that cannot be used; it gives what is said about them."""

    def refused(*paths, columns=None, **options) -> str:
        with pytest.raises(StatsError) as caught:
            read(*paths, columns=columns, **options)
        return str(caught.value)

    return refused
