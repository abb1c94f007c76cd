"""A study with ``data.annotation``: strata in its rows and on its page, in no run's identity."""

import pandas as pd
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.report.page import render
from lightning_dna.study.compare import write_results
from lightning_dna.study.run import execute
from lightning_dna.study.study import load_study

GTF = "".join(
    f'{n}\tx\tCDS\t{first}\t{first + 600}\t.\t+\t0\ttranscript_id "t{first}";\n'
    for n in (1, 2, 3)
    for first in (301, 1501)
)


@pytest.fixture
def annotated(content, write_yaml, tmp_path):
    """Write the recipe with an annotation beside it, which it names by a relative path."""
    (tmp_path / "genes.gtf").write_text(GTF)
    content["shared"]["data"]["annotation"] = "genes.gtf"
    content["comparison"]["planned"] = ["bases:mlm_accuracy", "bases/codon_3:mlm_accuracy"]
    return lambda: load_study(write_yaml("annotated.yaml", content))


def test_strata_are_scored_compared_and_shown(annotated, tmp_path):
    study = annotated()
    assert execute(study, tmp_path / "out", workers=1).failed == 0
    write_results(study, tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "results" / "comparisons.csv")
    planned = rows[rows["planned"]]
    assert set(planned["task"]) == {"bases", "bases/codon_3"}
    found = {task.removeprefix("bases/") for task in rows["task"]}
    assert {"codon_1", "codon_2", "codon_3", "intergenic", "promoter", "repeat"} <= found
    assert any(name.startswith("gc_") for name in found)
    page = render(tmp_path / "out").read_text()
    assert "third codon positions" in page
    assert "by stratum" in page


def test_an_annotation_changes_no_run(content, annotated, write_yaml):
    ids = {cell.name: cell.run_id for cell in annotated().cells()}
    del content["shared"]["data"]["annotation"]
    content["comparison"]["planned"] = ["bases:mlm_accuracy"]
    plain = load_study(write_yaml("plain.yaml", content))
    assert {cell.name: cell.run_id for cell in plain.cells()} == ids


def test_strata_are_planned_only_with_an_annotation(content, write_yaml):
    content["comparison"]["planned"] = ["bases/codon_3:mlm_accuracy"]
    with pytest.raises(ConfigError, match="unknown task 'bases/codon_3'"):
        load_study(write_yaml("plain.yaml", content))


def test_arms_share_their_annotation(content, annotated, write_yaml):
    content["arms"]["hyena"]["data"] = {"annotation": "other.gtf"}
    with pytest.raises(ConfigError, match=r"changes data\.annotation"):
        annotated()


def test_a_missing_file_is_named_before_anything_runs(annotated, tmp_path):
    study = annotated()
    (tmp_path / "genes.gtf").unlink()
    with pytest.raises(DataError, match=r"genes\.gtf"):
        execute(study, tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "runs").exists()
