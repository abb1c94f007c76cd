"""Suites whose files are not all there: what is named, what is left out, what is carved."""

from pathlib import Path

import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.suites import (
    available,
    files_of,
    load_suites,
    refuse_incomplete,
    without_train,
)

PARTS = ("train", "valid", "test")
SUM = "0" * 64


def card_of(name: str, **settings) -> TaskCard:
    files = {part: f"{name}/{part}.csv" for part in PARTS}
    return TaskCard(
        **{"name": name, "kind": "classification", "title": "T", "files": files} | settings
    )


def write(folder: Path, name: str, parts=PARTS, n: int = 20) -> None:
    (folder / name).mkdir(exist_ok=True)
    for part, base in zip(PARTS, "ACG", strict=True):
        if part in parts:
            rows = [f"{base}{format(i, '05b').replace('0', 'A').replace('1', 'T')},{i % 2}"
                    for i in range(n)]  # fmt: skip
            (folder / name / f"{part}.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")


@pytest.fixture
def cards(tmp_path) -> list[TaskCard]:
    """A task that is whole, one without training file, one without any, and one of no files."""
    write(tmp_path, "whole")
    write(tmp_path, "half", ("valid", "test"))
    return [
        card_of("whole"),
        card_of("half", source="gue"),
        card_of("none"),
        TaskCard(name="bases", kind="heldout_mlm", title="T"),
    ]


def test_what_is_there_and_what_is_not(cards, tmp_path):
    whole, half, none, bases = (files_of(card, tmp_path) for card in cards)
    assert set(whole.found) == {*PARTS}
    assert not whole.missing
    assert half.missing == {"train": "half/train.csv"}
    assert half.lacks_only_train
    assert set(none.missing) == {*PARTS}
    assert not none.lacks_only_train
    assert not bases.missing


def test_the_message_says_what_is_missing_and_what_still_runs(cards, tmp_path):
    with pytest.raises(DataError) as caught:
        refuse_incomplete(cards, tmp_path)
    message = str(caught.value)
    assert "files are missing for 2 of 4 tasks: half (train: half/train.csv); none (" in message
    assert "none/test.csv" in message
    assert str(tmp_path) in message
    assert "`lightning-dna data get gue`" in message
    assert "suite_missing=skip these still run: whole, bases" in message
    assert "suite_missing=carve also, trained on their validation file: half" in message


def test_a_whole_suite_is_not_refused(cards, tmp_path):
    refuse_incomplete([cards[0], cards[3]], tmp_path)


def test_stop_keeps_all_and_skip_leaves_out(cards, tmp_path):
    assert available(cards, tmp_path, "stop") == (cards, ())
    chosen, notes = available(cards, tmp_path, "skip")
    assert [card.name for card in chosen] == ["whole", "bases"]
    assert notes == (
        "half: left out, because files are missing: half/train.csv.",
        "none: left out, because files are missing: none/train.csv, none/valid.csv, none/test.csv.",
    )


def test_carve_trains_on_the_validation_file_and_says_so(cards, tmp_path):
    chosen, notes = available(cards, tmp_path, "carve")
    assert [card.name for card in chosen] == ["whole", "half-dev", "bases"]
    assert len(notes) == 1
    task = load_examples(chosen[1], tmp_path)
    assert (len(task.train), len(task.valid), len(task.test)) == (18, 2, 20)
    deviation, carved = task.notes
    assert deviation.startswith("half-dev: The published training file was not at hand")
    assert "Not comparable with published numbers" in deviation
    assert "The valid part is carved from the file of the train part: 2 examples" in carved
    assert not files_of(chosen[1], tmp_path).missing


def test_checksums_go_with_their_files():
    card = card_of("half", sha256={"train": "1" * 64, "test": SUM})
    assert without_train(card).sha256 == {"test": SUM}
    assert without_train(card_of("half", sha256={"valid": SUM})).sha256 == {"train": SUM}


def test_the_rule_makes_what_the_shipped_card_says():
    """One rule in place of a card for each histone mark."""
    from lightning_dna.tasks.card import load_card

    made, shipped = without_train(load_card("gue-emp-h3")), load_card("gue-emp-h3-dev")
    assert (made.name, made.files, made.carve) == (shipped.name, shipped.files, shipped.carve)


def test_nothing_left(tmp_path):
    with pytest.raises(DataError, match="files are missing for 1 of 1 tasks"):
        available([card_of("none")], tmp_path, "skip")


def test_a_missing_reference_counts_where_there_are_intervals(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for name in ("no", "yes"):
            (tmp_path / part / f"{name}.csv").write_text("id,region,start,end,strand\n")
    card = card_of(
        "gb",
        layout="classes",
        files={"train": "train", "valid": "train", "test": "test"},
        labels=("no", "yes"),
        reference="genome.fa",
    )
    assert files_of(card, tmp_path).missing == {
        "reference of no": "genome.fa",
        "reference of yes": "genome.fa",
    }
    (tmp_path / "genome.fa.gz").touch()
    assert not files_of(card, tmp_path).missing


def test_suites_side_by_side(tmp_path):
    def suite(name: str, *windows: int) -> Path:
        for number in windows:
            (tmp_path / f"{name}{number}.yaml").write_text(
                f"name: bases{number}\nkind: heldout_mlm\ntitle: T\nmax_windows: {number}\n"
            )
        tasks = [f"{name}{number}.yaml" for number in windows]
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"description: x\ntasks: {tasks}\n")
        return path

    first, second = suite("a", 1, 2), suite("b", 2, 3)
    found = load_suites([first, second])
    assert [card.name for card in found] == ["bases1", "bases2", "bases3"]
    # The same name with another meaning.
    (tmp_path / "b2.yaml").write_text("name: bases2\nkind: heldout_mlm\ntitle: other\n")
    with pytest.raises(ConfigError, match=r"b\.yaml' has another task 'bases2'"):
        load_suites([first, second])
