"""The test split: scores are written once, and who looked at them when is on record."""

import json
import threading

import pandas as pd
import pytest

from lightning_dna import atomic
from lightning_dna.cli import main
from lightning_dna.errors import ResultsError
from lightning_dna.study import looks
from lightning_dna.study.compare import write_results
from lightning_dna.study.gather import gather
from lightning_dna.study.looks import Entry, entries, record_look, remarks
from lightning_dna.study.run import clear_failures, execute, study_jobs
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.sealed_scores import (
    SealedError,
    digest,
    lift,
    read_sealed,
    seal,
    seal_of,
    write_once,
)
from lightning_dna.study.tune import tune
from lightning_dna.study.upkeep import remove, waste
from lightning_dna.tasks.base import Scores

ROW = {"task": "t", "variant": "a", "seed": 0, "cluster_id": "x", "label": 1}
CHECKPOINT = {"comparison": {"scope": "checkpoint"}}


def ranking(*values):
    rows = [ROW | {"example_id": str(i), "score": value} for i, value in enumerate(values)]
    return Scores(pd.DataFrame(rows), "ranking")


class TestTables:
    def test_rows_decide_the_digest_and_nothing_else(self, tmp_path):
        one = digest(ranking(0.25, 0.5))
        ranking(0.25, 0.5).write(tmp_path / "a.parquet")
        assert digest(Scores.read(tmp_path / "a.parquet")) == one
        shuffled = Scores(ranking(0.25, 0.5).frame[["score", *ROW, "example_id"]], "ranking")
        assert digest(shuffled) == one
        others = [ranking(0.25), ranking(0.5, 0.25), ranking(0.25, 0.5 + 2**-52)]
        assert len({one, *map(digest, others)}) == 4

    def test_lists_are_told_apart_by_where_they_end(self):
        def table(*lists):
            rows = [
                {**ROW, "example_id": str(i), "labels": [True] * len(row), "scores": row}
                for i, row in enumerate(lists)
            ]
            return Scores(pd.DataFrame(rows).drop(columns="label"), "multilabel")

        assert digest(table([1.0, 2.0], [3.0, 4.0])) == digest(table([1.0, 2.0], [3.0, 4.0]))
        assert digest(table([1.0, 2.0], [3.0, 4.0])) != digest(table([1.0, 2.0], [3.0, 5.0]))

    def test_the_same_rows_may_be_written_again_and_others_never(self, tmp_path):
        path = tmp_path / "scores" / "a.parquet"
        write_once(ranking(0.5), path)
        before = path.read_bytes()
        write_once(ranking(0.5), path)
        with pytest.raises(SealedError, match=r"a\.parquet: .* written once.*retry STUDY --only"):
            write_once(ranking(0.6), path)
        assert path.read_bytes() == before
        path.unlink()  # what was lost may come back, but not as something else
        with pytest.raises(SealedError):
            write_once(ranking(0.6), path)
        write_once(ranking(0.5), path)
        assert digest(read_sealed(path)) == digest(ranking(0.5))

    def test_a_table_that_another_process_wrote_meanwhile_stays(self, tmp_path):
        path = tmp_path / "a.parquet"
        ranking(0.5).write(path)  # a kill came before its seal
        with pytest.raises(SealedError):
            write_once(ranking(0.6), path)
        assert not seal_of(path).exists()
        write_once(ranking(0.5), path)
        assert seal_of(path).is_file()

    def test_a_table_that_was_changed_is_refused_when_read(self, tmp_path):
        path = tmp_path / "a.parquet"
        write_once(ranking(0.5), path)
        ranking(0.9).write(path)
        with pytest.raises(ResultsError, match=r"a\.parquet: its rows are not what was written"):
            read_sealed(path)

    def test_a_table_of_an_earlier_version_passes_and_is_sealed_from_then_on(self, tmp_path):
        path = tmp_path / "a.parquet"
        ranking(0.5).write(path)
        assert len(read_sealed(path).frame) == 1
        seal(path)
        ranking(0.9).write(path)
        seal(path)  # too late
        with pytest.raises(SealedError):
            read_sealed(path)

    def test_only_seals_of_lost_tables_are_lifted(self, tmp_path):
        kept, lost = (tmp_path / f"{name}.parquet" for name in ("kept", "lost"))
        for path in (kept, lost):
            write_once(ranking(0.5), path)
        lost.unlink()
        assert lift([kept, lost, tmp_path / "never.parquet"]) == [lost]
        assert [path.name for path in tmp_path.rglob("*.seal")] == ["kept.seal"]


class TestRecord:
    def test_what_an_entry_says(self, tmp_path):
        record_look(tmp_path, {"a/0": "done", "b/0": "running"}, command="report")
        (entry,) = entries(tmp_path)
        assert (entry.kind, entry.command) == ("look", "report")
        assert (entry.finished, entry.total, entry.early) == (("a/0",), 2, True)
        assert entry.user
        assert entry.host
        assert entry.time.endswith("+00:00")

    def test_every_look_at_an_unfinished_study_counts_and_one_at_a_finished(self, tmp_path):
        for state in ("failed", "failed", "done", "done"):
            record_look(tmp_path, {"a/0": "done", "b/0": state}, command="report")
        assert [entry.early for entry in entries(tmp_path)] == [True, True, False]
        more = dict.fromkeys(("a/0", "b/0", "c/0"), "done")
        record_look(tmp_path, more, command="report")
        assert [entry.total for entry in entries(tmp_path)] == [2, 2, 2, 3]

    def test_many_at_once_lose_none(self, tmp_path):
        def one(number):
            looks.add(tmp_path, Entry(kind="look", command=str(number), total=1))

        crew = [threading.Thread(target=one, args=(number,)) for number in range(20)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        assert sorted(int(entry.command) for entry in entries(tmp_path)) == list(range(20))

    def test_an_entry_of_a_later_version_is_read_as_far_as_it_is_known(self, tmp_path):
        content = {"kind": "look", "command": "report", "finished": ["a/0"], "total": 3, "mood": 1}
        atomic.write_json(tmp_path / "looks" / "0001.json", content)
        assert entries(tmp_path)[0].finished == ("a/0",)

    def test_remarks_in_words(self):
        def look(done, total):
            names = tuple(str(i) for i in range(done))
            return Entry(kind="look", command="report", finished=names, total=total)

        cells = [str(i) for i in range(18)]
        assert remarks([look(18, 18)], cells) == []
        (once,) = remarks([look(12, 18)], cells)
        assert "looked at once before the study was complete (first at 12 of 18 cells)" in once
        (twice,) = remarks([look(12, 18), look(15, 18), look(18, 18)], cells)
        assert "2 times before the study was complete (first at 12 of 18 cells, last at" in twice
        (grown,) = remarks([look(12, 12), look(18, 18)], cells)
        assert "extended to 18 cells after the test results of all 12 it had" in grown
        again = Entry(kind="scored again", command="retry", tables=("a/0: scores/x.parquet",))
        assert remarks([again], cells) == [
            "1 table(s) of test scores were given up on request, to be scored afresh: "
            "a/0: scores/x.parquet"
        ]


class TestStudy:
    def test_peeking_is_on_record_and_in_the_report(self, make_study, tmp_path, capsys):
        study, out = make_study(seeds=[0], **CHECKPOINT), tmp_path / "out"
        execute(study, out, workers=1, only=["attention/0"])
        assert entries(out) == []
        with pytest.raises(ResultsError, match="no second arm"):
            write_results(study, out)
        assert entries(out) == []  # nothing was seen
        execute(study, out, workers=1, only=["baselines of bases"])
        assert main(["report", str(out)]) == 0
        assert main(["report", str(out)]) == 0
        found = entries(out)
        assert [(entry.command, entry.finished) for entry in found] == [
            ("report", ("attention/0",)),
            ("report", ("attention/0",)),
        ]
        execute(study, out, workers=1)
        write_results(study, out)
        assert main(["report", str(out)]) == 0
        capsys.readouterr()
        words = "looked at 2 times before the study was complete (first at 1 of 2 cells"
        assert words in (out / "report.md").read_text().replace("\n", " ")
        assert words in " ".join((out / "report.html").read_text().split())
        assert len(entries(out)) == 3

    def test_a_table_is_scored_afresh_only_where_its_cell_is_named(self, make_study, tmp_path):
        study, out = make_study(seeds=[0], **CHECKPOINT), tmp_path / "out"
        execute(study, out, workers=1)
        job = study_jobs(Scorer(study), out)[-1]
        (table,) = (job.folder.folder / "scores").glob("*.parquet")
        mark = seal_of(table)
        sealed = json.loads(mark.read_text())
        mark.write_text(json.dumps(sealed | {"rows": "0" * 32}))  # as if it had been another table
        with pytest.raises(SealedError, match=table.name):
            gather(study, out)
        table.unlink()
        assert execute(study, out, workers=1).failed == 1
        assert job.failure()["kind"] == "SealedError"
        assert clear_failures(study, out) == 1
        assert execute(study, out, workers=1).failed == 1  # to be named is what it takes
        assert entries(out) == []
        assert clear_failures(study, out, ["hyena/0: bases"]) == 1
        assert execute(study, out, workers=1).failed == 0
        assert json.loads(mark.read_text())["rows"] == sealed["rows"]
        (entry,) = entries(out)
        assert (entry.kind, entry.tables) == ("scored again", (table.relative_to(out).as_posix(),))

    def test_removed_tables_are_on_record(self, make_study, tmp_path, capsys):
        study, out = make_study(seeds=[0], **CHECKPOINT), tmp_path / "out"
        execute(study, out, workers=1)
        orphan = out / "runs" / "0123456789ab" / "scores" / "x.parquet"
        write_once(ranking(0.5), orphan)
        assert main(["clean", str(out), "--dry-run"]) == 0
        assert entries(out) == []
        assert main(["clean", str(out)]) == 0
        capsys.readouterr()
        (entry,) = entries(out)
        assert entry.tables == ("runs/0123456789ab/scores/x.parquet",)
        remove(waste(study_jobs(Scorer(study), out), out))

    def test_tuning_never_scores_the_test_split(self, make_study, tmp_path, monkeypatch):
        def never(*arguments, **options):
            raise AssertionError("a search opened the suite")

        monkeypatch.setattr(Scorer, "score", never)
        monkeypatch.setattr(Scorer, "score_baselines", never)
        tune(make_study(tune={"trials": 1}), tmp_path / "search")
        assert [*(tmp_path / "search").rglob("*.parquet")] == []
        assert entries(tmp_path / "search") == []
