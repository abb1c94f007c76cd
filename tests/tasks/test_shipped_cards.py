"""Every shipped card and suite is valid, listed, honest about sizes, and complete."""

import csv
import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

from lightning_dna import catalog
from lightning_dna.settings import load_yaml
from lightning_dna.tasks.card import TaskCard, load_card
from lightning_dna.tasks.suites import load_suite

TASKS = catalog.names("task")
SUITES = catalog.names("suite")
README = catalog.shipped_root() / "benchmarks" / "README.md"
DATA_FILES = ("train", "valid", "test")


def readme_rows() -> dict[str, list[str]]:
    """First cell of each table row, without its code marks, to the cells after it."""
    rows = [line.strip("| ").split("|") for line in README.read_text().splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) > 1]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_shipped_sets():
    assert {"core", "gue-yeast-tf", "quickstart", "simulated"} <= set(SUITES)
    sizes = {"gue": 28, "gue-plus": 8, "nt-original": 18, "nt-revised": 18, "genomic-benchmarks": 9}
    assert {name: len(load_suite(name)) for name in sizes} == sizes
    assert {"heldout_mlm", "simulated-promoter", "simulated-long-range"} <= set(TASKS)
    assert {"gue-emp-h3", "gue-emp-h3-dev", "gue-tf-0"} <= set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_card(name):
    card = load_card(name)
    assert card.name == name
    assert "\n" not in card.title
    assert card.description.strip()
    assert card.baselines
    assert card.folder is not None
    if card.kind == "classification":
        assert card.licence
        assert card.citation
        assert card.url.startswith("https://")
        assert card.sequence_length is not None
        assert {"random", "scratch"} <= set(card.ways)  # the controls


@pytest.mark.parametrize("name", TASKS)
def test_card_is_listed_in_the_readme(name):
    card = load_card(name)
    kind, sizes, length, metrics = readme_rows()[name]
    assert kind.strip("`") == card.kind
    assert tuple(metrics.split(", ")) == card.metrics
    if card.kind == "simulated_classification":
        assert sizes == f"{card.n_train:,} / {card.n_valid:,} / {card.n_test:,}"
        assert length == str(card.length)
    if card.kind == "classification":
        assert length == str(card.sequence_length)
        used, of, _ = sizes.partition(" / ")[0].partition(" of ")
        if card.max_train is not None:
            assert (used, of) == (f"{card.max_train:,}", " of ")


@pytest.mark.parametrize("name", SUITES)
def test_suite(name):
    content = load_yaml(catalog.resolve("suite", name))
    assert "\n" not in content["description"]
    cards = load_suite(name)
    listed = re.findall(r"`([^`]+)`", readme_rows()[name][0])
    assert [card.name for card in cards] == content["tasks"] == listed


def test_the_carved_card_says_that_it_deviates():
    card, published = load_card("gue-emp-h3-dev"), load_card("gue-emp-h3")
    assert "Deviates from the published task" in card.description
    assert card.carve is not None
    assert published.carve is None
    assert card.files["train"] == published.files["valid"]
    assert card.files["test"] == published.files["test"]


def rows_of(data_folder: Path, name: str) -> list[dict[str, str]]:
    path = data_folder / "gue" / f"{name}.gz"
    if not path.is_file():
        pytest.skip(f"{name} is not in this collection")
    with gzip.open(path, "rt", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("gue-")])
def test_sizes_and_lengths_are_those_of_the_files(data_folder, name):
    card: TaskCard = load_card(name)
    sizes = readme_rows()[name][1].split(" / ")
    shown = dict(zip(DATA_FILES, sizes if len(sizes) == 3 else [""] * 3, strict=True))
    published = published_statistics(data_folder)
    for part, file in card.files.items():
        if not (data_folder / "gue" / f"{file}.gz").is_file():
            continue
        rows = rows_of(data_folder, file)
        expected, longest, labels = published[tuple(Path(file).with_suffix("").parts[1:])]
        assert len(rows) == expected
        assert max(len(row["sequence"]) for row in rows) == longest <= card.sequence_length
        assert Counter(row["label"] for row in rows) == labels
        # A carved part's source is shown as a share of the file, a sample as so many of its rows.
        if "/10 of" not in shown[part]:
            assert shown[part].rpartition(" of ")[2] == f"{expected:,}"


def published_statistics(data_folder: Path) -> dict[tuple[str, ...], tuple[int, int, dict]]:
    """(task, file) to rows, longest sequence and label counts, as recorded with the files."""
    table = {}
    with (data_folder / "gue" / "STATS.tsv").open(newline="") as text:
        for row in csv.DictReader(text, delimiter="\t"):
            if row["rows"].isdigit():
                pairs = re.findall(r"'(\d+)': (\d+)", row["labels"])
                labels = {label: int(count) for label, count in pairs}
                key = (*row["task"].split("/"), row["split"])
                table[key] = (int(row["rows"]), int(row["len_max"]), labels)
    return table


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("gue-")])
def test_repeats_named_on_the_card_are_those_of_the_files(data_folder, name):
    card = load_card(name)
    train = card.files["train"]
    if card.carve is not None or not (data_folder / "gue" / f"{train}.gz").is_file():
        pytest.skip("the published training file is not in this collection")
    seen = {row["sequence"] for row in rows_of(data_folder, train)}
    for part, word in (("valid", "dev"), ("test", "test")):
        found = sum(row["sequence"] in seen for row in rows_of(data_folder, card.files[part]))
        named = re.search(rf"(\d+) {word}\b", card.description.split("Exact repeats:")[-1])
        assert found == (int(named.group(1)) if named else 0)
