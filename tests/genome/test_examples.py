"""The examples in the docstrings of these rooms, run as they stand."""

import doctest
import importlib

import pytest

MODULES = [
    "genome.alphabet",
    "genome.annotation",
    "genome.digest",
    "genome.fasta",
    "genome.intervals",
    "genome.repeats",
    "genome.splits",
    "tokenizers.character",
    "data.windows",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(f"lightning_dna.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
