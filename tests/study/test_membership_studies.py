"""A study with membership inference, its control and alleles, from recipe to page."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lightning_dna.cli import main
from lightning_dna.study.scoring import Scorer
from lightning_dna.tasks.base import Scores

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.fixture
def recipe(content, toy_fasta, write_yaml, tmp_path):
    """The reference against a haplotype, on a genome with a site at every fiftieth base."""
    lines = toy_fasta.read_text().splitlines()
    sites = []
    for name, bases in zip(lines[::2], lines[1::2], strict=True):
        for number, at in enumerate(range(50, 2990, 50)):
            ref = bases[at].upper()
            alt = "A" if ref != "A" else "C"
            frequency = (0.002, 0.2, 0.8)[number % 3]
            sites.append(f"{name[1:]}\t{at + 1}\t.\t{ref}\t{alt}\t.\tPASS\tAF={frequency}\n")
    (tmp_path / "toy.vcf").write_text(HEAD + "".join(sites))
    both = {"kind": "membership", "title": "T", "cluster_length": 256, "baselines": ["markov_2"]}
    both |= {"neighbours": 2, "max_windows": 30}
    cards = {
        "members": both,
        "members-control": {**both, "control": "blocks", "attacks": ["loss"]},
        "alleles": {"kind": "alleles", "title": "T", "cluster_length": 256, "max_windows": 40},
    }
    for name, card in cards.items():
        write_yaml(f"suite/{name}.yaml", {"name": name, **card})
    tasks = [f"{name}.yaml" for name in cards]
    write_yaml("suite/suite.yaml", {"description": "x", "tasks": tasks})
    content["shared"]["data"]["vcf"] = str(tmp_path / "toy.vcf")
    content["seeds"] = [0, 1]
    content["baseline"] = "reference"
    content["arms"] = {"reference": None, "haplotype": {"data": {"variants": "snv"}}}
    content["comparison"] |= {"planned": ["members/loss:auroc", "alleles/gap:mlm_accuracy"]}
    content["comparison"]["margins"] = {"auroc": 0.05}
    return write_yaml("members.yaml", content)


def test_from_recipe_to_page(recipe, tmp_path, make_study):
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out)]) == 0
    estimates = pd.read_csv(out / "results/estimates.csv")
    found = estimates.set_index(["task", "variant", "metric"])
    attacks = {"members/loss", "members/neighbours", "members-control/loss"}
    views = {"alleles", "alleles/train", "alleles/gap", "alleles/repeat", "alleles/af_0_1"}
    assert attacks | views <= set(estimates["task"])
    for task in attacks:
        assert set(found.loc[task].index.get_level_values("metric")) == {"auroc", "tpr_at_fpr01"}
        assert {"reference", "haplotype", "markov_2"} == set(found.loc[task].index.levels[0][:3])
    comparisons = pd.read_csv(out / "results/comparisons.csv")
    planned = comparisons[comparisons["planned"] & (comparisons["variant"] == "haplotype")]
    assert set(planned["task"]) == {"members/loss", "alleles/gap"}
    study = make_study()
    scorer = Scorer(study)
    areas = []
    for cell in study.cells():
        if cell.arm.name == "reference":
            (job,) = (
                job for job in scorer.jobs(cell) if (job.card.name, job.way) == ("members", "loss")
            )
            (path,) = out.glob(f"**/{cell.run_id}*/{job.file}")
            frame = Scores.read(path).frame
            areas.append(roc_auc_score(frame["label"], frame["score"]))
    row = found.loc["members/loss", "reference", "auroc"]
    assert row["estimate"] == pytest.approx(np.mean(areas))
    assert row["unit"] == "cluster"
    gap = found.xs("mlm_accuracy", level="metric")["estimate"].unstack("variant")["reference"]
    assert gap["alleles/gap"] == pytest.approx(gap["alleles/train"] - gap["alleles"])
    notes = json.dumps(json.loads((out / "results/study.json").read_text()))
    assert "Compares 30 training windows with as many windows of test chromosomes" in notes
    assert main(["report", str(out)]) == 0
    text = (out / "report.html").read_text()
    assert "True-positive rate at 1 % false positives" in text
    assert "Preference for the reference allele, training minus held-out chromosomes" in text
    assert "other allele in 0 to 1 % of the chromosomes" in text
