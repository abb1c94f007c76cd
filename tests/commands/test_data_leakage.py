"""``lightning-dna data leakage`` and ``data locate``: what they print, write and refuse."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from lightning_dna.cli import main

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def letters(seed, length=70):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture
def place(tmp_path):
    """Two chromosomes, and files of their stretches."""
    chroms = {"chrI": letters(0, 600), "chrII": letters(1, 600)}
    (tmp_path / "g.fa").write_text("".join(f">{k}\n{v}\n" for k, v in chroms.items()))
    one, two = chroms["chrI"][100:170], chroms["chrII"][300:370]
    files = {
        "train.csv": [(one, 0), (letters(5), 1)],
        "dev.csv": [(letters(6), 0), (letters(7), 1)],
        "test.csv": [(one[::-1].translate(COMPLEMENT), 0), (two, 1), (letters(8), 1)],
    }
    for name, rows in files.items():
        text = "".join(f"{sequence},{label}\n" for sequence, label in rows)
        (tmp_path / name).write_text(f"sequence,label\n{text}")
    for part, start in (("old", 100), ("new", 150)):
        (tmp_path / part).mkdir()
        text = f"id,region,start,end,strand\n0,chrI,{start},{start + 70},+\n"
        (tmp_path / part / "yes.csv").write_text(text)
        (tmp_path / part / "no.csv").write_text(text.replace("chrI", "chrII"))
    card = {"name": "toy", "kind": "classification", "title": "x"}
    card["files"] = {"train": "train.csv", "valid": "dev.csv", "test": "test.csv"}
    (tmp_path / "toy.yaml").write_text(json.dumps(card))
    lost = {**card, "name": "lost", "files": {**card["files"], "train": "a.csv", "valid": "b.csv"}}
    (tmp_path / "lost.yaml").write_text(json.dumps(lost))
    suite = {"description": "x", "tasks": ["toy.yaml", "lost.yaml", "heldout_mlm"]}
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    return tmp_path


@pytest.fixture
def run(capsys, place, monkeypatch):
    """Run a subcommand of ``data`` in the folder: status, stdout, stderr."""
    monkeypatch.chdir(place)

    def call(*words):
        try:
            status = main(["data", *words])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


def counts(out, part, against):
    (row,) = [
        row
        for row in json.loads(out)["rows"]
        if (row["part"], row["against"], row["label"]) == (part, against, "all")
    ]
    return row["counts"]


def test_files_by_hand(run):
    status, out, _ = run(
        "leakage", "train.csv", "test.csv", "--valid", "dev.csv", "--format", "json"
    )
    assert status == 0
    found = counts(out, "test", "train")
    assert (found["copies"], found["other_strand"], found["conflicts"]) == (1, 1, 0)
    assert counts(out, "test", "valid")["copies"] == 0


def test_places_and_pretraining(run):
    words = ("--genome", "g.fa", "--pretraining", "g.fa", "--format", "json")
    status, out, _ = run("leakage", "train.csv", "test.csv", *words, "--split", "test=[chrII]")
    assert status == 0
    assert counts(out, "test", "train")["overlap"] == 1
    assert counts(out, "test", "pretraining train")["copies"] == 1
    assert counts(out, "test", "pretraining test")["copies"] == 1
    assert any("2 of 3 test examples have a place" in note for note in json.loads(out)["notes"])
    _, out, _ = run("leakage", "train.csv", "test.csv", "--pretraining", "g.fa", "--format", "json")
    assert counts(out, "test", "pretraining train")["copies"] == 2


def test_intervals_with_and_without_their_genome(run):
    status, out, _ = run("leakage", "old", "new", "--coordinates", "--format", "json")
    assert status == 0
    assert counts(out, "test", "train") == {
        "overlap": 2,
        "same_label": 2,
        "near": 2,
        "nearby": 2,
        "identical": 0,
    }
    status, out, _ = run("leakage", "old", "new", "--genome", "g.fa", "--format", "json")
    assert counts(out, "test", "train")["similar"] == 2


def test_one_strand(run, place):
    frame = pd.read_csv(place / "train.csv")
    turned = frame["sequence"].str[::-1].str.translate(str.maketrans("ACGT", "TGCA"))
    frame.assign(sequence=turned).to_csv(place / "turned.csv", index=False)
    for strands, copies in (("both", len(frame)), ("one", 0)):
        status, out, _ = run(
            "leakage", "train.csv", "turned.csv", "--strands", strands, "--format", "json"
        )
        assert (status, json.loads(out)["strands"]) == (0, strands)
        found = counts(out, "test", "train")
        assert (found["copies"], found["other_strand"], found["similar"]) == (copies,) * 3


def test_the_forms_and_files(run, place):
    texts = {}
    for form in ("terminal", "markdown", "csv", "json"):
        words = ("--format", form, "--out", "out", "--examples", "csv")
        status, texts[form], _ = run("leakage", "train.csv", "test.csv", *words)
        assert status == 0
    assert "copies: the same letters stand there" in texts["terminal"]
    assert all(len(line) <= 100 for line in texts["terminal"].splitlines())
    assert (place / "out" / "table.csv").read_text() == texts["csv"]
    assert (place / "out" / "table.md").read_text().endswith(texts["markdown"])
    rows = list(csv.DictReader(texts["csv"].splitlines()))
    (row,) = [
        row
        for row in rows
        if (row["part"], row["against"], row["measure"], row["label"])
        == ("test", "train", "copies", "all")
    ]
    assert (row["count"], row["share"]) == ("1", f"{1 / 3:.6f}")
    frame = pd.read_csv(place / "out" / "examples.csv")
    assert frame["copy"].tolist() == [True, False, False]
    run("leakage", "train.csv", "test.csv", "--out", "out")
    assert pd.read_parquet(place / "out" / "examples.parquet")["similarity"].tolist()[0] == 1.0


def test_a_suite_says_what_it_left_out(run):
    status, out, _ = run(
        "leakage", "--suite", "suite.yaml", "--tasks-root", ".", "--format", "json"
    )
    assert status == 0
    assert {row["task"] for row in json.loads(out)["rows"]} == {"toy"}
    notes = json.loads(out)["notes"]
    assert "lost: not audited; missing: train (a.csv), valid (b.csv)." in notes
    assert "heldout_mlm: not audited; it is of kind 'heldout_mlm'." in notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train.csv",), "give TRAIN and TEST, or --suite NAME, or --task NAME"),
        (("train.csv", "test.csv", "--suite", "gue"), "one of them"),
        (("train.csv", "train.csv"), "must be different files"),
        (("train.csv", "none.csv"), "none.csv does not exist"),
        (("train.csv", "test.csv", "--format", "html"), "unknown format 'html'"),
        (("train.csv", "test.csv", "--examples", "xls"), "unknown form 'xls'"),
        (("train.csv", "test.csv", "--strands", "2"), "unknown choice of strands '2'"),
        (("train.csv", "test.csv", "--k", "40"), "k is 40; allowed: 2 to 31"),
        (("train.csv", "test.csv", "--threshold", "2"), "threshold is 2"),
        (
            ("train.csv", "test.csv", "--split", "test=[chrI]"),
            "--split says how a pretraining was split",
        ),
        (("train.csv", "test.csv", "--coordinates"), "no place of the train examples is known"),
        (
            ("train.csv", "test.csv", "--pretraining", "g.fa", "--split", "test=[chrX]"),
            "unknown chromosome 'chrX'",
        ),
        (("--task", "lost.yaml", "--tasks-root", "."), "no task can be audited"),
        (("old", "new", "--pretraining", "g.fa"), "--pretraining needs sequences"),
    ],
)
def test_what_is_refused(run, words, message):
    status, out, err = run("leakage", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.fixture
def tables(place):
    """Two tasks in one Parquet table for each part, as the Nucleotide Transformer's are served."""
    for part, other in (("train", 20), ("test", 30)):
        frame = pd.read_csv(place / f"{part}.csv").assign(task="mine", name="x")
        rest = pd.DataFrame({"sequence": [letters(other)], "label": [0], "task": "rest"})
        pd.concat([frame, rest]).to_parquet(place / f"{part}.parquet")
    return place


def test_one_task_of_a_table_of_several(run, tables):
    def first(*words):
        status, out, _ = run("leakage", *words, "--format", "json")
        assert status == 0
        return {**json.loads(out)["rows"][0], "task": ""}

    by_hand = first("train.csv", "test.csv")
    assert first("train.parquet", "test.parquet", "--task", "mine") == by_hand
    status, out, _ = run("locate", "test.parquet", "--task", "mine", "--genome", "g.fa")
    assert status == 0
    assert "test.parquet          3        2  66.7%" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train.parquet", "test.parquet"), "or on the command line with --task TASK"),
        (
            ("train.parquet", "test.parquet", "--task", "min"),
            "unknown task 'min'; allowed: mine, r",
        ),
        (("train.csv", "test.csv", "--task", "mine"), "train.csv as Parquet"),
    ],
)
def test_a_task_that_is_not_in_the_table(run, tables, words, message):
    status, out, err = run("leakage", *words)
    assert (status, out) == (2, "")
    assert message in err


def test_locate_of_a_card(run):
    status, out, _ = run("locate", "--task", "./toy.yaml", "--genome", "g.fa", "--out", "p.csv")
    assert status == 0
    assert [line.split()[0:3] for line in out.splitlines()[2:]] == [
        ["toy/train", "2", "1"],
        ["toy/valid", "2", "0"],
        ["toy/test", "3", "2"],
    ]


def test_locate(run, place):
    status, out, _ = run("locate", "test.csv", "train.csv", "--genome", "g.fa", "--out", "p.csv")
    assert status == 0
    assert out.splitlines()[2].split() == ["test.csv", "3", "2", "66.7%", "1", "1", "0", "0"]
    rows = list(csv.reader((place / "p.csv").read_text().splitlines()))
    assert rows[0] == ["file", "example_id", "chrom", "start", "end", "strand", "n_hits"]
    assert rows[1:4] == [
        ["test.csv", "test:0", "chrI", "100", "170", "-", "1"],
        ["test.csv", "test:1", "chrII", "300", "370", "+", "1"],
        ["test.csv", "test:2", "", "", "", "", "0"],
    ]


def test_locate_lists_every_place(run, place):
    text = (place / "g.fa").read_text()
    (place / "twice.fa").write_text(text + text.replace("chrI", "copyI"))
    run("locate", "train.csv", "--genome", "twice.fa", "--out", "p.csv")
    rows = list(csv.reader((place / "p.csv").read_text().splitlines()))[1:]
    assert [(row[2], row[6]) for row in rows] == [("chrI", "2"), ("copyI", "2"), ("", "0")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("test.csv", "--genome", "none.fa"), "none.fa does not exist"),
        (("test.csv", "--genome", "g.fa", "--seed-length", "8"), "k is 8; allowed: 16 to 31"),
        (("old/yes.csv", "--genome", "g.fa"), "nothing to locate"),
        (("--genome", "g.fa"), "give FILE, or the card of a task: --task"),
        (("test.csv", "--tasks-root", ".", "--genome", "g.fa"), "--tasks-root is of a card's"),
        (("--task", "heldout_mlm", "--genome", "g.fa"), "is of kind 'heldout_mlm'; sequences are"),
    ],
)
def test_what_locate_refuses(run, words, message):
    status, out, err = run("locate", *words)
    assert (status, out) == (2, "")
    assert message in err
