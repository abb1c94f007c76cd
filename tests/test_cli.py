"""The command line as a user meets it: every verb, its streams and its exit status."""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import lightning_dna
from lightning_dna import catalog
from lightning_dna.cli import main
from lightning_dna.models.variants import VARIANTS
from lightning_dna.tasks.card_kinds import TRAINED_BASELINES

RECIPE = """\
question: Does a tiny model with RoPE differ from one with ALiBi?
baseline: alibi
suite: suite.yaml
seeds: [0, 1]
shared:
  data: {genome: toy.fa, split: {valid: [chr3], test: [chr4]}, length: 32}
  model: {width: 8, layers: 1, heads: 2, max_length: 64}
  budget: {tokens: 4096, tokens_per_step: 256}
  optimizer: {lr: 1e-2}
  finetune: {epochs: 1, probe_c: [1.0]}
arms:
  alibi: {}
  rope: {model: {position: rope}}
comparison: {resamples: 99}
"""
SUITE = "description: Two tiny tasks.\ntasks: [./heldout.yaml, ./promoter.yaml]\n"
HELDOUT = """\
name: heldout_mlm
kind: heldout_mlm
title: Hidden bases
baselines: [majority]
cluster_length: 32
"""
PROMOTER = """\
name: promoter
kind: simulated_classification
title: A few simulated promoters
simulated: promoter
n_train: 40
n_valid: 20
n_test: 30
length: 60
ways: [frozen]
baselines: [kmer_logistic, majority]
"""
CELLS = ["alibi/0", "rope/0", "alibi/1", "rope/1"]


def write_recipe(folder: Path, *, bases: int = 1500) -> Path:
    """Write a recipe of seconds, with its suite, its cards and its genome, into a folder."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(1, 5):
        text = "".join(generator.choice([*"ACGT"], p=(0.3, 0.2, 0.2, 0.3), size=bases))
        lines.append(f">chr{number}\n{text[:300]}{text[300:500].lower()}{text[500:]}\n")
    (folder / "toy.fa").write_text("".join(lines))
    for name, text in (("suite", SUITE), ("heldout", HELDOUT), ("promoter", PROMOTER)):
        (folder / f"{name}.yaml").write_text(text)
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE)
    return recipe


def run(*arguments: object) -> tuple[int, str, str]:
    """Call ``main``; its status, and what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's own way out, for --help and wrong usage
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory) -> tuple[Path, tuple[int, str, str]]:
    """A finished study's folder, and how the command that ran it ended."""
    folder = tmp_path_factory.mktemp("study") / "out"
    return folder, run("run", recipe, "--out", folder)


class TestHelp:
    def test_lists_the_commands_but_not_the_hidden_one(self):
        status, out, err = run("--help")
        assert (status, err) == (0, "")
        for command in ("list", "show", "plan", "run", "status", "retry", "report", "compare"):
            assert re.search(rf"^ +{command} ", out, re.MULTILINE)
        assert "worker" not in out.partition("A study in four commands")[0]

    @pytest.mark.parametrize(
        "command",
        [
            "list",
            "show",
            "plan",
            "run",
            "status",
            "retry",
            "report",
            "tune",
            "memorize",
            "compare",
            "power",
        ],
    )
    def test_of_every_command(self, command):
        status, out, err = run(command, "--help")
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: lightning-dna {command}")

    def test_version(self):
        assert run("--version") == (0, f"{lightning_dna.__version__}\n", "")

    @pytest.mark.parametrize("arguments", [[], ["run"], ["run", "quickstart", "--workers", "two"]])
    def test_wrong_usage_is_status_2_and_says_how(self, arguments):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert "usage: lightning-dna" in err

    def test_an_unknown_command_suggests_the_nearest(self):
        status, out, err = run("lst")
        assert (status, out) == (2, "")
        assert err.startswith("lightning-dna: unknown command 'lst'; allowed: calibrate, clean, ")
        assert err.endswith("Did you mean 'list'?\n")
        assert "worker" not in err


class TestList:
    def test_names_every_shipped_entry_with_its_purpose(self):
        status, out, err = run("list")
        assert (status, err) == (0, "")
        headings = [line for line in out.splitlines() if line and not line.startswith(" ")]
        assert headings == ["recipes:", "suites:", "tasks:", "sources:"]
        for kind in ("recipe", "suite", "task", "source"):
            for name in catalog.names(kind):
                assert re.search(rf"^  {re.escape(name)} +\w.*\w", out, re.MULTILINE), name


class TestShow:
    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("quickstart", "ablations/quickstart.yaml"),
            ("core", "benchmarks/suites/core.yaml"),
            ("heldout_mlm", "benchmarks/tasks/heldout_mlm.yaml"),
        ],
    )
    def test_prints_the_file_of_a_name(self, name, file):
        expected = (catalog.shipped_root() / file).read_text()
        assert run("show", name) == (0, expected, "")

    def test_a_name_of_two_kinds_can_be_told_apart(self):
        expected = (catalog.shipped_root() / "benchmarks/suites/quickstart.yaml").read_text()
        assert run("show", "quickstart", "--kind", "suite") == (0, expected, "")

    def test_prints_the_file_of_a_path(self, recipe):
        assert run("show", recipe) == (0, RECIPE, "")

    def test_an_unknown_name_suggests_the_nearest_of_any_kind(self):
        status, out, err = run("show", "heldout_mln")
        assert (status, out) == (2, "")
        assert "unknown recipe or suite or task or source or variant 'heldout_mln'" in err
        assert "Did you mean 'heldout_mlm'?" in err
        assert "unknown task 'quickstart'" in run("show", "quickstart", "--kind", "task")[2]


class TestVariants:
    def test_are_listed_on_request_with_their_description(self):
        status, out, err = run("list", "variants")
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == "variants:"
        rows = lines[1 : lines.index("")]
        assert [line.split()[0] for line in rows] == list(VARIANTS)
        trained = " ".join(lines[lines.index("") :])
        assert all(name in trained for name in TRAINED_BASELINES)
        assert re.search(r"^  hyena +two-sided Hyena", out, re.MULTILINE)

    def test_one_kind_is_listed_alone(self):
        status, out, err = run("list", "suites")
        headings = [line for line in out.splitlines() if line and not line.startswith(" ")]
        assert (status, err, headings) == (0, "", ["suites:"])

    def test_an_unknown_kind_names_those_there_are(self):
        status, out, err = run("list", "models")
        assert (status, out) == (2, "")
        assert "variants" in err

    def test_show_counts_parameters(self):
        status, out, err = run("show", "hyenadna-tiny-1k")
        assert (status, err) == (0, "")
        shown = yaml.safe_load(out)
        assert shown["parameters"]["total"] == 436_096
        assert sum(shown["parameters"].values()) == 2 * 436_096
        assert shown["model"]["mixer"] == "hyena"

    def test_show_sets_a_gated_feedforward_beside_its_mlp(self):
        """At width 128: MLP 2 * 128 * 512 + 512 + 128; GEGLU 3 * 128 * 343."""
        shown = yaml.safe_load(run("show", "attention_alibi_geglu", "--kind", "variant")[1])
        assert shown["feedforward_of_a_block"] == {
            "kind": "geglu",
            "inner_width": 343,
            "parameters": 131_712,
            "matched_in": "parameters",
            "mlp_inner_width": 512,
            "mlp_parameters": 131_712,
        }

    def test_an_unknown_variant(self):
        status, out, err = run("show", "hyenadna-tiny-2k", "--kind", "variant")
        assert (status, out) == (2, "")
        assert "unknown variant 'hyenadna-tiny-2k'" in err
        assert "Did you mean 'hyenadna-tiny-1k'?" in err


class TestPlan:
    def test_prints_arms_and_price_and_writes_nothing(self, recipe, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        status, out, err = run("plan", recipe)
        assert (status, err) == (0, "")
        assert "Does a tiny model with RoPE differ" in out
        assert "train chr1, chr2 | valid chr3 | test chr4" in out
        assert "4 (2 arms x 2 seeds)" in out
        table = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in out.splitlines()
            if line.startswith("|")
        ]
        sizes, prices = (
            {row[0]: dict(zip(half[0], row, strict=True)) for row in half[2:]}
            for half in (table[:4], table[4:8])
        )
        assert list(sizes) == list(prices) == ["alibi", "rope"]
        assert re.search(r"^ +rope +model\.position=rope$", out, re.MULTILINE)
        # Embedding 16x8, block: two norms 2x16, qkv and out 4x(64+8), MLP 8x32+32+32x8+8; norm 16.
        assert sizes["alibi"]["parameters"] == f"{128 + 32 + 288 + 552 + 16:,}"
        assert sizes["alibi"]["trunk"] == f"{32 + 288 + 552:,}"
        assert (sizes["alibi"]["feed-forward"], sizes["alibi"]["width"]) == ("552", "32")
        assert prices["alibi"]["tokens"] == "4,096"
        assert {"MFLOP/base", "attention", "FFT", "training"} <= set(table[0])
        assert {"seeds", "kept MiB", "memory MiB", "bases/s", "hours"} <= set(table[4])
        assert list(tmp_path.iterdir()) == []

    def test_overrides_reach_any_key(self, recipe):
        changes = ["model.width=16", "seeds=[0,1,2]", "arms.rope.model.position=none"]
        status, out, _ = run("plan", recipe, "--set", *changes, "--set", "data.length=64")
        assert status == 0
        assert "6 (2 arms x 3 seeds)" in out
        assert "model.position=none" in out
        assert "position=rope" not in out


class TestRun:
    def test_ends_well_with_data_on_stdout_and_progress_elsewhere(self, finished):
        folder, (status, out, err) = finished
        assert status == 0
        assert "Masked-base accuracy" in out
        assert re.search(r"^rope ", out, re.MULTILINE)
        assert out.splitlines()[-1] == f"report: {folder / 'report.html'}"
        assert "Masked-base accuracy" not in err
        assert "report:" not in err

    def test_writes_the_report_in_all_its_forms(self, finished):
        folder, _ = finished
        page = (folder / "report.html").read_text()
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert "Does a tiny model with RoPE differ" in page
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)
        assert "Does a tiny model with RoPE differ" in (folder / "report.md").read_text()
        assert r"\toprule" in (folder / "table.tex").read_text()
        with (folder / "table.csv").open(newline="") as text:
            assert {"alibi", "rope", "majority"} <= {v for row in csv.reader(text) for v in row}
        figures = sorted((folder / "figures").glob("*.svg"))
        assert {"forest_planned.svg", "cost.svg", "curves.svg"} <= {f.name for f in figures}
        assert all("</svg>" in figure.read_text() for figure in figures)

    def test_records_what_every_number_came_from(self, finished):
        folder, _ = finished
        record = json.loads((folder / "study.json").read_text())
        assert sorted(record["runs"]) == sorted(CELLS)
        assert record["version"] == lightning_dna.__version__
        for run_id in record["runs"].values():
            assert (folder / "runs" / run_id / "model.pt").is_file()
            assert list((folder / "runs" / run_id / "scores").glob("*.parquet"))
        origin = json.loads((folder / "results" / "provenance.json").read_text())
        assert set(origin["data"]["chromosomes"]) == {"chr1", "chr2", "chr3", "chr4"}
        assert origin["data"]["test"] == ["chr4"]
        assert origin["versions"]["lightning_dna"] == lightning_dna.__version__
        assert sorted(row["state"] for row in origin["runs"]) == ["done"] * 4
        kept = yaml.safe_load(json.loads((folder / "results" / "study.json").read_text())["recipe"])
        assert kept["arms"] == {"alibi": {}, "rope": {"model": {"position": "rope"}}}

    def test_leaves_no_partial_file(self, finished):
        folder, _ = finished
        assert [p for p in folder.rglob("*") if "partial" in p.name or "tmp" in p.name] == []

    def test_again_does_nothing_and_changes_no_number(self, finished, recipe):
        folder, (_, out, _) = finished
        before = contents(folder)
        status, again, err = run("run", recipe, "--out", folder)
        assert (status, again) == (0, out)
        assert err == ""
        assert contents(folder) == before

    def test_with_another_recipe_in_the_same_folder_is_refused(self, finished, recipe):
        folder, _ = finished
        before = contents(folder)
        status, out, err = run("run", recipe, "--out", folder, "--set", "model.width=16")
        assert (status, out) == (2, "")
        assert "holds the study 'tiny'" in err
        assert contents(folder) == before

    def test_an_unknown_recipe_suggests_the_nearest(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        status, out, err = run("run", "quikstart")
        assert (status, out) == (2, "")
        assert "unknown recipe 'quikstart'" in err
        assert "Did you mean 'quickstart'?" in err
        assert list(tmp_path.iterdir()) == []

    def test_more_seeds_go_on_in_the_same_folder(self, recipe, tmp_path):
        few = ["--set", "comparison.scope=checkpoint", "budget.tokens=512", "suite=core"]
        folder = tmp_path / "out"
        assert run("run", recipe, "--out", folder, *few, "seeds=[0]")[0] == 0
        first = json.loads((folder / "study.json").read_text())["runs"]
        started = {p: p.stat().st_mtime_ns for p in folder.glob("runs/*/attempts/*.json")}
        assert run("run", recipe, "--out", folder, *few, "seeds=[0,1]")[0] == 0
        second = json.loads((folder / "study.json").read_text())["runs"]
        assert (len(first), len(second)) == (2, 4)
        assert first.items() <= second.items()
        assert {p: p.stat().st_mtime_ns for p in started} == started

    def test_without_out_the_folder_is_named_after_the_recipe(self, recipe, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        quick = ["seeds=[0]", "comparison.scope=checkpoint", "budget.tokens=512", "suite=core"]
        status, out, _ = run("run", recipe, "--set", *quick)
        assert status == 0
        assert out.splitlines()[-1] == f"report: {Path('tiny') / 'report.html'}"
        assert (tmp_path / "tiny" / "report.html").is_file()


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestFinishedStudy:
    def test_status(self, finished):
        folder, _ = finished
        status, out, err = run("status", folder)
        assert (status, err) == (0, "")
        counts, _, *lines = out.splitlines()
        assert counts == f"{len(lines) - 2} cells: {len(lines) - 2} done"
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
        states = {row[0]: row[1] for row in rows[2:]}
        assert list(states) == ["baselines of heldout_mlm", "baselines of promoter", *CELLS]
        assert set(states.values()) == {"done"}

    def test_report_writes_the_same_files_again(self, finished):
        folder, (_, out, _) = finished
        before = contents(folder)
        for name in ("report.html", "table.csv"):
            (folder / name).unlink()
        status, again, err = run("report", folder)
        assert (status, again, err) == (0, out, "")
        assert contents(folder) == before

    def test_retry_with_nothing_to_retry(self, finished):
        folder, (_, out, _) = finished
        status, again, err = run("retry", folder)
        assert (status, again) == (0, out)
        assert err == "0 failed cell(s) will be tried again\n"

    def test_memorize(self, tmp_path):
        folder, recipe = tmp_path / "out", write_recipe(tmp_path, bases=12_000)
        few = ["--set", "comparison.scope=checkpoint", "budget.tokens=512", "seeds=[0]"]
        assert run("run", recipe, "--out", folder, *few)[0] == 0
        trained = {path: path.stat().st_mtime_ns for path in folder.rglob("model.pt")}
        status, out, err = run("memorize", folder)
        assert status == 0, err
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.pt")} == trained
        lines = [line.split() for line in out.splitlines()]
        for arm in ("alibi", "rope"):
            found = {line[0] for line in lines if len(line) > 2 and line[2] == arm}
            assert found >= {"heldout_memory/gap", "membership/loss", "membership/neighbours"}
            assert "membership-control/neighbours" in found
        assert f"memorization: {folder / 'memorization.html'}" in out
        assert "copy_oracle" in (folder / "memorization.html").read_text()
        # One of its runs alone, which says itself what it was trained on; again, it goes on.
        for _ in range(2):
            status, out, err = run(
                *("memorize", next((folder / "runs").iterdir()), "--genome", tmp_path / "toy.fa"),
                *("--length", 32, "--out", tmp_path / "alone"),
            )
            assert status == 0, err
        assert "membership/loss" in out
        assert (tmp_path / "alone" / "memorization.html").is_file()

    def test_a_failed_cell_is_status_1_and_retry_mends_it(self, finished, recipe, monkeypatch):
        """One arm diverges; the others are reported, and `retry` finishes the study."""
        folder = finished[0].with_name("failing")
        from lightning_dna.study import scoring

        whole = scoring.fit

        def fit(run_config, *arguments, **options):
            if run_config.model.position == "rope" and run_config.seed == 1:
                raise FloatingPointError("the loss is nan")
            return whole(run_config, *arguments, **options)

        quick = ["budget.tokens=512", "suite=core", "comparison.scope=checkpoint"]
        with monkeypatch.context() as patch:
            patch.setattr(scoring, "fit", fit)
            status, out, err = run("run", recipe, "--out", folder, "--set", *quick)
        assert status == 1
        assert "report:" in out
        assert "1 cell(s) failed" in err
        assert f"lightning-dna retry {folder}" in err
        assert "Traceback" not in err
        status, table, _ = run("status", folder)
        assert status == 0
        assert re.search(r"rope/1 +\| failed .*FloatingPointError: the loss is nan", table)
        status, _, err = run("retry", folder)
        assert status == 0
        assert "1 failed cell(s) will be tried again" in err
        assert "failed" not in run("status", folder)[1].replace("failure", "")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lightning_dna", *arguments]


def buffered() -> dict[str, str]:
    """The environment of a user whose Python buffers stdout, as it does by default."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


class TestProcess:
    def test_python_m(self):
        done = subprocess.run(
            command("--version"), capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, f"{lightning_dna.__version__}\n")

    def test_console_command_is_the_same(self):
        script = Path(sys.executable).with_name("lightning-dna")
        if not script.is_file():
            pytest.skip("the console command is not installed beside this interpreter")
        texts = [
            subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
            for words in ([str(script), "list"], command("list"))
        ]
        assert texts[0] == texts[1]

    @pytest.mark.parametrize("arguments", [["list"], ["--help"], ["show", "quickstart"]])
    def test_a_reader_that_leaves_early_is_no_error(self, arguments):
        """As in `lightning-dna list | head -0`: quiet, status 0."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                command(*arguments),
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
                env=buffered(),
            )
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_stdout_on_a_full_disk(self):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command("list"),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
                env=buffered(),
            )
        assert done.returncode == 2
        assert done.stderr.startswith("lightning-dna: [Errno 28] No space left on device; free")
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_message_that_cannot_be_written_leaves_the_status(self):
        """As of a worker whose log lies on the disk that is full."""
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command("show", "quikstart"), stderr=full, check=False, timeout=60, env=buffered()
            )
        assert done.returncode == 2

    def test_a_closed_stdout_is_no_error(self):
        line = " ".join([*command("list"), ">&-"])
        done = subprocess.run(
            ["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_interrupted(self, monkeypatch):
        def interrupt(options):
            raise KeyboardInterrupt

        monkeypatch.setattr("lightning_dna.cli._list", interrupt)
        status, out, err = run("list")
        assert (status, out) == (130, "")
        assert err == "lightning-dna: interrupted; run the same command to go on.\n"

    def test_our_own_mistakes_keep_their_traceback(self, monkeypatch):
        def mistake(options):
            raise AssertionError("ours")

        monkeypatch.setattr("lightning_dna.cli._list", mistake)
        with pytest.raises(AssertionError, match="ours"):
            main(["list"])
