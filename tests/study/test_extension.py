"""What a plan says of price and hours, and of a folder that holds a part of the study already."""

import itertools
import math

import pandas as pd
import pytest

from lightning_dna import atomic
from lightning_dna.cli import main
from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.study.decision import more_seeds
from lightning_dna.study.extension import Standing, hours_left, standing
from lightning_dna.study.plan import plan_frame
from lightning_dna.study.price import scoring_seconds, task_bases
from lightning_dna.study.run import cell_folder, execute
from lightning_dna.study.schedule import fitting, whole_seeds
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import record_study
from lightning_dna.training.config import FineTuneConfig


class TestHours:
    def test_cells_go_to_the_worker_that_is_free_first(self):
        hours = {"a/0": 3.0, "b/0": 1.0, "c/0": 1.0, "a/1": 2.0, "b/1": 0.5}
        # Worker 1: a/0 to 3, then b/1 to 3.5. Worker 2: b/0 to 1, c/0 to 2, a/1 to 4.
        for limit, done in ((1.0, "b/0"), (2.5, "b/0 c/0"), (3.5, "a/0 b/0 c/0 b/1")):
            found = fitting(hours, workers=2, limit=limit)
            assert found.done == tuple(done.split())
            assert {*found.done, *found.left} == {*hours}
            assert found.hours == 4.0

    def test_what_cannot_be_finished_is_begun_and_holds_its_worker(self):
        found = fitting({"a/0": 9.0, "b/0": 1.0}, workers=1, limit=5.0)
        assert (found.done, found.left) == ((), ("a/0", "b/0"))

    def test_nothing_left_takes_no_time(self):
        assert fitting({}, workers=3, limit=1.0).hours == 0.0

    def test_whole_seeds(self):
        cells = {f"{arm}/{seed}": seed for seed in (2, 0, 1) for arm in "ab"}
        assert whole_seeds(["a/0", "b/0", "a/2", "b/2", "a/1"], cells) == [2, 0]
        folds = {"a/0/fold0": 0, "a/0/fold1": 0}
        assert whole_seeds(["a/0/fold1"], folds) == []

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--limit-hours", "0"], "--limit-hours is 0; allowed: above 0"),
            (["--limit-hours", "nan"], "--limit-hours is nan"),
            (["--workers", "0"], "--workers is 0; allowed: 1 or more"),
        ],
    )
    def test_bad_options(self, make_study, tmp_path, capsys, words, message):
        make_study()
        assert main(["plan", str(tmp_path / "toy.yaml"), *words]) == 2
        assert message in capsys.readouterr().err

    def test_bad_limits_of_the_function(self):
        with pytest.raises(ConfigError, match="--limit-hours is -1"):
            fitting({}, workers=1, limit=-1)


class TestPrice:
    @pytest.mark.usefixtures("add_promoters")
    def test_bases_of_tasks_by_hand(self, make_study):
        """12 windows of 64 bases, as many of the training chromosome; promoters of 96 bases."""
        bases = task_bases(Scorer(make_study()))
        assert bases["promoter"] == {"train": 40 * 96, "valid": 20 * 96, "test": 30 * 96}
        assert bases["bases"] == {"test": 2 * 12 * 64}

    @pytest.mark.usefixtures("add_promoters")
    def test_seconds_by_hand(self, make_study):
        study = make_study(shared={"finetune": {"epochs": 5, "lr": [1e-3, 1e-4]}})
        assert study.baseline.settings.finetune.rates == (1e-3, 1e-4)
        bases = {"bases": {"test": 1000}, "promoter": {"train": 100, "valid": 10, "test": 20}}
        found = scoring_seconds(study.cards, bases, study.baseline, forward=2.0, step=7.0)
        held_out, frozen = 2.0 * 1000, 2.0 * 130
        full = 5 * 2 * (7.0 * 100 + 2.0 * 10) + 2.0 * 20
        assert found == held_out + frozen + full
        assert FineTuneConfig().epochs != 5  # the study's own count

    @pytest.mark.usefixtures("add_promoters")
    def test_a_task_without_its_data_is_left_out(self, make_study, monkeypatch):
        study = make_study()
        scorer = Scorer(study)
        monkeypatch.setattr(type(scorer.tasks["bases"]), "bases", _missing)
        assert [*task_bases(scorer)] == ["promoter"]

    def test_disk_is_that_of_the_weights(self, make_study):
        study = make_study()
        frame = plan_frame(study, bases={"bases": {"test": 1000}}).set_index("arm")
        bytes_ = 4 * frame["parameters"] * 2  # two seeds
        assert (frame["disk_mib"] == bytes_ / 2**20).all()
        assert (frame["resume_mib"] * 2**20 == 12 * frame["parameters"]).all()
        assert (frame["scoring_hours"] > 0).all()

    def test_the_command_says_what_fits(self, make_study, tmp_path, capsys):
        make_study()
        words = ["plan", str(tmp_path / "toy.yaml"), "--limit-hours", "100", "--workers", "2"]
        assert main(words) == 0
        text = capsys.readouterr().out
        assert (
            "in 100 hours with 2 worker(s), every arm of a seed before the next seed: 4 of 4"
            in (text)
        )
        assert "every arm of seeds 0, 1 complete" in text
        assert "does not fit: none" in text
        assert main(["plan", str(tmp_path / "toy.yaml"), "--limit-hours", "1e-9"]) == 0
        assert "0 of 4 cells fit, which makes no seed of every arm" in capsys.readouterr().out


def _missing(task):
    raise ConfigError("its files are not here")


def stamps(out):
    """Return when every weight, record and table was written."""
    kept = ("*.pt", "*.parquet", "fit.json")
    return {path: path.stat().st_mtime_ns for name in kept for path in out.rglob(name)}


class TestFolder:
    def fake(self, study, out, names, *, scored=True):
        """Make cells look trained, and scored."""
        scorer = Scorer(study)
        record_study(study, out)
        for cell in study.cells():
            if cell.name in names:
                place = cell_folder(scorer, out, cell)
                for name in place.owed if scored else place.owed[:1]:
                    (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (place.folder / name).touch()
                atomic.write_json(place.folder / "fit.json", {"seconds": 1800.0})

    def test_a_folder_that_is_not_there_has_nothing(self, make_study, tmp_path):
        assert not standing(make_study(), tmp_path / "none").begun
        assert not standing(make_study(), None).begun

    def test_how_far_it_is_and_what_is_left(self, make_study, tmp_path):
        study, out = make_study(), tmp_path / "out"
        self.fake(study, out, ["attention/0"])
        self.fake(study, out, ["hyena/0"], scored=False)
        found = standing(make_study(seeds=[0, 1, 2]), out)
        assert (found.done, found.trained) == (("attention/0",), ("hyena/0",))
        assert found.hours == {"attention": 0.5, "hyena": 0.5}
        grown = make_study(seeds=[0, 1, 2])
        frame = pd.DataFrame(
            {"arm": ["attention", "hyena"], "hours": [30.0, 60.0], "scoring_hours": [3.0, math.nan]}
        )
        left = hours_left(grown, frame, found)
        # What was measured counts and not the plan; of a trained cell the scoring alone.
        assert left == {
            "hyena/0": 0.0,
            **{"attention/1": 1.5, "hyena/1": 0.5, "attention/2": 1.5, "hyena/2": 0.5},
        }
        fresh = hours_left(grown, frame.drop(columns="scoring_hours"), Standing(hours={}))
        assert fresh["attention/0"] == 10.0
        assert sum(fresh.values()) == 90.0

    def test_the_command_says_what_is_done_and_what_decisions_need(
        self, make_study, tmp_path, capsys
    ):
        study, out = make_study(), tmp_path / "out"
        self.fake(study, out, ["attention/0", "hyena/0", "attention/1"])
        row = {"task": "bases", "metric": "mlm_accuracy", "scope": "procedure", "n_units": 12}
        row |= {"effect": 0.01, "effect_is": "margin", "n_seeds": 2, "detectable": 0.034}
        rows = [
            row | {"variant": "hyena", "verdict": "inconclusive", "seeds_needed": 9},
            row | {"variant": "deep", "verdict": "inconclusive", "seeds_needed": None},
            row | {"variant": "wide", "verdict": "better", "seeds_needed": 2},
        ]
        frame = pd.DataFrame(rows).assign(units_needed=None)
        atomic.write_text(out / "results" / "power.csv", frame.to_csv(index=False))
        assert main(["plan", str(tmp_path / "toy.yaml"), "--out", str(out)]) == 0
        text = capsys.readouterr().out
        assert "3 of 4 cells are done, 0 lack tables of scores alone, 1 are new" in text
        assert (
            "hyena on bases, mlm_accuracy: finds 0.034 with 80% power; to find the margin, 0.01, "
            "9 seeds of each arm, of 2 now" in text
        )
        assert "deep on bases, mlm_accuracy: finds 0.034 with 80% power; no number of seeds" in text
        assert "wide on" not in text

    def test_units_where_weights_alone_are_asked_about(self, tmp_path):
        row = {"task": "t", "metric": "mcc", "scope": "checkpoint", "n_units": 1200, "n_seeds": 1}
        row |= {"effect": -0.02, "effect_is": "observed", "detectable": 0.05, "variant": "a"}
        row |= {"verdict": "inconclusive", "seeds_needed": None, "units_needed": 7500}
        atomic.write_text(tmp_path / "results" / "power.csv", pd.DataFrame([row]).to_csv())
        (line,) = more_seeds(tmp_path)
        assert line.endswith("to find the 0.02 observed, 7,500 units, of 1,200 now")
        assert more_seeds(tmp_path / "nothing") == []

    def test_a_changed_study_is_told_which_cells_and_keys_and_what_stays(
        self, make_study, tmp_path, capsys
    ):
        out = tmp_path / "out"
        record_study(make_study(), out)
        make_study(arms={"hyena": {"model": {"mixer": "hyena", "layers": 2}}})
        assert main(["plan", str(tmp_path / "toy.yaml"), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "cells hyena/0, hyena/1 differ (2 of 4; the other 2 stay valid)" in said
        assert "holds the study 'toy', from another recipe: cells hyena/0" in said
        assert "by arms.hyena.model.layers: not given, now 2" in said
        assert "give a changed arm a name of its own" in said

    def test_where_every_cell_differs_none_is_said_to_stay(self, make_study, tmp_path):
        out = tmp_path / "out"
        record_study(make_study(), out)
        with pytest.raises(ResultsError, match=r"differ \(4 of 4\), by shared\.optimizer\.lr"):
            record_study(make_study(shared={"optimizer": {"lr": 0.02}}), out)

    def test_an_arm_that_was_removed_is_told(self, make_study, content, tmp_path):
        out = tmp_path / "out"
        record_study(make_study(arms={"wide": {"model": {"width": 32}}}), out)
        with pytest.raises(ResultsError, match=r"wide/0, wide/1 differ .*arms\.wide\.model\.width"):
            record_study(make_study(), out)

    @pytest.mark.usefixtures("add_promoters")
    def test_a_study_extended_twice_does_nothing_again(self, make_study, write_yaml, tmp_path):
        """By a seed and an arm first, by a task then: what was written stays as it is."""
        out = tmp_path / "out"
        write_yaml("suite/suite.yaml", {"description": "x", "tasks": ["card.yaml"]})
        shared = {"budget": {"tokens": 5 * 256}}
        scope = {"scope": "checkpoint"}
        execute(make_study(seeds=[0], shared=shared, comparison=scope), out, workers=1)
        first = stamps(out)
        deep = {"deep": {"model": {"layers": 2}}}
        grown = make_study(seeds=[0, 1], arms=deep, shared=shared)
        assert standing(grown, out).done == ("attention/0", "hyena/0")
        assert execute(grown, out, workers=1).done == 1 + 6
        second = stamps(out)
        assert first.items() <= second.items()
        suite = {"description": "x", "tasks": ["card.yaml", "promoter.yaml"]}
        write_yaml("suite/suite.yaml", suite)
        whole = make_study(seeds=[0, 1], arms=deep, shared=shared)
        assert standing(whole, out).done == ()
        assert len(standing(whole, out).trained) == 6
        assert execute(whole, out, workers=1).done == 2 + 6
        third = stamps(out)
        assert second.items() <= third.items()
        added = [path.relative_to(out).parts for path in third.keys() - second.keys()]
        assert {parts[-1].partition("-")[0] for parts in added if parts[0] == "runs"} == {
            "promoter"
        }
        assert standing(whole, out).done == tuple(cell.name for cell in whole.cells())


def test_cells_of_later_seeds_come_after_every_arm_of_the_first(make_study):
    study = make_study(seeds=[3, 1, 2])
    order = [(cell.seed, cell.arm.name) for cell in study.cells()]
    assert order == [*itertools.product([3, 1, 2], ["attention", "hyena"])]
