"""Studies: what names a run, what a results folder accepts, what is refused at once."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, DataError, ResultsError
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import load_study, open_study, read_record, record_study


def ids(study):
    return {cell.name: cell.run_id for cell in study.cells()}


def test_cells_come_seed_by_seed(make_study):
    names = [cell.name for cell in make_study().cells()]
    assert names == ["attention/0", "hyena/0", "attention/1", "hyena/1"]
    assert make_study().cells()[3].run.seed == 1


def test_run_ids_do_not_depend_on_paths_or_on_what_cannot_change_a_result(
    make_study, tmp_path, toy_fasta
):
    before = ids(make_study())
    moved = tmp_path / "elsewhere" / "genome.fa"
    moved.parent.mkdir()
    shutil.copy(toy_fasta, moved)
    same = make_study(
        name="another",
        question="Something else?",
        shared={
            "data": {"genome": str(moved)},
            "trainer": {
                "validate_every": 0.1,
                "points": 99,
                "accelerator": "auto",
                "threads": None,
                "num_workers": 1,
                "checkpoint_every_seconds": 5,
                "logger": "none",
            },
            "finetune": {"epochs": 3},
        },
        comparison={"level": 0.9},
    )
    assert ids(same) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"width": 32}},
        {"optimizer": {"lr": 0.02}},
        {"budget": {"tokens": 5376}},
        {"data": {"mask_fraction": 0.2}},
        {"data": {"split": {"valid": ["chr3"], "test": ["chr2"]}}},
        {"length_schedule": {"kind": "doubling", "start": 16}},
        {"trainer": {"precision": "bf16"}},
    ],
)
def test_run_ids_depend_on_everything_else(make_study, changes):
    before, after = ids(make_study()), ids(make_study(shared=changes))
    assert not set(before.values()) & set(after.values())
    assert len(set(after.values())) == 4


def test_run_ids_depend_on_the_bases_and_the_soft_mask(make_study, tmp_path, toy_fasta):
    text = toy_fasta.read_text()
    changed = {"mask": text.lower(), "bases": text[:-2] + "N\n"}
    found = [set(ids(make_study()).values())]
    for name, content in changed.items():
        (tmp_path / f"{name}.fa").write_text(content)
        study = make_study(shared={"data": {"genome": str(tmp_path / f"{name}.fa")}})
        found.append(set(ids(study).values()))
    assert len(set.union(*found)) == 12


def test_relative_paths_become_absolute(content, write_yaml, tmp_path, monkeypatch, toy_fasta):
    shutil.copy(toy_fasta, tmp_path / "near.fa")
    (tmp_path / "near.bed").write_text("chr1\t0\t100\n")
    content["shared"]["data"] |= {"genome": "near.fa", "repeat_bed": "near.bed"}
    content |= {"suite": "suite/suite.yaml", "tasks_root": "suite"}
    path = write_yaml("recipe.yaml", content)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    study = load_study(path)  # beside the recipe
    data = study.baseline.settings.data
    assert (data.genome, data.repeat_bed) == (str(tmp_path / "near.fa"), str(tmp_path / "near.bed"))
    assert study.recipe.suite == str(tmp_path / "suite" / "suite.yaml")
    assert study.tasks_root == tmp_path / "suite"
    shutil.copy(toy_fasta, tmp_path / "work" / "near.fa")
    assert load_study(path).baseline.settings.data.genome == str(tmp_path / "work" / "near.fa")
    assert study.name == "recipe"


def test_the_word_simulated_is_no_path(make_study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "simulated").touch()
    study = make_study(
        shared={
            "data": {
                "genome": "simulated",
                "simulation": {
                    "chromosomes": 3,
                    "chromosome_length": 5000,
                    "genes_per_chromosome": 1,
                },
            }
        }
    )
    assert study.baseline.settings.data.genome == "simulated"


def test_a_folder_says_what_it_is_and_opens_again(make_study, tmp_path):
    study, out = make_study(), tmp_path / "out"
    record_study(study, out)
    record = read_record(out)
    assert record["runs"] == ids(study)
    stamp = (out / "study.json").stat().st_mtime_ns
    record_study(study, out)
    assert (out / "study.json").stat().st_mtime_ns == stamp  # nothing changed, nothing written
    opened = open_study(out)
    assert ids(opened) == ids(study)
    assert opened.name == "toy"


def test_a_folder_may_grow_and_remembers_its_beginning(make_study, tmp_path):
    out = tmp_path / "out"
    record_study(make_study(), out)
    begun = {**read_record(out), "created": "2020-01-01T00:00:00+00:00"}
    atomic.write_json(out / "study.json", begun)
    wider = make_study(
        seeds=[0, 1, 2],
        arms={"wide": {"model": {"width": 32}}},
        comparison={"planned": ["bases:mlm_accuracy"]},
    )
    record_study(wider, out)
    record = read_record(out)
    assert len(record["runs"]) == 9
    assert record["created"] == "2020-01-01T00:00:00+00:00"
    assert record["declared"]["planned"] == ["bases:mlm_accuracy", "bases:bits_per_base"]
    with pytest.raises(ResultsError, match=r"cells attention/2.* differ"):
        record_study(make_study(), out)


def test_a_folder_of_another_study_is_refused(make_study, tmp_path):
    out = tmp_path / "out"
    record_study(make_study(), out)
    before = (out / "study.json").read_bytes()
    with pytest.raises(ResultsError, match=r"cells attention/0, .* differ.*Choose another"):
        record_study(make_study(shared={"model": {"width": 32}}), out)
    with pytest.raises(ResultsError, match="holds the study 'toy', not this 'another'"):
        record_study(make_study(name="another"), out)
    assert (out / "study.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 0, "version": "0.0.1"}, r"has format 0 \(lightning_dna 0.0.1\)"),
        ({"content": None}, "damaged: key 'content'"),
        ({"runs": []}, "damaged: key 'runs'"),
    ],
)
def test_a_folder_of_another_version_or_damaged_is_refused(make_study, tmp_path, change, words):
    out = tmp_path / "out"
    record_study(make_study(), out)
    atomic.write_json(out / "study.json", {**read_record(out), **change})
    for use in (open_study, lambda folder: record_study(make_study(), folder)):
        with pytest.raises(ResultsError, match=words):
            use(out)


def test_a_foreign_folder_is_refused_but_not_what_a_kill_left(make_study, tmp_path):
    with pytest.raises(ResultsError, match="not a results folder"):
        open_study(tmp_path)
    with pytest.raises(ResultsError, match="not empty"):
        record_study(make_study(), tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / ".study.json.1.abcd.partial").write_text('{"format"')
    record_study(make_study(), out)
    assert json.loads((out / "study.json").read_text())["name"] == "toy"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "cores"}, "unknown suite 'cores'.*'core'"),
        ({"comparison": {"planned": ["base:mlm_accuracy"]}}, "unknown task 'base'.*'bases'"),
        ({"comparison": {"planned": ["bases:bits"]}}, "unknown metric 'bits'"),
        ({"comparison": {"margins": {"mlm_acuracy": 0.1}}}, "margins: .*'mlm_accuracy'"),
        ({"arms": {"markov_2": {"model": {"layers": 2}}}}, "'markov_2' has the name of a baseline"),
        ({"shared": {"data": {"genome": "/no/such.fa"}}}, "/no/such.fa"),
        ({"shared": {"data": {"split": {"test": ["chrIV"]}}}}, "chrIV"),
        ({"shared": {"data": 3}}, "key 'data' holds 3"),
    ],
)
def test_what_cannot_be_run_is_refused_when_the_study_is_loaded(make_study, changes, words):
    with pytest.raises((ConfigError, DataError), match=words):
        make_study(**changes)


@pytest.mark.parametrize(
    ("shared", "error", "words"),
    [
        (
            {
                "data": {"length": 4000},
                "model": {"max_length": 4000},
                "budget": {"tokens_per_step": 4000},
            },
            DataError,
            "arm 'attention': .*4000",
        ),
        (
            {"data": {"length": 64}, "model": {"max_length": 64}},
            ConfigError,
            "sequences of 96 bases",
        ),
    ],
)
@pytest.mark.usefixtures("add_promoters")
def test_what_does_not_fit_the_data_is_refused_before_anything_is_trained(
    make_study, tmp_path, shared, error, words
):
    with pytest.raises(error, match=words):
        Scorer(make_study(shared=shared)).check()


def test_score_files_are_named_by_what_decides_their_rows(make_study, write_yaml, tmp_path):
    def files(study):
        return [job.file for job in Scorer(study).jobs(study.cells()[0])]

    before = files(make_study())
    card = yaml.safe_load((tmp_path / "suite" / "card.yaml").read_text())
    write_yaml("suite/card.yaml", {**card, "title": "Other words", "description": "More words"})
    assert files(make_study()) == before
    write_yaml("suite/card.yaml", {**card, "mask_seed": 1})
    assert files(make_study()) != before
    assert all(Path(name).parts[0] == "scores" for name in before)


@pytest.mark.usefixtures("add_promoters")
def test_a_further_baseline_leaves_every_other_table_where_it_was(make_study, write_yaml, tmp_path):
    def tables(study):
        scorer, card = Scorer(study), study.cards[1]
        folder = scorer.baseline_folder(card)
        jobs = [job.file for cell in study.cells() for job in scorer.jobs(cell)]
        return jobs, [f"{folder}/{name}" for name in scorer.baseline_files(card)]

    jobs, baselines = tables(make_study())
    card = yaml.safe_load((tmp_path / "suite" / "promoter.yaml").read_text())
    card["baselines"] = ["gb_cnn", *card["baselines"], "enformer_like"]
    write_yaml("suite/promoter.yaml", card)
    study = make_study()
    more_jobs, more = tables(study)
    assert more_jobs == jobs
    assert set(baselines) < set(more)
    added = {Path(name).name for name in set(more) - set(baselines)}
    assert added == {
        f"{name}-{seed}.parquet"
        for name in ("gb_cnn", "enformer_like")
        for seed in study.recipe.seeds
    }


def test_plain_content_survives_the_record(make_study, tmp_path):
    study = make_study()
    record_study(study, tmp_path / "out")
    assert settings.plain(open_study(tmp_path / "out").recipe) == settings.plain(study.recipe)
