import dataclasses
import json
import math

import pytest

from lightning_dna.errors import ResultsError
from lightning_dna.report.results import load_results
from lightning_dna.report.rows import Difference, Estimate
from lightning_dna.stats.tables import ComparisonRow, EstimateRow


def test_everything_is_loaded(study_folder):
    results = load_results(study_folder)
    assert results.study.name == "quickstart"
    assert results.study.seeds == (0, 1)
    assert results.models[0] == "attention_alibi"
    assert len(results.models) == 7
    assert results.references == ("majority", "markov_3", "kmer_logistic")
    assert results.primary == (("heldout_mlm", "mlm_accuracy"), ("heldout_mlm", "bits_per_base"))
    row = results.estimate("attention_alibi", "heldout_mlm", "mlm_accuracy")
    assert row is not None
    assert row.estimate == 0.4431
    assert row.flags == ("few_seeds",)
    assert math.isnan(results.costs["majority"].parameters)
    assert results.study.margin("mlm_accuracy") == 0.01
    assert results.study.margin("mcc") is None


def test_baseline_is_first_wherever_the_recipe_has_it(content, write):
    content["study.json"]["arms"].append(content["study.json"]["arms"].pop(0))
    assert load_results(write(content)).models[0] == "attention_alibi"


def test_planned_metrics_come_first_within_a_task(content, write):
    content["study.json"]["planned"] = [["heldout_mlm", "bits_per_base"]]
    tasks = load_results(write(content)).tasks
    assert tasks["heldout_mlm"] == ("bits_per_base", "mlm_accuracy", "cross_entropy")


def test_without_planned_pairs_each_whole_task_gives_its_first_metric(content, write):
    content["study.json"]["planned"] = []
    assert load_results(write(content)).primary == (
        ("heldout_mlm", "mlm_accuracy"),
        ("promoter/frozen", "accuracy"),
        ("promoter/full", "accuracy"),
        ("long_range/full", "accuracy"),
    )


@pytest.mark.parametrize("margin", [None, 0.02, {"mcc": 0.02, "accuracy": None}])
def test_margin_forms(content, write, margin):
    content["study.json"]["margin"] = margin
    study = load_results(write(content)).study
    assert study.margin("mcc") == (None if margin is None else 0.02)
    assert study.margin("accuracy") == (0.02 if margin == 0.02 else None)


@pytest.mark.parametrize("written", ["few_seeds;few_clusters", "('few_seeds', 'few_clusters')"])
def test_flags_are_split_however_they_were_joined(content, write, written):
    content["estimates.csv"][0]["flags"] = written
    assert load_results(write(content)).estimates[0].flags == ("few_seeds", "few_clusters")


def test_whole_numbers_written_by_a_table_library_as_decimals(content, write):
    content["arms.csv"][0]["seeds_done"] = "2.0"
    assert load_results(write(content)).arms[0].seeds_done == 2


def test_curves_and_chromosomes_may_be_absent(content, write):
    content["curves.csv"] = content["chromosomes.csv"] = None
    results = load_results(write(content))
    assert results.curves == ()
    assert results.chromosomes == ()


def test_folder_without_results_says_what_to_run(tmp_path):
    with pytest.raises(ResultsError, match=r"study\.json is missing.*lightning-dna run") as caught:
        load_results(tmp_path / "nowhere")
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["arms.csv", "estimates.csv", "comparisons.csv", "provenance.json"]
)
def test_missing_file_is_named(content, write, name):
    content[name] = None
    with pytest.raises(ResultsError, match=name.replace(".", r"\.")):
        load_results(write(content))


@pytest.mark.parametrize("version", ["0.2.0", "1.1.0", "0.0.9"])
def test_other_version_is_refused(content, write, version):
    content["study.json"]["version"] = version
    with pytest.raises(ResultsError, match=rf"written by lightning_dna {version}.*report"):
        load_results(write(content))


def test_patch_version_is_accepted(content, write):
    content["study.json"]["version"] = "0.1.7"
    assert load_results(write(content)).study.version == "0.1.7"


def _drop_key(content):
    del content["study.json"]["baseline"]


def _wrong_type(content):
    content["study.json"]["seeds"] = "0, 1"


def _nameless_arm(content):
    content["study.json"]["arms"][1] = {"kind": "model"}


def _bad_margin(content):
    content["study.json"]["margin"] = "small"


def _planned_of_three(content):
    content["study.json"]["planned"] = [["heldout_mlm", "mlm_accuracy", "x"]]


def _foreign_baseline(content):
    content["study.json"]["baseline"] = "hyenna"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop_key, "key 'baseline' should be str, found 'nothing'"),
        (_wrong_type, "key 'seeds' should be list, found '0, 1'"),
        (_nameless_arm, "damaged"),
        (_bad_margin, "'small' is neither"),
        (_planned_of_three, "damaged"),
        (_foreign_baseline, "'hyenna'"),
    ],
)
def test_damaged_study(content, write, damage, message):
    damage(content)
    with pytest.raises(ResultsError, match=r"study\.json") as caught:
        load_results(write(content))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("estimates.csv", "estimate", "high", "line 2, column estimate: found 'high'"),
        ("estimates.csv", "n_units", "12.5", "not a whole number"),
        ("estimates.csv", "n_units", "", "column n_units"),
        ("comparisons.csv", "planned", "maybe", "allowed: true, false"),
        ("comparisons.csv", "verdict", "good", "verdict 'good'"),
        ("comparisons.csv", "baseline", "hyena", "another recipe"),
        ("comparisons.csv", "scope", "checkpoint", "has scope 'checkpoint'"),
        ("estimates.csv", "variant", "resnet", "names arm 'resnet'"),
        ("curves.csv", "arm", "resnet", "names arm 'resnet'"),
        ("chromosomes.csv", "variant", "resnet", "names arm 'resnet'"),
    ],
)
def test_bad_cell_is_named(content, write, name, column, value, message):
    content[name][0][column] = value
    with pytest.raises(ResultsError, match=name.replace(".", r"\.")) as caught:
        load_results(write(content))
    assert message in str(caught.value)
    assert "Run `lightning-dna report" in str(caught.value)


def test_missing_column_is_named(content, write):
    for row in content["comparisons.csv"]:
        del row["p_adjusted"]
    with pytest.raises(
        ResultsError, match=r"comparisons\.csv lacks column p_adjusted; found: task"
    ):
        load_results(write(content))


def test_doubled_row(content, write):
    content["estimates.csv"].append(dict(content["estimates.csv"][0]))
    with pytest.raises(ResultsError, match="two rows for attention_alibi, heldout_mlm"):
        load_results(write(content))


def test_truncated_line(content, write):
    folder = write(content)
    path = folder / "results" / "estimates.csv"
    text = path.read_text()
    path.write_text(text[: len(text) - 200])
    with pytest.raises(ResultsError, match=r"estimates\.csv, line \d+"):
        load_results(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_unreadable_study(content, write, text):
    folder = write(content)
    (folder / "results" / "study.json").write_text(text)
    with pytest.raises(ResultsError, match=r"study\.json"):
        load_results(folder)


def test_binary_table(content, write):
    folder = write(content)
    (folder / "results" / "arms.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ResultsError, match=r"cannot read .*arms\.csv"):
        load_results(folder)


def test_damaged_provenance(content, write):
    folder = write(content)
    (folder / "results" / "provenance.json").write_text(json.dumps({"runs": [1]}))
    with pytest.raises(ResultsError, match=r"provenance\.json is damaged"):
        load_results(folder)


def test_absent_parts_of_provenance_are_absent(content, write):
    content["provenance.json"] = {}
    source = load_results(write(content)).provenance
    assert (source.commit, source.platform, source.runs) == ("", "", ())


@pytest.mark.parametrize(
    ("read", "written", "added"),
    [(Difference, ComparisonRow, {"planned", "neutral"}), (Estimate, EstimateRow, {"kind"})],
)
def test_statistics_write_every_column_that_the_report_reads(read, written, added):
    needed = {field.name for field in dataclasses.fields(read)}
    offered = {field.name for field in dataclasses.fields(written)}
    assert needed - offered == added


@pytest.mark.parametrize("name", ["comparisons.csv", "curves.csv", "chromosomes.csv"])
def test_table_without_columns_has_no_rows(content, write, name):
    folder = write(content)
    (folder / "results" / name).write_text("\n")
    assert getattr(load_results(folder), name.removesuffix(".csv")) == ()


@pytest.mark.parametrize("name", ["arms.csv", "estimates.csv", "comparisons.csv"])
def test_file_without_a_byte_is_damage(content, write, name):
    folder = write(content)
    (folder / "results" / name).write_text("")
    with pytest.raises(ResultsError, match=r"lacks column .*found: none"):
        load_results(folder)
