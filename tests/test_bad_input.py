"""Everything a user can get wrong: one clear message, status 2, no traceback, nothing half-written.

Every case goes through the command line. The message must be a single line on stderr that names the
thing and what to do; the results folder must not exist afterwards, or be what it was before.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.cli import main

RECIPE = """\
question: Does a tiny model with RoPE differ from one with ALiBi?
baseline: alibi
suite: suite.yaml
seeds: [0, 1]
shared:
  data: {genome: toy.fa, split: {valid: [chr3], test: [chr4]}, length: 32}
  model: {width: 8, layers: 1, heads: 2, max_length: 64}
  budget: {tokens: 512, tokens_per_step: 256}
arms:
  alibi: {}
  rope: {model: {position: rope}}
comparison: {scope: checkpoint, resamples: 99}
"""
HELDOUT = "name: heldout_mlm\nkind: heldout_mlm\ntitle: Hidden bases\ncluster_length: 32\n"
LABELLED = """\
name: mine
kind: classification
title: Sequences of my own
files: {train: train.csv, test: test.csv}
carve: {part: valid, source: train, fraction: 0.5, seed: 0}
ways: [frozen]
"""
LENGTH = 1500
LABELLED_STUDY = ("suite=labelled.yaml", "comparison.planned=['mine/frozen:mcc']")


def chromosome(number: int) -> str:
    """1,500 random bases, some in lower case."""
    bases = "".join(np.random.default_rng(number).choice([*"ACGT"], size=LENGTH))
    return bases[:300] + bases[300:500].lower() + bases[500:]


def fasta(**chromosomes: str) -> str:
    """FASTA text of the toy genome's four chromosomes, with some of them changed."""
    usual = {f"chr{number}": chromosome(number) for number in range(1, 5)}
    return "".join(f">{name}\n{bases}\n" for name, bases in (usual | chromosomes).items())


def labelled_csv(*, labels: str = "01", extra: str = "") -> str:
    rows = [f"{'ACGT' * (2 + row)},{labels[row % len(labels)]}\n" for row in range(12)]
    return "sequence,label\n" + "".join(rows) + extra


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a recipe that works, which is also the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    files = {
        "toy.fa": fasta(),
        "tiny.yaml": RECIPE,
        "suite.yaml": "description: Hidden bases.\ntasks: [./heldout.yaml]\n",
        "heldout.yaml": HELDOUT,
        "labelled.yaml": "description: Mine.\ntasks: [./mine.yaml]\n",
        "mine.yaml": LABELLED,
        "train.csv": labelled_csv(),
        "test.csv": labelled_csv(),
    }
    for name, text in files.items():
        (here / name).write_text(text)
    monkeypatch.chdir(here)
    return here


def run(*arguments: object) -> tuple[int, str, str]:
    """Call ``main``; its status, and what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder, by relative path; folders have none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def check_message(err: str, expected: tuple[str, ...]) -> None:
    """One line that says everything expected of it, and no traceback."""
    assert err.startswith("lightning-dna: ")
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    for part in expected:
        assert part in err, f"{part!r} is not in {err!r}"


def refused(place: Path, *changes: str, says: tuple[str, ...], recipe: str = "tiny.yaml") -> None:
    """Check that a recipe with changes is refused, and that nothing at all was written."""
    before = contents(place)
    changed = ["--set", *changes] if changes else []
    status, out, err = run("run", recipe, "--out", place / "out", *changed)
    check_message(err, says)
    assert (status, out) == (2, "")
    assert contents(place) == before


def test_the_recipe_itself_is_good(place):
    """Or every refusal below would prove nothing."""
    status, _, err = run("plan", "tiny.yaml", "--set", *LABELLED_STUDY)
    assert (status, err) == (0, "")
    status, _, err = run("run", "tiny.yaml", "--out", place / "out")
    assert (status, err) == (0, "")
    assert (place / "out" / "report.html").is_file()


class TestGenome:
    def test_missing(self, place):
        refused(place, "data.genome=none.fa", says=("none.fa", "does not exist; check the path"))

    def test_empty(self, place):
        (place / "bad.fa").write_bytes(b"")
        refused(place, "data.genome=bad.fa", says=("bad.fa is empty", "download"))

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
    def test_truncated_gzip(self, place, share):
        packed = gzip.compress(fasta().encode())
        (place / "bad.fa.gz").write_bytes(packed[: int(share * len(packed))])
        refused(place, "data.genome=bad.fa.gz", says=("bad.fa.gz", "cut short", "download it"))

    @pytest.mark.parametrize(
        "content",
        [b"hello world\n", b"ACGTACGT\n", bytes(range(256)) * 10, b"\n\n", b'{"a": 1}\n'],
    )
    def test_not_fasta(self, place, content):
        (place / "bad.fa").write_bytes(content)
        refused(place, "data.genome=bad.fa", says=("bad.fa is not", "FASTA", "'>name'"))

    def test_other_letters(self, place):
        (place / "bad.fa").write_text(fasta(chr2="ACGT" * 10 + "!" + "ACGT"))
        refused(place, "data.genome=bad.fa", says=("bad.fa", "'chr2'", "'!' at position 40"))

    def test_a_folder(self, place):
        refused(place, f"data.genome={place.parent}", says=("is not a file; give the path of one",))

    def test_duplicate_names(self, place):
        (place / "bad.fa").write_text(fasta() + f">chr2\n{chromosome(9)}\n")
        refused(place, "data.genome=bad.fa", says=("bad.fa", "'chr2' stands twice", "different"))

    def test_a_record_without_sequence(self, place):
        (place / "bad.fa").write_text(fasta() + ">chr9\n")
        refused(place, "data.genome=bad.fa", says=("'chr9' has no sequence; remove",))


class TestLowerCaseOnly:
    @pytest.mark.parametrize("policy", ["remove", "downweight", "hard-mask"])
    @pytest.mark.parametrize("all_of_them", [True, False])
    def test_with_a_repeat_policy(self, place, policy, all_of_them):
        """Everything would be a repeat: nothing, or next to nothing, is left to learn from."""
        lower = {f"chr{n}": chromosome(n).lower() for n in ((1, 2, 3, 4) if all_of_them else (1,))}
        (place / "bad.fa").write_text(fasta(**lower))
        refused(
            place,
            "data.genome=bad.fa",
            f"data.repeats={policy}",
            "data.repeat_min_length=16",
            says=("chr1", "soft-masked", "lower case"),
        )

    def test_in_one_arm_only(self, place):
        (place / "bad.fa").write_text(fasta(chr2=chromosome(2).lower()))
        change = "arms.rope.data={repeats: remove, repeat_min_length: 16}"
        refused(place, "data.genome=bad.fa", change, says=("chr2", "soft-masked"))

    def test_no_lower_case_at_all_with_a_repeat_policy(self, place):
        upper = {f"chr{number}": chromosome(number).upper() for number in range(1, 5)}
        (place / "bad.fa").write_text(fasta(**upper))
        refused(
            place,
            "data.genome=bad.fa",
            "data.repeats=downweight",
            says=("no base of the genome is soft-masked", "BED"),
        )

    def test_with_repeats_kept_it_is_no_error(self, place):
        lower = {f"chr{number}": chromosome(number).lower() for number in range(1, 5)}
        (place / "lower.fa").write_text(fasta(**lower))
        assert run("plan", "tiny.yaml", "--set", "data.genome=lower.fa")[0] == 0


class TestUnknownBasesOnly:
    @pytest.mark.parametrize(
        "chroms", [("chr1", "chr2"), ("chr3",), ("chr4",)], ids=["train", "valid", "test"]
    )
    def test_a_part_of_n(self, place, chroms):
        (place / "bad.fa").write_text(fasta(**dict.fromkeys(chroms, "N" * LENGTH)))
        refused(place, "data.genome=bad.fa", says=(chroms[0], "N", "choose other chromosomes"))


class TestSplit:
    def test_unknown_chromosome(self, place):
        says = ("test: unknown chromosome 'chr44'; allowed: chr1, chr2", "Did you mean 'chr4'?")
        refused(place, "data.split.test=[chr44]", says=says)

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ("data.split.test=[chr3]", "'chr3' stands in valid and test"),
            ("data.split.test=[chr4,chr4]", "'chr4' stands twice in test"),
            ("data.split.train=[chr1,chr4]", "'chr4' stands in train and test"),
        ],
    )
    def test_a_chromosome_used_twice(self, place, change, found):
        refused(place, change, says=(found, "a chromosome has one place"))

    def test_nothing_left_to_train_on(self, place):
        change = "data.split.test=[chr1,chr2,chr4]"
        refused(place, change, says=("no chromosome is left for training",))

    def test_no_test_chromosome(self, place):
        refused(place, "data.split={valid: [chr3]}", says=("no test chromosome", "data.split.test"))


class TestWindows:
    def test_longer_than_every_chromosome(self, place):
        refused(
            place,
            "data.length=2000",
            "model.max_length=2000",
            "budget={tokens: 4000, tokens_per_step: 2000}",
            says=("2000 bases is longer than every chromosome", "1500", "Choose a shorter length"),
        )

    def test_longer_than_the_model(self, place):
        says = ("data.length is 128", "model.max_length is 64; raise model.max_length")
        refused(place, "data.length=128", says=says)

    def test_of_a_card_longer_than_the_model(self, place):
        (place / "heldout.yaml").write_text(HELDOUT + "window_length: 65\n")
        says = ("'heldout_mlm' has windows of 65 bases", "'alibi'", "raise model.max_length")
        refused(place, says=says)

    def test_of_a_task_longer_than_the_model(self, place):
        (place / "train.csv").write_text(labelled_csv(extra=f"{'ACGT' * 17},1\n"))
        says = ("'mine' has sequences of 68 bases", "'alibi'", "raise model.max_length")
        refused(place, *LABELLED_STUDY, says=says)


class TestNames:
    """Whatever is misspelt, the nearest name that exists is suggested."""

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ("model.widht=8", ("model: unknown key 'widht'", "Did you mean 'width'?")),
            ("modle.width=8", ("unknown key 'modle'", "Did you mean 'model'?")),
            ("arms.rope.modle.width=8", ("arm 'rope'", "'modle'", "Did you mean 'model'?")),
            ("data.split.tests=[chr4]", ("unknown key 'tests'", "Did you mean 'test'?")),
            ("comparison.scop=procedure", ("unknown key 'scop'", "Did you mean 'scope'?")),
        ],
    )
    def test_key(self, place, change, says):
        refused(place, change, says=says)

    def test_key_in_the_file(self, place):
        (place / "tiny.yaml").write_text(RECIPE + "seedz: [0]\n")
        refused(place, says=("tiny.yaml", "unknown key 'seedz'", "Did you mean 'seeds'?"))

    def test_arm(self, place):
        says = ("unknown arm 'ropee'; allowed: alibi, rope", "Did you mean 'rope'?")
        refused(place, "arms.ropee.model.position=none", says=says)

    def test_baseline_that_is_not_an_arm(self, place):
        says = ("unknown baseline arm 'alibbi'; allowed: alibi, rope", "Did you mean 'alibi'?")
        refused(place, "baseline=alibbi", says=says)

    def test_recipe(self, place):
        says = ("unknown recipe 'quickstrat'", "Did you mean 'quickstart'?")
        refused(place, recipe="quickstrat", says=says)

    def test_recipe_file(self, place):
        says = ("no recipe file at nothere.yaml", "shipped names: ", "quickstart")
        refused(place, recipe="nothere.yaml", says=says)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ("model.mixer=hyenna", ("model.mixer", "'hyenna'", "Did you mean 'hyena'?")),
            ("arms.rope.model.position=ropes", ("'rope'", "'ropes'", "Did you mean 'rope'?")),
            (
                "model.feedforward=gelu",
                ("'gelu'", "mlp, none, swiglu", "Did you mean 'geglu'?"),
            ),
            ("data.repeats=removed", ("'removed'", "Did you mean 'remove'?")),
            ("length_schedule.kind=doublng", ("'doublng'", "Did you mean 'doubling'?")),
            ("length_schedule.order=shufled", ("'shufled'", "Did you mean 'shuffled'?")),
            ("length_schedule.order=sorted", ("every row of the run has", "kind: mixed")),
            ("length_schedule={kind: stages}", ("stages is empty", "[[256, 0.1], [512, 0.2]]")),
            (
                "length_schedule={kind: stages, stages: [[16, 0.7], [32, 0.7]]}",
                ("sum to 1.4", "allowed: at most 1"),
            ),
            (
                "length_schedule={kind: stages, stages: [[16]]}",
                ("'length_schedule.stages'", "a list of 2 values", "[16]"),
            ),
            ("length_schedule={long_windows: truncate}", ("kind 'fixed'", "any kind but fixed")),
        ],
    )
    def test_variant(self, place, change, says):
        refused(place, change, says=says)

    @pytest.mark.parametrize(
        "change",
        [
            "comparison.planned=['heldout_mlm:mlm_acuracy']",
            "comparison.margins={mlm_acuracy: 0.1}",
        ],
    )
    def test_metric(self, place, change):
        says = ("unknown metric 'mlm_acuracy'", "Did you mean 'mlm_accuracy'?")
        refused(place, change, says=says)

    def test_metric_on_a_card(self, place):
        (place / "heldout.yaml").write_text(HELDOUT + "metrics: [mlm_acuracy]\n")
        says = ("heldout.yaml", "unknown metric 'mlm_acuracy'", "Did you mean 'mlm_accuracy'?")
        refused(place, says=says)

    def test_planned_task(self, place):
        change = "comparison.planned=['heldout_mln:mlm_accuracy']"
        refused(place, change, says=("unknown task 'heldout_mln'", "Did you mean 'heldout_mlm'?"))

    def test_suite_and_task(self, place):
        refused(place, "suite=quikstart", says=("unknown suite", "Did you mean 'quickstart'?"))
        (place / "suite.yaml").write_text("description: Bad.\ntasks: [heldout_mln]\n")
        refused(place, says=("unknown task 'heldout_mln'", "Did you mean 'heldout_mlm'?"))

    def test_baseline_of_a_card(self, place):
        (place / "heldout.yaml").write_text(HELDOUT + "baselines: [markov3]\n")
        refused(place, says=("heldout.yaml", "'markov3'", "Did you mean 'markov_3'?"))


class TestSettings:
    def test_zero_seeds(self, place):
        refused(place, "seeds=[]", says=("seeds is empty; give at least one",))

    def test_one_seed_for_a_procedure(self, place):
        changes = ("seeds=[0]", "comparison.scope=procedure")
        refused(place, *changes, says=("one seed", "two or more", "comparison.scope"))

    def test_a_seed_twice(self, place):
        refused(place, "seeds=[1,1]", says=("seeds [1, 1] repeats a seed",))

    @pytest.mark.parametrize("key", ["model.heads", "arms.rope.model.heads"])
    def test_heads_that_do_not_divide_the_width(self, place, key):
        says = ("3 heads do not divide model.width 8", "use one of 1, 2, 4, 8 heads")
        refused(place, f"{key}=3", says=says)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ("model.width=wide", ("model.width", "whole number", "wide")),
            ("model.width=8.5", ("model.width", "whole number", "8.5")),
            ("optimizer.lr=fast", ("optimizer.lr", "a number", "fast")),
            ("data.split=half", ("data.split", "'half'", "valid, test")),
            ("seeds=zero", ("seeds", "zero")),
        ],
    )
    def test_wrong_type(self, place, change, says):
        refused(place, change, says=says)

    @pytest.mark.parametrize("change", ["model.width", "=8", "model..width=8"])
    def test_an_override_without_key_or_value(self, place, change):
        refused(place, change, says=(change, "key.subkey=value"))

    def test_two_equal_arms(self, place):
        change = "arms.rope={}"
        refused(place, change, says=("'alibi' and 'rope' resolve to the same settings", "change"))

    def test_not_yaml(self, place):
        (place / "tiny.yaml").write_text("question: [\n")
        before = contents(place)
        status, out, err = run("run", "tiny.yaml", "--out", place / "out")
        # The parser's own account of the place in the file takes several lines.
        assert (status, out) == (2, "")
        assert err.startswith("lightning-dna: ")
        assert "tiny.yaml is not valid YAML" in err
        assert "Traceback" not in err
        assert contents(place) == before

    def test_zero_workers(self, place):
        before = contents(place)
        status, out, err = run("run", "tiny.yaml", "--out", place / "out", "--workers", 0)
        assert (status, out) == (2, "")
        check_message(err, ("--workers is 0; allowed: 1 or more",))
        assert contents(place) == before


class TestLabelledFiles:
    @pytest.mark.parametrize("part", ["train.csv", "test.csv"])
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("dna,y\nACGT,1\n", ("missing columns: sequence, label; found: dna, y",)),
            ("sequence\nACGT\n", ("missing columns: label; found: sequence",)),
            ("", ("found: an empty file", "first line must name sequence, label")),
            ("sequence,label\n", ("has a header but no row",)),
            (labelled_csv(extra="ACXGT,1\n"), ("line 14", "'X' at position 2", "A, C, G, T, N")),
            (labelled_csv(extra="ACGT,yes\n"), ("'label'", "line 14", "'yes'")),
            (labelled_csv(extra="ACGT,1,2\n"), ("line 14",)),
        ],
    )
    def test_a_file_that_cannot_be_used_is_named(self, place, part, text, says):
        (place / part).write_text(text)
        refused(place, *LABELLED_STUDY, says=(part, *says))

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_one_class_only(self, place, part):
        (place / f"{part}.csv").write_text(labelled_csv(labels="1"))
        says = ("task 'mine'", f"the {part} part holds 1: ", "at least two classes")
        refused(place, *LABELLED_STUDY, says=says)

    def test_missing(self, place):
        (place / "test.csv").unlink()
        says = ("files are missing for 1 of 1 tasks: mine (test: test.csv)", str(place))
        refused(place, *LABELLED_STUDY, says=says)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished study and, beside it, what it was made from."""
    folder = tmp_path_factory.mktemp("finished")
    for name, text in (("tiny.yaml", RECIPE), ("toy.fa", fasta()), ("heldout.yaml", HELDOUT)):
        (folder / name).write_text(text)
    (folder / "suite.yaml").write_text("description: Hidden bases.\ntasks: [./heldout.yaml]\n")
    assert run("run", folder / "tiny.yaml", "--out", folder / "out")[0] == 0
    return folder


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may damage."""
    return Path(shutil.copytree(finished / "out", tmp_path / "study"))


class TestResultsFolder:
    def refused(self, study: Path, *arguments: object, says: tuple[str, ...]) -> None:
        before = contents(study)
        status, out, err = run(*arguments)
        check_message(err, says)
        assert (status, out) == (2, "")
        assert contents(study) == before

    def test_of_another_recipe(self, finished, study):
        other = finished / "other.yaml"
        shutil.copy(finished / "tiny.yaml", other)
        says = ("holds the study 'tiny', not this 'other'", "Choose another --out")
        self.refused(study, "run", other, "--out", study, says=says)

    @pytest.mark.parametrize(
        "change",
        [
            "budget.tokens=768",
            "model.width=16",
            "arms={alibi: {}, none: {model: {position: none}}}",
        ],
    )
    def test_of_other_settings(self, finished, study, change):
        arguments = ("run", finished / "tiny.yaml", "--out", study, "--set", change)
        self.refused(study, *arguments, says=("holds the study 'tiny'", "Choose another --out"))

    def test_of_another_genome(self, finished, study):
        (finished / "other.fa").write_text(fasta(chr1=chromosome(5)))
        change = f"data.genome={finished / 'other.fa'}"
        arguments = ("run", finished / "tiny.yaml", "--out", study, "--set", change)
        self.refused(study, *arguments, says=("holds the study 'tiny'", "Choose another --out"))

    @pytest.mark.parametrize("verb", ["run", "status", "report", "retry", "memorize"])
    def test_of_another_version(self, finished, study, verb):
        record = json.loads((study / "study.json").read_text())
        record |= {"format": 99, "version": "9.9"}
        (study / "study.json").write_text(json.dumps(record))
        arguments = (
            ("run", finished / "tiny.yaml", "--out", study) if verb == "run" else (verb, study)
        )
        self.refused(study, *arguments, says=("study.json", "99", "9.9", "--out folder"))

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
    def test_with_a_damaged_record(self, study, text):
        (study / "study.json").write_text(text)
        self.refused(study, "report", study, says=("study.json",))

    @pytest.mark.parametrize("verb", ["status", "report", "retry", "memorize"])
    def test_that_is_none(self, tmp_path, verb):
        says = ("is not a results folder", "`lightning-dna run --out` wrote")
        self.refused(tmp_path, verb, tmp_path, says=says)
        self.refused(tmp_path, verb, tmp_path / "none", says=says)

    def test_that_holds_something_else(self, place):
        (place / "out").mkdir()
        (place / "out" / "thesis.tex").write_text("Years of work.")
        refused(place, says=("out is not empty and holds no study.json", "--out folder"))


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A folder on which a small disk can be mounted; it is taken away after the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    while folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True, timeout=60)


def mount(disk: Path, options: str) -> None:
    """Mount a disk in memory, or skip the test where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(command, capture_output=True, check=False, timeout=60).returncode
    ):
        pytest.skip("no disk can be mounted here (it takes root)")


class TestUnwritable:
    @pytest.mark.parametrize("below", ["", "below"])
    def test_a_file_in_the_way(self, place, below):
        (place / "out").write_text("A file.")
        before = contents(place)
        status, out, err = run("run", "tiny.yaml", "--out", place / "out" / below)
        assert (status, out) == (2, "")
        check_message(err, ("cannot write", str(place / "out"), "choose a writable folder"))
        assert contents(place) == before

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission(self, place):
        (place / "out").mkdir(mode=0o500)
        refused(place, says=("cannot write", "choose a writable folder"))

    def test_a_read_only_disk(self, place, disk):
        mount(disk, "ro")
        status, out, err = run("run", "tiny.yaml", "--out", disk / "out")
        assert (status, out) == (2, "")
        check_message(err, ("cannot write", "Read-only", "choose a writable folder"))
        assert list(disk.iterdir()) == []

    def test_a_read_only_cache(self, place, disk, monkeypatch):
        mount(disk, "ro")
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        refused(place, says=("genome cache", "Read-only", "XDG_CACHE_HOME"))

    @pytest.mark.parametrize("kibibytes", [4, 60, 80, 100, 300])
    def test_a_full_disk(self, place, disk, kibibytes):
        """The disk fills up in the record, in the middle of the cells, and in the report."""
        mount(disk, f"size={kibibytes}k")
        status, out, err = run("run", "tiny.yaml", "--out", disk / "out")
        assert (status, out) == (2, "")
        check_message(err, ("cannot write", "No space left", "free space"))
        left = list(contents(disk))
        assert [name for name in left if "partial" in name or "failure" in name] == []
        assert "out/report.html" not in left

    def test_a_disk_with_space_again(self, place, disk):
        """The same command finishes the study, and nothing that was done is done again."""
        mount(disk, "size=80k")
        assert run("run", "tiny.yaml", "--out", disk / "out")[0] == 2
        weights = {path: path.stat().st_mtime_ns for path in disk.rglob("model.pt")}
        assert weights
        mount(disk, "remount,size=9m")
        status, out, err = run("run", "tiny.yaml", "--out", disk / "out")
        assert (status, err) == (0, "")
        assert out.splitlines()[-1] == f"report: {disk / 'out' / 'report.html'}"
        assert len(list(disk.rglob("model.pt"))) == 4
        assert {path: path.stat().st_mtime_ns for path in weights} == weights

    @pytest.mark.slow
    def test_a_full_disk_with_workers(self, place, disk):
        mount(disk, "size=80k")
        command = [sys.executable, "-m", "lightning_dna", "run", "tiny.yaml"]
        command += ["--out", str(disk / "out"), "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert (done.returncode, done.stdout) == (2, "")
        message = done.stderr.splitlines()[-1]  # after the bar
        check_message(message, ("No space left", "free space"))
        assert "Traceback" not in done.stderr
        assert [name for name in contents(disk) if "partial" in name] == []

    def test_a_full_disk_without_a_disk(self, place, monkeypatch):
        """The same by a system that refuses every write, where no disk can be mounted."""

        def full(self, *arguments, **options):
            raise OSError(28, "No space left on device", str(self))

        before = contents(place)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            status, out, err = run("run", "tiny.yaml", "--out", place / "out")
        assert (status, out) == (2, "")
        check_message(err, ("cannot write", "study.json", "No space left on device", "free space"))
        assert {name for name in contents(place) if name not in before} <= {"out"}
