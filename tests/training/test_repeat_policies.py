"""Repeat policies in a training: its record, its curve, its resume points and its identity."""

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_dna import settings
from lightning_dna.data.config import DataConfig, file_digest
from lightning_dna.errors import DataError, ResultsError
from lightning_dna.models.config import ModelConfig
from lightning_dna.training.config import RunConfig, deciding_settings
from lightning_dna.training.run import fit


class StopError(Exception):
    """Stops a training from a validation."""


def stop_at_half(step, metrics):
    if step >= 12:
        raise StopError


@pytest.fixture
def bed(tmp_path):
    """Call the first half of the lower case of each toy chromosome LINE, the rest SINE."""
    path = tmp_path / "classes.bed"
    rows = [(0, 450, "LINE/L1"), (450, 900, "SINE")]
    path.write_text(
        "".join(f"chr{n}\t{a}\t{b}\t{name}\n" for n in (1, 2, 3) for a, b, name in rows)
    )
    return str(path)


@pytest.mark.parametrize(
    ("policy", "removed", "windows"),
    [
        ("remove-concat", 900, 79),  # 5100 bases in windows of 64
        ("hard-mask", 0, 79),  # of 93 windows the first 14 hold repeats alone
        ("matched-unique", 900, None),
        ("keep", 0, 93),
    ],
)
def test_the_record_says_what_was_removed(toy_run, tmp_path, policy, removed, windows):
    run = toy_run(data={"repeats": policy, "repeat_min_length": 16})
    record = fit(run, tmp_path, progress=False).record
    assert np.isfinite(record["valid_loss"])
    assert record["removed_bases"] == removed
    assert record["artificial_junctions"] == 0  # the repeats lie at the chromosome's start
    assert windows is None or record["train_windows"] == windows
    assert "weight_sum" not in pd.read_csv(tmp_path / "curves.csv")


@pytest.mark.parametrize("policy", ["remove-concat", "downweight"])
def test_a_resumed_training_has_no_seam(toy_run, tmp_path, bed, policy):
    run = toy_run(
        data={"repeats": policy, "repeat_min_length": 16, "repeat_bed": bed}
        | {"repeat_classes": ["LINE"]},
        trainer={"checkpoint_every_seconds": 0.0, "points": 5},
    )
    with pytest.raises(StopError):
        fit(run, tmp_path / "cut", progress=False, on_validation=stop_at_half)
    for name in ("cut", "whole"):
        fit(run, tmp_path / name, progress=False)
    cut, whole = (
        torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("cut", "whole")
    )
    assert all(torch.equal(cut[key], whole[key]) for key in whole)
    curves = [(tmp_path / name / "curves.csv").read_text() for name in ("cut", "whole")]
    assert curves[0] == curves[1]


def test_the_curve_logs_the_sum_of_weights(toy_run, tmp_path):
    """Each of 15 % of 512 bases weighs 1, or 0.5 where it is a repeat (900 of 5952 in windows)."""
    run = toy_run(data={"repeats": "downweight", "repeat_weight": 0.5}, trainer={"points": 2})
    fit(run, tmp_path, progress=False)
    sums = pd.read_csv(tmp_path / "curves.csv")["weight_sum"]
    assert sums.mean() == pytest.approx(0.15 * 512 * (1 - 0.5 * 900 / 5952), rel=0.08)


def plain(**changes):
    run = RunConfig(data=DataConfig(**changes), model=ModelConfig())
    return deciding_settings(run)


class TestIdentity:
    def test_older_runs_keep_theirs(self):
        assert set(plain()["data"]) == {
            "split", "length", "stride", "max_n_fraction", "repeats", "repeat_weight",
            "repeat_min_length", "reverse_complement", "mask_fraction", "validation_windows",
            "validation_seed",
        }  # fmt: skip
        assert "repeat_file" not in plain()

    def test_both_spellings_of_removal_are_one_run(self):
        assert plain(repeats="remove-split") == plain(repeats="remove")
        assert plain(repeats="remove-split")["data"]["repeats"] == "remove"

    def test_younger_settings_count_where_they_are_used(self, bed):
        usual = plain(repeats="matched-unique")
        assert plain(repeats="matched-unique", repeat_seed=1) != usual
        assert plain(repeats="downweight", repeat_bed=bed) == plain(repeats="downweight")
        classes = {"repeats": "downweight", "repeat_bed": bed, "repeat_classes": ("LINE",)}
        assert plain(**classes) != plain(repeats="downweight")

    def test_the_classes_of_a_file_belong_to_it_not_its_place(self, bed, tmp_path):
        def with_file(path):
            return settings.fingerprint(
                plain(repeats="hard-mask", repeat_bed=str(path), repeat_classes=("LINE",))
            )

        text = (tmp_path / "classes.bed").read_text()
        (tmp_path / "copy.bed").write_text(text)
        (tmp_path / "other.bed").write_text(text.replace("SINE", "LINE"))
        assert with_file(bed) == with_file(tmp_path / "copy.bed")
        assert with_file(bed) != with_file(tmp_path / "other.bed")

    def test_a_folder_of_other_classes_is_refused(self, toy_run, tmp_path, bed):
        data = {"repeats": "hard-mask", "repeat_bed": bed, "repeat_classes": ["LINE"]}
        fit(toy_run(data=data), tmp_path / "run", progress=False)
        # The soft mask stays the same, and with it the digest of the genome.
        other = tmp_path / "other.bed"
        other.write_text((tmp_path / "classes.bed").read_text().replace("SINE", "LINE"))
        run = toy_run(data={**data, "repeat_bed": str(other)})
        with pytest.raises(ResultsError, match="repeat_file is"):
            fit(run, tmp_path / "run", progress=False)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*none\.bed"):
            file_digest(str(tmp_path / "none.bed"))
