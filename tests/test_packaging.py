"""A wheel carries everything, and works where there is no checkout."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import lightning_dna
from lightning_dna import catalog

CHECKOUT = Path(lightning_dna.__file__).resolve().parent.parent
SHIPPED = "lightning_dna/_shipped"

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "pyproject.toml").is_file(), reason="a wheel is built from a checkout"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(
        [*command, str(CHECKOUT)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    """Every file in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


class TestContents:
    def test_every_file_of_the_package(self, names):
        package = CHECKOUT / "lightning_dna"
        expected = {
            path.relative_to(CHECKOUT).as_posix()
            for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        }
        assert {"lightning_dna/py.typed", "lightning_dna/report/templates/report.html"} <= expected
        assert expected <= names

    @pytest.mark.parametrize(
        ("kind", "folder"),
        [
            ("recipe", "ablations"),
            ("suite", "benchmarks/suites"),
            ("task", "benchmarks/tasks"),
            ("source", "benchmarks/sources"),
        ],
    )
    def test_every_recipe_suite_and_card(self, names, kind, folder):
        expected = {f"{SHIPPED}/{folder}/{name}.yaml" for name in catalog.names(kind)}
        assert expected
        assert expected <= names

    def test_shipped_files_are_those_of_the_checkout(self, wheel, names):
        shipped = [name for name in names if name.startswith(f"{SHIPPED}/")]
        assert len(shipped) > 15
        with zipfile.ZipFile(wheel) as archive:
            for name in shipped:
                original = CHECKOUT / name.removeprefix(f"{SHIPPED}/")
                assert archive.read(name) == original.read_bytes(), name

    def test_nothing_else_becomes_importable(self, names):
        tops = {name.split("/")[0] for name in names}
        assert tops == {"lightning_dna", f"lightning_dna-{lightning_dna.__version__}.dist-info"}

    def test_metadata(self, wheel, names):
        info = f"lightning_dna-{lightning_dna.__version__}.dist-info"
        assert f"{info}/licenses/LICENSE" in names
        with zipfile.ZipFile(wheel) as archive:
            metadata = archive.read(f"{info}/METADATA").decode()
            commands = archive.read(f"{info}/entry_points.txt").decode()
        assert f"\nVersion: {lightning_dna.__version__}\n" in metadata
        assert "\nLicense-Expression: Apache-2.0\n" in metadata
        assert "lightning-dna = lightning_dna.cli:main" in commands


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel; the dependencies are those of this one.

    A plain line in a ``.pth`` file adds a folder to the path without reading the ``.pth`` files in
    it, so an editable install of the checkout stays out.
    """
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    assert purelib.is_relative_to(home)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(purelib)
    theirs = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (purelib / "dependencies.pth").write_text("".join(f"{path}\n" for path in theirs))
    return home


def outside(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed Python in a folder outside of the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    python = installed / "bin" / "python"
    return subprocess.run(
        [str(python), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        cwd=folder,
        env=environment | {"XDG_CACHE_HOME": str(folder / "cache")},
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the layout of a venv differs there")
class TestInstalledElsewhere:
    def test_it_is_the_wheel_that_runs(self, installed, tmp_path):
        program = (
            "import lightning_dna; from lightning_dna import catalog; "
            "print(lightning_dna.__file__); print(catalog.shipped_root())"
        )
        done = outside(installed, tmp_path, "-c", program)
        assert done.returncode == 0, done.stderr
        package, shipped = map(Path, done.stdout.splitlines())
        assert package.resolve().is_relative_to(installed.resolve())
        assert shipped == package.parent.resolve() / "_shipped"

    @pytest.mark.parametrize("name", ["ablations", "benchmarks", "reports", "tests"])
    def test_no_data_folder_is_importable(self, installed, tmp_path, name):
        done = outside(installed, tmp_path, "-c", f"import {name}")
        assert done.returncode == 1
        assert f"No module named '{name}'" in done.stderr

    @pytest.mark.parametrize("arguments", [["list"], ["show", "quickstart"], ["show", "core"]])
    def test_answers_as_in_the_checkout(self, installed, tmp_path, arguments):
        command = ["-m", "lightning_dna", *arguments]
        done = outside(installed, tmp_path, *command)
        here = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, here.stdout, "")

    def test_runs_the_quickstart(self, installed, tmp_path):
        """All arms on a small simulated genome, in two processes, to the finished report."""
        changes = [
            "data.simulation={chromosomes: 8, chromosome_length: 20000, genes_per_chromosome: 2}",
            "model.width=8",
            "budget={tokens: 8192, tokens_per_step: 2048}",
            "suite=core",
            "comparison.resamples=99",
        ]
        command = ["-m", "lightning_dna", "run", "quickstart", "--out", "out", "--workers", "2"]
        done = outside(installed, tmp_path, *command, "--set", *changes)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"report: {Path('out') / 'report.html'}"
        page = (tmp_path / "out" / "report.html").read_text()
        assert "hyena" in page
        assert str(CHECKOUT) not in page
        again = outside(installed, tmp_path, "-m", "lightning_dna", "report", "out")
        assert (again.returncode, again.stdout) == (0, done.stdout)


def test_the_sdist_rules_name_files_that_exist():
    """A renamed folder would silently drop out of the source distribution."""
    rules = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for name in rules["targets"]["sdist"]["include"]:
        assert (CHECKOUT / name).exists(), name
    forced = rules["targets"]["wheel"]["force-include"]
    for source, target in forced.items():
        assert (CHECKOUT / source).is_dir(), source
        assert target == f"{SHIPPED}/{source}"
    assert set(forced) == {
        "ablations",
        "benchmarks/sources",
        "benchmarks/suites",
        "benchmarks/tasks",
    }
