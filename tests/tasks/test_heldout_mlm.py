"""Held-out bases: which are hidden, what a model is shown, and how its scores are summed."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lightning_dna.data.masking import evaluation_mask
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout_mlm import HeldoutMLM, hidden_positions

MASK = 3
ID = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}


def letters(length: int, seed: int, alphabet: str = "ACGTacgt") -> str:
    return "".join(np.random.default_rng(seed).choice(list(alphabet), length))


def make_card(**changes) -> TaskCard:
    base = {"name": "held", "kind": "heldout_mlm", "title": "T", "mask_fraction": 0.3}
    return TaskCard(**base | {"cluster_length": 64} | changes)


SEQUENCES = {
    "I": letters(203, 1),
    "II": letters(90, 2) + "NNnn" + letters(70, 3),
    "III": letters(400, 4),
}
SPLIT = ChromosomeSplit(train=("III",), valid=(), test=("I", "II"))


@pytest.fixture(scope="module")
def genome() -> Genome:
    return Genome.from_sequences(SEQUENCES)


@pytest.fixture
def task(genome) -> HeldoutMLM:
    return HeldoutMLM(make_card(), genome, SPLIT, 16)


class Recorder(nn.Module):
    """Stands in for a model: remembers its input and answers with given logits."""

    def __init__(self, objective, answer):
        super().__init__()
        self.config = ModelConfig(objective=objective)
        self.anchor = nn.Parameter(torch.zeros(1))
        self.answer = answer
        self.inputs = []

    def forward(self, input_ids):
        assert not self.training
        assert input_ids.dtype == torch.int64
        self.inputs.append(input_ids.clone())
        return SimpleNamespace(logits=self.answer(input_ids))


def flat_logits(input_ids):
    return torch.zeros(*input_ids.shape, 16)


def expected_hidden(chrom, start, length, card):
    """Hidden positions of one window, base by base."""
    mask = evaluation_mask(
        card.mask_seed, chrom, np.arange(start, start + length), card.mask_fraction
    )
    return [
        offset
        for offset in range(1, length)
        if mask[offset] and SEQUENCES[chrom][start + offset] not in "Nn"
    ]


def parse(example_id):
    chrom, _, span = example_id.partition(":")
    start, end = map(int, span.split("-"))
    return chrom, start, end


def test_windows_of_the_test_part_tile_the_test_chromosomes(task):
    ids = task.windows("test").example_ids().tolist()
    assert ids[:2] == ["I:0-16", "I:16-32"]
    assert sum(name.startswith("I:") for name in ids) == 203 // 16
    # II:80-96 holds four N of 16 and is dropped; the 4 bases after 160 fit no window.
    assert [name for name in ids if name.startswith("II:")] == [
        f"II:{start}-{start + 16}" for start in (*range(0, 80, 16), *range(96, 160, 16))
    ]


def test_training_windows_are_as_many_and_evenly_spread(task):
    windows = task.windows("train")
    assert len(windows) == len(task.windows("test")) == 21
    assert set(windows.example_ids().tolist()) <= {f"III:{s}-{s + 16}" for s in range(0, 400, 16)}
    assert set(np.diff(windows.starts).tolist()) == {16, 32}  # 21 of 25


def test_fewer_training_windows_than_test_windows(genome):
    split = ChromosomeSplit(train=("II",), valid=(), test=("III",))
    task = HeldoutMLM(make_card(), genome, split, 16)
    assert (len(task.windows("train")), len(task.windows("test"))) == (9, 25)


def test_max_windows_are_spread_over_all_chromosomes(genome):
    task = HeldoutMLM(make_card(max_windows=3), genome, SPLIT, 16)
    # 21 windows in shares of 7: the fourth of each.
    assert task.windows("test").example_ids().tolist() == ["I:48-64", "I:160-176", "II:96-112"]
    assert len(task.windows("train")) == 3


def test_card_length_goes_before_the_study_length(genome):
    assert HeldoutMLM(make_card(window_length=32), genome, SPLIT, 16).length == 32
    assert HeldoutMLM(make_card(), genome, SPLIT, 16).length == 16


def test_hidden_bases_follow_position_and_spare_first_bases_and_n(genome):
    card = make_card(mask_fraction=0.5)
    task = HeldoutMLM(card, genome, SPLIT, 82)  # II:82-164 holds the N, 4 of 82
    seen = 0
    for batch in task.batches("test", bases=100):
        for row, name in enumerate(batch.windows.example_ids()):
            chrom, start, end = parse(name)
            offsets = expected_hidden(chrom, start, end - start, card)
            assert np.flatnonzero(batch.hidden[row]).tolist() == offsets
            assert batch.repeat[row].tolist() == [b.islower() for b in SEQUENCES[chrom][start:end]]
            seen += "N" in SEQUENCES[chrom][start:end]
    assert seen == 1


def test_hidden_bases_do_not_depend_on_the_window(genome):
    card = make_card()
    codes = genome.codes("I", 0, 200)
    whole = hidden_positions(card, "I", np.array([0]), codes[None])[0]
    pieces = hidden_positions(card, "I", np.array([40, 120]), codes[40:200].reshape(2, 80)[:, :])
    np.testing.assert_array_equal(pieces[0, 1:], whole[41:120])
    np.testing.assert_array_equal(pieces[1, 1:], whole[121:200])
    assert not pieces[:, 0].any()
    other_seed = hidden_positions(make_card(mask_seed=1), "I", np.array([0]), codes[None])[0]
    assert (other_seed != whole).any()


def test_a_masked_model_sees_the_mask_at_all_hidden_bases_and_nowhere_else(task):
    model = Recorder("masked", flat_logits)
    task.score(model, variant="a", seed=0)
    shown = torch.cat(model.inputs).tolist()
    ids = [*task.windows("test").example_ids(), *task.windows("train").example_ids()]
    assert len(shown) == len(ids)
    for row, name in zip(shown, ids, strict=True):
        chrom, start, end = parse(name)
        expected = [ID[base.upper()] for base in SEQUENCES[chrom][start:end]]
        for offset in expected_hidden(chrom, start, end - start, task.card):
            expected[offset] = MASK
        assert row == expected


def test_a_next_token_model_sees_the_sequence_and_answers_one_base_earlier(task):
    def oracle(input_ids):
        logits = torch.zeros(*input_ids.shape, 16)
        for row, column in np.ndindex(input_ids.shape[0], input_ids.shape[1] - 1):
            logits[row, column, input_ids[row, column + 1]] = 50.0
        return logits

    model = Recorder("next_token", oracle)
    frame = task.score(model, variant="a", seed=0).frame
    assert all((batch >= 7).all() for batch in model.inputs)
    assert (frame["correct"] == frame["masked"]).all()
    assert frame["nats"].max() < 1e-6
    # The same answers read at the base itself would be right one time in four.
    late = Recorder("masked", oracle)
    assert (task.score(late, variant="a", seed=0).frame["correct"] < frame["masked"]).any()


def test_both_objectives_are_scored_on_the_same_bases(task):
    keys = ["example_id", "part", "stratum", "masked", "cluster_id"]
    masked = task.score(Recorder("masked", flat_logits), variant="a", seed=0).frame
    causal = task.score(Recorder("next_token", flat_logits), variant="b", seed=1).frame
    assert masked[keys].equals(causal[keys])


def test_probabilities_are_renormalised_over_the_bases(task):
    def distracted(input_ids):
        logits = torch.full((*input_ids.shape, 16), 30.0)  # other ids: likelier than any base
        logits[..., 7:11] = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
        return logits

    frame = task.score(Recorder("masked", distracted), variant="a", seed=0).frame
    nats, correct = {}, {}
    for part, chroms in (("test", ("I", "II")), ("train", ("III",))):
        for name in task.windows(part).example_ids():
            chrom, start, end = parse(name)
            assert chrom in chroms
            for offset in expected_hidden(chrom, start, end - start, task.card):
                base = SEQUENCES[chrom][start + offset]
                key = (part, name, "repeat" if base.islower() else "unique")
                probability = {"A": 0.1, "C": 0.2, "G": 0.3, "T": 0.4}[base.upper()]
                nats.setdefault(key, []).append(-math.log(probability))
                correct.setdefault(key, []).append(base.upper() == "T")
    rows = {
        (row.part, row.example_id, row.stratum): (row.masked, row.correct, row.nats)
        for row in frame.itertuples()
    }
    assert rows.keys() == nats.keys()
    for key, (masked, right, total) in rows.items():
        assert masked == len(nats[key])
        assert right == sum(correct[key])
        assert total == pytest.approx(math.fsum(nats[key]), rel=1e-6)


def test_rows_carry_names_chromosome_and_cluster(task):
    frame = task.score(Recorder("masked", flat_logits), variant="arm", seed=7).frame
    assert set(frame["task"]) == {"held"}
    assert set(frame["variant"]) == {"arm"}
    assert set(frame["seed"]) == {7}
    for row in frame.itertuples():
        chrom, start, _ = parse(row.example_id)
        assert row.chrom == chrom
        assert row.cluster_id == f"{chrom}:{start // 64}"
        assert row.part == ("train" if chrom == "III" else "test")
    assert frame["nats"].sum() == pytest.approx(frame["masked"].sum() * math.log(4))


def test_equal_probabilities_predict_the_first_base(task):
    frame = task.score(Recorder("masked", flat_logits), variant="a", seed=0).frame
    adenines = sum(
        SEQUENCES[chrom][start + offset] in "Aa"
        for part in ("test", "train")
        for chrom, start, end in map(parse, task.windows(part).example_ids())
        for offset in expected_hidden(chrom, start, end - start, task.card)
    )
    assert frame["correct"].sum() == adenines


def test_without_training_windows(genome):
    task = HeldoutMLM(make_card(train_windows=False), genome, SPLIT, 16)
    frame = task.score(Recorder("masked", flat_logits), variant="a", seed=0).frame
    assert set(frame["part"]) == {"test"}


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_a_real_model_window_by_window(task, objective, mixer):
    config = ModelConfig(
        objective=objective, mixer=mixer, width=16, layers=2, heads=2, max_length=16
    )
    model = build_model(config, seed=0)
    frame = task.score(model, variant="a", seed=0).frame
    assert model.training
    reference = model.double().eval()
    nats = masked = 0
    for part in ("test", "train"):
        for chrom, start, end in map(parse, task.windows(part).example_ids()):
            hidden = expected_hidden(chrom, start, end - start, task.card)
            truth = [ID[base.upper()] for base in SEQUENCES[chrom][start:end]]
            shown = torch.tensor([truth])
            if objective == "masked":
                shown[0, hidden] = MASK
            with torch.no_grad():
                logits = reference(shown).logits[0]
            for offset in hidden:
                scores = logits[offset - (objective == "next_token"), 7:11].exp()
                nats -= math.log(scores[truth[offset] - 7] / scores.sum())
                masked += 1
    assert frame["masked"].sum() == masked
    assert frame["nats"].sum() == pytest.approx(nats, rel=1e-5)


def test_the_batch_size_changes_nothing(task):
    model = build_model(ModelConfig(width=16, layers=1, heads=2), seed=1).eval()
    from lightning_dna.tasks.heldout_mlm import model_log_probabilities

    frames = [
        task.score_with(
            lambda batch: model_log_probabilities(model, batch),
            variant="a",
            seed=0,
            bases_per_batch=bases,
        ).frame
        for bases in (1, 100, 100_000)
    ]
    for frame in frames[1:]:
        assert frame["example_id"].tolist() == frames[0]["example_id"].tolist()
        np.testing.assert_allclose(frame["nats"], frames[0]["nats"], rtol=1e-5)


def test_model_mode_is_restored_even_after_an_error(task):
    def broken(input_ids):
        raise RuntimeError("no memory")

    model = Recorder("masked", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        task.score(model, variant="a", seed=0)
    assert model.training
    model.eval()
    model.answer = flat_logits
    task.score(model, variant="a", seed=0)
    assert not model.training


def test_progress_goes_to_stderr(task, capsys):
    task.score(Recorder("masked", flat_logits), variant="arm", seed=0)
    assert capsys.readouterr() == ("", "")
    task.score(Recorder("masked", flat_logits), variant="arm", seed=0, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "arm" in shown.err
    assert "42/42" in shown.err


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_diverged_model_is_named(task, value):
    def diverged(input_ids):
        logits = torch.zeros(*input_ids.shape, 16)
        logits[..., 7] = value
        return logits

    with pytest.raises(DataError, match="'wild' gives a hidden base a probability of 0"):
        task.score(Recorder("masked", diverged), variant="wild", seed=0)


def test_refuses_other_kinds_parts_and_splits(genome, task):
    card = TaskCard(
        name="s", kind="simulated_classification", title="T", simulated="promoter", length=128
    )
    with pytest.raises(ConfigError, match="of kind 'simulated_classification'"):
        HeldoutMLM(card, genome, SPLIT, 16)
    with pytest.raises(ConfigError, match="no test chromosome"):
        HeldoutMLM(make_card(), genome, ChromosomeSplit(("I",), ("II",), ()), 16)
    with pytest.raises(ConfigError, match="unknown part 'valid'"):
        task.windows("valid")
    with pytest.raises(DataError, match="longer than every chromosome"):
        HeldoutMLM(make_card(), genome, SPLIT, 1000).windows("test")


@pytest.mark.parametrize(
    "config", [{}, {"position": "rope"}, {"position": "learned"}, {"mixer": "hyena"}]
)
def test_a_window_longer_than_the_model_is_refused_whatever_the_mixer(task, config):
    model = build_model(ModelConfig(width=16, layers=1, heads=2, max_length=15, **config), seed=0)
    with pytest.raises(ConfigError, match=r"a sequence of 16 tokens is longer than arm 'short'"):
        task.score(model, variant="short", seed=0)


def test_nothing_hidden_is_an_error(genome):
    task = HeldoutMLM(make_card(mask_fraction=1e-9), genome, SPLIT, 16)
    with pytest.raises(DataError, match=r"no base of the test windows is hidden; raise mask_frac"):
        task.score(Recorder("masked", flat_logits), variant="a", seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_scores_equal_cpu_scores(task):
    model = build_model(ModelConfig(width=16, layers=2, heads=2), seed=0)
    on_cpu = task.score(model, variant="a", seed=0).frame
    on_gpu = task.score(model, variant="a", seed=0, device="cuda").frame
    assert next(model.parameters()).device.type == "cpu"
    np.testing.assert_allclose(on_gpu["nats"], on_cpu["nats"], rtol=1e-4)
