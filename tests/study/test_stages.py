"""Stages of a cell: its tables have claims, attempts and failures of their own."""

import sys
import threading
from functools import partial

import pytest

from lightning_dna.cli import main
from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.study.cluster import RayOptions
from lightning_dna.study.executors import run_with_workers, work_through
from lightning_dna.study.gather import gather
from lightning_dna.study.jobs import Job, steps, summary
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder, State
from lightning_dna.study.run import clear_failures, execute, study_jobs
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.upkeep import status_table, waste

ONE_SEED = {"seeds": [0], "comparison": {"scope": "checkpoint"}}


def touch(path, progress):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def cell(root, name, works=None, train=None):
    """A cell with stages a and b; a work that is given takes the place of writing the file."""
    home = root / name
    stages = tuple(
        Job(
            name=f"{name}: {stage}",
            folder=CellFolder(home / "stages" / stage, (f"scores/{stage}",), base=home),
            work=(works or {}).get(stage) or partial(touch, home / "scores" / stage),
        )
        for stage in ("a", "b")
    )
    folder = CellFolder(home, ("weights",))
    return Job(
        name=name, folder=folder, work=train or partial(touch, home / "weights"), stages=stages
    )


def fail(progress):
    raise RuntimeError("it does not converge")


class TestOrder:
    def test_stages_come_after_their_cell_and_before_the_next(self, tmp_path):
        said = []

        def job(name):
            def tell(what, path, progress):
                said.append(what)
                touch(path, progress)

            home = tmp_path / name
            works = {
                stage: partial(tell, f"{name}{stage}", home / "scores" / stage) for stage in "ab"
            }
            return cell(tmp_path, name, works, partial(tell, name, home / "weights"))

        assert work_through([job("x"), job("y")], progress=False).done == 2
        assert said == ["x", "xa", "xb", "y", "ya", "yb"]

    def test_a_stage_that_fails_leaves_training_and_other_stages_alone(self, tmp_path):
        job = cell(tmp_path, "x", {"a": fail})
        outcome = work_through([job], progress=False)
        assert (outcome.done, outcome.failed) == (0, 1)
        assert job.folder.state() is State.DONE
        assert [stage.folder.state() for stage in job.stages] == [State.FAILED, State.DONE]
        assert job.state() is State.FAILED
        assert job.failure()["stage"] == "x: a"
        # Tried again it is alone, and nothing else is begun.
        job.stages[0].folder.clear_failure()
        assert job.state() is State.PLANNED
        whole = cell(tmp_path, "x")
        assert work_through([whole], progress=False).done == 1
        assert whole.state() is State.DONE
        assert [len(step.job.folder.attempts()) for step in steps([whole])] == [1, 2, 1]

    def test_a_training_that_fails_ends_the_cell_and_begins_no_stage(self, tmp_path):
        job = cell(tmp_path, "x", train=fail)
        assert work_through([job, cell(tmp_path, "y")], progress=False).done == 1
        assert summary([job]).failed == 1
        assert job.state() is State.FAILED
        assert job.failure()["message"] == "it does not converge"
        assert all(step.finished() for step in steps([job]))
        assert not (tmp_path / "x" / "stages").exists()

    def test_states_of_a_cell_under_way(self, tmp_path):
        job = cell(tmp_path, "x")
        assert job.state() is State.PLANNED
        assert not job.finished()
        touch(tmp_path / "x" / "weights", False)
        assert job.state() is State.PLANNED
        with job.stages[0].folder.claim(), job.stages[0].folder.attempt():
            assert job.state() is State.RUNNING
            assert not job.finished()
        touch(tmp_path / "x" / "scores" / "a", False)
        touch(tmp_path / "x" / "scores" / "b", False)
        assert job.done()
        assert job.finished()

    def test_tables_that_an_earlier_version_left_are_stages_that_are_done(self, tmp_path):
        job = cell(tmp_path, "x", {"a": fail, "b": fail}, fail)
        for name in ("weights", "scores/a", "scores/b"):
            touch(tmp_path / "x" / name, False)
        assert work_through([job], progress=False).done == 1
        assert not (tmp_path / "x" / "stages").exists()

    def test_two_workers_score_one_checkpoint_at_the_same_time(self, tmp_path):
        """Each stage waits for the other: alone, neither would ever end."""
        both = threading.Barrier(2, timeout=30)

        def meet(path, progress):
            both.wait()
            touch(path, progress)

        works = {name: partial(meet, tmp_path / "x" / "scores" / name) for name in ("a", "b")}
        touch(tmp_path / "x" / "weights", False)
        crew = [
            threading.Thread(
                target=work_through,
                args=([cell(tmp_path, "x", works)],),
                kwargs={"progress": False},
            )
            for _ in range(2)
        ]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join(60)
        assert cell(tmp_path, "x").done()

    def test_the_claim_of_a_trained_cell_leaves_the_files_of_its_stages_alone(self, tmp_path):
        job = cell(tmp_path, "x")
        touch(tmp_path / "x" / "weights", False)
        half = tmp_path / "x" / "scores" / ".b.1.ab.partial"
        other = tmp_path / "x" / "scores" / ".a.1.ab.partial"
        for path in (half, other):
            touch(path, False)
        with job.folder.claim() as free:
            assert free
            assert half.exists()
        with job.stages[1].folder.claim() as free:  # its own is what a kill left
            assert free
            assert not half.exists()
            assert other.exists()


@pytest.mark.usefixtures("add_promoters")
class TestStudy:
    def test_a_failed_fine_tuning_is_retried_alone(self, make_study, tmp_path, monkeypatch, capsys):
        study, out = make_study(**ONE_SEED), tmp_path / "out"
        real = Scorer.score

        def broken(self, job, cell, checkpoint, *, progress):
            if (cell.arm.name, job.way) == ("hyena", "full"):
                raise RuntimeError("it does not converge")
            return real(self, job, cell, checkpoint, progress=progress)

        with monkeypatch.context() as patch:
            patch.setattr(Scorer, "score", broken)
            outcome = execute(study, out, workers=1)
        assert (outcome.done, outcome.failed) == (2 + 1, 1)
        jobs = study_jobs(Scorer(study), out)
        hyena = jobs[-1]
        assert [stage.name for stage in hyena.stages] == [
            "hyena/0: bases",
            "hyena/0: promoter/frozen",
            "hyena/0: promoter/full",
        ]
        assert [stage.folder.done() for stage in hyena.stages] == [True, True, False]
        table = status_table(jobs, out)
        assert table.startswith("4 cells: 3 done, 1 failed\n")
        rows = [line.split("|")[1:3] for line in table.splitlines()[4:]]
        assert [[word.strip() for word in row] for row in rows[-2:]] == [
            ["hyena/0", "failed"],
            ["hyena/0: promoter/full", "failed"],
        ]
        assert "RuntimeError: it does not converge" in table.splitlines()[-1]
        found = gather(study, out)
        assert found.states["hyena", 0] == "failed"
        assert found.failures["hyena", 0].startswith("hyena/0: promoter/full: RuntimeError: it")
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
        assert main(["retry", str(out), "--only", "hyena/0: promoter/full"]) == 0
        assert "1 failed cell(s)" in capsys.readouterr().err
        after = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
        assert len(after) == len(before) + 1
        assert before.items() <= after.items()
        assert len(hyena.folder.attempts()) == 1
        assert status_table(jobs, out).startswith("4 cells: 4 done\n")
        assert waste(jobs, out) == []

    def test_a_stage_that_is_named_runs_what_it_needs_and_nothing_else(self, make_study, tmp_path):
        study, out = make_study(**ONE_SEED), tmp_path / "out"
        outcome = execute(study, out, workers=1, only=["hyena/0: promoter/frozen"])
        assert (outcome.done, outcome.failed) == (1, 0)
        tables = [path.name.partition("-")[0] for path in out.rglob("*.parquet")]
        assert tables == ["promoter"]
        with pytest.raises(ConfigError, match=r"hyena/0: promoter/ful'.*hyena/0: promoter/full"):
            clear_failures(study, out, ["hyena/0: promoter/ful"])


class TestVanished:
    def test_a_folder_that_vanishes_while_cells_are_worked_on_stops_everything(
        self, make_study, tmp_path, monkeypatch
    ):
        study, out = make_study(**ONE_SEED), tmp_path / "out"
        real = Scorer.train

        def vanish(self, cell, folder, **options):
            real(self, cell, folder, **options)
            out.rename(tmp_path / "unmounted")

        with monkeypatch.context() as patch:
            patch.setattr(Scorer, "train", vanish)
            with pytest.raises(ResultsError, match=r"out has vanished .*mount it again"):
                execute(study, out, workers=1)
        assert not out.exists()  # nothing was written where nobody would look for it
        (tmp_path / "unmounted").rename(out)
        assert execute(study, out, workers=1).failed == 0

    def test_what_fails_for_the_folder_is_not_recorded_as_a_failure_of_the_cell(self, tmp_path):
        (tmp_path / "study.json").touch()

        def work(progress):
            (tmp_path / "study.json").unlink()
            raise FileNotFoundError("the weights")

        folder = CellFolder(tmp_path / "runs" / "x", ("done",), root=tmp_path)
        job = Job(name="x", folder=folder, work=work)
        with pytest.raises(ResultsError, match="has vanished"):
            work_through([job], progress=False)
        assert folder.failure() is None
        assert folder.attempts()[0].outcome is None

    def test_a_runner_looks_too(self, tmp_path):
        (tmp_path / "study.json").touch()
        code = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).unlink(); time.sleep(60)"
        folder = CellFolder(tmp_path / "runs" / "x", ("done",), root=tmp_path)
        with pytest.raises(ResultsError, match="has vanished"):
            run_with_workers(
                [Job(name="x", folder=folder, work=fail)],
                command=[sys.executable, "-c", code, str(tmp_path / "study.json")],
                workers=1,
                log_folder=tmp_path / "logs",
                journal=Journal(tmp_path / "journal"),
            )


def test_a_cluster_is_given_whole_cells(make_study, tmp_path):
    with pytest.raises(ConfigError, match="--ray hands out whole cells"):
        execute(
            make_study(**ONE_SEED),
            tmp_path / "out",
            workers=1,
            only=["hyena/0: bases"],
            cluster=RayOptions(address="local"),
        )
