"""The public names load, are documented, and every example in a docstring runs."""

import doctest
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

import lightning_dna
import lightning_dna.stats

PACKAGE = Path(lightning_dna.__file__).parent
GROUND_FLOOR = {"settings", "errors", "catalog", "study.factors", "study.recipe"}


def with_examples() -> list[str]:
    """Dotted names, below the package, of the modules that show examples."""
    return [
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8") and path.stem != "__init__"
    ]


def test_the_version_is_that_of_the_installed_package():
    assert lightning_dna.__version__ == version("lightning-dna")


def test_the_names_that_users_expect_are_there():
    expected = {
        "Genome",
        "ChromosomeSplit",
        "ModelConfig",
        "RunConfig",
        "HyenaMaskedLM",
        "AttentionALiBiMaskedLM",
        "fit",
        "compare",
        "__version__",
    }
    assert expected <= set(lightning_dna.__all__)
    assert len(set(lightning_dna.__all__)) == len(lightning_dna.__all__)


@pytest.mark.parametrize("name", [n for n in lightning_dna.__all__ if n != "__version__"])
def test_public_name(name):
    found = getattr(lightning_dna, name)
    assert inspect.isclass(found) or inspect.isfunction(found)
    assert found.__name__ == name
    assert inspect.getdoc(found)
    assert found.__module__.startswith("lightning_dna.")
    assert name in dir(lightning_dna)


@pytest.mark.parametrize("name", lightning_dna.stats.__all__)
def test_public_name_of_the_statistics(name):
    found = getattr(lightning_dna.stats, name)
    assert inspect.getdoc(found)
    assert name in dir(lightning_dna.stats)
    if name not in ("METRICS",):
        assert found.__name__ == name
        assert found.__module__.startswith("lightning_dna.stats.")


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Genom'"):
        _ = lightning_dna.Genom
    with pytest.raises(AttributeError, match="has no attribute 'comparing'"):
        _ = lightning_dna.stats.comparing


def test_the_ground_floor_shows_examples():
    assert set(with_examples()) >= GROUND_FLOOR


@pytest.mark.parametrize("module", ["", "stats", *with_examples()])
def test_docstring_examples(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(f"lightning_dna.{module}".rstrip(".")))
    assert outcome.failed == 0
    assert outcome.attempted > 0
    assert list(tmp_path.iterdir()) == []
