"""Membership inference: attacks by hand, the control, models that remember and that cannot."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from lightning_dna.data.encoding import CHARACTERS
from lightning_dna.data.masking import evaluation_mask
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import estimates
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.study.views import compared_metrics, example_views
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.membership_windows import mutated
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.tasks.task import Candidate
from lightning_dna.training.config import FineTuneConfig

CONFIG = ModelConfig(mixer="attention", width=16, layers=1, heads=2, max_length=32)
SPLIT = ChromosomeSplit(train=("I", "II"), valid=("III",), test=("IV",))
FIRST_BASE = 7  # id of A, as published with the tokenizer


def letters(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice([*"ACGT"], length))


SEQUENCES = {
    name: letters(size, seed) + "NN" + letters(40, seed + 50).lower() + letters(60, seed + 90)
    for seed, (name, size) in enumerate([("I", 400), ("II", 200), ("III", 300), ("IV", 400)])
}


GENOME = Genome.from_sequences(SEQUENCES)


@dataclass(frozen=True)
class Around:
    """A study of one small genome."""

    genome: Genome = GENOME
    split: ChromosomeSplit = SPLIT
    window_length: int = 16
    strata: GenomeStrata | None = None


@dataclass(frozen=True)
class FixedWeights:
    """A model made before."""

    one: torch.nn.Module

    def model(self):
        return self.one.eval()


def card(**changes) -> TaskCard:
    base = {"name": "members", "kind": "membership", "title": "T", "cluster_length": 64}
    return TaskCard(
        **base | {"neighbours": 2, "mutation_rate": 0.2, "mask_fraction": 0.3} | changes
    )


def candidate(model) -> Candidate:
    return Candidate(
        arm="a", seed=3, weights=FixedWeights(model), finetune=FineTuneConfig(), encoding=CHARACTERS
    )


def place(example_id: str) -> tuple[str, int, int]:
    chrom, _, span = example_id.partition(":")
    start, end = map(int, span.split("-"))
    return chrom, start, end


def loss_by_hand(model, example_id: str, one: TaskCard, copy: int = 0) -> float:
    """Mean loss of one window, in a pass of its own, with numbers of 64 bits."""
    chrom, start, end = place(example_id)
    codes = np.array(
        ["ACGTN".index(base) for base in SEQUENCES[chrom][start:end].upper()], np.uint8
    )
    positions = np.arange(start, end)
    hidden = evaluation_mask(one.mask_seed, chrom, positions, one.mask_fraction) & (codes < 4)
    hidden[0] = False
    if copy:
        name = f"copy {copy} of {chrom}"
        codes = mutated(codes, name, positions, one.mutation_rate, one.mask_seed)
    ids = codes.astype(np.int64) + FIRST_BASE
    causal = model.config.objective == "next_token"
    if not causal:
        ids[hidden] = 3
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids)[None]).logits[0].double()
    places = np.flatnonzero(hidden)
    chosen = logits[places - causal][:, FIRST_BASE : FIRST_BASE + 4]
    return float(cross_entropy(chosen, torch.from_numpy(codes[places].astype(np.int64))))


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_both_attacks_by_hand(objective):
    one = card()
    model = build_model(replace(CONFIG, objective=objective), seed=1).eval()
    task = open_task(one, Around())
    task.load()
    assert one.tables == ("loss", "neighbours")
    for table in one.tables:
        scores, record = task.score(candidate(model), table)
        assert (scores.kind, record) == ("ranking", None)
        frame = scores.frame
        assert set(zip(frame["task"], frame["variant"], frame["seed"], strict=True)) == {
            (f"members/{table}", "a", 3)
        }
        for row in frame.itertuples():
            chrom, start, _ = place(row.example_id)
            assert row.label == (chrom in ("I", "II"))
            assert row.cluster_id == f"{chrom}:{start // 64}"
            expected = -loss_by_hand(model, row.example_id, one)
            if table == "neighbours":
                expected += np.mean([loss_by_hand(model, row.example_id, one, n) for n in (1, 2)])
            assert row.score == pytest.approx(expected, abs=1e-5)
    assert 2 * frame["label"].sum() == len(frame) > 40


def strata_of(example_id: str) -> tuple[int, int]:
    """Bins of repeats and of GC, counted letter by letter."""
    chrom, start, end = place(example_id)
    bases = SEQUENCES[chrom][start:end]
    share = sum(base.islower() for base in bases) / len(bases)
    gc = sum(base in "GCgc" for base in bases) / sum(base not in "Nn" for base in bases)
    edges = [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65]
    return sum(share > edge for edge in (0, 0.1, 0.5, 0.9)), sum(gc >= edge for edge in edges)


@pytest.mark.parametrize("control", ["none", "chromosomes", "blocks"])
def test_sides_are_matched_and_lie_where_they_should(control):
    task = open_task(card(control=control), Around())
    sides = [task.windows.windows(part).example_ids().tolist() for part in ("train", "test")]
    counts = [sorted(map(strata_of, side)) for side in sides]
    assert counts[0] == counts[1]
    assert len(set(sides[0]) | set(sides[1])) == 2 * len(sides[0])
    chroms = [{place(name)[0] for name in side} for side in sides]
    allowed = {"none": [{"I", "II"}, {"IV"}], "chromosomes": [{"III"}, {"IV"}]}
    if control == "blocks":
        assert chroms == [{"III", "IV"}] * 2
        for side, odd in zip(sides, (0, 1), strict=True):
            assert {place(name)[1] // 64 % 2 for name in side} == {odd}
    else:
        assert all(found <= known for found, known in zip(chroms, allowed[control], strict=True))
    (note,) = task.notes
    assert note.startswith(f"members: Compares {len(sides[0])} ")
    assert ("found no partner" in note) == bool(task.windows.pairs.unmatched)


def test_a_limit_and_another_seed():
    some = open_task(card(max_windows=10), Around()).windows
    assert len(some.windows("train")) == len(some.windows("test")) == 10
    other = open_task(card(max_windows=10, mask_seed=1), Around()).windows
    assert (
        other.windows("test").example_ids().tolist() != some.windows("test").example_ids().tolist()
    )


def test_mutations_follow_the_position_and_leave_n_alone():
    codes = np.random.default_rng(0).integers(0, 5, 20_000).astype(np.uint8)
    positions = np.arange(20_000)
    found = mutated(codes, "copy 1 of I", positions, 0.1, 0)
    changed = found != codes
    assert changed[codes < 4].mean() == pytest.approx(0.1, abs=0.01)
    assert not changed[codes == 4].any()
    steps = np.bincount((found[changed].astype(int) - codes[changed]) % 4, minlength=4)
    assert steps[0] == 0
    assert (abs(steps[1:] / steps.sum() - 1 / 3) < 0.05).all()
    piece = mutated(codes[500:900], "copy 1 of I", positions[500:900], 0.1, 0)
    assert (piece == found[500:900]).all()
    for name, seed in (("copy 2 of I", 0), ("copy 1 of II", 0), ("copy 1 of I", 1)):
        assert ((mutated(codes, name, positions, 0.1, seed) != codes) != changed).mean() > 0.1


def test_a_baseline_is_its_loss_under_counts_of_the_training_chromosomes():
    one = card(baselines=("majority", "markov_1"))
    task = open_task(one, Around())
    scores, _ = task.score_baseline("majority", seed=0)
    text = (SEQUENCES["I"] + SEQUENCES["II"]).upper()
    counts = np.array([text.count(base) for base in "ACGT"]) + 1.0
    nats = -np.log(counts / counts.sum())
    for row in scores.frame.itertuples():
        chrom, start, end = place(row.example_id)
        codes = np.array(["ACGTN".index(b) for b in SEQUENCES[chrom][start:end].upper()])
        hidden = evaluation_mask(0, chrom, np.arange(start, end), 0.3) & (codes < 4)
        hidden[0] = False
        assert row.score == pytest.approx(-nats[codes[hidden]].mean())
    assert set(scores.frame["task"]) == {"members"}
    assert set(task.score_baseline("markov_1", seed=0)[0].frame["variant"]) == {"markov_1"}


def test_a_study_compares_both_attacks_by_both_metrics():
    assert compared_metrics([card()]) == {
        "members/loss": ("auroc", "tpr_at_fpr01"),
        "members/neighbours": ("auroc", "tpr_at_fpr01"),
    }


def test_identity_follows_what_decides_the_scores():
    def content(split=SPLIT, **changes) -> dict:
        length = changes.pop("length", 16)
        return dict(open_task(card(), Around(split=split, window_length=length)).content())

    same = content()
    assert content() == same
    assert content(length=20) != same
    assert content(split=replace(SPLIT, valid=())) != same


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control": "other"}, "control"),
        ({"mutation_rate": 1.0}, r"mutation_rate is 1.0; allowed: \(0, 1\)"),
        ({"neighbours": 0}, "neighbours is 0; allowed: 1 or more"),
        ({"attacks": ()}, "attacks is empty; allowed: loss, neighbours"),
        ({"attacks": ("loss", "loss")}, "attacks holds 'loss' twice"),
        ({"attacks": ("lost",)}, "lost.*loss"),
        ({"train_windows": False}, "train_windows has no meaning for a task of kind 'membership'"),
        ({"baselines": ("kmer_logistic",)}, "kmer_logistic"),
    ],
)
def test_cards_that_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        card(**change)


def test_studies_that_are_refused():
    with pytest.raises(ConfigError, match="'IV' stands in train and test; a chromosome has one"):
        ChromosomeSplit(train=("I", "IV"), valid=(), test=("IV",))
    without = replace(SPLIT, valid=())
    with pytest.raises(ConfigError, match=r"no validation chromosome.*control: blocks"):
        open_task(card(control="chromosomes"), Around(split=without)).load()
    with pytest.raises(ConfigError, match="the split has no test chromosome"):
        open_task(card(), Around(split=replace(SPLIT, test=()))).load()
    with pytest.raises(
        DataError, match="fewer than two blocks of 10000 bases; lower cluster_length"
    ):
        open_task(card(control="blocks", cluster_length=10_000), Around()).load()
    alike = Genome.from_sequences(
        {"I": "ACGT" * 20, "II": "A" * 80, "III": "A" * 80, "IV": "A" * 80}
    )
    unlike = open_task(card(), Around(genome=alike, split=replace(SPLIT, train=("I",))))
    with pytest.raises(DataError, match="task 'members': none of the 5 and 5 windows"):
        unlike.load()
    task = open_task(card(window_length=64), Around())
    with pytest.raises(
        ConfigError, match=r"windows of 64 bases, but arm 'a' has model.max_length 32"
    ):
        task.check_arm("a", CONFIG)


def auroc(views: list[Predictions], resamples: int = 400):
    plan = ResamplingPlan(n_resamples=resamples, unit="cluster", seed=0)
    reps = bootstrap_metrics(align(views), ["auroc"], plan)
    table = estimates({reps.task: reps}, scope="checkpoint", level=0.95).to_frame()
    return table.iloc[0]


def test_the_control_covers_one_half_in_simulated_data():
    """Scores without any membership in them, alike within blocks: 95 % intervals hold 0.5."""
    rng = np.random.default_rng(8)
    covered, values = [], []
    for _ in range(100):
        block = np.repeat(np.arange(40), 6)
        scores = 0.7 * rng.standard_normal(40)[block] + rng.standard_normal(240)
        one = Predictions(
            task="t",
            variant="a",
            seed=0,
            example_id=np.arange(240).astype(str),
            cluster_id=block.astype(str),
            y_true=block % 2,
            y_score=scores,
        )
        row = auroc([one])
        covered.append(row["low"] <= 0.5 <= row["high"])
        values.append(row["estimate"])
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(values) - 0.5) < 3 * np.std(values) / 10


def drawn_genome(seed: int) -> Genome:
    """Four chromosomes from one chain of order 1."""
    rng = np.random.default_rng(seed)
    chain = rng.dirichlet([2.0] * 4, size=4).cumsum(axis=1)
    chain[:, -1] = 1.0
    sequences = {}
    for name, size in (("I", 6000), ("II", 3000), ("III", 3000), ("IV", 3000)):
        codes, draws = [0], rng.random(size)
        for draw in draws:
            codes.append(int(np.searchsorted(chain[codes[-1]], draw)))
        sequences[name] = "".join("ACGT"[code] for code in codes)
    return Genome.from_sequences(sequences)


def test_what_cannot_remember_stays_at_one_half():
    """An untrained model and a Markov chain, on matched windows and in the control."""
    covered = {"untrained": [], "markov_1": [], "control": []}
    for seed in range(16):
        around = Around(genome=drawn_genome(seed), window_length=32)
        one = card(cluster_length=256, mask_seed=seed, attacks=("loss",))
        model = build_model(CONFIG, seed=seed)
        task = open_task(one, around)
        control = open_task(replace(one, control="blocks"), around)
        tables = {
            "untrained": task.score(candidate(model), "loss")[0],
            "markov_1": task.score_baseline("markov_1", seed=0)[0],
            "control": control.score(candidate(model), "loss")[0],
        }
        for name, scores in tables.items():
            (views,) = example_views(scores.frame, "ranking").values()
            row = auroc(views, resamples=200)
            covered[name].append(row["low"] <= 0.5 <= row["high"])
    assert {name: np.mean(found) >= 0.85 for name, found in covered.items()} == dict.fromkeys(
        covered, True
    )


@pytest.fixture(scope="module")
def memorizer():
    """A model shown the training chromosomes of the small genome again and again."""
    torch.manual_seed(0)
    config = replace(CONFIG, mixer="convolution", convolution_taps=15, width=96, layers=2)
    model = build_model(config, seed=0).train()
    text = [SEQUENCES[name].upper().replace("N", "A") for name in ("I", "II")]
    rows = [one[start : start + 16] for one in text for start in range(0, len(one) - 15, 16)]
    codes = torch.tensor([["ACGT".index(base) for base in row] for row in rows])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(120):
        hidden = torch.rand(codes.shape, generator=generator) < 0.2
        ids = torch.where(hidden, 3, codes + FIRST_BASE)
        logits = model(ids).logits[hidden][:, FIRST_BASE : FIRST_BASE + 4]
        optimizer.zero_grad()
        cross_entropy(logits, codes[hidden]).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("attack", ["loss", "neighbours"])
def test_a_model_that_remembers_is_found_out_and_its_control_is_not(memorizer, attack):
    def area(scores: Scores) -> float:
        return roc_auc_score(scores.frame["label"], scores.frame["score"])

    task = open_task(card(), Around())
    scores = task.score(candidate(memorizer), attack)[0]
    assert area(scores) > 0.8
    (views,) = example_views(scores.frame, "ranking").values()
    assert auroc(views)["low"] > 0.6
    for control in ("blocks", "chromosomes"):
        held_out = open_task(card(control=control), Around()).score(candidate(memorizer), attack)[0]
        (views,) = example_views(held_out.frame, "ranking").values()
        row = auroc(views)
        assert row["low"] <= 0.5 <= row["high"]
