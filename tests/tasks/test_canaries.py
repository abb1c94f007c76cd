"""The task that ranks canaries: its table, its references, and what it refuses."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.data.encoding import CHARACTERS
from lightning_dna.errors import ConfigError, DataError, ResultsError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.stats.exposure import null_mean
from lightning_dna.study.views import compared_metrics, example_views
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.markov import context_tables, word_counts
from lightning_dna.tasks.canaries import counted_losses
from lightning_dna.tasks.card import TaskCard, load_card
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.task import Candidate
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.run import Checkpoint

CONFIG = CanaryConfig(
    length=20, per_count=3, repetitions=(2, 8), references=40, tracked_references=20
)
ROW = {
    "task": "c",
    "variant": "a",
    "seed": 0,
    "example_id": "random:x2:0:ab",
    "cluster_id": "random:x2:0:ab",
    "kind": "random",
    "repetitions": 2,
    "nats": 20.5,
    "rank": 4,
    "places": 64,
    "exposure": 4.0,
    "p_value": 4 / 64,
}


def around(canaries):
    rng = np.random.default_rng(0)
    letters = {name: "".join(rng.choice([*"ACGT"], 2000)) for name in ("a", "b")}
    return SimpleNamespace(
        genome=Genome.from_sequences(letters),
        split=ChromosomeSplit(train=("a",), valid=(), test=("b",)),
        canaries=canaries,
    )


def task_of(canaries=CONFIG, **card):
    return open_task(
        TaskCard(name="canaries", kind="canaries", title="x", **card), around(canaries)
    )


def candidate_of(config):
    model = build_model(config, seed=0).eval()
    weights = SimpleNamespace(model=lambda: model, untrained=lambda: model)
    return Candidate(
        arm="a", seed=3, weights=weights, finetune=FineTuneConfig(), encoding=CHARACTERS
    )


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_a_model_gets_a_row_for_each_canary_and_a_record_of_each_group(objective):
    task = task_of()
    task.load()
    config = ModelConfig(width=8, layers=1, heads=2, max_length=32, objective=objective)
    scores, record = task.score(candidate_of(config), None)
    frame = scores.frame
    assert len(frame) == 2 * 3 * 3
    assert frame.groupby(["kind", "repetitions"]).size().eq(3).all()
    assert frame["example_id"].is_unique
    assert (frame["seed"] == 3).all()
    assert np.allclose(frame["p_value"], frame["rank"] / 41)
    assert [(row["kind"], row["repetitions"]) for row in record["groups"]] == [
        (kind, count) for kind in ("random", "shuffled") for count in (0, 2, 8)
    ]
    first = record["groups"][0]
    own = frame.query("kind == 'random' and repetitions == 0")
    assert first["exposure"] == pytest.approx(np.log2(41 / own["rank"]).mean())
    again, _ = task.score(candidate_of(config), None)
    pd.testing.assert_frame_equal(frame, again.frame)


def test_views_are_the_planted_and_each_group_with_the_canary_as_unit():
    config = ModelConfig(width=8, layers=1, heads=2, max_length=32)
    scores, _ = task_of().score(candidate_of(config), None)
    views = example_views(scores.frame, "canaries")
    card = TaskCard(name="canaries", kind="canaries", title="x")
    assert set(views) == set(compared_metrics([card], canaries=("x0", "x2", "x8")))
    sizes = {name: view[0].n_examples for name, view in views.items()}
    assert sizes == {"canaries": 12, "canaries/x0": 6, "canaries/x2": 6, "canaries/x8": 6}
    one = views["canaries/x8"][0]
    assert (one.cluster_id == one.example_id).all()
    rows = scores.frame.query("repetitions == 8")
    assert np.allclose(one.numerators["exposure"], rows["exposure"])


def test_the_loss_of_a_counting_baseline_is_its_sum_of_log_probabilities():
    genome = around(CONFIG).genome
    codes = np.random.default_rng(1).integers(0, 4, (6, 20)).astype(np.uint8)
    counts = word_counts(genome, ["a"], 3)
    share = counts[0] / counts[0].sum()
    found = counted_losses(context_tables(counts, 0), 0, codes, 0.15)
    np.testing.assert_allclose(found, -np.log(share[codes]).sum(axis=1), rtol=1e-3)
    one_sided = counted_losses(context_tables(counts, 1), 1, codes, 0.15)
    assert not np.allclose(one_sided, found)
    assert np.abs(one_sided - found).max() < 5


def test_a_counting_baseline_has_seen_no_canary():
    """200 canaries: their mean exposure is the null's within its standard error."""
    canaries = CanaryConfig(
        kinds=("random",), length=20, per_count=100, repetitions=(8,), references=40,
        tracked_references=20,
    )  # fmt: skip
    scores, record = task_of(canaries).score_baseline("markov_2", seed=0)
    assert len(scores.frame) == 200
    assert abs(scores.frame["exposure"].mean() - null_mean(41)) < 4 * 1.4 / np.sqrt(200)
    assert all(row["p_value"] > 0.001 for row in record["groups"])


def test_a_run_with_other_canaries_is_refused(tmp_path):
    task = task_of()
    config = ModelConfig(width=8, layers=1, heads=2, max_length=32)
    record = {"seed": 0, "canaries": {"digest": "0123"}}
    run = Checkpoint(folder=tmp_path, config=config, record=record)
    candidate = dataclasses.replace(candidate_of(config), weights=run)
    with pytest.raises(ResultsError, match="was trained with canaries 0123, and those of its"):
        task.score(candidate, None)
    assert task.canaries.digest() != "0123"


def test_without_canaries_the_message_names_the_key():
    with pytest.raises(ConfigError, match=r"no arm has data\.canaries; give it under 'shared'"):
        task_of(None).load()


def test_a_model_that_is_too_short_is_refused():
    task = task_of()
    config = ModelConfig(width=8, layers=1, heads=2, max_length=19)
    with pytest.raises(ConfigError, match=r"canaries of 20 bases, but arm 'x' has model.max_len"):
        task.check_arm("x", config)
    with pytest.raises(DataError, match=r"arm 'x' on task 'canaries': .* 20 tokens"):
        task.check_checkpoint("x", config, CHARACTERS)
    task.check_arm("x", ModelConfig(width=8, layers=1, heads=2, max_length=20))


def test_what_decides_the_scores_is_in_their_name():
    contents = [
        task_of(CanaryConfig(length=20, seed=seed, references=references)).content()
        for seed, references in ((0, 255), (1, 255), (0, 127))
    ]
    assert len({str(one) for one in contents}) == 3
    again = task_of(CanaryConfig(length=20, references=255)).content()
    assert again == contents[0]


def test_the_bases_of_all_passes_are_told_for_the_price():
    """Two kinds of three, each with 40 references and three groups; seven passes over 20 bases."""
    assert task_of().bases() == {"test": 2 * 3 * 43 * 20 * 7}


def test_a_table_survives_its_file(tmp_path):
    scores = Scores(pd.DataFrame([ROW]), "canaries")
    scores.write(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(Scores.read(tmp_path / "s.parquet").frame, scores.frame)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 65}, "rank must be from 1 to places"),
        ({"rank": 0}, "rank must be from 1 to places"),
        ({"exposure": 3.9}, "exposure must be log2 of places by rank"),
        ({"kind": "codon"}, "kind must be one of"),
    ],
)
def test_a_table_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ResultsError, match=message):
        Scores(pd.DataFrame([ROW | changes]), "canaries")


def test_the_shipped_card_opens():
    card = load_card("canaries")
    assert card.metrics == ("exposure",)
    assert card.rules.neutral
    with pytest.raises(ConfigError, match="window_length has no meaning"):
        TaskCard(name="c", kind="canaries", title="x", window_length=64)
