"""``lightning-dna embed``: what is written is what a probe of a study is fitted on."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lightning_dna.cli import main
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.pretrained import load_pretrained, save_pretrained
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.card import load_card
from lightning_dna.tasks.classification import score_classification
from lightning_dna.tasks.examples import load_examples
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed

CARD = """
name: tiny
kind: simulated_classification
title: Tiny
simulated: promoter
n_train: 80
n_valid: 30
n_test: 40
length: 60
"""


@pytest.fixture
def checkpoint(tmp_path):
    model = build_model(ModelConfig(width=16, layers=1, heads=2, max_length=64), seed=5)
    save_pretrained(model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CARD)
    return path


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_probe_fitted_elsewhere_gives_the_same_predictions(checkpoint, card, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    assert main(["embed", str(checkpoint), "--task", str(card), "--out", str(out)]) == 0
    if ending == "npz":
        with np.load(out, allow_pickle=False) as found:
            vectors, part, label = found["embeddings"], found["part"], found["label"]
            ids, classes = found["id"], found["classes"]
        assert classes.tolist() == ["0", "1"]
    else:
        frame = pd.read_parquet(out)
        vectors = frame[[f"e{at}" for at in range(16)]].to_numpy()
        ids, part, label = (frame[name].to_numpy() for name in ("id", "part", "label"))
    assert vectors.dtype == np.float32
    model, task = load_pretrained(checkpoint), load_examples(load_card(card))
    scores, record = score_classification(
        load_card(card),
        task,
        way="frozen",
        model=model,
        untrained=model,
        variant="a",
        seed=0,
        config=FineTuneConfig(probe_c=(0.01, 0.1, 1.0)),
    )
    train, test = part == "train", part == "test"
    assert [train.sum(), (part == "valid").sum(), test.sum()] == [80, 30, 40]
    assert ids[test].tolist() == scores.frame["example_id"].tolist()
    scaler = StandardScaler().fit(vectors[train].astype(float))
    probe = LogisticRegression(C=record["chosen_c"], tol=1e-8)
    probe.fit(scaler.transform(vectors[train].astype(float)), label[train])
    test_rows = scaler.transform(vectors[test].astype(float))
    np.testing.assert_array_equal(probe.predict(test_rows), scores.frame["prediction"])
    np.testing.assert_allclose(
        probe.predict_proba(test_rows)[:, 1], scores.frame["score"], atol=2e-4
    )


def test_a_fasta_file_with_other_pooling_and_layer(checkpoint, tmp_path, capsys):
    fasta, out = tmp_path / "mine.fa", tmp_path / "mine.npz"
    fasta.write_text(">first\nACGTacgtN\n>second\nGG\n")
    arguments = ["--fasta", str(fasta), "--pooling", "max", "--layer", "0", "--out", str(out)]
    assert main(["embed", str(checkpoint), *arguments]) == 0
    assert "2 sequences, 16 columns" in capsys.readouterr().out
    with np.load(out) as found:
        assert found["id"].tolist() == ["first", "second"]
        assert found["label"].tolist() == [-1, -1]
        codes = [np.array([0, 1, 2, 3] * 2 + [4], np.uint8), np.array([2, 2], np.uint8)]
        expected = embed(load_pretrained(checkpoint), codes, pooling="max", layer=0)
        np.testing.assert_array_equal(found["embeddings"], expected)


def test_untrained_weights_are_those_of_the_seed(checkpoint, tmp_path):
    fasta, out = tmp_path / "mine.fa", tmp_path / "mine.npz"
    fasta.write_text(">first\nACGTACGT\n")
    arguments = ["--fasta", str(fasta), "--untrained", "7", "--out", str(out)]
    assert main(["embed", str(checkpoint), *arguments]) == 0
    initial = build_model(load_pretrained(checkpoint).config, seed=7).eval()
    with np.load(out) as found:
        expected = embed(initial, [np.array([0, 1, 2, 3] * 2, np.uint8)])
        np.testing.assert_allclose(found["embeddings"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fasta", "short.fa", "--untrained", "x"], "--untrained"),
        ([], "give either --task or --fasta"),
        (["--task", "heldout_mlm"], "is of kind 'heldout_mlm'; allowed: classification"),
        (["--fasta", "nowhere.fa"], "nowhere.fa"),
        (["--fasta", "long.fa"], r"above model.max_length 64"),
        (["--fasta", "short.fa", "--pooling", "median"], "unknown finetune.pooling 'median'"),
        (["--fasta", "short.fa", "--layer", "9"], "layer"),
        (["--fasta", "short.fa", "--device", "tpu"], "unknown device 'tpu'"),
        (["--fasta", "short.fa", "--out", "x.csv"], r"allowed: .npz, .parquet"),
    ],
)
def test_what_is_wrong(checkpoint, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.fa").write_text(">a\nACGT\n")
    (tmp_path / "long.fa").write_text(f">a\n{'ACGT' * 20}\n")
    out = [] if "--out" in arguments else ["--out", "x.npz"]
    assert main(["embed", str(checkpoint), *arguments, *out]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))
