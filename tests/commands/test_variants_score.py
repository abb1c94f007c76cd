"""``variants score`` and ``data haplotypes`` as a user types them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.models.language_model import build_model
from lightning_dna.study import variant_scoring

LENGTH = 400


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A genome, a table of labelled variants of four genes on it, and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    letters = "".join("ACGT"[code] for code in draw.integers(0, 4, LENGTH))
    (tmp_path / "genome.fa").write_text(f">chr1\n{letters}\n")
    places = np.sort(draw.choice(LENGTH, 60, replace=False))
    table = pd.DataFrame(
        {
            "chrom": "1",
            "pos": places + 1,
            "ref": [letters[at] for at in places],
            "alt": ["ACGT"["ACGT".index(letters[at]) - 1] for at in places],
            "effect": np.where(draw.random(60) < 0.4, "bad", "good"),
            "gene": [f"g{at // 40}" for at in places],
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    config = ModelConfig(mixer="hyena", width=8, layers=1, max_length=64)
    save_pretrained(build_model(config, seed=1), tmp_path / "model")
    return tmp_path


OPTIONS = (
    *("--genome", "genome.fa", "--variants", "table.csv", "--window", "32"),
    *("--columns", "position=pos,label=effect,cluster=gene", "--positive", "bad"),
    *("--negative", "good", "--unit", "gene", "--resamples", "199"),
)


def test_a_table_and_what_is_printed(here, run):
    status, out, err = run(
        "variants", "score", "model", *OPTIONS, "--out", "scores.csv",
        "--scores", "llr,embedding_l2", "--baselines", "gc_content,transversion",
    )  # fmt: skip
    assert status == 0, err
    frame = pd.read_csv("scores.csv")
    assert [*frame] == [
        *("id", "contig", "position", "ref", "alt", "label", "cluster", "llr", "embedding_l2"),
        *("llr_forward", "embedding_l2_forward", "llr_reverse", "embedding_l2_reverse"),
        *("gc_content", "transversion", "score"),
    ]
    table = pd.read_csv("table.csv")
    assert (frame["position"] == table["pos"]).all()
    assert (frame["label"] == (table["effect"] == "bad")).all()
    np.testing.assert_allclose(frame["score"], -frame["llr"])
    lines = {tuple(line.split()[:2]): line.split()[2] for line in out.splitlines() if line}
    for name, values in (("llr", -frame["llr"]), ("gc_content", frame["gc_content"])):
        auroc = roc_auc_score(frame["label"], values)
        auprc = average_precision_score(frame["label"], values)
        assert lines[name, "auroc"] == f"{auroc:.3f}"
        assert lines[name, "auprc"] == f"{auprc:.3f}"
    assert "60 variants scored, " in out
    assert "written: scores.csv" in err
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []
    # Two tables go into a paired comparison as they are.
    status, out, err = run(
        "variants", "score", "model", *OPTIONS, "--out", "control.csv", "--untrained", "7"
    )
    assert status == 0, err
    status, out, err = run(
        "compare", "scores.csv", "control.csv", "--baseline", "control", "--resamples", "199",
        "--metrics", "auroc",
    )  # fmt: skip
    assert status == 0, err
    assert "scores" in out


def test_an_interrupted_call_goes_on(here, run, monkeypatch):
    monkeypatch.setattr(variant_scoring, "_PART", 25)
    whole = variant_scoring.score_variants
    calls = []

    def twice(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    command = ("variants", "score", "model", *OPTIONS, "--out", "scores.parquet")
    monkeypatch.setattr(variant_scoring, "score_variants", twice)
    assert run(*command)[0] == 130
    assert not (here / "scores.parquet").exists()
    assert run(*command)[0] == 0
    assert len(calls) == 4  # of three parts the first was there
    monkeypatch.setattr(variant_scoring, "score_variants", whole)
    assert run(*command[:-1], "other.parquet")[0] == 0
    frames = [pd.read_parquet(here / name) for name in ("scores.parquet", "other.parquet")]
    pd.testing.assert_frame_equal(*frames)


def test_a_vcf_file_without_labels(here, run):
    table = pd.read_csv("table.csv")
    rows = [f"1\t{r.pos}\t.\t{r.ref}\t{r.alt}\t.\t.\tAF=0.5\n" for r in table.itertuples()]
    head = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (here / "some.vcf").write_text(head + "".join(rows))
    status, out, err = run(
        "variants", "score", "model", "--genome", "genome.fa", "--variants", "some.vcf",
        "--window", "32", "--out", "scores.tsv",
    )  # fmt: skip
    assert (status, out) == (0, "60 variants scored\n"), err
    assert "label" not in pd.read_csv("scores.tsv", sep="\t")
    status, out, err = run(
        "data", "haplotypes", "genome.fa", "some.vcf", "--out", "both", "--include", "snv"
    )
    assert status == 0, err
    sequences = [
        "".join((here / "both" / f"haplotype_{n}.fa").read_text().splitlines()[1:]) for n in (1, 2)
    ]
    reference = (here / "genome.fa").read_text().splitlines()[1]
    changed = [sum(a != b for a, b in zip(one, reference, strict=True)) for one in sequences]
    assert [f"haplotype {n}: snv {c} ({c} bases)" in out for n, c in enumerate(changed, 1)] == [
        True,
        True,
    ]
    budget = pd.read_csv(here / "both" / "budget.csv")
    assert budget["bases"].tolist() == changed


def test_a_card(here, run):
    (here / "card.yaml").write_text(
        "name: mine\nkind: variant_effect\ntitle: mine\nwindow_length: 32\nunit: gene\n"
        "files: {variants: table.csv, genome: genome.fa}\nscores: [llr, untrained_llr]\n"
        "variants: {columns: {position: pos, label: effect, cluster: gene}, positive: [bad],"
        " negative: [good]}\n"
    )
    command = ("variants", "score", "model", "--card", "card.yaml", "--resamples", "199")
    status, out, err = run(*command, "--out", "scores.csv")
    assert status == 0, err
    assert "llr" in out
    assert "untrained" not in out  # a control of studies; here it has an option of its own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variants", "table.csv"), "give --genome and --variants, or a --card"),
        (("--card", "brca1-sge", "--variants", "x"), "--card says what --variants would"),
        (("--card", "heldout_mlm"), "is of kind 'heldout_mlm'; expected 'variant_effect'"),
        ((*OPTIONS, "--scores", "lr"), "unknown score 'lr'"),
        ((*OPTIONS, "--scores", "llr,untrained_llr"), "ask for the score itself with --untrained"),
        ((*OPTIONS, "--columns", "position"), "'position'; expected ROLE=NAME"),
        ((*OPTIONS, "--window", "65"), "the checkpoint takes 64 (model.max_length)"),
        ((*OPTIONS, "--device", "gpu"), "unknown device 'gpu'"),
        ((*OPTIONS, "--variants", "none.csv"), "missing files: variants: "),
        ((*OPTIONS, "--origin", "9"), "Is the file of another assembly, or variants.shift"),
    ],
)
def test_options_that_are_refused(here, refusal, options, message):
    found = refusal("variants", "score", "model", "--out", "scores.csv", *options)
    assert message in found
    assert not (here / "scores.csv").exists()


def test_checkpoints_that_are_refused(here, refusal):
    for name, message in (("nowhere", "is no folder"), (".", "holds neither config.json")):
        found = refusal("variants", "score", name, "--out", "scores.csv", *OPTIONS)
        assert message in found
