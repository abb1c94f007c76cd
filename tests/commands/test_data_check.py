"""``lightning-dna data check``: which tasks are whole, and what still runs."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = "sequence,label\nAA{0},0\nAC{0},1\n"
CARD = """\
name: {name}
kind: classification
title: T
files: {{train: {name}/train.csv, valid: {name}/dev.csv, test: {name}/test.csv}}
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text("tasks: [./one.yaml, ./two.yaml, heldout_mlm]\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(CARD.format(name=name))
        (tmp_path / "data" / name).mkdir(parents=True)
        for part, base in (("train", "A"), ("dev", "C"), ("test", "G")):
            (tmp_path / "data" / name / f"{part}.csv").write_text(ROWS.format(base))
    return tmp_path


def test_whole_tasks(suite, run):
    status, out, err = run("data", "check", "./suite.yaml", "--tasks-root", "data")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "files     task  what is missing or wrong",
        "whole     one",
        "whole     two",
        "no files  heldout_mlm",
        "",
        "3 of 3 tasks are whole.",
    ]


def test_half_of_the_files(suite, run):
    (suite / "data" / "one" / "train.csv").unlink()
    (suite / "data" / "two" / "test.csv").unlink()
    status, out, err = run("data", "check", "./suite.yaml", "--tasks-root", "data")
    assert status == 2
    assert err == (
        "lightning-dna: files are missing for one, two. The lines on stdout say which and why.\n"
    )
    assert "These run: heldout_mlm." in out
    assert "no train  one  train: one/train.csv" in out
    assert "partial   two  test: two/test.csv" in out
    assert "1 of 3 tasks are whole." in out
    assert "suite_missing=skip" in out
    assert "1 lack only their training file: --set suite_missing=carve" in out


def test_read_shows_sizes_and_notes_of_all_tasks_and_finds_damage(suite, run):
    command = ("data", "check", "./suite.yaml", "--tasks-root", "data", "--read")
    status, out, err = run(*command)
    assert (status, err) == (0, "")
    assert "train / valid / test 2 / 2 / 2, classes 0, 1" in out
    (suite / "data" / "one" / "test.csv").write_text("sequence,label\nAX,0\nAC,1\n")
    status, out, err = run(*command)
    assert status == 2
    lines = out.splitlines()
    assert lines[1].startswith("wrong     one  ")
    assert "character 'X' at position 1" in lines[1]
    assert lines[2] == "whole     two"
    assert "2 of 3 tasks are whole." in lines
    assert "These run: two, heldout_mlm." in lines
    assert err.startswith("lightning-dna: files are wrong for one. ")


def test_read_names_what_is_missing_beside_what_is_wrong(suite, run):
    (suite / "data" / "one" / "train.csv").write_text("sequence\nAC\n")
    (suite / "data" / "two" / "test.csv").unlink()
    command = ("data", "check", "./suite.yaml", "--tasks-root", "data", "--read")
    status, out, err = run(*command)
    assert status == 2
    assert "missing columns: label" in out
    assert "partial   two  test: two/test.csv" in out
    assert "These run: heldout_mlm." in out
    assert "missing for two; files are wrong for one." in err


def test_read_of_a_task_of_another_kind(suite, run):
    """Variants on a genome of their own are read; on the study's genome only as far as they go."""
    (suite / "g.fa").write_text(f">c\n{'ACGT' * 20}\n")
    (suite / "v.csv").write_text("chrom,pos,ref,alt,label\nc,41,A,C,1\nc,42,T,G,0\n")
    card = "name: {}\nkind: variant_effect\ntitle: V\nwindow_length: 16\nfiles: {{{}}}\n"
    (suite / "own.yaml").write_text(card.format("own", "variants: v.csv, genome: g.fa"))
    (suite / "study.yaml").write_text(card.format("study", "variants: v.csv"))
    status, out, _ = run("data", "check", "./own.yaml", "--read")
    assert status == 2
    assert "wrong     own" in out
    status, out, _ = run("data", "check", "./study.yaml", "--read")
    assert status == 0
    rest = "the rest is read by a study, because the genome is the study's"
    assert f"no checksums on the card; {rest}" in out
    found = hashlib.sha256((suite / "v.csv").read_bytes()).hexdigest()
    (suite / "study.yaml").write_text(
        card.format("study", "variants: v.csv") + f"sha256: {{variants: {found}}}\n"
    )
    assert f"checksums are right; {rest}" in run("data", "check", "./study.yaml", "--read")[1]


def test_a_card_of_ones_own(suite, run, refusal):
    out = run("data", "check", "./one.yaml", "--tasks-root", "data", "--read")[1]
    assert "whole     one" in out
    assert "train / valid / test 2 / 2 / 2, classes 0, 1" in out
    assert "no suite file at nowhere.yaml" in refusal("data", "check", "./nowhere.yaml")


def test_a_card_alone_and_unknown_names(run, refusal):
    out = run("data", "check", "gue-tf-0", "--tasks-root", "nowhere")[1]
    assert "\nmissing   gue-tf-0  train: GUE/tf/0/train.csv, valid:" in out
    assert "`run` stops before training.\n" in out  # and nothing is left to run with skip
    assert "`lightning-dna data get gue --to FOLDER` fetches files." in out
    assert "Did you mean 'gue'" in refusal("data", "check", "guee")


def test_a_class_that_is_not_there(suite, run):
    """A folder without one of its classes, or with an empty one, is half of a task's files."""
    files = "{train: gb/train, valid: gb/valid, test: gb/test}"
    (suite / "gb.yaml").write_text(
        f"name: gb\nkind: classification\ntitle: T\nlayout: classes\nlabels: [low, high]\n"
        f"files: {files}\n"
    )
    for part in ("train", "valid", "test"):
        for label in ("low", "high"):
            (suite / "data" / "gb" / part / label).mkdir(parents=True)
            (suite / "data" / "gb" / part / label / "1.txt").write_text("ACGT")
    command = ("data", "check", "./gb.yaml", "--tasks-root", "data")
    assert run(*command)[0] == 0
    (suite / "data" / "gb" / "valid" / "high" / "1.txt").unlink()
    (suite / "data" / "gb" / "train" / "low").rename(suite / "elsewhere")
    status, out, _ = run(*command)
    assert status == 2
    assert "partial   gb  train/low: gb/train/low, valid/high: gb/valid/high\n" in out


def test_two_tables_for_one_part_are_wrong_and_the_next_task_is_shown(suite, run):
    (suite / "data" / "one" / "train.csv").unlink()
    for count in (1, 2):
        for number in range(count):
            name = f"train-{number:05d}-of-{count:05d}.parquet"
            table = pa.table({"sequence": ["AAC", "AAG"], "label": [0, 1]})
            pq.write_table(table, suite / "data" / "one" / name)
    status, out, _ = run("data", "check", "./suite.yaml", "--tasks-root", "data")
    assert status == 2
    line, following = out.splitlines()[1:3]
    assert line.startswith("wrong     one  ")
    assert "train-00000-of-00001.parquet and data/one/train-00000-of-00002.parquet are 2" in line
    assert following == "whole     two"


def test_a_card_with_an_empty_name_of_a_file(suite, refusal):
    text = CARD.format(name="one").replace("one/train.csv", '""')
    (suite / "one.yaml").write_text(text)
    found = refusal("data", "check", "./one.yaml", "--tasks-root", ".")
    assert "one.yaml: files: 'train' is '', which names no file; give its path" in found
