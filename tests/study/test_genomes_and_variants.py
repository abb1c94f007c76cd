"""Studies on several genomes and on haplotypes: run ids, views, notes, from plan to page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lightning_dna.cli import main
from lightning_dna.errors import ConfigError, DataError, ResultsError
from lightning_dna.study.data_files import with_data_files
from lightning_dna.study.data_notes import budget_texts, data_lines, shares_text
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import load_study
from lightning_dna.training.config import deciding_settings
from lightning_dna.training.run import fit

KINDS = (("exon", "."), ("CDS", "0"))
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.fixture
def second(tmp_path):
    """A genome with the chromosome names of the first, and genes on one of them."""
    generator = np.random.default_rng(7)
    with (tmp_path / "second.fa").open("w") as file:
        for name in ("chr1", "chr2", "chr3"):
            bases = "".join(generator.choice([*"ACGT"], 2000))
            file.write(f">{name}\n{bases[:300].lower()}{bases[300:]}\n")
    line = '{}\tx\t{}\t101\t400\t.\t+\t{}\tgene_id "{}"; transcript_id "t";\n'
    rows = [(f"chr{n}", *kind, f"g{n}") for n in (1, 2, 3) for kind in KINDS]
    (tmp_path / "second.gtf").write_text("".join(line.format(*row) for row in rows))
    return tmp_path / "second.fa"


@pytest.fixture
def two(content, toy_fasta, second):
    """The toy recipe on two genomes: arms read the first alone, or both."""
    data = content["shared"]["data"]
    del data["genome"], data["split"]
    data["genomes"] = {
        "toy": {
            "genome": str(toy_fasta),
            "weight": 1,
            "split": {"valid": ["chr2"], "test": ["chr3"]},
        },
        "second": {
            "genome": str(second),
            "weight": 0,
            "annotation": str(second.with_suffix(".gtf")),
            "split": {"test": ["chr1"]},
        },
    }
    content["baseline"] = "one"
    content["arms"] = {"one": None, "both": {"data": {"genomes": {"second": {"weight": 3}}}}}
    content["comparison"]["planned"] = ["bases/second:mlm_accuracy", "bases/toy:mlm_accuracy"]
    return content


def test_arms_may_weigh_genomes_differently_and_nothing_else(two, make_study):
    study = make_study()
    assert study.split.train == ("second:chr2", "second:chr3", "toy:chr1")
    assert study.split.test == ("second:chr1", "toy:chr3")
    assert len({cell.run_id for cell in study.cells()}) == 4
    for change, named in (
        ({"split": {"test": ["chr1"], "exclude": ["chr3"]}}, "data.genomes.second.split"),
        ({"genome": "other.fa"}, "data.genomes.second.genome"),
        ({"annotation": None}, "data.genomes.second.annotation"),
    ):
        arms = {"both": {"data": {"genomes": {"second": change}}}}
        with pytest.raises(ConfigError, match=f"arm 'both' changes {named}; all arms are trained"):
            make_study(arms=arms)


def test_a_planned_view_must_be_of_a_genome(two, make_study):
    two["comparison"]["planned"] = ["bases/third:mlm_accuracy"]
    with pytest.raises(ConfigError, match="unknown task 'bases/third'"):
        make_study()


def test_places_decide_no_run_and_letters_do(two, make_study, second, tmp_path):
    (before,) = {cell.run_id for cell in make_study().cells() if cell.name == "both/0"}
    moved = tmp_path / "elsewhere.fa"
    moved.write_text(second.read_text())
    two["shared"]["data"]["genomes"]["second"]["genome"] = str(moved)
    assert before in {cell.run_id for cell in make_study().cells()}
    moved.write_text(second.read_text().replace("A", "C", 1))
    assert before not in {cell.run_id for cell in make_study().cells()}


def test_the_order_of_genomes_decides_nothing(two, make_study):
    ids = [cell.run_id for cell in make_study().cells()]
    genomes = two["shared"]["data"]["genomes"]
    two["shared"]["data"]["genomes"] = dict(reversed(genomes.items()))
    study = make_study()
    assert [cell.run_id for cell in study.cells()] == ids
    assert study.split.test == ("second:chr1", "toy:chr3")


def test_run_ids_of_one_genome_know_nothing_of_several(make_study):
    cell = make_study().cells()[0]
    data = deciding_settings(cell.run)["data"]
    assert not {"genomes", "variants", "vcf", "haplotypes", "variant_seed", "vcf_sample"} & {*data}


def test_plan_and_page_say_what_was_read(two, write_yaml, tmp_path, capsys):
    recipe = write_yaml("two.yaml", two)
    assert main(["plan", str(recipe)]) == 0
    plan = capsys.readouterr().out
    assert "arm one: training bases from toy 100.0%; not trained on: second" in plan
    assert "arm both: training bases from second 75.0%, toy 25.0%" in plan
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out)]) == 0
    notes = json.loads((out / "results/study.json").read_text())["notes"]
    read = [note for note in notes if note.startswith("arm both: training bases")]
    assert len(read) == 1
    counts = [part.rsplit(" ", 1)[1] for part in read[0].rpartition(": ")[2].split(", ")]
    second_bases, toy_bases = (int(count.replace(",", "")) for count in counts)
    assert second_bases + toy_bases == 20 * 256
    assert second_bases == pytest.approx(0.75 * 20 * 256, abs=128)
    assert any("are as new as the others" in note for note in notes)
    estimates = pd.read_csv(out / "results/estimates.csv")
    assert {"bases/toy", "bases/second", "bases/codon_2"} <= set(estimates["task"])
    counted = estimates[(estimates.metric == "mlm_accuracy") & (estimates.variant == "one")]
    sizes = dict(zip(counted["task"], counted["n_examples"], strict=True))
    assert sizes["bases"] == sizes["bases/toy"] + sizes["bases/second"]
    comparisons = pd.read_csv(out / "results/comparisons.csv")
    assert {"bases/toy", "bases/second"} <= set(comparisons["task"])
    chromosomes = set(pd.read_csv(out / "results/chromosomes.csv")["chrom"])
    assert {"toy:chr3", "second:chr1"} <= chromosomes
    provenance = json.loads((out / "results/provenance.json").read_text())["data"]
    assert provenance["genome"] == "second.fa, toy.fa"
    assert provenance["test"] == ["second:chr1", "toy:chr3"]
    assert str(tmp_path) not in (out / "results/study.json").read_text()


def test_each_genome_is_scored_to_the_limit_of_the_card(two, write_yaml, make_study):
    scorer = Scorer(make_study())
    windows = scorer.tasks["bases"].windows
    for part, chroms in (
        ("test", {"toy:chr3": 12, "second:chr1": 12}),
        ("train", {"toy:chr1": 12, "second:chr2": 6, "second:chr3": 6}),
    ):
        found = windows.windows(part)
        names = [found.chroms[index] for index in found.chrom_index.tolist()]
        assert {name: names.count(name) for name in set(names)} == chroms


def test_what_differs_on_resuming_is_named(two, make_study, tmp_path):
    cell = next(cell for cell in make_study().cells() if cell.name == "both/0")
    record = fit(cell.run, tmp_path / "run", progress=False).record
    assert record["genomes"]["second"]["share"] == 0.75
    assert fit(cell.run, tmp_path / "run", progress=False).record == record
    two["arms"]["both"]["data"]["genomes"]["second"]["weight"] = 2
    other = next(cell for cell in make_study().cells() if cell.name == "both/0")
    message = "data.genomes.second.weight is 3.0 there and 2.0 here"
    with pytest.raises(ResultsError, match=message):
        fit(other.run, tmp_path / "run", progress=False)


@pytest.fixture
def variants(content, toy_fasta, tmp_path):
    """The toy recipe with a variant on the training and one on the test chromosome."""
    first = [line[10] for line in toy_fasta.read_text().splitlines() if line[0] != ">"]
    lines = [
        f"{chrom}\t11\t.\t{ref.upper()}\t{'A' if ref.upper() != 'A' else 'C'}\t.\tPASS\tAF=1\n"
        for chrom, ref in zip(("chr1", "chr2", "chr3"), first, strict=True)
    ]
    path = tmp_path / "toy.vcf"
    path.write_text(HEAD + lines[0] + lines[2])
    content["shared"]["data"]["vcf"] = str(path)
    content["baseline"] = "none"
    content["arms"] = {"none": None, "snv": {"data": {"variants": "snv"}}}
    return content


def test_a_study_of_variants(variants, write_yaml, tmp_path, capsys):
    recipe = write_yaml("variants.yaml", variants)
    assert main(["plan", str(recipe)]) == 0
    plan = capsys.readouterr().out
    assert "arm snv: variants: " in plan
    assert "haplotype 1: snv 1 (1 bases); haplotype 2: snv 1 (1 bases)" in plan
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out)]) == 0
    study = json.loads((out / "results/study.json").read_text())
    assert any("haplotype 2: snv 1 (1 bases)" in note for note in study["notes"])
    assert any("all arms are scored on the reference" in note for note in study["notes"])
    assert yaml.safe_load(study["recipe"])["shared"]["data"]["vcf"] == "toy.vcf"
    tables = sorted((out / "runs").glob("*/scores/*.parquet"))
    hidden = [pd.read_parquet(path)[["example_id", "stratum", "masked"]] for path in tables]
    assert len(hidden) == 4
    for one in hidden[1:]:
        pd.testing.assert_frame_equal(one, hidden[0])


def test_arms_without_variants_keep_the_run_ids_that_they_had(variants, make_study, write_yaml):
    with_file = {cell.name: cell.run_id for cell in make_study().cells()}
    del variants["shared"]["data"]["vcf"]
    del variants["arms"]["snv"]
    variants["arms"]["wider"] = {"model": {"width": 32}}
    without = {cell.name: cell.run_id for cell in make_study().cells()}
    assert with_file["none/0"] == without["none/0"]
    assert with_file["snv/0"] != with_file["none/0"]


def test_a_file_of_another_assembly_stops_the_study_before_it_begins(variants, tmp_path, capsys):
    path = tmp_path / "toy.vcf"
    path.write_text(HEAD + "chr1\t2999\t.\tACGTACGTACGT\tA\t.\tPASS\tAF=1\n")
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(yaml.safe_dump(variants))
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out)]) == 2
    assert "arm 'snv': " in capsys.readouterr().err
    assert not out.exists()


def test_paths_are_found_beside_the_recipe(two, tmp_path, second, monkeypatch):
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "here.fa").write_text(second.read_text())
    two["shared"]["data"]["genomes"]["second"]["genome"] = "here.fa"
    (folder / "two.yaml").write_text(yaml.safe_dump(two))
    monkeypatch.chdir(tmp_path)
    study = load_study(folder / "two.yaml")
    assert study.content["shared"]["data"]["genomes"]["second"]["genome"] == str(folder / "here.fa")


def test_files_are_renamed_wherever_a_recipe_names_them():
    content = {
        "question": "x",
        "shared": {"data": {"genome": "simulated", "annotation": "/a/g.gtf", "length": 8}},
        "arms": {"a": None, "b": {"data": {"vcf": "/b/v.vcf", "genomes": {"c": {"vcf": "/d/e"}}}}},
    }
    assert with_data_files(content, lambda path: Path(path).name) == {
        "question": "x",
        "shared": {"data": {"genome": "simulated", "annotation": "g.gtf", "length": 8}},
        "arms": {"a": None, "b": {"data": {"vcf": "v.vcf", "genomes": {"c": {"vcf": "e"}}}}},
    }


def test_nothing_is_said_of_one_genome_as_it_is(make_study):
    assert data_lines(make_study()) == []


def test_texts_of_shares_and_budgets():
    assert shares_text({"a": 0.25, "b": 0.75}) == "training bases from a 25.0%, b 75.0%"
    budget = {"alleles": 1200, "applied": [{}, {"snv": (2, 2), "sv_deletion": (1, 5000)}]}
    assert budget_texts({"a": {**budget, "skipped": {}, "notes": ["Of a kind."]}}) == [
        "variants of a: 1,200 alleles in the file; haplotype 1: none; haplotype 2: snv 2 (2 bases),"
        " sv_deletion 1 (5,000 bases); Of a kind"
    ]


def test_a_window_longer_than_a_genome_is_told_with_the_arm(two, write_yaml, tmp_path, capsys):
    two["shared"]["data"]["genomes"]["second"]["split"] = {"train": ["chr2"], "test": ["chr1"]}
    two["arms"]["both"]["data"]["length"] = 2500
    two["shared"]["model"]["max_length"] = 2500
    two["shared"]["budget"] = {"tokens": 5000, "tokens_per_step": 2500}
    recipe = write_yaml("long.yaml", two)
    assert main(["run", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert "arm 'both': data.genomes.second: a window of 2500 bases" in capsys.readouterr().err


def test_an_annotation_that_lacks_a_scored_chromosome_is_told_with_its_genome(two, make_study):
    path = Path(two["shared"]["data"]["genomes"]["second"]["annotation"])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("chr1")))
    message = "data.genomes.second: the annotation has no feature on chromosome 'chr1'"
    with pytest.raises(DataError, match=message):
        Scorer(make_study()).check()


def test_a_leak_between_genomes_stops_the_study(two, make_study, toy_fasta):
    genome = two["shared"]["data"]["genomes"]["second"]
    genome["genome"] = str(toy_fasta.parent / "again.fa")
    extra = ">extra\n" + "ACGGT" * 100 + "\n"
    Path(genome["genome"]).write_text(toy_fasta.read_text() + extra)
    del genome["annotation"]
    with pytest.raises(DataError, match=r"'second:chr2' \(train\) and 'toy:chr2' \(valid\) are t"):
        make_study()
