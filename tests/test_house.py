"""Size, docstrings and print: what keeps every file of the package readable in one sitting."""

import ast
from pathlib import Path

import pytest

import lightning_dna

PACKAGE = Path(lightning_dna.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 70
NO_ROOM = {"utils", "helpers", "common", "misc", "util", "helper"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_long(source: str) -> list[str]:
    """Functions with more lines than allowed, decorators and docstring included."""
    return [
        f"{node.name}: {length} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, Function)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]


def undocumented(source: str) -> list[str]:
    """Public modules, classes and functions without a docstring; nested functions are private."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["module"]
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not overloads(node):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                waiting.append((f"{prefix}{node.name}.", node))
    return missing


def overloads(node: ast.AST) -> bool:
    """Whether a function is one signature of several, or says by decorator that it overrides."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(d, ast.Name) and d.id in ("overload", "override") for d in decorators)


def prints(source: str) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(ast.parse(source))
    )


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_walk_finds_the_package():
    assert {"cli.py", "genome/fasta.py", "models/mixers/hyena.py"} <= {*map(name_of, FILES)}


def test_no_file_is_too_long():
    lines = {name_of(path): len(text_of(path).splitlines()) for path in FILES}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_no_function_is_too_long():
    found = {name_of(path): long for path in FILES if (long := too_long(text_of(path)))}
    assert found == {}


def test_everything_public_has_a_docstring():
    # A method that only overrides one of a foreign base class still says what it does here.
    found = {name_of(path): missing for path in FILES if (missing := undocumented(text_of(path)))}
    assert found == {}


def test_print_stands_only_in_the_command_line():
    assert [name_of(path) for path in FILES if prints(text_of(path))] == ["cli.py"]


def test_no_file_is_named_after_nothing():
    assert [name_of(path) for path in FILES if path.stem in NO_ROOM] == []


def test_annotations_are_real():
    """Shapes and settings are read from annotations at run time, so none may be text by default."""
    assert [
        name_of(path) for path in FILES if "from __future__ import annotations" in text_of(path)
    ] == []


FRONTS = (PACKAGE, PACKAGE / "stats")  # these load their public names on first use


def test_init_files_import_nothing_heavy():
    """Importing one light module must not pull in its neighbours: folders' inits are docstrings."""
    for path in FILES:
        if path.name == "__init__.py" and path.parent not in FRONTS:
            body = ast.parse(text_of(path)).body
            assert len(body) == 1, name_of(path)
            assert isinstance(body[0], ast.Expr), name_of(path)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""M."""\ndef f():\n    """F."""\n', []),
        ("def f(): ...", ["module", "f"]),
        ('"""M."""\nclass A:\n    """A."""\n    def b(self): ...\n', ["A.b"]),
        ('"""M."""\nclass A:\n    """A."""\n    def _b(self): ...\n', []),
    ],
)
def test_the_docstring_check_can_fail(source, expected):
    assert undocumented(source) == expected


def test_the_length_check_can_fail():
    body = "\n".join("    x = 1" for _ in range(MOST_LINES_OF_A_FUNCTION))
    assert too_long(f"def f():\n{body}\n") == ["f: 71 lines"]
    assert too_long(f"def f():\n{body[:-10]}\n") == []
