"""Shipped data: by name, by path, in a checkout and in a wheel."""

from pathlib import Path

import pytest

from lightning_dna import catalog
from lightning_dna.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "recipe": "ablations",
    "suite": "benchmarks/suites",
    "task": "benchmarks/tasks",
    "source": "benchmarks/sources",
}


@pytest.mark.parametrize("kind", sorted(FOLDERS))
def test_names_are_the_files_of_the_checkout(kind):
    expected = sorted(path.stem for path in (ROOT / FOLDERS[kind]).glob("*.yaml"))
    assert catalog.names(kind) == expected
    assert expected
    for name in expected:
        assert catalog.resolve(kind, name) == ROOT / FOLDERS[kind] / f"{name}.yaml"


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown recipe 'quikstart'.*Did you mean 'quickstart'"):
        catalog.resolve("recipe", "quikstart")
    with pytest.raises(ConfigError, match=r"unknown suite 'mixer'"):
        catalog.resolve("suite", "mixer")


def test_paths_are_taken_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "quickstart.yaml").write_text("mine: 1\n")
    monkeypatch.chdir(tmp_path)
    assert catalog.resolve("recipe", "quickstart.yaml") == tmp_path / "quickstart.yaml"
    assert catalog.resolve("recipe", tmp_path / "quickstart.yaml") == tmp_path / "quickstart.yaml"
    assert catalog.resolve("recipe", "quickstart") == ROOT / "ablations" / "quickstart.yaml"


def test_a_file_named_by_a_file_is_looked_up_beside_it_first(tmp_path, monkeypatch):
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
        (folder / "card.yaml").touch()
    monkeypatch.chdir(here)
    assert catalog.resolve("task", "card.yaml", beside=beside) == beside / "card.yaml"
    (beside / "card.yaml").unlink()
    assert catalog.resolve("task", "card.yaml", beside=beside) == here / "card.yaml"


@pytest.mark.parametrize("name", ["no.yaml", "no/such", "folder/"])
def test_a_path_that_is_not_there_is_named_with_what_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"no recipe file at .*shipped names: .*quickstart"):
        catalog.resolve("recipe", name)


def test_a_wheel_carries_the_data_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "lightning_dna"
    package.mkdir(parents=True)
    monkeypatch.setattr(catalog, "__file__", str(package / "catalog.py"))
    with pytest.raises(ConfigError, match="the installation is incomplete"):
        catalog.shipped_root()
    shipped = package / "_shipped"
    (shipped / "ablations").mkdir(parents=True)
    (shipped / "benchmarks").mkdir()
    (shipped / "ablations" / "mine.yaml").touch()
    assert catalog.shipped_root() == shipped
    assert catalog.names("recipe") == ["mine"]
    # A folder of the same name next to an installed package is somebody else's.
    (package.parent / "ablations").mkdir()
    (package.parent / "benchmarks").mkdir()
    assert catalog.shipped_root() == shipped
