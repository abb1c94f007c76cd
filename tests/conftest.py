"""Fixtures shared by every room: the real-data folder, and a private cache."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory):
    """Point the genome cache of this session and of its processes at a temporary folder."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        os.environ.pop("XDG_CACHE_HOME")
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real data, or skip with the reason."""
    root = os.environ.get("LIGHTNING_DNA_DATA", "")
    if not root or not (Path(root) / "data").is_dir():
        pytest.skip("real data: set LIGHTNING_DNA_DATA to the folder that holds data/ and golden/")
    return Path(root) / "data"
