"""Views by similarity, homology clusters and the matched gap of a study, on planted sequence."""

import math

import numpy as np
import pandas as pd
import pytest
import yaml

from lightning_dna import atomic
from lightning_dna.errors import ConfigError
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import compare
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.study.compare import write_results
from lightning_dna.study.gather import gather
from lightning_dna.study.heldout_similarity import cluster_sizes, homology_blocks
from lightning_dna.study.homology_views import (
    LEAST_WINDOWS,
    window_notes,
    window_views,
    with_clusters,
)
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import record_study
from lightning_dna.study.views import mlm_predictions
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.similarity_bins import (
    containment_bins,
    match_bins,
    similarity_members,
    similarity_names,
    similarity_title,
)

LENGTH = 64


def random_letters(rng, size):
    return "".join(rng.choice(list("ACGT"), size))


@pytest.fixture
def planted_fasta(tmp_path):
    """chr3 holds 12 windows copied from chr1, one from the other strand, and 36 new ones."""
    rng = np.random.default_rng(0)
    chr1, chr2 = random_letters(rng, 3_000), random_letters(rng, 800)
    copies = [chr1[200 * at : 200 * at + LENGTH] for at in range(12)]
    copies[3] = copies[3][::-1].translate(str.maketrans("ACGT", "TGCA"))
    chr3 = "".join(copies) + random_letters(rng, 36 * LENGTH)
    path = tmp_path / "planted.fa"
    path.write_text(f">chr1\n{chr1}\n>chr2\n{chr2}\n>chr3\n{chr3}\n")
    return path


@pytest.fixture
def planted(planted_fasta, content, write_yaml, make_study):
    """A study whose held-out card asks for everything."""
    card = {
        "name": "bases",
        "kind": "heldout_mlm",
        "title": "Hidden bases",
        "baselines": ["majority"],
        "cluster_length": 128,
        "matched_gap": True,
        "similarity": True,
        "unit": "homology",
    }
    write_yaml("suite/card.yaml", card)
    content["shared"]["data"]["genome"] = str(planted_fasta)
    content["shared"]["budget"]["tokens"] = 2 * 256
    return make_study("planted")


@pytest.fixture
def scored(planted, tmp_path):
    """The folder of the study, with predictors in the place of trained models.

    Both guess, but for what one of them has read: the windows that stand on chr1, which it quotes.
    """
    folder = tmp_path / "out"
    record_study(planted, folder)
    scorer = Scorer(planted)
    (card,) = planted.cards
    for cell in planted.cells():
        place = cell_folder(scorer, folder, cell).folder
        (job,) = scorer.jobs(cell)
        rng = np.random.default_rng([cell.seed, cell.arm.name == "hyena"])

        def predict(batch, rng=rng, quotes=cell.arm.name == "hyena"):
            guess = rng.dirichlet(np.ones(4), int(batch.hidden.sum()))
            row, column = np.nonzero(batch.hidden)
            windows = batch.windows
            names = np.array(windows.chroms)[windows.chrom_index]
            known = (names == "chr1") | (windows.starts < 12 * LENGTH)
            copied = np.flatnonzero(known[row]) if quotes else np.zeros(0, np.int64)
            guess[copied] = 0.01
            guess[copied, batch.codes[row, column][copied]] = 0.97
            return np.log(guess)

        scores = scorer.tasks["bases"].windows.score_with(
            predict, variant=cell.arm.name, seed=cell.seed
        )
        scores.write(place / job.file)
        (place / "model.pt").write_bytes(b"")
        atomic.write_json(place / "fit.json", {"peak_memory_mib": 1.0})
    scorer.score_baselines(card, folder / scorer.baseline_folder(card))
    return folder


def test_a_study_finds_what_was_planted(planted, scored):
    folder = scored
    write_results(planted, folder)
    estimates = pd.read_csv(folder / "results/estimates.csv")
    tasks = set(estimates["task"])
    assert {"bases/sim_0_1", "bases/sim_90_100", "bases/matched_gap"} <= tasks
    assert {"bases/no_near_duplicate", "bases/near_duplicate", "bases/match_64_128"} <= tasks
    assert not any("matched_train" in task or "matched_test" in task for task in tasks)
    n = estimates.drop_duplicates("task").set_index("task")["n_examples"]
    assert n["bases/sim_90_100"] == n["bases/near_duplicate"] == n["bases/match_64_128"] == 12
    assert n["bases/sim_0_1"] == n["bases/no_near_duplicate"] == n["bases/match_0_21"] == 36
    compared = pd.read_csv(folder / "results/comparisons.csv")
    rows = compared[compared["task"] == "bases/near_duplicate"]
    assert set(rows["variant"]) == {"hyena", "majority"}
    assert rows["p_adjusted"].notna().any()
    hyena = compared[(compared["variant"] == "hyena") & (compared["metric"] == "mlm_accuracy")]
    hyena = hyena.set_index("task")
    assert hyena.loc["bases/near_duplicate", "low"] > 0.5  # it quotes what was planted
    assert abs(hyena.loc["bases/no_near_duplicate", "delta"]) < 0.1  # and knows nothing else
    assert (
        hyena.loc["bases/no_near_duplicate", "low"]
        < 0
        < hyena.loc["bases/no_near_duplicate", "high"]
    )
    assert hyena.loc["bases/matched_gap", "low"] > 0.2
    kept = pd.read_parquet(next((folder / "similarity").glob("bases-*.parquet")))
    assert kept[kept["part"] == "test"]["containment"].iloc[:12].tolist() == [1.0] * 12
    assert kept[kept["part"] == "test"]["identity"].iloc[:12].tolist() == [1.0] * 12
    assert kept[kept["part"] == "train"]["containment"].isna().all()
    notes = (folder / "results/study.json").read_text()
    assert "25.0% of 48 held-out windows have a near-duplicate" in notes
    assert "the matched gap is over" in notes


def test_scores_are_not_made_again_when_a_card_asks(planted, content, write_yaml, make_study):
    """The name of a score file says what decides its rows."""

    def names(study):
        return [job.file for cell in study.cells() for job in Scorer(study).jobs(cell)]

    before = names(planted)
    card = yaml.safe_load((write_yaml("x.yaml", "").parent / "suite/card.yaml").read_text())
    for key in ("matched_gap", "similarity", "unit"):
        del card[key]
    write_yaml("suite/card.yaml", card)
    assert names(make_study("planted")) == before


def test_the_table_of_windows_is_made_once(planted, scored, monkeypatch):
    first = gather(planted, scored)
    monkeypatch.setattr("lightning_dna.study.heldout_similarity.window_similarity", None)
    again = gather(planted, scored)
    pd.testing.assert_frame_equal(first.windows["bases"], again.windows["bases"])


class TestClusters:
    """By hand."""

    def test_relatives_unite_blocks(self):
        rng = np.random.default_rng(1)
        codes = [rng.integers(0, 4, 200).astype(np.uint8) for _ in range(6)]
        codes[5] = codes[0].copy()  # a:0 and c:2
        codes[4][:100] = 3 - codes[2][:100][::-1]  # c:1 and b:0, half of it, the other strand
        blocks = ["a:0", "a:0", "b:0", "b:1", "c:1", "c:2"]
        assert homology_blocks(codes, blocks) == ["a:0", "a:0", "b:0", "b:1", "b:0", "a:0"]

    def test_a_chain_of_relatives_is_one_cluster(self):
        rng = np.random.default_rng(2)
        text = rng.integers(0, 4, 300).astype(np.uint8)
        codes = [text[:200], text[100:], rng.integers(0, 4, 200).astype(np.uint8), text[100:200]]
        found = homology_blocks(codes, ["a:0", "b:0", "b:0", "c:0"])
        assert found == ["a:0"] * 4

    def test_unrelated_windows_keep_their_blocks(self):
        rng = np.random.default_rng(3)
        codes = [rng.integers(0, 4, 500).astype(np.uint8) for _ in range(40)]
        blocks = [f"chr1:{at // 4}" for at in range(40)]
        assert homology_blocks(codes, blocks) == blocks
        assert homology_blocks([], []) == []

    def test_sizes(self):
        assert cluster_sizes(["a"] * 6 + ["b"] * 3 + ["c"]) == (3, pytest.approx(100 / 46), 0.6)

    def test_scores_get_them(self):
        scores = pd.DataFrame(
            {
                "task": ["bases", "bases", "other"],
                "part": ["test", "train", "test"],
                "example_id": ["x", "x", "x"],
                "cluster_id": ["chr1:0", "chr2:0", "chr1:0"],
            }
        )
        table = pd.DataFrame(
            {"part": ["test", "train"], "example_id": ["x", "x"], "cluster_id": ["A", "B"]}
        )
        found = with_clusters(scores, {"bases": table})
        assert found["cluster_id"].tolist() == ["A", "B", "chr1:0"]
        untouched = with_clusters(scores, {"bases": table.drop(columns="cluster_id")})
        assert untouched is scores


def windows_of(containment, longest, **columns):
    n = len(containment)
    return pd.DataFrame(
        {
            "example_id": [f"w{at}" for at in range(n)],
            "part": "test",
            "containment": containment,
            "longest_match": longest,
            **columns,
        }
    )


def scores_of(n):
    return pd.DataFrame(
        {
            "task": "bases",
            "variant": "arm",
            "seed": 0,
            "part": "test",
            "stratum": "unique",
            "chrom": "chr1",
            "example_id": [f"w{at}" for at in range(n)],
            "cluster_id": [f"c{at}" for at in range(n)],
            "masked": 4,
            "correct": 2,
            "nats": 1.0,
        }
    )


def test_bins_have_their_edges():
    shares = np.array([0.0, 0.0099, 0.01, 0.1, 0.5, 0.9, 1.0, np.nan])
    longest = np.array([0, 20, 21, 31, 32, 64, 128, 0])
    found = similarity_members(shares, longest)
    bins = [name for at in range(7) for name in containment_bins() if found[name][at]]
    assert bins == [containment_bins()[at] for at in (0, 0, 1, 2, 3, 4, 4)]
    assert not any(found[name][7] for name in containment_bins())
    assert found["no_near_duplicate"].tolist() == [True] * 3 + [False] * 5
    assert found["near_duplicate"].tolist() == [False] * 3 + [True] * 4 + [False]
    bins = [name for at in range(8) for name in match_bins() if found[name][at]]
    assert bins == [match_bins()[at] for at in (0, 0, 1, 1, 2, 3, 4, 0)]
    assert list(found) == list(similarity_names())


def test_a_view_of_few_windows_is_not_shown():
    n = LEAST_WINDOWS
    table = windows_of([0.0] * n + [0.95] * (n - 1), [0] * (2 * n - 1))
    views = window_views(scores_of(2 * n - 1), {"bases": table})
    assert set(views) == {"bases/sim_0_1", "bases/no_near_duplicate", "bases/match_0_21"}
    (one,) = views["bases/sim_0_1"]
    assert (one.n_examples, one.task) == (n, "bases/sim_0_1")
    assert window_views(scores_of(3), {"bases": table[["example_id", "part"]]}) == {}


def test_titles():
    assert similarity_title("sim_10_50") == "10 to 50 % of 21-mers in training"
    assert similarity_title("no_near_duplicate") == "no near-duplicate in training (under 10 %)"
    assert similarity_title("near_duplicate") == "near-duplicate in training (from 10 %)"
    assert similarity_title("match_32_64") == "longest exact match of 32 to 63 bases"


def test_a_dominant_family_is_said():
    rows = pd.DataFrame({"part": "test", "cluster_id": ["a"] * 30 + [f"b{at}" for at in range(70)]})
    (note,) = window_notes({"bases": rows}, {}, 12_000_000)
    # 100^2 / (30^2 + 70) = 10.3
    assert "100 held-out windows in 71 clusters" in note
    assert "effectively 10.3 clusters, the largest holds 30.0%" in note
    assert note.endswith(
        "One family of sequences dominates: intervals are rough, and wide for that reason"
    )
    alike = pd.DataFrame({"part": "test", "cluster_id": [f"b{at % 6}" for at in range(60)]})
    (note,) = window_notes({"bases": alike}, {}, 12_000_000)
    assert note.endswith("So few clusters make intervals rough, and wide for that reason")
    rows = pd.DataFrame({"part": "train", "cluster_id": [f"b{at}" for at in range(70)]})
    (note,) = window_notes({"bases": rows}, {}, 12_000_000)
    assert "dominates" not in note
    assert "70 training windows" in note


def test_what_chance_shares_is_said():
    table = windows_of([0.0, 0.5], [0, 40])
    (note,) = window_notes({"bases": table}, {}, 3_000_000_000)
    assert "50.0% of 2 held-out windows" in note
    assert "0.0014 by chance" in note


def test_bad_cards():
    with pytest.raises(ConfigError, match="unit is 'chromosome'; windows of held-out"):
        TaskCard(name="b", kind="heldout_mlm", title="x", unit="chromosome")
    with pytest.raises(ConfigError, match="matched_gap is true, but train_windows is false"):
        TaskCard(name="b", kind="heldout_mlm", title="x", train_windows=False, matched_gap=True)
    with pytest.raises(ConfigError, match="similarity has no meaning for a task of kind"):
        TaskCard(
            name="b",
            kind="simulated_classification",
            title="x",
            simulated="promoter",
            similarity=True,
        )


def test_intervals_of_families_hold_only_by_homology():
    """Copies on many chromosomes are hard or easy together; blocks do not know it, clusters do."""
    rng = np.random.default_rng(4)
    n_families, copies = 30, 8
    family = np.repeat(np.arange(n_families), copies)
    founders = rng.integers(0, 4, (n_families, 200)).astype(np.uint8)
    codes = [one.copy() for one in founders[family]]
    for one in codes:  # two changes in a hundred: most 21-mers are still shared
        at = rng.integers(0, 200, 4)
        one[at] = (one[at] + 1) % 4
    blocks = [f"chr{at % 8}:{at}" for at in range(len(codes))]
    united = homology_blocks(codes, blocks)
    assert cluster_sizes(united) == (n_families, n_families, 1 / n_families)
    scores = scores_of(len(codes)).assign(masked=60, nats=60.0)
    plan = ResamplingPlan(n_resamples=99, unit="cluster")
    covered = {"blocks": 0, "homology": 0}
    for _ in range(100):
        frames = []
        for variant in ("arm", "other"):  # equal on average, and each with families of its own
            chance = np.clip(0.5 + rng.normal(0, 0.1, n_families)[family], 0, 1)
            frames.append(scores.assign(variant=variant, correct=rng.binomial(60, chance)))
        both = pd.concat(frames)
        for name, clusters in (("blocks", blocks), ("homology", united)):
            views = mlm_predictions("bases", both.assign(cluster_id=[*clusters] * 2))
            reps = bootstrap_metrics(align(views), ["mlm_accuracy"], plan)
            row = compare({"bases": reps}, baseline="arm", scope="checkpoint").rows[0]
            covered[name] += row.low <= 0 <= row.high
    assert covered["homology"] / 100 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 100)
    assert covered["blocks"] / 100 < 0.7
