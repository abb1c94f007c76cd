"""Task cards and suites: what is accepted, what is refused, and in which words."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.tasks.card import Carve, TaskCard, load_card
from lightning_dna.tasks.suites import load_suite

FILES = {"train": "a.csv", "valid": "b.csv", "test": "c.csv"}


def heldout(**changes) -> TaskCard:
    return TaskCard(**{"name": "bases", "kind": "heldout_mlm", "title": "T"} | changes)


def labelled(**changes) -> TaskCard:
    base = {"name": "tf", "kind": "classification", "title": "T", "files": FILES}
    return TaskCard(**base | changes)


def simulated(**changes) -> TaskCard:
    base = {
        "name": "sim",
        "kind": "simulated_classification",
        "title": "T",
        "simulated": "promoter",
        "length": 128,
    }
    return TaskCard(**base | changes)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_default_metrics_follow_the_kind():
    assert heldout().metrics == ("mlm_accuracy", "bits_per_base")
    assert labelled().metrics == ("mcc", "accuracy")
    assert simulated().metrics == ("mcc", "accuracy")
    assert labelled().ways == ("frozen", "full")
    assert heldout().baselines == ()


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (heldout, {"name": "a/b"}, "name 'a/b'"),
        (heldout, {"name": ""}, "name ''"),
        (heldout, {"title": "  "}, "title is empty"),
        (heldout, {"kind": "heldout"}, "unknown kind of task 'heldout'"),
        (heldout, {"metrics": ("mcc",)}, "metrics: unknown metric 'mcc'"),
        (heldout, {"metrics": ("bits_per_base", "bits_per_base")}, "'bits_per_base' twice"),
        (heldout, {"baselines": ("markov_6",)}, "baselines: unknown baseline 'markov_6'"),
        (heldout, {"baselines": ("kmer_logistic",)}, "unknown baseline 'kmer_logistic'"),
        (heldout, {"mask_fraction": 0.0}, "mask_fraction is 0.0"),
        (heldout, {"mask_fraction": 1.0}, "mask_fraction is 1.0"),
        (heldout, {"mask_seed": -1}, "mask_seed is -1"),
        (heldout, {"window_length": 7}, "window_length is 7"),
        (heldout, {"max_windows": 0}, "max_windows is 0"),
        (heldout, {"cluster_length": 0}, "cluster_length is 0"),
        (heldout, {"version": 0}, "version is 0"),
        (labelled, {"metrics": ("bits_per_base",)}, "unknown metric 'bits_per_base'"),
        (labelled, {"baselines": ("markov_3",)}, "unknown baseline 'markov_3'"),
        (labelled, {"ways": ()}, "ways is empty"),
        (labelled, {"ways": ("full", "full")}, "'full' twice"),
        (labelled, {"ways": ("frosen",)}, "Did you mean 'frozen'"),
        (labelled, {"files": None}, "files is missing"),
        (labelled, {"files": {"dev": "x"}}, "files: unknown part 'dev'"),
        (labelled, {"files": FILES | {"train": " "}}, "files: 'train' is ' ', which names no file"),
        (labelled, {"files": FILES | {"test": "./"}}, "files: 'test' is './', which names no file"),
        (labelled, {"files": {"all": "x", "test": "y"}}, "'all' beside other parts"),
        (labelled, {"files": {"train": "x", "test": "y"}}, "files lacks valid"),
        (labelled, {"files": {"train": "x", "valid": "y"}}, "files lacks test"),
        (labelled, {"carve": Carve()}, "carve makes 'valid' from 'train'"),
        (labelled, {"max_train": 0}, "max_train is 0"),
        (labelled, {"folds": 1}, "folds is 1; allowed: 2 or more"),
        (simulated, {"simulated": None}, "simulated is missing"),
        (simulated, {"simulated": "promotor"}, "Did you mean 'promoter'"),
        (simulated, {"length": 20}, "length is 20; the simulated task 'promoter' needs"),
        (simulated, {"n_train": 0}, "n_train is 0"),
        (simulated, {"seed": -1}, "seed is -1"),
    ],
)
def test_refuses_what_is_not_allowed(make, changes, message):
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (heldout, {"ways": ("full",)}),
        (heldout, {"n_train": 5}),
        (labelled, {"mask_fraction": 0.2}),
        (labelled, {"length": 100}),
        (simulated, {"files": FILES}),
        (simulated, {"cluster_length": 4}),
    ],
)
def test_refuses_fields_of_another_kind(make, changes):
    with pytest.raises(ConfigError, match=f"{next(iter(changes))} has no meaning"):
        make(**changes)


def test_carve_supplies_the_missing_part():
    card = labelled(files={"train": "x", "test": "y"}, carve=Carve(fraction=0.25))
    assert card.carve == Carve(part="valid", source="train", fraction=0.25, seed=0)
    labelled(files={"valid": "x", "test": "y"}, carve=Carve(part="train", source="valid"))
    labelled(files={"all": "x"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "valid"}, "both 'valid'"),
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"fraction": 1.0}, "fraction is 1.0"),
        ({"seed": -3}, "seed is -3"),
    ],
)
def test_carve_refuses(changes, message):
    with pytest.raises(ConfigError, match=message):
        Carve(**changes)


def test_card_from_file(tmp_path):
    path = write(
        tmp_path / "mine.yaml",
        "name: mine\nkind: classification\ntitle: Mine\n"
        "files: {train: a.csv, test: c.csv}\n"
        "carve: {fraction: 0.2, seed: 3}\n"
        "labels: [closed, open]\nmax_train: 1e3\nways: [frozen, scratch]\n",
    )
    card = load_card(path)
    assert card.folder == str(tmp_path)
    assert card.files == {"train": "a.csv", "test": "c.csv"}
    assert card.carve == Carve(fraction=0.2, seed=3)
    assert card.labels == ("closed", "open")
    assert card.max_train == 1000
    assert card.ways == ("frozen", "scratch")
    assert load_card("mine.yaml", beside=tmp_path) == card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: heldout_mlm\ntitle: T\n", "key 'name' is missing"),
        ("name: a\ntitle: T\n", "key 'kind' is missing"),
        ("name: a\nkind: heldout_mlm\n", "key 'title' is missing"),
        ("name: a\nkind: heldout_mlm\ntitle: T\nfolder: /x\n", "key 'folder'"),
        ("name: a\nkind: heldout_mlm\ntitle: T\nmask_fractoin: .2\n", "'mask_fraction'"),
        ("name: a\nkind: heldout_mlm\ntitle: T\nmask_fraction: lots\n", "mask_fraction"),
        ("name: a\nkind: heldout_mlm\ntitle: T\nmask_seed: 1.5\n", "mask_seed"),
        ("name: a\nkind: held\ntitle: T\n", "kind"),
        ("name: a\nkind: heldout_mlm\ntitle: T\ntitle: U\n", "'title' stands twice"),
        ("- a\n", "not a mapping"),
        ("name: [\n", "not valid YAML"),
        (
            "name: a\nkind: classification\ntitle: T\nfiles: {train: x, test: y}\n"
            "carve: {frction: 0.1}\n",
            "'fraction'",
        ),
    ],
)
def test_bad_card_names_file_and_key(tmp_path, text, message):
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_card(path)
    assert "bad.yaml" in str(caught.value)
    assert message in str(caught.value)


def test_an_unknown_key_is_answered_with_those_that_a_card_may_have(tmp_path):
    path = write(tmp_path / "a.yaml", "name: a\nkind: heldout_mlm\ntitle: T\nfoldr: x\n")
    with pytest.raises(ConfigError, match="unknown key 'foldr'") as caught:
        load_card(path)
    assert "folds" in str(caught.value)
    assert "folder" not in str(caught.value)


def test_the_source_of_a_card_exists(tmp_path):
    text = "name: a\nkind: heldout_mlm\ntitle: T\nsource: {}\n"
    assert load_card(write(tmp_path / "good.yaml", text.format("gue"))).source == "gue"
    bad = write(tmp_path / "bad.yaml", text.format("ggue"))
    with pytest.raises(ConfigError, match=r"bad.yaml: key 'source': unknown source 'ggue'.*'gue'"):
        load_card(bad)
    write(tmp_path / "mine" / "own.yaml", "name: own\n")
    beside = write(tmp_path / "mine" / "card.yaml", text.format("./own.yaml"))
    assert load_card(beside).source == "./own.yaml"
    nowhere = write(tmp_path / "nowhere.yaml", text.format("./other.yaml"))
    with pytest.raises(ConfigError, match="key 'source': no source file at"):
        load_card(nowhere)


def test_unknown_card_suggests_a_shipped_name():
    with pytest.raises(ConfigError, match="Did you mean 'heldout_mlm'"):
        load_card("heldout_mln")
    with pytest.raises(ConfigError, match="no task file at"):
        load_card("./nowhere.yaml")


def test_suite_takes_shipped_names_and_paths_beside_it(tmp_path):
    write(tmp_path / "cards" / "own.yaml", "name: own\nkind: heldout_mlm\ntitle: Own\n")
    suite = write(tmp_path / "suite.yaml", "description: D\ntasks: [cards/own.yaml, heldout_mlm]\n")
    cards = load_suite(suite)
    assert [card.name for card in cards] == ["own", "heldout_mlm"]
    assert cards[0].folder == str(tmp_path / "cards")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: D\n", "key 'tasks' holds None"),
        ("tasks: []\n", "key 'tasks'"),
        ("tasks: heldout_mlm\n", "key 'tasks'"),
        ("tasks: [1]\n", "key 'tasks'"),
        ("tasks: [heldout_mlm]\ntask: x\n", "unknown key 'task'"),
        ("tasks: [heldout_mlm]\ndescription: [a]\n", "key 'description'"),
        ("tasks: [heldout_mlm, heldout_mlm]\n", "'heldout_mlm' stands twice"),
        ("tasks: [gue-tf-00]\n", "Did you mean 'gue-tf-0'"),
    ],
)
def test_bad_suite(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load_suite(write(tmp_path / "bad.yaml", text))
    assert message in str(caught.value)


def test_two_cards_of_one_name_are_refused_wherever_they_lie(tmp_path):
    text = "name: same\nkind: heldout_mlm\ntitle: T\n"
    write(tmp_path / "a.yaml", text)
    write(tmp_path / "b.yaml", text)
    suite = write(tmp_path / "suite.yaml", "tasks: [./a.yaml, ./b.yaml]\n")
    with pytest.raises(ConfigError, match="'same' stands twice"):
        load_suite(suite)


def test_cards_and_scores_need_no_torch():
    program = (
        "import sys; import lightning_dna.tasks.card, lightning_dna.tasks.base;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
