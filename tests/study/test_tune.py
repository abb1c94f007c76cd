"""Tuning: the same trials for every arm, also after a stop; what is wrong is refused beforehand."""

import contextlib
import math
import subprocess
import sys
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
import yaml

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.study import trials as trials_room
from lightning_dna.study import tune as tuning
from lightning_dna.study.ranges import check_range, examples, suggest
from lightning_dna.study.study import load_study
from lightning_dna.study.tune import tune

SPACE = {
    "optimizer.lr": {"low": "1e-4", "high": "1e-1", "log": True},
    "model.heads": {"choices": [1, 2]},
}


@pytest.fixture
def tiny(make_study):
    def make(**changes):
        search = {"trials": 3, "space": SPACE, "budget_fraction": 0.2, "sampler": "random"}
        return make_study(tune={**search, "pruner": "none", **changes})

    return make


@pytest.fixture
def fake_fit(monkeypatch):
    """Replace training by a function of the learning rate; return the runs that were asked for."""
    runs = []

    def fit(run, folder, *, progress, on_validation):
        runs.append(run)
        loss = abs(math.log10(run.optimizer.lr) + 2) + 1.0
        on_validation(run.budget.steps, {"valid_loss": loss})
        return SimpleNamespace(record={"valid_loss": loss})

    monkeypatch.setattr(trials_room, "fit", fit)
    return runs


def trials_of(folder):
    return pd.read_csv(folder / "trials.csv")


def test_real_trials_on_their_share_of_the_budget(tiny, tmp_path):
    found = tune(tiny(trials=1), tmp_path / "out")
    trials = trials_of(tmp_path / "out")
    assert trials["arm"].tolist() == ["attention", "hyena"]
    assert (trials["state"] == "complete").all()
    assert (trials["last_step"] == 4).all()  # a fifth of 20 steps
    assert trials["valid_bits_per_base"].between(1.0, 4.0).all()
    assert found.recipe == tmp_path / "out" / "tuned.yaml"
    assert list((tmp_path / "out").rglob("*.pt")) == []  # weights of trials are not kept


def test_every_arm_gets_the_same_trials(tiny, fake_fit, tmp_path):
    tune(tiny(), tmp_path / "out")
    trials = trials_of(tmp_path / "out")
    attention, hyena = (frame for _, frame in trials.groupby("arm"))
    for key in SPACE:
        assert attention[key].tolist() == hyena[key].tolist()
    assert len(attention) == 3
    assert attention["optimizer.lr"].nunique() == 3
    assert attention["optimizer.lr"].between(1e-4, 1e-1).all()
    assert {run.seed for run in fake_fit} == {2}  # the study trains with the seeds 0 and 1
    assert {run.budget.tokens for run in fake_fit} == {1024}
    assert {run.data.split.test for run in fake_fit} == {("chr3",)}


def test_the_tuned_recipe_holds_the_best_settings_and_runs(tiny, fake_fit, tmp_path):
    study = tiny()
    tune(study, tmp_path / "out")
    tuned = load_study(tmp_path / "out" / "tuned.yaml")
    trials = trials_of(tmp_path / "out")
    for name, arm in tuned.arms.items():
        mine = trials[trials["arm"] == name]
        best = mine.loc[mine["valid_bits_per_base"].idxmin()]
        assert arm.settings.optimizer.lr == pytest.approx(best["optimizer.lr"])
        assert arm.settings.model.heads == best["model.heads"]
        assert arm.settings.model.mixer == study.arms[name].settings.model.mixer
        assert arm.settings.budget == study.arms[name].settings.budget
    assert tuned.recipe.comparison == study.recipe.comparison
    content = yaml.safe_load((tmp_path / "out" / "tuned.yaml").read_text())
    assert set(content["arms"]["hyena"]["model"]) == {"mixer", "heads"}
    # It also says of each arm that these settings were searched for, and how long.
    for name, found in tuned.recipe.tuned.items():
        mine = trials[trials["arm"] == name]
        assert found.trials == len(mine)
        assert found.valid_bits_per_base == mine["valid_bits_per_base"].min()
        assert set(found.settings) == {"optimizer.lr", "model.heads"}
    assert set(tuned.recipe.tuned) == set(tuned.arms)


def test_factors_become_declared_arms(content, write_yaml, fake_fit, tmp_path):
    del content["arms"]
    content |= {"factors": {"model.layers": [1, 2]}, "baseline": "1"}
    content["tune"] = {"trials": 1, "space": {"optimizer.lr": {"low": 0.001, "high": 0.01}}}
    tune(load_study(write_yaml("factors.yaml", content)), tmp_path / "out")
    tuned = load_study(tmp_path / "out" / "tuned.yaml")
    assert [arm.settings.model.layers for arm in tuned.arms.values()] == [1, 2]


@pytest.mark.parametrize("stopped_at", [2, 5])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(
    tiny, fake_fit, tmp_path, monkeypatch, stopped_at
):
    tune(tiny(), tmp_path / "whole")
    works, calls = trials_room.fit, []

    def stops(run, folder, **options):
        calls.append(run)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt
        return works(run, folder, **options)

    monkeypatch.setattr(trials_room, "fit", stops)
    with pytest.raises(KeyboardInterrupt):
        tune(tiny(), tmp_path / "out")
    tune(tiny(), tmp_path / "out")
    assert len(calls) == 6 + 1
    after, whole = trials_of(tmp_path / "out"), trials_of(tmp_path / "whole")
    columns = ["arm", "trial", "state", "valid_bits_per_base", *SPACE]
    pd.testing.assert_frame_equal(after[columns], whole[columns], check_exact=True)
    recipes = [(tmp_path / name / "tuned.yaml").read_text() for name in ("out", "whole")]
    assert recipes[0] == recipes[1]


class Killed(BaseException):
    """Stands for kill -9: nothing of what cleans up runs."""


@pytest.mark.parametrize("moment", ["training", "telling", "writing"])
def test_a_trial_that_a_kill_left_running_goes_on_with_its_setting(
    tiny, fake_fit, tmp_path, monkeypatch, moment
):
    tune(tiny(), tmp_path / "whole")

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        names = {"training": "fit", "telling": "_tell", "writing": "_write"}
        patch.setattr(trials_room, names[moment], dies)
        with pytest.raises(Killed):
            tune(tiny(), tmp_path / "out")
    tune(tiny(), tmp_path / "out")
    after, whole = trials_of(tmp_path / "out"), trials_of(tmp_path / "whole")
    columns = ["arm", "trial", "state", "valid_bits_per_base", *SPACE]
    pd.testing.assert_frame_equal(after[columns], whole[columns], check_exact=True)


def test_a_trial_that_breaks_down_is_not_a_result_and_is_tried_again(
    tiny, fake_fit, tmp_path, monkeypatch
):
    def breaks(*_, **__):
        raise KeyError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(trials_room, "fit", breaks)
        with pytest.raises(ResultsError, match=r"trial 0: KeyError.*did not count"):
            tune(tiny(trials=1), tmp_path / "out")
    for _ in range(3):  # one message for each that broke
        with contextlib.suppress(ResultsError):
            tune(tiny(trials=1), tmp_path / "out")
    assert trials_of(tmp_path / "out")["state"].tolist() == ["complete", "complete"]


RUNNER = """
import sys, time
from types import SimpleNamespace
from lightning_dna.study import trials
from lightning_dna.study.study import load_study
from lightning_dna.study.tune import tune

def fit(run, folder, *, progress, on_validation):
    time.sleep(0.05)
    with open(sys.argv[3], "a") as log:
        log.write(f"{run.model.mixer}\\n")
    on_validation(1, {"valid_loss": 1.0 + run.optimizer.lr})
    return SimpleNamespace(record={"valid_loss": 1.0 + run.optimizer.lr})

trials.fit = fit
tune(load_study(sys.argv[1]), __import__("pathlib").Path(sys.argv[2]))
"""


def test_four_runners_give_each_arm_exactly_its_budget(tiny, tmp_path):
    study = tiny(trials=6)
    assert len(study.arms) == 2
    words = [str(tmp_path / name) for name in ("toy.yaml", "out", "log")]
    crew = [subprocess.Popen([sys.executable, "-c", RUNNER, *words]) for _ in range(4)]
    assert [process.wait(timeout=300) for process in crew] == [0, 0, 0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == ["attention"] * 6 + ["hyena"] * 6
    trials = trials_of(tmp_path / "out")
    assert trials.groupby("arm")["trial"].apply(list).to_dict() == {
        "attention": list(range(6)),
        "hyena": list(range(6)),
    }
    one, other = (frame for _, frame in trials.groupby("arm"))
    assert one["optimizer.lr"].tolist() == other["optimizer.lr"].tolist()


def test_a_database_keeps_the_search_as_well_as_a_journal(tiny, fake_fit, tmp_path):
    found = tune(tiny(), tmp_path / "out", storage=f"sqlite:///{tmp_path / 'search.db'}")
    plain = tune(tiny(), tmp_path / "plain")
    columns = ["arm", "trial", "state", "valid_bits_per_base", *SPACE]
    pd.testing.assert_frame_equal(found.trials[columns], plain.trials[columns])


def test_a_database_that_is_not_there_is_a_clear_error(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"--storage nosuchdb://x: .*Check the URL"):
        tune(tiny(), tmp_path / "out", storage="nosuchdb://x")


def test_a_grid_is_tried_point_by_point_in_every_arm(tiny, fake_fit, tmp_path):
    space = {"optimizer.lr": {"choices": [0.001, 0.01]}, "model.heads": {"choices": [1, 2]}}
    found = tune(tiny(trials=4, space=space, sampler="grid"), tmp_path / "out")
    for _, mine in found.trials.groupby("arm"):
        points = list(zip(mine["optimizer.lr"], mine["model.heads"], strict=True))
        assert points == [(0.001, 1), (0.001, 2), (0.01, 1), (0.01, 2)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "grid"}, "is a range, and tune.sampler 'grid' tries every value"),
        (
            {"sampler": "grid", "space": {"model.heads": {"choices": [1, 2]}}},
            r"trials is 3, and the grid has 2 points; set tune.trials=2",
        ),
    ],
)
def test_a_grid_that_does_not_fit_its_trials_is_refused(tiny, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        tune(tiny(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sampler", ["tpe", "cma-es"])
def test_samplers_that_learn_draw_within_their_ranges(tiny, fake_fit, tmp_path, sampler):
    if sampler == "cma-es":
        pytest.importorskip("cmaes")
    space = {
        "optimizer.lr": {"low": "1e-4", "high": "1e-1", "log": True},
        "optimizer.weight_decay": {"low": 0.0, "high": 0.3},
    }
    found = tune(tiny(trials=7, sampler=sampler, space=space), tmp_path / "out")
    assert found.trials["optimizer.lr"].between(1e-4, 1e-1).all()
    assert found.trials["optimizer.weight_decay"].nunique() == 7


def test_a_finished_search_is_not_repeated_and_may_grow(tiny, fake_fit, tmp_path):
    tune(tiny(), tmp_path / "out")
    tune(tiny(), tmp_path / "out")
    assert len(fake_fit) == 6
    tune(tiny(trials=4), tmp_path / "out")
    assert len(fake_fit) == 8


def test_trials_of_another_search_are_not_mixed_in(tiny, fake_fit, tmp_path):
    tune(tiny(trials=1), tmp_path / "out")
    for change in ({"budget_fraction": 0.5}, {"sampler": "tpe"}, {"seed": 3}):
        with pytest.raises(ResultsError, match=rf"another tune\.{next(iter(change))}"):
            tune(tiny(trials=1, **change), tmp_path / "out")
    assert len(fake_fit) == 2


def test_trials_that_fail_count_and_are_logged(tiny, fake_fit, tmp_path, monkeypatch):
    works = trials_room.fit

    def diverges(run, folder, **options):
        if run.optimizer.lr > 0.01:
            raise ConfigError("the loss is not finite")
        return works(run, folder, **options)

    monkeypatch.setattr(trials_room, "fit", diverges)
    tune(tiny(trials=4), tmp_path / "out")
    trials = trials_of(tmp_path / "out")
    assert len(trials) == 8
    failed = trials[trials["optimizer.lr"] > 0.01]
    assert len(failed) > 0
    assert (failed["state"] == "fail").all()
    assert (failed["failure"] == "the loss is not finite").all()


def test_a_search_without_any_finished_trial_says_why(tiny, tmp_path, monkeypatch):
    diverged = SimpleNamespace(record={"valid_loss": math.nan})
    monkeypatch.setattr(trials_room, "fit", lambda *_, **__: diverged)
    with pytest.raises(ResultsError, match=r"no trial of arm 'attention'.*not a number"):
        tune(tiny(trials=2), tmp_path / "out")
    assert len(trials_of(tmp_path / "out")) == 4


def test_hopeless_trials_are_pruned(tiny, tmp_path, monkeypatch):
    losses = iter([1.0, 1.0, 1.1, 1.1, 1.2, 1.2, 9.0, 9.0])  # the arms take turns

    def fit(run, folder, *, progress, on_validation):
        loss = next(losses)
        on_validation(1, {"valid_loss": loss})
        return SimpleNamespace(record={"valid_loss": loss})

    monkeypatch.setattr(trials_room, "fit", fit)
    tune(tiny(trials=4, pruner="median"), tmp_path / "out")
    states = trials_of(tmp_path / "out")["state"].tolist()
    assert states == ["complete", "complete", "complete", "pruned"] * 2


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"optimizer.lrr": {"low": 1, "high": 2}}, "unknown key 'lrr'.*Did you mean 'lr'"),
        ({"optimiser.lr": {"low": 1, "high": 2}}, "unknown key 'optimiser'"),
        ({"optimizer.lr": {"low": 2, "high": 1}}, "low must be below high"),
        ({"optimizer.lr": {"low": 0, "high": 1, "log": True}}, "log: above 0"),
        ({"optimizer.lr": {"low": "small", "high": 1}}, "'small'; expected a number"),
        ({"optimizer.lr": {"low": 1}}, r"\{low, high\}"),
        ({"optimizer.lr": {"low": 1, "high": 2, "step": 1}}, "step"),
        ({"optimizer.lr": {"low": 1, "high": 2, "log": "sure"}}, "log is 'sure'"),
        ({"model.heads": {"choices": []}}, "list at least one"),
        ({"model.heads": {"choices": [[1], [2]]}}, "numbers, texts"),
        ({"model.heads": {"choices": [2, 3]}}, "3 heads do not divide"),
        ({"model.dropout": {"low": 0, "high": 1}}, "model.dropout"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_before_anything_runs(
    content, write_yaml, tmp_path, fake_fit, space, words
):
    content["tune"] = {"trials": 1, "space": space}
    with pytest.raises(ConfigError, match=words):
        tune(load_study(write_yaml("toy.yaml", content)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert fake_fit == []


def test_a_pruner_that_hears_of_a_trial_at_its_end_alone_is_refused(make_study, fake_fit, tmp_path):
    late = {"trainer": {"validate_every": 1.0}}
    search = {"trials": 1, "space": SPACE, "budget_fraction": 0.2}
    for name in ("median", "successive-halving"):
        with pytest.raises(ConfigError, match=rf"pruner is '{name}'.*'attention' \(4 steps\)"):
            tune(make_study(shared=late, tune={**search, "pruner": name}), tmp_path / "out")
        assert not (tmp_path / "out").exists()
    tune(make_study(shared=late, tune={**search, "pruner": "none"}), tmp_path / "out")
    assert len(fake_fit) == 2


def test_a_slot_whose_number_is_another_trials_draws_afresh(tiny, fake_fit, tmp_path):
    tune(tiny(), tmp_path / "out")
    slot = tmp_path / "out" / "slots" / "attention" / "0000"
    begun = atomic.read_json(slot / "trial.json")
    # As a runner with another --storage leaves it: the number counts in another record.
    atomic.write_json(slot / "trial.json", begun | {"number": 1})
    (slot / "result.json").unlink()
    found = tune(tiny(), tmp_path / "out").trials
    assert len(found) == 6
    for row in found.to_dict("records"):
        loss = abs(math.log10(row["optimizer.lr"]) + 2) + 1.0
        assert row["valid_bits_per_base"] == pytest.approx(loss / math.log(2))


def test_searches_that_share_a_database_know_nothing_of_each_other(tiny, fake_fit, tmp_path):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    tune(tiny(sampler="tpe", trials=6), tmp_path / "one", storage=url)
    space = {"optimizer.lr": {"choices": [0.001, 0.01]}, "model.heads": {"choices": [2, 1]}}
    tune(tiny(sampler="tpe", space=space), tmp_path / "two", storage=url)
    again = tune(tiny(sampler="tpe", trials=6), tmp_path / "again", storage=url)
    columns = ["arm", "trial", "valid_bits_per_base", *SPACE]
    one = trials_of(tmp_path / "one")
    pd.testing.assert_frame_equal(again.trials[columns], one[columns])


def test_tuning_needs_validation_chromosomes(make_study, tmp_path):
    study = make_study(shared={"data": {"split": {"valid": []}}})
    with pytest.raises(ConfigError, match="the split has none"):
        tune(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("range_", "current", "kind"),
    [
        ({"low": 1, "high": 4}, 2, int),
        ({"low": 1, "high": 4}, None, int),
        ({"low": 0, "high": 1}, 0.1, float),  # not 0 or 1
        ({"low": "1e-4", "high": 1, "log": True}, 0.1, float),
        ({"choices": ["alibi", "rope"]}, None, str),
        ({"choices": [True, False]}, False, bool),
    ],
)
def test_values_have_the_type_of_their_setting(range_, current, kind):
    check_range("x", range_)
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [suggest(search.ask(), "x", range_, current=current) for _ in range(8)]
    assert {type(value) for value in values} == {kind}
    assert len(set(values)) > 1
    if "choices" not in range_:
        low, high = (float(value) for value in examples(range_))
        assert all(low <= value <= high for value in values)


def test_the_training_seed_is_none_of_the_studys(tiny):
    config = tiny().recipe.tune
    assert tuning._training_seed(config, (0, 1, 2, 4)) == 3
    assert tuning._training_seed(config, (5,)) == 0
    assert settings.plain(config)["seed"] == 0
