"""Contexts of a hundred thousand bases and more, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "speed" / "long_context.py"
GIB = 1024  # MiB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]


@pytest.mark.parametrize(
    ("case", "most"), [(1, 10 * GIB), (2, 2 * GIB), (5, 10 * GIB)], ids=["forward", "embed", "step"]
)
def test_stays_within_memory(case, most):
    """A million bases forward, whole and by windows; a training step at 131,072."""
    command = [sys.executable, str(PROGRAM), "--case", str(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["peak"] < most
