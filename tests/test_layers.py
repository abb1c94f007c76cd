"""Imports point one way, heavy packages stay in their rooms, and light modules stay light.

The first half reads the source as a syntax tree; the second starts fresh interpreters. Both halves
carry controls: a rule that cannot fail would prove nothing.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_dna

PACKAGE = Path(lightning_dna.__file__).parent
ROOT = "lightning_dna"

# From the roof to the ground. A room may import whatever lies lower, and itself.
LAYERS = (
    {"cli"},
    {"commands"},
    {"report"},
    {"study"},
    {"tasks"},
    {"training"},
    {"data"},
    {"genome", "tokenizers", "stats", "models"},
    {"settings", "atomic"},
    {"errors", "catalog"},
)
# Neighbours on one floor do not know each other, but for these.
NEIGHBOURS = {("tokenizers", "genome"), ("catalog", "errors")}
# Shipped for users' own tests: it may import any room, and no room may import it.
CONTRACTS = "testing"
# The package's front and its `python -m` stand outside of the order.
FRONT = {"__init__", "__main__"}

# Package to the only places that may import it.
HEAVY = {
    "lightning": ("training/", "data/module.py"),
    "matplotlib": ("report/figures.py",),
    "pyfaidx": ("genome/fasta.py",),
    "optuna": (
        "study/tune.py",
        "study/trials.py",
        "study/ranges.py",
        "study/setting_importance.py",
    ),
    "jsonargparse": ("settings.py",),
}
LIGHT_ROOMS = ("genome", "tokenizers", "stats")
LIGHT_FILES = (
    "models/choices.py",
    "models/config.py",
    "models/variants.py",
    "training/config.py",
    "training/finetune_config.py",
    "data/archives.py",
    "data/audit.py",
    "data/download.py",
    "data/download_lock.py",
    "data/remote_source.py",
    "data/config.py",
    "data/windows.py",
    "data/masking.py",
    "data/length_schedule.py",
    "data/source.py",
    "data/tokenization.py",
    "tasks/card.py",
    "tasks/card_files.py",
    "tasks/examples.py",
    "tasks/labelled_files.py",
    "tasks/suites.py",
    "tasks/base.py",
    "tasks/strata.py",
    "settings.py",
    "atomic.py",
    "errors.py",
    "catalog.py",
    "cli.py",
    "commands/__init__.py",
    "commands/compare.py",
    "commands/data.py",
    "commands/data_check.py",
    "commands/data_get.py",
    "commands/power.py",
    "commands/prediction_files.py",
    "commands/variants.py",
    "__init__.py",
    "__main__.py",
)
TORCH = ("torch", "lightning", "torchmetrics")


def sources() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 80, "the walk over the package finds too few files"
    return found


def imported(source: str) -> set[str]:
    """Dotted names of everything that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    """Rooms of this package among dotted names; names of the package itself are no rooms."""
    second = {name.split(".")[1] for name in names if name.startswith(f"{ROOT}.")}
    rooms = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir()}
    return second & rooms


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(room: str) -> int:
    return next(index for index, rooms in enumerate(LAYERS) if room in rooms)


def wrong_imports(room: str, names: set[str]) -> list[str]:
    """Rooms that a file of ``room`` may not import."""
    if room in FRONT or room == CONTRACTS:
        return []
    return sorted(
        other
        for other in rooms_of(names) - {room}
        if other == CONTRACTS
        or other in FRONT
        or (floor(other) <= floor(room) and (room, other) not in NEIGHBOURS)
    )


def misplaced(place: str, names: set[str]) -> list[str]:
    """Heavy packages that a file at ``place`` may not import."""
    packages = {name.split(".")[0] for name in names}
    return sorted(
        package
        for package, homes in HEAVY.items()
        if package in packages and not place.startswith(homes)
    )


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in sources()} - FRONT - {CONTRACTS}
    assert rooms == set().union(*LAYERS)


def test_imports_point_one_way():
    wrong = {
        str(path.relative_to(PACKAGE)): found
        for path in sources()
        if (found := wrong_imports(room_of(path), imported(path.read_text(encoding="utf-8"))))
    }
    assert wrong == {}


def test_heavy_packages_stay_in_their_rooms():
    wrong = {}
    for path in sources():
        place = path.relative_to(PACKAGE).as_posix()
        if found := misplaced(place, imported(path.read_text(encoding="utf-8"))):
            wrong[place] = found
    assert wrong == {}


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_are_used_where_they_belong(package):
    """A rule about a package that nothing imports any more should go."""
    homes = [path for path in sources() if not misplaced(place_of(path), {package})]
    assert any(
        name.split(".")[0] == package
        for path in homes
        for name in imported(path.read_text(encoding="utf-8"))
    )


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def light_files() -> list[Path]:
    rooms = [path for path in sources() if room_of(path) in LIGHT_ROOMS]
    return rooms + [PACKAGE / name for name in LIGHT_FILES]


def test_light_files_do_not_name_torch():
    wrong = [
        place_of(path)
        for path in light_files()
        if {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))} & {*TORCH}
    ]
    assert wrong == []


def test_the_library_does_not_import_its_tests():
    for path in sources():
        packages = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
        assert not packages & {"tests", "pytest"} or room_of(path) == CONTRACTS, path


class TestTheRulesCanFail:
    @pytest.mark.parametrize(
        ("room", "line", "expected"),
        [
            ("genome", "from lightning_dna.models.config import ModelConfig", ["models"]),
            ("genome", "from lightning_dna.tokenizers import character", ["tokenizers"]),
            ("stats", "import lightning_dna.study.recipe", ["study"]),
            ("data", "from lightning_dna import training", ["training"]),
            ("tasks", "def f():\n    from lightning_dna.report import page", ["report"]),
            ("errors", "from lightning_dna import settings", ["settings"]),
            ("study", "from lightning_dna.testing import models", ["testing"]),
            ("study", "from lightning_dna.report.page import render", ["report"]),
            ("report", "from lightning_dna.study.study import Study", []),
            ("tokenizers", "from lightning_dna.genome.alphabet import N", []),
            ("errors", "from lightning_dna import __version__", []),
        ],
    )
    def test_of_the_layers(self, room, line, expected):
        assert wrong_imports(room, imported(line)) == expected

    @pytest.mark.parametrize(
        ("place", "line", "expected"),
        [
            ("study/run.py", "import lightning as L", ["lightning"]),
            ("data/batches.py", "from lightning import LightningDataModule", ["lightning"]),
            ("data/module.py", "from lightning import LightningDataModule", []),
            ("report/page.py", "import matplotlib.pyplot as plt", ["matplotlib"]),
            ("genome/store.py", "from pyfaidx import Faidx", ["pyfaidx"]),
            ("genome/fasta.py", "from pyfaidx import Faidx", []),
        ],
    )
    def test_of_the_heavy_packages(self, place, line, expected):
        assert misplaced(place, imported(line)) == expected


def heavy_after(modules: list[str]) -> dict[str, list[str]]:
    """Import modules one after the other in a fresh interpreter; what each has brought along."""
    program = (
        "import importlib, json, sys\n"
        "found = {}\n"
        "for name in sys.argv[2:]:\n"
        "    importlib.import_module(name)\n"
        "    found[name] = [heavy for heavy in sys.argv[1].split() if heavy in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", program, " ".join([*TORCH, "matplotlib", "optuna"]), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_light_modules_import_without_torch():
    modules = [module_name(path) for path in light_files() if path.stem != "__main__"]
    found = heavy_after(modules)
    assert list(found) == list(dict.fromkeys(modules))
    assert {name: heavy for name, heavy in found.items() if heavy} == {}


def test_the_import_check_can_fail():
    found = heavy_after(["lightning_dna.errors", "lightning_dna.models.backbone"])
    assert found == {"lightning_dna.errors": [], "lightning_dna.models.backbone": ["torch"]}


def run_and_look(*arguments: str) -> tuple[int, list[str], str]:
    """Run the command line in a fresh interpreter: status, heavy modules, what it printed."""
    program = (
        "import sys\n"
        "from lightning_dna.cli import main\n"
        "try:\n"
        "    status = main(sys.argv[2:])\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "print([name for name in sys.argv[1].split() if name in sys.modules], file=sys.stderr)\n"
        "raise SystemExit(status)\n"
    )
    command = [sys.executable, "-c", program, " ".join(TORCH), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, ast.literal_eval(done.stderr.splitlines()[-1]), done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["list"], ["show", "quickstart"]]
)
def test_the_front_door_answers_without_torch(arguments):
    status, heavy, text = run_and_look(*arguments)
    assert (status, heavy) == (0, [])
    assert text


def test_the_front_door_check_can_fail():
    """A plan builds the models, so it has to load torch."""
    status, heavy, _ = run_and_look("plan", "quickstart", "--set", "model.heads=3")
    assert status == 2
    assert "torch" in heavy
