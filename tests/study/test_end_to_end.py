"""A whole study in one process: every file it owes, and what a second command does."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

import lightning_dna
from lightning_dna import atomic
from lightning_dna.errors import ResultsError
from lightning_dna.report.page import render
from lightning_dna.study.compare import write_results
from lightning_dna.study.environment import git_commit, package_versions
from lightning_dna.study.run import clear_failures, execute, study_jobs
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import open_study
from lightning_dna.study.upkeep import status_table


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / name)


@pytest.mark.usefixtures("add_promoters")
def test_a_study_from_recipe_to_report(make_study, tmp_path):
    study, out = make_study(), tmp_path / "out"
    outcome = execute(study, out, workers=1)
    assert (outcome.done, outcome.failed) == (2 + 4, 0)
    write_results(study, out)

    arms = table(out, "arms.csv").set_index("arm")
    assert arms.loc["hyena", ["tokens", "seeds_done", "seeds_failed"]].tolist() == [5120, 2, 0]
    estimates = table(out, "estimates.csv")
    views = {f"bases{view}" for view in ("", "/repeat", "/unique", "/train", "/gap")}
    assert set(estimates["task"]) == views | {"promoter/frozen", "promoter/full"}
    assert set(estimates.loc[estimates["kind"] == "baseline", "variant"]) == {
        "majority",
        "markov_2",
        "kmer_logistic",
        "onehot_cnn",
    }
    accuracy = estimates.query("task == 'bases' and metric == 'mlm_accuracy'")
    values = accuracy.set_index("variant")["estimate"]
    assert values["markov_2"] > values["majority"]  # the genome is a chain of order 2
    assert (accuracy["n_seeds"] == 2).all()

    tuned = table(out, "finetune.csv")
    assert len(tuned) == 2 * 2 * 2
    probes = tuned[tuned["way"] == "frozen"]
    assert set(probes["chosen_c"]) <= {0.1, 1.0}
    assert (tuned.loc[tuned["way"] == "full", "best_epoch"] == 1).all()
    assert (tuned["parameters_updated"] > 0).all()
    assert len(table(out, "curves.csv").groupby(["arm", "seed"])) == 4
    assert set(table(out, "chromosomes.csv")["chrom"]) == {"chr1", "chr3"}
    described = json.loads((out / "results" / "study.json").read_text())
    assert described["planned"] == [["bases", "mlm_accuracy"], ["bases", "bits_per_base"]]
    assert yaml.safe_load(described["recipe"])["baseline"] == "attention"
    others = [n for n in described["notes"] if not n.startswith(("promoter: ", "arm "))]
    assert [note.partition(" (")[0] for note in others] == ["networks among the baselines"]
    assert render(out).is_file()

    # Growing by a seed keeps every finished table and adds the random baseline's new seed.
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    grown = make_study(seeds=[0, 1, 2])
    assert execute(grown, out, workers=1).done == 2 + 6
    assert stamps.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}.items()
    write_results(grown, out)
    assert (table(out, "estimates.csv")["n_seeds"] == 3).all()
    again = json.loads((out / "results" / "study.json").read_text())
    assert again["created"] == described["created"]


def test_each_run_says_what_it_was_made_from(make_study, tmp_path):
    study, out = make_study(seeds=[0], comparison={"scope": "checkpoint"}), tmp_path / "out"
    execute(study, out, workers=1)
    cell = study.cells()[1]
    found = atomic.read_json(out / "runs" / cell.run_id / "provenance.json")
    assert (found["arm"], found["seed"], found["run_id"]) == ("hyena", 0, cell.run_id)
    assert found["settings"]["model"]["mixer"] == "hyena"
    assert found["genome"]["chromosomes"] == dict(study.genome.digests)
    (made,) = found["environments"]
    assert made["versions"] == {"lightning_dna": lightning_dna.__version__, **package_versions()}
    assert made["commit"] == git_commit()
    # A cell made by another version is told on the page.
    old = {**made, "commit": "0" * 40}
    path = out / "runs" / cell.run_id / "provenance.json"
    atomic.write_json(path, {**found, "environments": [old]})
    write_results(study, out)
    notes = json.loads((out / "results" / "study.json").read_text())["notes"]
    assert any("2 environments" in note for note in notes)


def test_failures_are_shown_retried_and_reported(make_study, tmp_path, monkeypatch):
    study, out = make_study(seeds=[0, 1]), tmp_path / "out"
    real = lightning_dna.study.scoring.fit

    def broken(run, folder, **options):
        if run.model.mixer == "hyena" and run.seed == 1:
            raise RuntimeError("the machine is on fire")
        return real(run, folder, **options)

    monkeypatch.setattr("lightning_dna.study.scoring.fit", broken)
    outcome = execute(study, out, workers=1)
    assert (outcome.done, outcome.failed) == (4, 1)
    opened = open_study(out)
    text = status_table(study_jobs(Scorer(opened), out), out)
    assert "RuntimeError: the machine is on fire" in text
    assert [line.split("|")[2].strip() for line in text.splitlines()[4:]] == [
        "done",
        "done",
        "done",
        "done",
        "failed",
    ]
    write_results(study, out)
    described = json.loads((out / "results" / "study.json").read_text())
    assert "arm 'hyena' has 1 of 2 seeds" in described["notes"]
    failures = json.loads((out / "results" / "provenance.json").read_text())["failures"]
    assert [(one["arm"], one["seed"]) for one in failures] == [("hyena", 1)]
    # With one seed of two, the procedure of this arm cannot be judged: it has no row.
    assert "hyena" not in set(table(out, "comparisons.csv")["variant"])
    assert table(out, "arms.csv").set_index("arm").loc["hyena", "seeds_failed"] == 1

    # Running again leaves failures alone; retry tries them.
    assert execute(study, out, workers=1).failed == 1
    monkeypatch.undo()
    assert clear_failures(open_study(out), out) == 1
    assert "planned" in status_table(study_jobs(Scorer(study), out), out)
    assert execute(study, out, workers=1).failed == 0


def test_a_file_in_the_way_stops_before_anything_is_written(make_study, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ResultsError, match=r"cannot write .*study\.json"):
        execute(make_study(), tmp_path / "out", workers=1)
    assert (tmp_path / "out").read_text() == "mine"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ResultsError, match=r"not empty and holds no study\.json"):
        execute(make_study(), foreign, workers=1)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
