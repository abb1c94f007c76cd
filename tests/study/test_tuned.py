"""Tuned settings in a recipe: declared by arm, checked against the arm, told in the report."""

import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe_sections import TunedConfig
from lightning_dna.study.tuned import tuned_notes

FOUND = {
    "settings": {"optimizer.lr": 0.003},
    "trials": 8,
    "budget_fraction": 0.25,
    "sampler": "random",
    "valid_bits_per_base": 1.91,
}
ARM = {"model": {"mixer": "hyena"}, "optimizer": {"lr": 0.003}}


def test_a_recipe_declares_what_was_tuned(make_study):
    study = make_study(arms={"hyena": ARM}, tuned={"hyena": FOUND})
    assert study.recipe.tuned["hyena"] == TunedConfig(**FOUND)
    assert study.arms["hyena"].changes["optimizer.lr"] == 0.003


def test_what_the_arm_does_not_have_is_not_called_tuned(make_study):
    with pytest.raises(ConfigError, match=r"a search chose optimizer\.lr: 0\.003, but .* 0\.01"):
        make_study(tuned={"hyena": FOUND})


@pytest.mark.parametrize(
    ("tuned", "words"),
    [
        ({"hyna": FOUND}, r"tuned: unknown arm 'hyna'.*Did you mean 'hyena'"),
        (
            {"hyena": {**FOUND, "settings": {"optimizer.rl": 1.0}}},
            r"unknown setting 'optimizer\.rl'",
        ),
        ({"hyena": {"trials": 3}}, "settings"),
    ],
)
def test_bad_declarations(make_study, tuned, words):
    with pytest.raises(ConfigError, match=words):
        make_study(tuned=tuned)


def test_run_ids_do_not_depend_on_how_a_setting_was_found(make_study):
    plain, tuned = (
        make_study(arms={"hyena": ARM}),
        make_study(arms={"hyena": ARM}, tuned={"hyena": FOUND}),
    )
    assert [cell.run_id for cell in plain.cells()] == [cell.run_id for cell in tuned.cells()]


def test_notes_in_words():
    found = TunedConfig(**FOUND)
    first, second = tuned_notes({"hyena": found}, ["attention", "hyena"])
    assert first == (
        "arm 'hyena' has tuned settings: optimizer.lr = 0.003; the best of 8 trials (random, 25% of"
        " the token budget each), chosen on validation chromosomes at 1.9100 bits per base there"
    )
    assert second.startswith("attention had no search")
    assert tuned_notes({}, ["attention"]) == []
    more = TunedConfig(**{**FOUND, "trials": 100})
    assert "from 8 to 100" in tuned_notes({"a": found, "b": more}, ["a", "b"])[-1]
