"""k-fold over chromosomes: each is held out once, scores are merged, plain studies stay."""

import json

import numpy as np
import pandas as pd
import pytest

from lightning_dna import atomic
from lightning_dna.errors import ConfigError
from lightning_dna.report.page import render
from lightning_dna.study.compare import write_results
from lightning_dna.study.gather import gather
from lightning_dna.study.kfold import fold_rows, with_folds
from lightning_dna.study.plan import plan_table
from lightning_dna.study.run import cell_folder, execute, study_jobs
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import load_study, open_study, record_study

LENGTH = 64


@pytest.fixture
def folded(content, write_yaml, make_study, tmp_path):
    """A study over four folds of five chromosomes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "five.fa"
    sizes = {"chr1": 1_600, "chr2": 1_500, "chr3": 1_400, "chr4": 800, "chr5": 700}
    letters = {name: "".join(rng.choice([*"ACGT"], size)) for name, size in sizes.items()}
    letters["chr2"] = letters["chr1"][:640] + letters["chr2"][640:]
    path.write_text("".join(f">{name}\n{text}\n" for name, text in letters.items()))
    card = {
        "name": "bases",
        "kind": "heldout_mlm",
        "title": "Hidden bases",
        "baselines": ["majority"],
        "cluster_length": 256,
        "similarity": True,
        "unit": "homology",
    }
    write_yaml("suite/card.yaml", card)
    content["shared"]["data"] |= {"genome": str(path), "split": {"seed": 1}}
    content["folds"] = 4
    return make_study("folded")


def fake(study, folder, *, skip=()):
    """Give every cell the scores of a predictor of its own, as if it had been trained."""
    record_study(study, folder)
    scorer = Scorer(study)
    for cell in study.cells():
        if cell.name in skip:
            continue
        place = cell_folder(scorer, folder, cell).folder
        (job,) = scorer.of(cell).jobs(cell)
        rng = np.random.default_rng([cell.seed, cell.fold, cell.arm.name == "hyena"])

        def predict(batch, rng=rng):
            return np.log(rng.dirichlet(np.ones(4), int(batch.hidden.sum())))

        scores = (
            scorer.of(cell)
            .tasks["bases"]
            .windows.score_with(predict, variant=cell.arm.name, seed=cell.seed)
        )
        scores.write(place / job.file)
        (place / "model.pt").write_bytes(b"")
        atomic.write_json(place / "fit.json", {"peak_memory_mib": 1.0})
    for part in scorer.parts:
        for card in part.study.cards:
            part.score_baselines(card, folder / part.baseline_folder(card))


def test_every_chromosome_is_held_out_once(folded):
    parts = Scorer(folded).parts
    held_out = [chrom for part in parts for chrom in part.split.test]
    assert sorted(held_out) == ["chr1", "chr2", "chr3", "chr4", "chr5"]
    for part in parts:
        assert not {*part.split.train} & {*part.split.test, *part.split.valid}
    assert len(folded.cells()) == 2 * 2 * 4
    assert folded.trainings == 8
    names = [cell.name for cell in folded.cells()]
    assert names[:3] == ["attention/0/fold0", "hyena/0/fold0", "attention/0/fold1"]
    assert len({cell.run_id for cell in folded.cells()}) == 16


def test_a_fold_is_the_run_of_a_plain_study(folded, content, make_study):
    """What is trained is what a study with this one split would train."""
    del content["folds"]
    content["shared"]["data"]["split"] = {"folds": 4, "fold": 2, "seed": 1}
    plain = make_study("plain")
    ids = {cell.name: cell.run_id for cell in plain.cells()}
    mine = {cell.name: cell.run_id for cell in folded.cells() if cell.fold == 2}
    assert mine == {f"{name}/fold2": run for name, run in ids.items()}


def test_the_jobs_of_all_folds(folded, tmp_path):
    names = [job.name for job in study_jobs(Scorer(folded), tmp_path)]
    assert names[:4] == [f"baselines of bases, fold {fold}" for fold in range(4)]
    assert len(names) == len(set(names)) == 4 + 16


def test_scores_are_merged(folded, tmp_path):
    folder = tmp_path / "out"
    fake(folded, folder)
    gathered = gather(folded, folder)
    frame = gathered.mlm
    held_out = frame[frame["part"] == "test"]
    for (variant, seed), rows in held_out.groupby(["variant", "seed"]):
        assert set(rows["chrom"]) == {f"chr{at}" for at in range(1, 6)}, (variant, seed)
        assert not rows.duplicated(["example_id", "stratum"]).any()
    sides = frame.groupby(["variant", "seed", "example_id"])["part"].nunique()
    assert (sides == 1).all()
    assert frame.loc[frame["part"] == "train", "example_id"].str.contains("@fold").all()
    # each window's rows are those of the one fold that held its chromosome out
    scorer = Scorer(folded)
    cell = next(one for one in folded.cells() if one.name == "hyena/1/fold3")
    own = pd.read_parquet(
        cell_folder(scorer, folder, cell).folder / scorer.of(cell).jobs(cell)[0].file
    )
    own = own[own["part"] == "test"].set_index(["example_id", "stratum"])["nats"]
    mine = held_out[(held_out["variant"] == "hyena") & (held_out["seed"] == 1)]
    mine = mine.set_index(["example_id", "stratum"])["nats"]
    pd.testing.assert_series_equal(mine.loc[own.index], own, check_index_type=False)
    assert gathered.states == {(a, s): "done" for a in folded.arms for s in (0, 1)}


def test_relatives_are_found_across_folds(folded, tmp_path):
    folder = tmp_path / "out"
    fake(folded, folder)
    table = gather(folded, folder).windows["bases"]
    held_out = table[table["part"] == "test"].set_index("example_id")
    pair = held_out.loc[["chr1:0-64", "chr2:0-64"], "cluster_id"]
    assert pair.nunique() == 1
    assert held_out.loc["chr1:1024-1088", "cluster_id"] != pair.iloc[0]
    # the copy is known as one, as the other chromosome trains or validates
    expected = {
        1.0 if "chr2" in part.split.train else 0.0
        for part in Scorer(folded).parts
        if "chr1" in part.split.test
    }
    assert {held_out.loc["chr1:0-64", "containment"]} == expected


def test_the_results_speak_of_all_folds(folded, tmp_path):
    folder = tmp_path / "out"
    fake(folded, folder)
    write_results(folded, folder)
    chromosomes = pd.read_csv(folder / "results/chromosomes.csv")
    tested = chromosomes[chromosomes["part"] == "test"]
    assert set(tested["chrom"]) == {f"chr{at}" for at in range(1, 6)}
    estimates = pd.read_csv(folder / "results/estimates.csv").set_index(["variant", "task"])
    windows = sum(size // LENGTH for size in (1_600, 1_500, 1_400, 800, 700))
    assert set(estimates.loc[("hyena", "bases"), "n_examples"]) == {windows}
    assert set(estimates.loc[("majority", "bases"), "n_examples"]) == {windows}
    said = json.loads((folder / "results/study.json").read_text())
    assert any(note.startswith("4 folds over chromosomes") for note in said["notes"])
    data = json.loads((folder / "results/provenance.json").read_text())["data"]
    assert sorted(chrom for fold in data["held out by fold"] for chrom in fold) == [
        f"chr{at}" for at in range(1, 6)
    ]
    assert open_study(folder).recipe.folds == 4


def test_an_arm_counts_when_all_its_folds_are_there(folded, tmp_path):
    folder = tmp_path / "out"
    fake(folded, folder, skip=["hyena/1/fold2"])
    gathered = gather(folded, folder)
    assert gathered.seeds == {"attention": (0, 1), "hyena": (0,)}
    assert gathered.states["hyena", 1] == "planned"
    rows = gathered.mlm
    assert rows[(rows["variant"] == "hyena") & (rows["seed"] == 1)].empty


def test_rows_of_plain_studies_stay_as_they_are():
    frame = pd.DataFrame({"part": ["train", "test"], "example_id": ["a", "b"]})
    assert fold_rows(frame, None) is frame
    assert fold_rows(frame, 1)["example_id"].tolist() == ["a@fold1", "b"]
    assert with_folds({}, 3) == {"data": {"split": {"folds": 3, "fold": 0}}}


class TestBadInput:
    def test_a_split_of_its_own(self, folded, content, write_yaml):
        content["shared"]["data"]["split"] = {"test": ["chr1"]}
        with pytest.raises(ConfigError, match=r"folds is 4, .* but data\.split names test"):
            load_study(write_yaml("bad.yaml", content))

    def test_too_few(self, folded, content, write_yaml):
        with pytest.raises(ConfigError, match="folds is 2; expected 3 or more"):
            load_study(write_yaml("bad.yaml", {**content, "folds": 2}))
        with pytest.raises(ConfigError, match=r"5 chromosome\(s\) to share out"):
            load_study(write_yaml("bad.yaml", {**content, "folds": 6}))

    def test_labelled_tasks(self, folded, content, write_yaml, add_promoters):
        with pytest.raises(ConfigError, match="folds: task 'promoter' is of kind"):
            load_study(write_yaml("bad.yaml", content))

    def test_a_genome_with_its_own_split(self, folded, content, write_yaml):
        path = content["shared"]["data"].pop("genome")
        content["shared"]["data"]["genomes"] = {
            "one": {"genome": path, "split": {"test": ["chr1"]}},
            "two": {"genome": path},
        }
        with pytest.raises(ConfigError, match=r"data\.genomes\.one has a split of its own"):
            load_study(write_yaml("bad.yaml", content))


def test_the_plan_counts_every_fold(folded):
    text = plan_table(folded)
    assert "16 (2 arms x 2 seeds x 4 folds, of which the first is shown)" in text


@pytest.mark.slow
def test_it_runs(content, write_yaml, make_study, tmp_path):
    """Train, score and compare every fold, in one folder."""
    content |= {"folds": 3, "seeds": [0]}
    content["comparison"] |= {"scope": "checkpoint"}
    content["shared"]["data"]["split"] = {}
    content["shared"]["budget"]["tokens"] = 2 * 256
    study = make_study("folds")
    outcome = execute(study, tmp_path / "out", workers=1)
    assert (outcome.done, outcome.failed) == (3 + 6, 0)
    write_results(study, tmp_path / "out")
    tested = pd.read_csv(tmp_path / "out/results/chromosomes.csv")
    assert set(tested.loc[tested["part"] == "test", "chrom"]) == {"chr1", "chr2", "chr3"}
    assert "3 folds over chromosomes" in render(tmp_path / "out").read_text()
