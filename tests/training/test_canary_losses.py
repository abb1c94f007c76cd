"""Losses and ranks of canaries: each token hidden once, nothing found where nothing was learned."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from lightning_dna.data.canaries import CanaryConfig, CanarySet
from lightning_dna.data.canary_hosts import CanaryHost
from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.stats.exposure import combined_p_value, null_mean
from lightning_dna.tasks.canaries import exposure_table, group_table
from lightning_dna.tokenizers.kmer import KmerTokenizer
from lightning_dna.training.canary_losses import rank_canaries, sequence_losses
from lightning_dna.training.run import fit

TINY = {"width": 8, "layers": 1, "heads": 2, "max_length": 64}


def codes_of(count, length=21, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (count, length)).astype(np.uint8)


def test_the_loss_of_a_next_token_model_is_its_sum_of_log_probabilities():
    model = build_model(ModelConfig(**TINY, objective="next_token"), seed=1).eval()
    codes = codes_of(5)
    ids = torch.from_numpy(np.stack(CHARACTERS.rows([*codes])).astype(np.int64))
    with torch.no_grad():
        log_p = model(ids).logits.double().log_softmax(-1)
    expected = [
        -sum(float(log_p[row, at, ids[row, at + 1]]) for at in range(20)) for row in range(5)
    ]
    found = sequence_losses(model, codes, CHARACTERS, mask_fraction=0.15)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_masked_model_has_every_base_hidden_exactly_once(monkeypatch):
    """What is hidden is looked up in what the model is given, and its loss added up by hand."""
    model = build_model(ModelConfig(**TINY), seed=1).eval()
    codes, hidden, expected = codes_of(3), torch.zeros(3, 21), torch.zeros(3, dtype=torch.float64)
    ids = torch.from_numpy(np.stack(CHARACTERS.rows([*codes])).astype(np.int64))
    asked = model.logits_at

    def spied(inputs, mask, where):
        masked = inputs == CHARACTERS.tokenizer.mask_id
        assert mask is None
        assert torch.equal(masked, where)
        assert torch.equal(inputs[~masked], ids[~masked])
        hidden.add_(masked)
        log_p = model(inputs).logits.double().log_softmax(-1)
        true = log_p.gather(-1, ids[..., None])[..., 0]
        expected.sub_((true * masked).sum(1))
        return asked(inputs, mask, where)

    monkeypatch.setattr(model, "logits_at", spied)
    found = sequence_losses(model, codes, CHARACTERS, mask_fraction=0.15)
    assert (hidden == 1).all()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


def test_rows_of_different_numbers_of_tokens_do_not_touch_each_other():
    """Special tokens around 6-mers and the odd bases at the end; padded or alone is the same."""
    encoding = Encoding(tokenizer=KmerTokenizer(3), special=True)
    model = build_model(ModelConfig(**TINY, vocab_size=80), seed=1).eval()
    codes = codes_of(4, length=20)
    together = sequence_losses(model, codes, encoding, mask_fraction=0.3)
    alone = [
        sequence_losses(model, codes[row : row + 1], encoding, mask_fraction=0.3).item()
        for row in range(4)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_a_loss_that_is_no_number_is_refused():
    model = build_model(ModelConfig(**TINY), seed=1).eval()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(DataError, match=r"no finite loss; did its training diverge\?"):
        sequence_losses(model, codes_of(2), CHARACTERS, mask_fraction=0.15)


@pytest.mark.parametrize("kind", ["random", "shuffled"])
def test_exposures_of_models_that_saw_no_canary_follow_the_exact_null(kind):
    """25 sets of canaries under as many untrained models: ranks are uniform on 21 places."""
    rng = np.random.default_rng(3)
    genome = Genome.from_sequences({"a": "".join(rng.choice([*"ACGT"], 3000))})
    ranks, p_values = [], []
    for seed in range(25):
        model = build_model(ModelConfig(**TINY), seed=seed).eval()
        config = CanaryConfig(
            kinds=(kind,),
            length=16,
            per_count=4,
            repetitions=(8,),
            references=20,
            tracked_references=20,
            seed=seed,
        )
        ranked = rank_canaries(
            model, CanarySet(config, genome, ["a"]), CHARACTERS, mask_fraction=0.15
        )
        ranks += [one.rank for one in ranked]
        p_values += [row["p_value"] for row in group_table(ranked)]
    counts = np.bincount(ranks, minlength=22)[1:]
    assert counts.sum() == 25 * 2 * 4
    assert stats.chisquare(counts).pvalue > 0.001
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_a_model_that_says_the_same_of_everything_has_uniform_ranks():
    """All losses are equal, so only the draw among ties is left."""
    model = build_model(ModelConfig(**TINY), seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    genome = Genome.from_sequences({"a": "ACGT" * 50})
    config = CanaryConfig(
        kinds=("random",),
        length=16,
        per_count=60,
        repetitions=(1,),
        references=20,
        tracked_references=20,
    )
    canaries = CanarySet(config, genome, ["a"])
    ranked = rank_canaries(model, canaries, CHARACTERS, mask_fraction=0.15)
    assert len({one.nats for one in ranked}) == 1
    counts = np.bincount([one.rank for one in ranked], minlength=22)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_only_the_columns_that_count_are_added_up(objective, monkeypatch):
    """Columns 7 to 12 of 21, by hand; a masked model sees all the others."""
    model = build_model(ModelConfig(**TINY, objective=objective), seed=1).eval()
    codes, hidden = codes_of(3), torch.zeros(3, 21)
    ids = torch.from_numpy(np.stack(CHARACTERS.rows([*codes])).astype(np.int64))
    expected = torch.zeros(3, dtype=torch.float64)
    asked = model.logits_at

    def spied(inputs, mask, where):
        log_p = model(inputs).logits.double().log_softmax(-1)
        if objective == "masked":
            hidden.add_(inputs == CHARACTERS.tokenizer.mask_id)
            true = log_p.gather(-1, ids[..., None])[..., 0]
            expected.sub_((true * where).sum(1))
        else:
            hidden[:, 1:].add_(where[:, :-1])  # the base that each place predicts
            true = log_p[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
            expected.sub_(true[:, 6:12].sum(1))
        return asked(inputs, mask, where)

    monkeypatch.setattr(model, "logits_at", spied)
    found = sequence_losses(model, codes, CHARACTERS, mask_fraction=0.15, span=(7, 13))
    assert hidden.sum(0).tolist() == [0] * 7 + [3] * 6 + [0] * 8
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    hidden.zero_()
    expected.zero_()
    found = sequence_losses(model, codes, CHARACTERS, mask_fraction=0.15, span=(7, 13), passes=2)
    passes = 6 if objective == "next_token" else 2  # six tokens have a pass each
    assert (hidden > 0).sum() == 3 * passes
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


def test_memory_that_is_bound_to_its_window_is_found_there_and_not_alone(monkeypatch):
    """A model that knows whole windows by heart, and nothing else."""
    rng = np.random.default_rng(5)
    config = CanaryConfig(
        kinds=("random",), length=16, per_count=40, repetitions=(1,), references=63
    )
    canaries = CanarySet(config, Genome.from_sequences({"a": "ACGT" * 50}), ["a"])
    hosts = {
        one.name: CanaryHost(
            codes=codes_of(1, length=40, seed=at)[0], start=int(rng.integers(0, 25))
        )
        for at, one in enumerate(canaries.canaries)
    }
    learned = {
        hosts[one.name].holding(one.codes[None])[0].tobytes()
        for one in canaries.canaries
        if one.repetitions
    }
    spans = set()

    def losses(model, codes, encoding, *, span=None, **_):
        spans.add(span)
        return np.array([0.0 if row.tobytes() in learned else rng.gamma(2.0) for row in codes])

    monkeypatch.setattr("lightning_dna.training.canary_losses.sequence_losses", losses)
    model = build_model(ModelConfig(**TINY), seed=0)

    def exposures(hosts):
        ranked = rank_canaries(model, canaries, CHARACTERS, mask_fraction=0.15, hosts=hosts)
        return exposure_table(ranked).groupby("repetitions")["exposure"].mean()

    alone, in_place = exposures(None), exposures(hosts)
    assert spans == {None, *((host.start, host.start + 16) for host in hosts.values())}
    chance = null_mean(64)
    assert in_place[1] == 6.0
    for group in (in_place[0], alone[0], alone[1]):
        assert abs(group - chance) < 4 * 1.4 / np.sqrt(40)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """68 windows of 50 bases to train on, of which canaries will take 39 %, and a little more."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("small") / "small.fa"
    sizes = {"chr1": 3400, "chr2": 400, "chr3": 400}
    path.write_text(
        "".join(f">{name}\n{''.join(rng.choice([*'ACGT'], n))}\n" for name, n in sizes.items())
    )
    return path


def planted(toy_run, small, **changes):
    """A training that can learn its canaries by heart in seconds."""
    data = {
        "genome": str(small),
        "length": 50,
        "canaries": {
            "kinds": ["random"],
            "length": 20,
            "per_count": 2,
            "repetitions": [1, 32],
            "references": 63,
            "max_share": 0.9,
        },
    }
    base = {
        "data": data,
        "model": {"mixer": "convolution", "width": 64, "layers": 3},
        "budget": {"tokens": 100 * 2000, "tokens_per_step": 2000},
        "optimizer": {"lr": 0.005, "weight_decay": 0.0},
        "trainer": {"validate_every": 0.5, "threads": 1},
    }
    return toy_run(**{**base, **changes})


def test_a_model_that_memorizes_shows_it_and_an_untrained_one_does_not(toy_run, small, tmp_path):
    run = planted(toy_run, small)
    checkpoint = fit(run, tmp_path, progress=False)
    genome = Genome.open(run.data.genome)
    canaries = CanarySet(run.data.canaries, genome, ["chr1"])
    assert checkpoint.record["canaries"] == {
        "copies": 66,
        "bases": 1320,
        "share": pytest.approx(1320 / 3400),
        "digest": canaries.digest(),
    }

    def exposures(model):
        ranked = rank_canaries(model, canaries, CHARACTERS, mask_fraction=0.15)
        frame = exposure_table(ranked)
        groups = {row["repetitions"]: row for row in group_table(ranked)}
        return frame.groupby("repetitions")["exposure"].mean(), groups

    trained, groups = exposures(checkpoint.model())
    assert trained[32] == 6.0  # log2 of 64 places: nothing can be more exposed
    assert groups[32]["p_value"] == pytest.approx(64**-2, rel=1e-6)
    assert trained[0] < 4
    assert groups[0]["p_value"] > 0.02
    before, groups = exposures(checkpoint.untrained())
    assert before[32] < 4
    assert groups[32]["p_value"] > 0.02
    assert groups[32]["null"] == pytest.approx(null_mean(64))
    assert combined_p_value(np.array([1, 1]), 64) == pytest.approx(64**-2, rel=1e-6)

    curve = pd.read_csv(tmp_path / "curves.csv")
    followed = curve.dropna(subset="exposure_x32")
    assert followed["step"].tolist() == [50, 100]
    assert followed["exposure_x32"].iloc[-1] == 6.0
    assert followed["exposure_x0"].between(0, 6).all()
    assert followed["exposure_in_place_x32"].iloc[-1] > 3  # three bases of twenty are read
    assert followed["exposure_in_place_x0"].between(0, math.log2(21)).all()


def test_an_interrupted_training_with_canaries_has_no_seam(toy_run, small, tmp_path):
    run = planted(toy_run, small, budget={"tokens": 8 * 2000, "tokens_per_step": 2000})
    fit(run, tmp_path / "whole", progress=False)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(step, metrics):
        if step < 8:
            raise Stopped

    every = planted(
        toy_run,
        small,
        budget={"tokens": 8 * 2000, "tokens_per_step": 2000},
        trainer={"validate_every": 0.5, "threads": 1, "checkpoint_every_seconds": 0},
    )
    with pytest.raises(Stopped):
        fit(every, tmp_path / "parts", progress=False, on_validation=stop)
    fit(every, tmp_path / "parts", progress=False)
    weights = [torch.load(tmp_path / name / "model.pt") for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    curves = [pd.read_csv(tmp_path / name / "curves.csv") for name in ("whole", "parts")]
    exposed = [curve.filter(like="exposure").dropna() for curve in curves]
    pd.testing.assert_frame_equal(*exposed)


def test_a_training_without_canaries_has_no_trace_of_them(toy_run, tmp_path):
    checkpoint = fit(toy_run(), tmp_path, progress=False)
    assert "canaries" not in checkpoint.record
    assert not [name for name in pd.read_csv(tmp_path / "curves.csv") if "exposure" in name]
