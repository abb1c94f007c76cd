"""The tables of ``results/`` against numbers computed from the score tables by hand.

The cells are not trained: their score tables are written with known sums.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_dna import atomic
from lightning_dna.errors import ResultsError
from lightning_dna.study.compare import write_results
from lightning_dna.study.run import cell_folder
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import record_study
from lightning_dna.tasks.base import Scores

ARMS = {
    "attention": None,
    "hyena": {"model": {"mixer": "hyena"}},
    "deep": {"model": {"layers": 2}},
}
SKILL = {"attention": 0.4, "hyena": 0.6, "deep": 0.41, "majority": 0.3, "markov_2": 0.35}
RECORD = {
    "tokens": 100,
    "seconds": 2.0,
    "tokens_per_second": 50.0,
    "padding_fraction": 0.1,
    "seed": 0,
}


def made_up(variant: str, seed: int) -> pd.DataFrame:
    """Return scores of 40 windows, of which every other is half repeat."""
    rng = np.random.default_rng([seed, len(variant)])
    rows = []
    for part, chrom in (("test", "chr3"), ("train", "chr1")):
        for window in range(40):
            for stratum in ("unique", "repeat")[: 1 + window % 2]:
                masked = int(rng.integers(5, 15)) if variant == "x" else 8 + window % 5
                skill = SKILL[variant] + 0.01 * seed + (0.1 if part == "train" else 0.0)
                correct = int(rng.binomial(masked, skill))
                rows.append((part, chrom, window, stratum, masked, correct))
    frame = pd.DataFrame(rows, columns=["part", "chrom", "window", "stratum", "masked", "correct"])
    frame["example_id"] = frame["chrom"] + ":" + frame.pop("window").astype(str)
    return frame.assign(
        task="bases",
        variant=variant,
        seed=seed,
        cluster_id=frame["example_id"],
        nats=(frame["masked"] - 0.9 * frame["correct"]) * math.log(4),
    )


@pytest.fixture
def filled(make_study, tmp_path):
    """Return a function that fills a folder with made-up cells, and the scores it wrote."""

    def fill(skip=(), **changes):
        study = make_study(arms=ARMS, seeds=[0, 1, 2], **changes)
        out, scorer, frames = tmp_path / "out", Scorer(study), []
        record_study(study, out)
        for cell in study.cells():
            if (cell.arm.name, cell.seed) in skip:
                continue
            place = cell_folder(scorer, out, cell)
            frame = made_up(cell.arm.name, cell.seed)
            frames.append(frame)
            Scores(frame, "mlm").write(place.folder / scorer.jobs(cell)[0].file)
            (place.folder / "model.pt").touch()
            record = {**RECORD, "peak_memory_mib": 100.0 + cell.seed}
            atomic.write_json(place.folder / "fit.json", record)
        (card,) = study.cards
        for name in card.baselines:
            frame = made_up(name, 0)
            frames += [frame.assign(seed=seed) for seed in study.recipe.seeds]
            Scores(frame, "mlm").write(out / scorer.baseline_folder(card) / f"{name}.parquet")
        return study, out, pd.concat(frames, ignore_index=True)

    return fill


def ratio(scores: pd.DataFrame, column: str) -> float:
    """Return the mean over seeds of a ratio of sums."""
    sums = scores.groupby("seed")[[column, "masked"]].sum()
    return float((sums[column] / sums["masked"]).mean())


def by_hand(scores: pd.DataFrame, variant: str) -> dict[tuple[str, str], float]:
    mine = scores[scores["variant"] == variant]
    held_out = mine[mine["part"] == "test"]
    pieces = {
        "bases": held_out,
        "bases/repeat": held_out[held_out["stratum"] == "repeat"],
        "bases/unique": held_out[held_out["stratum"] == "unique"],
        "bases/train": mine[mine["part"] == "train"],
    }
    found = {}
    for task, piece in pieces.items():
        found[task, "mlm_accuracy"] = ratio(piece, "correct")
        found[task, "bits_per_base"] = ratio(piece, "nats") / math.log(2)
        found[task, "cross_entropy"] = ratio(piece, "nats")
    for metric in ("mlm_accuracy", "bits_per_base"):
        found["bases/gap", metric] = found["bases/train", metric] - found["bases", metric]
    return found


def test_estimates_and_differences_are_those_of_the_score_tables(filled):
    study, out, scores = filled()
    write_results(study, out)
    estimates = pd.read_csv(out / "results" / "estimates.csv")
    assert set(estimates["variant"]) == set(SKILL)
    for row in estimates.itertuples():
        expected = by_hand(scores, row.variant)[row.task, row.metric]
        assert row.estimate == pytest.approx(expected, abs=1e-12), (row.variant, row.task)
        assert row.low <= row.estimate <= row.high
        assert row.n_seeds == 3
    assert len(estimates) == 5 * (4 * 3 + 2)
    kinds = dict(zip(estimates["variant"], estimates["kind"], strict=True))
    assert kinds == {
        "attention": "model",
        "hyena": "model",
        "deep": "model",
        "majority": "baseline",
        "markov_2": "baseline",
    }

    comparisons = pd.read_csv(out / "results" / "comparisons.csv")
    for row in comparisons.itertuples():
        mine, reference = by_hand(scores, row.variant), by_hand(scores, "attention")
        difference = mine[row.task, row.metric] - reference[row.task, row.metric]
        assert row.delta == pytest.approx(difference, abs=1e-12)
        assert row.baseline == "attention"
    assert not comparisons.duplicated(["variant", "task", "metric"]).any()
    verdicts = comparisons.set_index(["variant", "task", "metric"])["verdict"]
    assert verdicts["hyena", "bases", "mlm_accuracy"] == "better"
    assert verdicts["hyena", "bases", "bits_per_base"] == "better"  # lower is better
    assert verdicts["majority", "bases", "mlm_accuracy"] == "worse"

    chromosomes = pd.read_csv(out / "results" / "chromosomes.csv")
    row = chromosomes.query("variant == 'deep' and chrom == 'chr1' and metric == 'mlm_accuracy'")
    assert row["estimate"].item() == pytest.approx(
        by_hand(scores, "deep")["bases/train", "mlm_accuracy"]
    )


def test_each_family_is_corrected_by_itself(filled):
    study, out, _ = filled(comparison={"multiplicity": "holm"})
    write_results(study, out)
    rows = pd.read_csv(out / "results" / "comparisons.csv")
    models = rows["variant"].isin(ARMS)
    on_planned = rows["task"] == "bases"
    families = {
        "planned": rows[models & on_planned],
        "exploratory": rows[~on_planned],
        "counting baselines on the planned rows": rows[~models & on_planned],
    }
    assert {name: len(family) for name, family in families.items()} == {
        "planned": 2 * 2,
        "exploratory": 4 * 3 * 2,  # variants x (repeat, unique, gap) x metrics
        "counting baselines on the planned rows": 2 * 2,
    }
    for name, family in families.items():
        _, expected, _, _ = multipletests(family["p"], method="holm")
        np.testing.assert_allclose(family["p_adjusted"], expected, err_msg=name)
        assert (family["planned"] == (name == "planned")).all()
    assert len(rows) == sum(map(len, families.values()))


def test_max_t_lies_between_no_correction_and_bonferroni(filled):
    study, out, _ = filled()  # the default
    write_results(study, out)
    rows = pd.read_csv(out / "results" / "comparisons.csv")
    planned = rows[rows["planned"]]
    n_resamples = study.recipe.comparison.resamples
    assert study.recipe.comparison.multiplicity == "max-t"
    assert (planned["p_adjusted"] >= planned["p"]).all()
    # Single steps of 1 / (resamples + 1), and their Monte-Carlo error.
    allowance = 3 * (0.25 / n_resamples) ** 0.5
    assert (planned["p_adjusted"] <= len(planned) * planned["p"] + allowance).all()


def test_the_planned_family_does_not_grow_with_the_rest(filled):
    planned = {"planned": ["bases:mlm_accuracy"], "multiplicity": "holm"}
    study, out, _ = filled(comparison=planned)
    write_results(study, out)
    rows = pd.read_csv(out / "results" / "comparisons.csv")
    planned = rows[rows["planned"]]
    assert planned[["task", "metric"]].drop_duplicates().to_numpy().tolist() == [
        ["bases", "mlm_accuracy"]
    ]
    _, expected, _, _ = multipletests(planned["p"], method="holm")
    np.testing.assert_allclose(planned["p_adjusted"], expected)
    exploratory = rows[~rows["planned"] & rows["variant"].isin(ARMS)]
    assert ("bases", "bits_per_base") in set(
        zip(exploratory["task"], exploratory["metric"], strict=True)
    )


def test_arms_with_missing_seeds_are_compared_if_two_are_left(filled):
    study, out, scores = filled(skip={("hyena", 2), ("deep", 1), ("deep", 2)})
    write_results(study, out)
    estimates = pd.read_csv(out / "results" / "estimates.csv")
    seeds = estimates.query("task == 'bases' and metric == 'mlm_accuracy'")
    assert seeds.set_index("variant")["n_seeds"].to_dict() == {
        "attention": 3,
        "hyena": 2,
        "majority": 3,
        "markov_2": 3,
    }
    hyena = seeds.loc[seeds["variant"] == "hyena", "estimate"].item()
    assert hyena == pytest.approx(by_hand(scores, "hyena")["bases", "mlm_accuracy"])
    notes = json.loads((out / "results" / "study.json").read_text())["notes"]
    assert notes[0].startswith("test results were looked at once before the study was complete")
    assert notes[1:] == ["arm 'hyena' has 2 of 3 seeds", "arm 'deep' has 1 of 3 seeds"]
    arms = pd.read_csv(out / "results" / "arms.csv").set_index("arm")
    assert arms["seeds_done"].to_dict() == {
        "attention": 3,
        "hyena": 2,
        "deep": 1,
        "majority": 0,
        "markov_2": 0,
    }
    assert arms.loc["attention", "peak_memory_mib"] == 102.0  # the largest of any seed
    assert math.isnan(arms.loc["markov_2", "tokens"])


def test_one_seed_is_enough_for_the_scope_checkpoint(filled):
    skip = {(arm, seed) for arm in ARMS for seed in (1, 2)}
    study, out, _ = filled(skip=skip, comparison={"scope": "checkpoint"})
    write_results(study, out)
    rows = pd.read_csv(out / "results" / "comparisons.csv")
    assert set(rows["scope"]) == {"checkpoint"}
    assert set(rows.loc[rows["planned"], "variant"]) == {"hyena", "deep"}


def test_without_the_baseline_there_is_nothing_to_report(filled):
    study, out, _ = filled(skip={("attention", 0), ("attention", 1)})
    with pytest.raises(ResultsError, match=r"'attention' has 1 finished seed\(s\) of the 2"):
        write_results(study, out)
    assert not (out / "results").exists()


def test_a_change_of_the_plan_is_told_on_the_page(filled):
    study, out, _ = filled()
    begun = atomic.read_json(out / "study.json")
    begun["declared"]["planned"] = ["bases:mlm_accuracy"]
    atomic.write_json(out / "study.json", begun)
    write_results(study, out)
    notes = json.loads((out / "results" / "study.json").read_text())["notes"]
    assert notes == [
        "how arms are compared was changed after the study had begun; at first planned: "
        "['bases:mlm_accuracy']"
    ]


def test_margins_reach_the_verdicts(filled):
    study, out, _ = filled(comparison={"margins": {"mlm_accuracy": 0.9, "bits_per_base": 9.0}})
    write_results(study, out)
    rows = pd.read_csv(out / "results" / "comparisons.csv")
    assert set(rows.loc[rows["planned"], "verdict"]) == {"equivalent"}


def test_results_are_the_same_every_time(filled):
    study, out, _ = filled()
    write_results(study, out)
    before = {path.name: path.read_bytes() for path in (out / "results").iterdir()}
    write_results(study, out)
    assert before == {path.name: path.read_bytes() for path in (out / "results").iterdir()}


def test_what_decisions_would_take_is_written_beside_the_planned_rows(filled):
    """With 80% power: the shift at which a noncentral t passes its critical value so often."""
    study, out, _ = filled(comparison={"margins": {"mlm_accuracy": 0.01}})
    write_results(study, out)
    found = pd.read_csv(out / "results" / "power.csv")
    rows = pd.read_csv(out / "results" / "comparisons.csv").query("planned")
    assert len(found) == len(rows) == 4
    for plan, row in zip(found.itertuples(), rows.itertuples(), strict=True):
        assert (plan.task, plan.variant, plan.metric) == (row.task, row.variant, row.metric)
        assert (plan.verdict, plan.n_seeds) == (row.verdict, row.n_seeds)
        critical = stats.t.ppf(1 - 0.05 / 4 / 2, row.df)  # Bonferroni over the four
        power = stats.nct.sf(critical, row.df, plan.detectable / row.se)
        assert power == pytest.approx(0.8, abs=1e-6)
        margin = plan.metric == "mlm_accuracy"
        assert plan.effect_is == ("margin" if margin else "observed")
        assert plan.effect == pytest.approx(0.01 if margin else row.delta)
        # More is needed exactly where what is found now is larger than what is to be found.
        if plan.detectable > abs(plan.effect):
            assert math.isnan(plan.seeds_needed) or plan.seeds_needed > 2
