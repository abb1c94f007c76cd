"""Tasks with many labels or positions, on planted motifs: what they choose, score and store."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score
from sklearn.preprocessing import StandardScaler

from lightning_dna.data.encoding import CHARACTERS
from lightning_dna.errors import ConfigError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.study.label_groups import label_group_views, write_label_table
from lightning_dna.study.views import compared_metrics, example_views
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.multilabel_logistic import choose_label_regressions
from lightning_dna.tasks.regions import Regions
from lightning_dna.tasks.task import Candidate
from lightning_dna.training.adaptation import cnn
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed
from lightning_dna.training.inputs import hidden_states

h5py = pytest.importorskip("h5py")

LENGTH, TRAIN, COUNT = 24, 300, 90  # bases of a region; regions to train, and of other parts
MOTIFS = ("AAAAAA", "CCCCCC", "GTGTGT")
CONFIG = ModelConfig(mixer="convolution", width=8, layers=1, max_length=64)
QUICK = FineTuneConfig(epochs=3, lr=0.02, batch_size=16, patience=3)


@dataclass(frozen=True)
class FixedWeights:
    """A model that was trained elsewhere."""

    def model(self) -> LanguageModel:
        return build_model(CONFIG, seed=1)

    def untrained(self) -> LanguageModel:
        return build_model(CONFIG, seed=2)


@dataclass(frozen=True)
class Around:
    """A study without a genome of its own."""

    tasks_root: Path | None = None
    rates: int = 1

    @property
    def genome(self) -> Genome:
        raise AssertionError("the card names its own genome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three chromosomes of regions; a motif at a random place for each label that is set."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("regions")
    genome, lines, classes = [], ["chromosome\tstart\tend\tsplit\tlabel"], []
    for chrom, part in (("chr1", "train"), ("chr2", "valid"), ("chr3", "test")):
        size = TRAIN if part == "train" else COUNT
        bases = rng.choice(list("ACGT"), LENGTH * size)
        for region in range(size):
            start, found = region * LENGTH, np.zeros(LENGTH, dtype=int)
            labels = [label for label in range(3) if rng.random() < (0.5, 0.4, 0.3)[label]]
            for label in labels:
                at = label * 8 + rng.integers(3)
                bases[start + at : start + at + 6] = list(MOTIFS[label])
                found[at : at + 6] = label + 1
            classes.append(found)
            text = ",".join(map(str, labels))
            lines.append(f"{chrom}\t{start}\t{start + LENGTH}\t{part}\t{text}")
        genome.append(f">{chrom}\n{''.join(bases)}\n")
    (path / "genome.fa").write_text("".join(genome))
    (path / "regions.bed").write_text("\n".join(lines) + "\n")
    with h5py.File(path / "classes.hdf5", "w") as file:
        file["labels"] = np.array(classes)
    with h5py.File(path / "bins.hdf5", "w") as file:
        file["labels"] = (np.array(classes).reshape(-1, 3, 8) > 0).any(axis=2).astype(int)
    return path


def multilabel_card(folder: Path, **changes) -> TaskCard:
    regions = {"layout": "bend", "label_count": 3, "cluster_length": 48}
    return TaskCard(
        **{
            "name": "marks",
            "kind": "multilabel",
            "title": "Marks",
            "files": {"all": "regions.bed", "genome": "genome.fa"},
            "folder": str(folder),
            "regions": Regions(**regions | changes.pop("regions", {})),
        }
        | changes
    )


def position_card(folder: Path, labels: str, **changes) -> TaskCard:
    files = {"all": "regions.bed", "labels": f"{labels}.hdf5", "genome": "genome.fa"}
    return multilabel_card(folder, name="genes", kind="per_position", files=files, **changes)


def candidate(**changes) -> Candidate:
    base = Candidate(
        arm="a", seed=0, weights=FixedWeights(), finetune=QUICK, encoding=CHARACTERS, device="cpu"
    )
    return replace(base, **changes)


def score(card: TaskCard, way: str, **changes) -> tuple[Scores, dict]:
    return open_task(card, Around()).score(candidate(**changes), way)


def test_regressions_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 5))
    y = (x @ rng.normal(size=(5, 3)) + rng.normal(size=(120, 3)) > 0.5).astype(np.int8)
    y = np.concatenate([y, np.zeros((120, 1), np.int8)], axis=1)  # never set in training
    valid, truth = x[:40] + 0.1, y[:40].copy()
    truth[0, 3] = 1
    chosen = choose_label_regressions(x, y, valid, truth, strengths=(0.1, 1.0), metric="mean_auroc")
    assert chosen.converged
    best = {}
    for strength in (0.1, 1.0):
        fits = [
            LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x, y[:, label])
            for label in range(3)
        ]
        best[strength] = (
            fits,
            [
                *(
                    roc_auc_score(truth[:, k], fit.decision_function(valid))
                    for k, fit in enumerate(fits)
                ),
                0.5,
            ],
        )
    fits, values = best[chosen.strength]
    assert np.mean(values) == pytest.approx(max(np.mean(v) for _, v in best.values()), abs=1e-9)
    assert chosen.valid_metric == pytest.approx(np.mean(values), abs=1e-6)
    for label, fit in enumerate(fits):
        assert chosen.weights[:, label] == pytest.approx(fit.coef_[0], abs=1e-5)
        assert chosen.intercepts[label] == pytest.approx(fit.intercept_[0], abs=1e-5)
    assert (chosen.weights[:, 3] == 0).all()
    assert chosen.intercepts[3] == pytest.approx(np.log(0.5 / 120.5))


@pytest.mark.parametrize("way", ["frozen", "random"])
def test_the_probe_is_scikit_learn_s_on_exported_embeddings(folder, way):
    card = multilabel_card(folder)
    task = open_task(card, Around())
    scores, record = task.score(candidate(), way)
    model = FixedWeights().model() if way == "frozen" else FixedWeights().untrained()
    train, _, test = (
        embed(model, part.codes).astype(np.float64) for part in next(task.task.parts())
    )
    scaler = StandardScaler().fit(train)
    regions = task.task.regions
    expected = np.stack(
        [
            LogisticRegression(C=record["chosen_c"], tol=1e-10, max_iter=10_000)
            .fit(scaler.transform(train), regions.labels[:TRAIN, label])
            .decision_function(scaler.transform(test))
            for label in range(3)
        ],
        axis=1,
    )
    assert scores.frame["task"].unique().tolist() == [f"marks/{way}"]
    assert np.stack([*scores.frame["scores"]]) == pytest.approx(expected, abs=1e-4)
    assert np.stack([*scores.frame["labels"]]).tolist() == (regions.labels[-COUNT:] == 1).tolist()
    assert scores.frame["cluster_id"].iloc[:3].tolist() == ["chr3:0", "chr3:0", "chr3:1"]
    assert record["parameters_updated"] == 3 * (CONFIG.width + 1)
    assert (record["n_train"], record["n_valid"], record["n_test"]) == (TRAIN, COUNT, COUNT)


@pytest.mark.parametrize("way", ["frozen_cnn", "full", "scratch", "lora", "ia3"])
def test_every_way_trains_and_validation_chooses(folder, way):
    config = replace(QUICK, lr=(0.02, 1e-6))
    scores, record = score(multilabel_card(folder), way, finetune=config)
    labels, logits = (np.stack([*scores.frame[name]]) for name in ("labels", "scores"))
    assert labels.shape == logits.shape == (COUNT, 3)
    assert record["chosen_lr"] == 0.02
    assert record["valid_metric"] == max(entry["valid_metric"] for entry in record["tried"])
    if way in ("frozen_cnn", "full"):
        assert roc_auc_score(labels, logits, average="macro") > 0.75
    assert record["parameters_updated"] > 0


def test_frozen_states_are_computed_once_for_all_learning_rates(folder, monkeypatch):
    read = []

    def counted(*arguments, **settings):
        read.append(len(arguments[1].rows))
        return hidden_states(*arguments, **settings)

    monkeypatch.setattr(cnn, "hidden_states", counted)
    score(multilabel_card(folder), "frozen_cnn", finetune=replace(QUICK, lr=(0.02, 0.01, 0.005)))
    assert read == [TRAIN, COUNT, COUNT]  # training, validation and test part


def test_scores_come_back_from_disk_and_make_views_of_groups(folder, tmp_path):
    card = multilabel_card(folder, regions={"groups": {"first": (0, 2), "last": (2, 3)}})
    scores, _ = score(card, "frozen")
    scores.write(tmp_path / "marks.parquet")
    again = Scores.read(tmp_path / "marks.parquet")
    assert again.kind == "multilabel"
    logits = np.stack([*scores.frame["scores"]])
    assert np.array_equal(np.stack([*again.frame["scores"]]), logits)
    views = example_views(again.frame, again.kind)
    views |= label_group_views(views, [card])
    assert list(views) == ["marks/frozen", "marks/frozen/first", "marks/frozen/last"]
    assert set(views) <= set(compared_metrics([card]))
    assert np.array_equal(np.asarray(views["marks/frozen/first"][0].label_scores), logits[:, :2])
    write_label_table(views, tmp_path / "labels.csv")
    table = pd.read_csv(tmp_path / "labels.csv")
    assert table["label"].tolist() == [0, 1, 2]
    truth = np.stack([*scores.frame["labels"]])
    assert table["positives"].tolist() == truth.sum(axis=0).tolist()
    assert table["auroc"].to_numpy() == pytest.approx(roc_auc_score(truth, logits, average=None))
    write_label_table({}, tmp_path / "nothing.csv")
    assert not (tmp_path / "nothing.csv").exists()


def test_baselines_of_labels(folder):
    task = open_task(multilabel_card(folder), Around())
    majority, _ = task.score_baseline("majority", seed=0)
    share = (task.task.regions.labels[:TRAIN]).mean(axis=0)
    assert np.stack([*majority.frame["scores"]])[0] == pytest.approx(share, abs=1e-6)
    for name, least in (("kmer_logistic", 0.8), ("onehot_cnn", 0.8)):
        scores, record = task.score_baseline(name, seed=0)
        labels, logits = (np.stack([*scores.frame[column]]) for column in ("labels", "scores"))
        assert roc_auc_score(labels, logits, average="macro") > least
        assert scores.frame["task"].unique().tolist() == ["marks"]
        assert record["valid_metric"] > least


@pytest.mark.parametrize("way", ["frozen", "frozen_cnn", "full", "random"])
def test_positions_are_counted_by_sequence(folder, way):
    card = position_card(folder, "classes", regions={"label_count": 4})
    scores, record = score(card, way)
    frame = scores.frame
    assert scores.kind == "per_position"
    assert len(frame) == COUNT
    true = np.stack([*frame["true"]])
    with h5py.File(folder / "classes.hdf5") as file:
        labels = file["labels"][-COUNT:]
    assert true.tolist() == [np.bincount(row, minlength=4).tolist() for row in labels]
    assert np.stack([*frame["predicted"]]).sum(axis=1).tolist() == [LENGTH] * COUNT
    if way in ("frozen_cnn", "full"):
        hits, predicted = (np.stack([*frame[name]]).sum(axis=0) for name in ("hits", "predicted"))
        assert hits[1:].sum() > 0.5 * true[:, 1:].sum()
        assert hits[0] > 0.5 * predicted[0]
    assert record["best_epoch"] >= 1


def test_bins_of_two_classes_are_ranked_and_every_fold_is_scored_once(folder, tmp_path):
    rows = [line.split("\t") for line in (folder / "regions.bed").read_text().splitlines()]
    for number, row in enumerate(rows[1:]):
        row[3] = f"part{number % 3}"
    text = "\n".join("\t".join(row[:4]) for row in rows) + "\n"
    (tmp_path / "regions.bed").write_text(text)
    for name in ("genome.fa", "bins.hdf5"):
        (tmp_path / name).symlink_to(folder / name)
    regions = {"label_count": 2, "bin": 8, "folds": True, "positive_weight": 2.0, "hidden": 16}
    card = position_card(tmp_path, "bins", metrics=("auprc",), regions=regions)
    scores, record = score(card, "frozen_cnn")
    frame = scores.frame
    assert scores.kind == "ranking"
    assert len(frame) == (TRAIN + 2 * COUNT) * 3
    with h5py.File(folder / "bins.hdf5") as file:
        labels = file["labels"][()]
    assert sorted(frame["example_id"])[:2] == ["chr1:0-24(+)/0", "chr1:0-24(+)/1"]
    assert frame["label"].sum() == labels.sum()
    assert average_precision_score(frame["label"], frame["score"]) > labels.mean() + 0.05
    assert len(record["folds"]) == 3
    majority, _ = open_task(card, Around()).score_baseline("majority", seed=0)
    assert majority.frame["score"].nunique() == 1


def test_baselines_of_positions(folder):
    card = position_card(folder, "classes", regions={"label_count": 4})
    task = open_task(card, Around())
    majority, _ = task.score_baseline("majority", seed=0)
    assert np.stack([*majority.frame["predicted"]])[:, 0].tolist() == [LENGTH] * COUNT
    scores, record = task.score_baseline("onehot_cnn", seed=0)
    hits, true = (np.stack([*scores.frame[name]]).sum() for name in ("hits", "true"))
    assert hits / true > 0.8
    with h5py.File(folder / "classes.hdf5") as file:
        labels = file["labels"][()]
    assert matthews_corrcoef(labels.ravel(), np.zeros(labels.size)) == 0 < record["valid_metric"]


def test_a_model_that_is_too_short_is_refused(folder):
    task = open_task(multilabel_card(folder), Around())
    with pytest.raises(ConfigError, match=r"regions of 24 bases, but arm 'a' has model\.max"):
        task.check_arm("a", replace(CONFIG, max_length=16))


def test_the_identity_of_a_task_is_what_is_in_its_files(folder, tmp_path):
    before = open_task(multilabel_card(folder), Around()).content()
    for name in ("genome.fa", "regions.bed"):
        (tmp_path / name).write_text((folder / name).read_text())
    moved = multilabel_card(tmp_path)
    assert open_task(moved, Around()).content() == before
    text = (tmp_path / "regions.bed").read_text()
    (tmp_path / "regions.bed").write_text(text.replace("\t0\n", "\t1\n", 1))
    assert open_task(moved, Around()).content() != before
