"""Recipes: what is refused, with which words, and what an override reaches."""

import pytest

from lightning_dna import settings
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import load_recipe, override, parse_recipe, resolve_arms


def resolve(content, **changes):
    merged = settings.merge(content, changes)
    return resolve_arms(parse_recipe(merged, where="x.yaml"), where="x.yaml")


def test_arms_are_shared_settings_with_their_changes_over_them(content):
    arms = resolve(content)
    assert list(arms) == ["attention", "hyena"]
    assert arms["attention"].changes == {}
    assert arms["hyena"].changes == {"model.mixer": "hyena"}
    assert arms["hyena"].settings.model.mixer == "hyena"
    assert arms["hyena"].settings.model.width == 16
    assert arms["hyena"].settings.optimizer.lr == 0.01  # written 1e-2, which YAML reads as text
    assert arms["hyena"].settings.run(7).seed == 7


def test_whole_numbers_may_be_written_as_powers_of_ten(content):
    arms = resolve(content, shared={"budget": {"tokens": "2e8", "tokens_per_step": 8192.0}})
    assert arms["hyena"].settings.budget.tokens == 200_000_000
    assert arms["hyena"].settings.budget.tokens_per_step == 8192
    with pytest.raises(ConfigError, match=r"budget.tokens.*100.5"):
        resolve(content, shared={"budget": {"tokens": 100.5}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sharde": {}}, ["x.yaml", "unknown key 'sharde'", "Did you mean 'shared'?"]),
        ({"shared": {"modle": {}}}, ["arm 'attention'", "'modle'", "Did you mean 'model'?"]),
        ({"shared": {"model": {"widht": 4}}}, ["model: unknown key 'widht'", "'width'?"]),
        ({"comparison": {"plannd": []}}, ["comparison: unknown key 'plannd'", "'planned'?"]),
        ({"arms": {"hyena": {"model": {"mixer": "hyenna"}}}}, ["arm 'hyena'", "Did you mean 'hy"]),
        ({"comparison": {"scope": "proc"}}, ["comparison.scope", "checkpoint, procedure"]),
        ({"baseline": "atention"}, ["baseline arm 'atention'", "Did you mean 'attention'?"]),
        ({"seeds": []}, ["seeds is empty"]),
        ({"seeds": [0]}, ["two or more seeds", "comparison.scope: checkpoint"]),
        ({"seeds": [1, 1]}, ["[1, 1] repeats a seed"]),
        ({"seeds": [-1, 1]}, ["negative seed"]),
        ({"seeds": 3}, ["seeds"]),
        ({"arms": {"twin": {}}}, ["'attention' and 'twin' resolve to the same settings"]),
        ({"arms": {"hyena": {"data": {"split": {"test": ["chr4"]}}}}}, ["changes data.split"]),
        ({"arms": {"hyena": {"budget": {"tokens": 9999}}}}, ["changes budget.tokens"]),
        ({"arms": {"hyena": {"budget": {"tokens_per_step": 3000}}}}, ["3000 tokens", "5120"]),
        (
            {"arms": {"odd": {"model": {"heads": 3}}}},
            ["arm 'odd'", "3 heads do not divide model.width 16", "1, 2, 4, 8, 16"],
        ),
        ({"arms": {"long": {"data": {"length": 200}}}}, ["arm 'long'", "max_length is 128"]),
        ({"arms": {"hyena": 5}}, ["arm 'hyena' holds 5"]),
        ({"arms": {True: {}}}, ["True is not allowed as the name of an arm", "in quotes"]),
        ({"arms": {"a/b": {}}}, ["'a/b' is not allowed as the name of an arm"]),
        ({"arms": ["attention"]}, ["arms"]),
        ({"shared": {"model": None}}, ["key 'model' holds None", "expected a mapping"]),
        ({"shared": {"data": 5}}, ["key 'data' holds 5"]),
        ({"factors": {"model.mixer": ["attention", "hyena"]}}, ["'arms' or 'factors'"]),
        ({"comparison": {"planned": ["accuracy"]}}, ["'accuracy'", "task:metric"]),
        ({"comparison": {"planned": ["a:b", "a:b"]}}, ["repeats a row"]),
        ({"comparison": {"level": 1.0}}, ["comparison.level is 1.0"]),
        ({"comparison": {"resamples": 9}}, ["comparison.resamples is 9"]),
        ({"comparison": {"margins": {"mcc": 0}}}, ["comparison.margins.mcc is 0"]),
        ({"comparison": {"seed": -1}}, ["comparison.seed is -1"]),
        ({"tune": {"trials": 0}}, ["tune.trials is 0"]),
        ({"tune": {"budget_fraction": 0}}, ["tune.budget_fraction is 0"]),
        ({"tune": {"seed": -1}}, ["tune.seed is -1"]),
    ],
)
def test_what_is_wrong_is_named(content, changes, words):
    with pytest.raises(ConfigError) as caught:
        resolve(content, **changes)
    for word in words:
        assert word in str(caught.value)


def test_what_is_left_out_is_named(content):
    del content["baseline"]
    with pytest.raises(ConfigError, match="key 'baseline' is missing"):
        parse_recipe(content, where="x.yaml")
    with pytest.raises(ConfigError, match="no arms"):
        resolve({**content, "baseline": "a", "arms": {}})


def test_an_empty_tune_space_is_refused(content):
    with pytest.raises(ConfigError, match=r"tune.space is empty"):
        resolve({**content, "tune": {"space": {}}})


def test_one_seed_is_enough_for_the_scope_checkpoint(content):
    recipe = parse_recipe(
        {**content, "seeds": [0], "comparison": {"scope": "checkpoint"}}, where="x.yaml"
    )
    assert recipe.seeds == (0,)


def test_empty_sections_change_nothing(content):
    content["arms"] = {"attention": None}
    shared = content.pop("shared")
    content["arms"]["attention"] = shared
    assert list(resolve({**content, "shared": None})) == ["attention"]


def test_overrides_reach_shared_the_top_level_and_one_arm(content, write_yaml):
    path = write_yaml("x.yaml", content)
    recipe, kept = load_recipe(
        path,
        [
            "model.width=32",
            "optimizer.lr=1e-4",
            "seeds=[3,4,5]",
            "arms.hyena.model.layers=2",
            "comparison.level=0.9",
            "data.split={folds: 3, fold: 1}",
        ],
    )
    arms = resolve_arms(recipe, where="x.yaml")
    assert recipe.seeds == (3, 4, 5)
    assert recipe.comparison.level == 0.9
    assert recipe.comparison.resamples == 199
    assert {name: arm.settings.model.width for name, arm in arms.items()} == {
        "attention": 32,
        "hyena": 32,
    }
    assert {name: arm.settings.model.layers for name, arm in arms.items()} == {
        "attention": 1,
        "hyena": 2,
    }
    assert arms["hyena"].settings.optimizer.lr == 1e-4
    split = arms["hyena"].settings.data.split
    assert (split.folds, split.fold, split.test) == (3, 1, None)
    assert kept["shared"]["model"]["width"] == 32
    assert content["shared"]["model"]["width"] == 16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle.width=3", ["--set modle.width=3", "Did you mean 'model'?"]),
        ("arms.hyenna.model.width=8", ["unknown arm 'hyenna'", "Did you mean 'hyena'?"]),
        ("model.width", ["not of the form key.subkey=value"]),
        ("model..width=3", ["not of the form"]),
        ("seeds=[1", ["not valid YAML"]),
    ],
)
def test_an_override_that_reaches_nothing_is_refused(content, text, words):
    with pytest.raises(ConfigError) as caught:
        override(content, [text], where="x.yaml")
    for word in words:
        assert word in str(caught.value)


def test_a_key_that_stands_twice_is_refused(write_yaml):
    path = write_yaml("x.yaml", "question: a\nbaseline: b\nquestion: c\n")
    with pytest.raises(ConfigError, match=r"x.yaml, line 3: key 'question' stands twice"):
        load_recipe(path)


def test_factors_become_arms(content):
    del content["arms"]
    content["factors"] = {"model.mixer": ["attention", "hyena"], "model.layers": [1, 2]}
    arms = resolve({**content, "baseline": "attention+1"})
    assert list(arms) == ["attention+1", "attention+2", "hyena+1", "hyena+2"]
    assert arms["hyena+2"].settings.model.layers == 2
    with pytest.raises(ConfigError, match="baseline arm 'attention'"):
        resolve({**content, "baseline": "attention"})


def test_arms_may_differ_in_training_time_only_where_it_is_declared(content):
    arms = {"short": {}, "long": {"budget": {"tokens": 40 * 256}}}
    changed = settings.merge(content, {"baseline": "short"}) | {"arms": arms}
    with pytest.raises(ConfigError, match="unequal_budgets: true"):
        resolve_arms(parse_recipe(changed, where="toy"), where="toy")
    recipe = parse_recipe(changed | {"unequal_budgets": True}, where="toy")
    found = resolve_arms(recipe, where="toy")
    assert [arm.settings.budget.tokens for arm in found.values()] == [20 * 256, 40 * 256]


def test_other_ground_is_refused_with_unequal_budgets_too(content):
    arms = {"one": {}, "other": {"data": {"split": {"test": ["chr1"]}}}}
    changed = settings.merge(content, {"baseline": "one"}) | {"arms": arms}
    recipe = parse_recipe(changed | {"unequal_budgets": True}, where="toy")
    with pytest.raises(ConfigError, match=r"changes data\.split"):
        resolve_arms(recipe, where="toy")


def test_a_suite_may_be_a_list(content):
    assert parse_recipe(content | {"suite": "core"}, where="toy").suites == ("core",)
    assert parse_recipe(content | {"suite": ["core", "mine"]}, where="toy").suites == (
        "core",
        "mine",
    )
    for wrong in ([], ["core", "core"]):
        with pytest.raises(ConfigError, match="one suite or more, each once"):
            parse_recipe(content | {"suite": wrong}, where="toy")
