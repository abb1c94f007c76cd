"""The page of the memorization battery, from results written by hand."""

import math

import pytest

from lightning_dna.report.instruments import INSTRUMENTS, findings
from lightning_dna.report.memorization import findings_text
from lightning_dna.report.page import render
from lightning_dna.report.results import load_results

ARMS = ("attention_alibi", "hyena")


def estimate(variant, task, metric, value, low, high):
    return {
        "variant": variant, "kind": "model", "task": task, "metric": metric, "estimate": value,
        "se": math.nan if math.isnan(low) else (high - low) / 4, "df": 20, "low": low,
        "high": high, "n_units": 90, "n_examples": 900, "n_seeds": 2, "unit": "cluster",
        "scope": "procedure", "flags": "", "signature": "task:x|n:90|resamples:9999",
    }  # fmt: skip


@pytest.fixture
def battery(content, write):
    """Results of two arms: the first memorized, the second is not shown to have."""
    rows = {
        ("heldout_memory", "mlm_accuracy"): [(0.44, 0.43, 0.45), (0.40, 0.39, 0.41)],
        ("heldout_memory/train", "mlm_accuracy"): [(0.47, 0.46, 0.48), (0.40, 0.39, 0.41)],
        ("heldout_memory/gap", "mlm_accuracy"): [(0.03, 0.02, 0.04), (0.0, -0.01, 0.0125)],
        ("heldout_memory/gap", "bits_per_base"): [(-0.1, -0.12, -0.08), (0.01, -0.02, 0.04)],
        ("membership/loss", "auroc"): [(0.61, 0.58, 0.64), (0.505, 0.48, 0.53)],
        ("membership-control/loss", "auroc"): [(0.5, 0.47, 0.53), (0.56, 0.53, 0.59)],
        ("alleles/gap", "mlm_accuracy"): [(0.1, math.nan, math.nan), (0.1, 0.0, 0.2)],
    }
    content["estimates.csv"] += [
        estimate(arm, task, metric, *numbers)
        for (task, metric), values in rows.items()
        for arm, numbers in zip(ARMS, values, strict=True)
    ]
    return write(content)


def word(results, arm, task, metric):
    return next(
        one.word
        for one in findings(results)
        if (one.estimate.variant, one.estimate.task, one.estimate.metric) == (arm, task, metric)
    )


class TestFindings:
    @pytest.mark.parametrize(
        ("task", "metric", "first", "second"),
        [
            ("heldout_memory/gap", "mlm_accuracy", "found", "not found"),
            ("heldout_memory/gap", "bits_per_base", "found", "not found"),
            ("membership/loss", "auroc", "found", "not found"),
            ("membership-control/loss", "auroc", "holds", "fails"),
            ("alleles/gap", "mlm_accuracy", "no interval", "not found"),
        ],
    )
    def test_an_interval_beyond_the_null_is_found(self, battery, task, metric, first, second):
        results = load_results(battery)
        assert word(results, "attention_alibi", task, metric) == first
        assert word(results, "hyena", task, metric) == second

    def test_what_is_left_open_is_the_far_end_of_the_interval(self, battery):
        found = {
            (one.estimate.variant, one.estimate.task, one.estimate.metric): one.left_open
            for one in findings(load_results(battery))
        }
        assert found["hyena", "heldout_memory/gap", "mlm_accuracy"].split() == ["1.25", "points"]
        # Fewer bits are memory: the lower end.
        assert found["hyena", "heldout_memory/gap", "bits_per_base"].split() == ["0.0200", "bits"]
        assert found["hyena", "membership/loss", "auroc"] == "0.0300"

    def test_a_training_side_is_no_instrument(self, battery):
        tasks = {one.estimate.task for one in findings(load_results(battery))}
        assert "heldout_memory/train" not in tasks
        assert "heldout_memory" not in tasks

    def test_every_number_is_judged_by_one_instrument(self, battery):
        found = [
            (one.estimate.variant, one.estimate.task, one.estimate.metric)
            for one in findings(load_results(battery))
            if one.estimate.task != "heldout_mlm/gap"  # of the study that the battery is added to
        ]
        assert len(found) == len(set(found)) == 10  # two arms, five numbers

    def test_every_instrument_has_its_own_anchor(self):
        anchors = [one.anchor for one in INSTRUMENTS]
        assert len(set(anchors)) == len(anchors)


def test_alleles_are_not_called_masked_bases(battery):
    render(battery)
    text = (battery / "memorization.md").read_text()
    assert "training minus held-out chromosomes: Reference allele preferred" in text
    assert "preference for the reference allele, training minus held-out chromosomes: M" not in text


class TestPage:
    def test_it_is_written_with_the_report(self, battery):
        render(battery)
        page = (battery / "memorization.html").read_text()
        text = (battery / "memorization.md").read_text()
        for part in (page, text):
            assert "memory found in attention\\_alibi" in part.replace(
                "attention_alibi", "attention\\_alibi"
            )
            assert "the control fails: the interval of hyena does not hold 0.5" in part
            assert "up to 1.25" in part
        assert "Memorization" in page
        assert (battery / "figures" / "placement.svg").is_file()

    def test_a_study_with_a_gap_alone_has_none(self, study_folder, tmp_path):
        render(study_folder, tmp_path)
        assert not (tmp_path / "memorization.html").exists()

    def test_the_terminal_gets_a_line_for_each_finding(self, battery):
        text = findings_text(load_results(battery))
        line = next(
            x for x in text.splitlines() if x.startswith("membership/loss") and "hyena" in x
        )
        expected = "membership/loss auroc hyena 0.5050 [0.4800, 0.5300] not found 0.0300"
        assert line.split() == expected.split()
