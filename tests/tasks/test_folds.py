"""Cross-validation with a fixed test part: what a fold holds, and what its rows are units of."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, matthews_corrcoef
from sklearn.preprocessing import StandardScaler

from lightning_dna.data.examples import Examples
from lightning_dna.errors import DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.classification import score_baseline, score_classification
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.folds import divide, pool
from lightning_dna.training.adaptation import cnn
from lightning_dna.training.adaptation.ways import adapt
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed
from lightning_dna.training.inputs import hidden_states

CARD = TaskCard(
    name="sim",
    kind="simulated_classification",
    title="Simulated",
    simulated="promoter",
    n_train=90,
    n_valid=30,
    n_test=40,
    length=60,
)
# A card in files is what publishes folds; the simulated one above has no such field.
FOLDED = TaskCard(
    name="sim",
    kind="classification",
    title="Folded",
    files={"train": "a.csv", "valid": "b.csv", "test": "c.csv"},
    folds=4,
)
MODEL = build_model(ModelConfig(width=16, layers=1, heads=2, max_length=64), seed=3)
SETTINGS = FineTuneConfig(epochs=1, batch_size=32, probe_c=(0.1, 10.0))


@pytest.fixture(scope="module")
def task() -> LabelledTask:
    return load_examples(CARD)


def score(task: LabelledTask, way: str, card: TaskCard = FOLDED):
    return score_classification(
        card, task, way=way, model=MODEL, untrained=MODEL, variant="a", seed=0, config=SETTINGS
    )


def test_frozen_states_are_computed_once_for_all_folds(task, monkeypatch):
    """And the models are those of folds that each compute their own."""
    read = []

    def counted(*arguments, **settings):
        read.append(len(arguments[1].rows))
        return hidden_states(*arguments, **settings)

    monkeypatch.setattr(cnn, "hidden_states", counted)
    scores, record = score(task, "frozen_cnn")
    assert read == [120, 40]  # the pool, and the test part
    everything = pool(task)
    for fold, own in zip(divide(task, 4), record["folds"], strict=True):
        parts = (everything.select(fold.train), everything.select(fold.valid))
        tuned = adapt(MODEL, "frozen_cnn", *parts, SETTINGS, n_classes=2, seed=0)
        rows = scores.frame["example_id"].str.endswith(f"/{fold.name}")
        found = scores.frame.loc[rows, "score"]
        np.testing.assert_allclose(found, tuned.predict(task.test)[:, 1], atol=1e-5)
        assert own["valid_metric"] == pytest.approx(tuned.valid_metric, abs=1e-9)


class TestDivide:
    def test_without_folds_the_parts_are_what_they_are(self, task):
        (only,) = divide(task, None)
        assert only.name == ""
        assert only.train.tolist() == list(range(90))
        assert only.valid.tolist() == list(range(90, 120))

    def test_every_example_validates_once_and_trains_otherwise(self, task):
        folds = divide(task, 4)
        assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3", "fold4"]
        chosen = np.concatenate([fold.valid for fold in folds])
        assert sorted(chosen.tolist()) == list(range(120))
        for fold in folds:
            assert sorted([*fold.train, *fold.valid]) == list(range(120))

    def test_classes_are_spread_evenly(self, task):
        labels = pool(task).labels
        shares = [labels[fold.valid].mean() for fold in divide(task, 4)]
        np.testing.assert_allclose(shares, labels.mean(), atol=0.04)

    def test_it_does_not_depend_on_the_order_of_the_files(self, task):
        order = np.random.default_rng(0).permutation(90)
        shuffled = dataclasses.replace(task, train=task.train.select(order))

        def names(one: LabelledTask) -> list[set[str]]:
            everything = pool(one)
            return [{everything.ids[row] for row in fold.valid} for fold in divide(one, 4)]

        assert names(task) == names(shuffled)

    def test_copies_and_clusters_stay_together(self):
        rng = np.random.default_rng(1)
        codes = [rng.integers(0, 4, 30).astype(np.uint8) for _ in range(40)]
        codes += codes[:10]  # copies
        labels = np.array([row[0] % 2 for row in codes], dtype=np.int64)
        clusters = tuple(f"c{row[1]}{row[2]}" for row in codes)

        def part(rows: np.ndarray, named: bool) -> Examples:
            return Examples(
                codes=[codes[row] for row in rows],
                labels=labels[rows],
                ids=tuple(f"e{row}" for row in rows),
                clusters=tuple(clusters[row] for row in rows) if named else None,
            )

        for named in (False, True):
            train, valid = part(np.arange(35), named), part(np.arange(35, 50), named)
            one = LabelledTask(train=train, valid=valid, test=train, classes=("0", "1"))
            keys = clusters if named else [row.tobytes() for row in codes]
            for fold in divide(one, 3):
                inside = {keys[row] for row in fold.valid}
                assert not inside & {keys[row] for row in fold.train}

    def test_too_many_folds(self, task):
        few = dataclasses.replace(
            task, train=task.train.select(np.arange(6)), valid=task.valid.select(np.arange(4))
        )
        with pytest.raises(DataError, match=r"fold \d+ of 10 leaves \d+ validation examples"):
            divide(few, 10)


class TestScores:
    def test_a_test_example_is_one_unit_with_a_row_for_each_fold(self, task):
        frame = score(task, "frozen")[0].frame
        assert len(frame) == 4 * 40
        assert frame["example_id"].is_unique
        assert (frame.groupby("cluster_id").size() == 4).all()
        assert set(frame["cluster_id"]) == set(task.test.ids)

    def test_each_fold_is_the_probe_of_its_own_examples(self, task):
        scores, record = score(task, "frozen")
        everything, test = pool(task), task.test
        rows = embed(MODEL, everything.codes).astype(float)
        test_rows = embed(MODEL, test.codes).astype(float)
        values = []
        for fold, said in zip(divide(task, 4), record["folds"], strict=True):
            scaler = StandardScaler().fit(rows[fold.train])
            probe = LogisticRegression(C=said["chosen_c"], tol=1e-8)
            probe.fit(scaler.transform(rows[fold.train]), everything.labels[fold.train])
            expected = probe.predict_proba(scaler.transform(test_rows))[:, 1]
            mine = scores.frame[scores.frame["example_id"].str.endswith(f"/{fold.name}")]
            np.testing.assert_allclose(mine["score"], expected, atol=5e-3)
            values.append(mine["prediction"].to_numpy())
        assert record["mean_of_folds"]["mcc"] == pytest.approx(
            np.mean([matthews_corrcoef(test.labels, value) for value in values])
        )
        assert record["mean_of_folds"]["accuracy"] == pytest.approx(
            np.mean([accuracy_score(test.labels, value) for value in values])
        )
        valid = [fold["valid_metric"] for fold in record["folds"]]
        assert record["valid_metric"] == pytest.approx(np.mean(valid))
        assert (record["n_train"], record["n_valid"], record["n_test"]) == (90, 30, 40)

    def test_fine_tuning_and_baselines_fold_as_well(self, task):
        scores, record = score(task, "full")
        assert len(scores.frame) == 160
        assert [len(fold["tried"]) for fold in record["folds"]] == [1, 1, 1, 1]
        baseline, record = score_baseline(FOLDED, task, "kmer_logistic", seed=0)
        assert len(baseline.frame) == 160
        assert len(record["folds"]) == 4

    def test_the_number_of_folds_does_not_show_where_there_are_none(self, task):
        scores, record = score(task, "frozen", CARD)
        assert scores.frame["example_id"].tolist() == list(task.test.ids)
        assert "folds" not in record
