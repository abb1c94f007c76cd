"""Parquet tables under publishers' names: whose rows they hold, and which of several is read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import decode
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.layouts.shared_table import task_in
from lightning_dna.tasks.suites import available, files_of

PARTS = {"train": "A", "valid": "C", "test": "G"}


def card_of(task: str) -> TaskCard:
    files = {part: f"suite/{task}/{part}.fna" for part in PARTS}
    return TaskCard(name=task, kind="classification", title="T", layout="fasta", files=files)


def write(path: Path, base: str, tasks: list[str] | None) -> None:
    """Write four rows: sequences that begin with ``base``, labels 0, 1, 0, 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"sequence": [base + end for end in "ACGT"], "label": [0, 1, 0, 1]}
    pq.write_table(pa.table(table if tasks is None else table | {"task": tasks}), path)


def suite(folder: Path, **tasks: list[str]) -> Path:
    for part, base in PARTS.items():
        path = folder / "suite" / "data" / f"{part}-00000-of-00001.parquet"
        write(path, base, tasks.get(part, ["H3", "H3", "H4", "H4"]))
    return folder


def letters(task: str, folder: Path) -> list[list[str]]:
    read = load_examples(card_of(task), folder)
    return [[decode(codes) for codes in part.codes] for part in (read.train, read.test)]


@pytest.mark.parametrize("part", PARTS)
def test_the_only_task_of_a_table_is_not_taken_for_another(tmp_path, part):
    folder = suite(tmp_path, **{part: ["H3"] * 4})
    with pytest.raises(DataError) as caught:
        load_examples(card_of("H4"), folder)
    message = str(caught.value)
    assert f"{part}-00000-of-00001.parquet, column 'task': holds H3, not H4." in message
    assert "Fetch the table with its rows" in message
    assert load_examples(card_of("H3"), folder).classes == ("0", "1")


def test_a_table_that_a_card_names_itself_may_hold_a_task_of_any_name(tmp_path):
    for part, base in PARTS.items():
        write(tmp_path / "suite" / "mine" / f"{part}.parquet", base, ["H3"] * 4)
    assert letters("mine", tmp_path)[0] == ["AA", "AC", "AG", "AT"]


def test_a_task_that_no_table_holds_counts_as_missing(tmp_path):
    folder = suite(tmp_path, test=["H3"] * 4)
    cards = [card_of("H3"), card_of("H4"), card_of("H5")]
    whole, half, none = (files_of(card, folder) for card in cards)
    assert not whole.missing
    assert set(half.found) == {"train", "valid"}
    path = folder / "suite" / "data" / "test-00000-of-00001.parquet"
    assert half.missing == {"test": f"suite/H4/test.fna ({path} holds H3, not H4)"}
    assert set(none.missing) == {*PARTS}
    assert none.missing["train"].endswith("holds H3, H4, not H5)")
    chosen, notes = available(cards, folder, "skip")
    assert chosen == cards[:1]
    assert notes[0].startswith("H4: left out, because files are missing: suite/H4/test.fna (")


def test_a_missing_piece_counts_as_missing(tmp_path):
    folder = suite(tmp_path)
    data = folder / "suite" / "data"
    (data / "train-00000-of-00001.parquet").rename(data / "train-00001-of-00002.parquet")
    found = files_of(card_of("H3"), folder).missing
    assert found == {"train": f"suite/H3/train.fna ({data} lacks train-00000-of-00002.parquet)"}


def test_a_damaged_table_is_not_missing(tmp_path):
    folder = suite(tmp_path)
    (folder / "suite" / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    assert not files_of(card_of("H3"), folder).missing


def test_names_that_differ_in_capitals_and_dashes(tmp_path):
    names = ["Promoter-All", "Promoter-All", "H4", "H4"]
    folder = suite(tmp_path, **dict.fromkeys(PARTS, names))
    assert letters("promoter_all", folder) == [["AA", "AC"], ["GA", "GC"]]
    assert task_in({"h3", "H3"}, "H3") == "H3"
    assert task_in({"a-b", "A_B"}, "a_B") is None  # either could be meant
    assert task_in({"enhancers"}, "enhancers_types") is None


@pytest.mark.parametrize("name", ["train-00001-of-00002.parquet", "train.parquet"])
def test_two_tables_beside_each_other_are_refused(tmp_path, name):
    folder = suite(tmp_path)
    data = folder / "suite" / "data"
    write(data / name, "T", ["H3"] * 4)
    with pytest.raises(DataError) as caught:
        load_examples(card_of("H3"), folder)
    message = str(caught.value)
    assert str(data / "train-00000-of-00001.parquet") in message
    assert str(data / name) in message
    assert "2 tables for the part 'train', and one is read; move the others" in message
    with pytest.raises(DataError, match="2 tables for the part 'train'"):
        available([card_of("H3")], folder, "skip")


def test_pieces_and_numbered_files_in_the_folder_of_the_task(tmp_path):
    own = tmp_path / "suite" / "H3"
    write(own / "train-00000-of-00002.parquet", "A", None)
    write(own / "train-00001-of-00002.parquet", "T", None)
    write(own / "valid-00000-of-00001.parquet", "C", None)
    write(own / "test" / "0000.parquet", "G", None)
    suite(tmp_path, **dict.fromkeys(PARTS, ["H4"] * 4))  # a table of others does not come first
    assert not files_of(card_of("H3"), tmp_path).missing
    train = ["AA", "AC", "AG", "AT", "TA", "TC", "TG", "TT"]
    assert letters("H3", tmp_path) == [train, ["GA", "GC", "GG", "GT"]]
    write(own / "test" / "0001.parquet", "G", None)
    with pytest.raises(DataError, match=r"0000\.parquet and .*0001\.parquet are 2 tables"):
        load_examples(card_of("H3"), tmp_path)


def test_a_name_without_a_folder_takes_no_table_of_tasks(tmp_path):
    """Without a task in the name, tables beside the folder of the files are somebody else's."""
    folder = suite(tmp_path) / "suite" / "mine"
    folder.mkdir()
    files = {part: f"{part}.fna" for part in PARTS}
    card = TaskCard(name="t", kind="classification", title="T", layout="fasta", files=files)
    assert files_of(card, folder).missing == files
