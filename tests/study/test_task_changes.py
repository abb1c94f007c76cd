"""What a recipe changes on every card of its suite, and planned comparisons of all of them."""

import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.suites import TaskChanges

FILES = {"train": "a.csv", "valid": "b.csv", "test": "c.csv"}
LABELLED = TaskCard(name="a", kind="classification", title="A", files=FILES)
BASES = TaskCard(name="bases", kind="heldout_mlm", title="B", baselines=("majority", "markov_2"))


def test_a_card_takes_what_its_kind_has():
    changes = TaskChanges(
        ways=("full", "scratch"), baselines=("majority", "gc_content"), max_train=7, folds=5
    )
    card = changes.of(LABELLED)
    assert card.ways == ("full", "scratch")
    assert card.baselines == ("majority", "gc_content")
    assert (card.max_train, card.folds) == (7, 5)
    assert changes.of(BASES) == BASES


def test_nothing_changes_by_default():
    assert TaskChanges().of(LABELLED) is LABELLED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (TaskChanges(baselines=("kmer",)), r"tasks.baselines: unknown baseline 'kmer'"),
        (TaskChanges(ways=("frozn",)), r"unknown way 'frozn'"),
        (TaskChanges(max_train=0), r"max_train is 0; allowed: 1 or more"),
        (TaskChanges(folds=1), r"folds is 1; allowed: 2 or more"),
    ],
)
def test_what_is_not_allowed(changes, message):
    with pytest.raises(ConfigError, match=message):
        changes.of(LABELLED)


def test_a_study_has_the_changed_cards(make_study, add_promoters):
    study = make_study(
        tasks={"ways": ["random"], "baselines": ["gc_content"]},
        comparison={"planned": ["*/random:mcc"]},
    )
    promoter = next(card for card in study.cards if card.name == "promoter")
    assert (promoter.ways, promoter.baselines) == (("random",), ("gc_content",))


def test_an_unknown_way_in_a_recipe(make_study):
    with pytest.raises(ConfigError, match=r"value 'lorra'; allowed: .* mean 'lora'") as said:
        make_study(tasks={"ways": ["lorra"]})
    assert "Union" not in str(said.value)


def test_a_planned_row_that_fits_nothing(make_study, add_promoters):
    with pytest.raises(ConfigError, match=r"'\*/lora:mcc' fits nothing that the suite measures"):
        make_study(comparison={"planned": ["*/lora:mcc"]})
