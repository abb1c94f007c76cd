"""Alleles: which sites are read, what a model is asked, and what haplotypes in training change."""

import gzip
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_dna.data.encoding import CHARACTERS
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.study.views import compared_metrics, mlm_views
from lightning_dna.tasks.allele_sites import read_allele_sites
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.tasks.task import Candidate
from lightning_dna.training.config import FineTuneConfig

CONFIG = ModelConfig(mixer="attention", width=16, layers=1, heads=2, max_length=32)
SPLIT = ChromosomeSplit(train=("chr1",), valid=("chr2",), test=("chr3",))
FIRST_BASE = 7
HEAD = "##fileformat=VCFv4.2\n{}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def letters(length: int, seed: int) -> str:
    text = "".join(np.random.default_rng(seed).choice([*"ACGT"], length))
    return text[: length // 2] + text[length // 2 :].lower()


SEQUENCES = {"chr1": letters(300, 1), "chr2": letters(100, 2), "chr3": letters(200, 3)}
GENOME = Genome.from_sequences(SEQUENCES)


def other(base: str, step: int = 1) -> str:
    return "ACGT"[("ACGT".index(base.upper()) + step) % 4]


def line(
    chrom: str, position: int, *, ref: str | None = None, alt: str = "", info: str = "."
) -> str:
    """One record; REF is the genome's base and ALT another one where they are not given."""
    ref = ref or SEQUENCES[f"chr{chrom}"][position - 1].upper()
    return f"{chrom}\t{position}\t.\t{ref}\t{alt or other(ref)}\t.\tPASS\t{info}"


def vcf(folder: Path, lines: list[str], head: str = "") -> Path:
    path = folder / "some.vcf"
    path.write_text(HEAD.format(head) + "".join(f"{one}\n" for one in lines))
    return path


FREQUENCIES = ("AF=0.005", "AF=0.02", "AF=0.3", "AF=0.9", "AC=1;AN=4", ".")
NAMES = ("af_0_1", "af_1_5", "af_5_50", "af_50_100", "af_5_50", "")


@pytest.fixture
def path(tmp_path) -> Path:
    """A site at every tenth base of two chromosomes, from the second base on."""
    lines = [
        line(chrom, position, info=FREQUENCIES[number % 6])
        for chrom, length in (("1", 300), ("2", 100), ("3", 200))
        for number, position in enumerate(range(2, length, 10))
    ]
    return vcf(tmp_path, lines)


@dataclass(frozen=True)
class Around:
    """A study of one small genome."""

    vcf: str | None = None
    genome: Genome = GENOME
    split: ChromosomeSplit = SPLIT
    window_length: int = 16
    strata: GenomeStrata | None = None
    tasks_root: Path | None = None


@dataclass(frozen=True)
class FixedWeights:
    """A model made before."""

    one: torch.nn.Module

    def model(self):
        return self.one.eval()


def card(**changes) -> TaskCard:
    base = {"name": "alleles", "kind": "alleles", "title": "T", "cluster_length": 64}
    return TaskCard(**base | changes)


def candidate(model) -> Candidate:
    return Candidate(
        arm="a", seed=3, weights=FixedWeights(model), finetune=FineTuneConfig(), encoding=CHARACTERS
    )


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("site_windows", ["around", "tiled"])
def test_every_site_by_hand(path, objective, site_windows):
    model = build_model(replace(CONFIG, objective=objective), seed=1).eval()
    task = open_task(card(site_windows=site_windows), Around(str(path)))
    task.load()
    scores, record = task.score(candidate(model), None)
    assert (scores.kind, record) == ("mlm", None)
    assert len(scores.frame) == 30 + 20
    for number, row in enumerate(scores.frame.itertuples()):
        chrom, position, ref, alt = row.example_id.split(":")
        sequence, at = SEQUENCES[chrom], int(position) - 1
        assert (chrom == "chr1") == (row.part == "train")
        assert sequence[at].upper() == ref
        wanted = at - 8 if site_windows == "around" else 16 * (at // 16)
        start = min(max(wanted, 0), len(sequence) - 16)
        ids = torch.tensor(
            ["ACGT".index(b) + FIRST_BASE for b in sequence[start : start + 16].upper()]
        )
        causal = objective == "next_token"
        if not causal:
            ids[at - start] = 3
        with torch.inference_mode():
            logits = model(ids[None]).logits[0, at - start - causal].double()
        gap = float(logits[FIRST_BASE + "ACGT".index(alt)] - logits[FIRST_BASE + "ACGT".index(ref)])
        assert row.nats == pytest.approx(math.log1p(math.exp(gap)), abs=1e-5)
        assert row.correct == (gap < 0)
        assert row.masked == 1
        name = NAMES[(at - 1) // 10 % 6]
        kind = "repeat" if sequence[at].islower() else "unique"
        assert row.stratum == (f"{kind}+{name}" if name else kind)
        assert row.cluster_id == f"{chrom}:{start // 64}", number


def test_the_first_base_of_a_tiled_window_is_left_out(tmp_path):
    """A next-token model has nothing to predict it from; positions 17 and 33 begin a window."""
    lines = [line(chrom, at) for chrom in "13" for at in (16, 17, 18, 33)]
    sites = str(vcf(tmp_path, lines))
    tiled = open_task(card(site_windows="tiled"), Around(sites)).windows.windows("test")
    assert [name.split(":")[1] for name in tiled.example_ids()] == ["16", "18"]
    assert tiled.starts.tolist() == [0, 16]
    around = open_task(card(), Around(sites)).windows.windows("test")
    assert len(around) == 4
    with pytest.raises(ConfigError, match="unknown site_windows 'middle'"):
        card(site_windows="middle")


def test_views_of_a_study(path):
    task = open_task(card(), Around(str(path)))
    scores, _ = task.score_baseline("majority", seed=0)
    views = mlm_views(scores.frame)
    assert {"alleles", "alleles/train", "alleles/repeat", "alleles/af_0_1"} <= set(views)
    measured = compared_metrics([card()])
    assert {"alleles", "alleles/train", "alleles/gap"} <= set(measured)
    assert "alleles/gap" not in compared_metrics([card(train_windows=False)])


def test_counting_baselines_prefer_what_is_frequent_on_the_training_chromosomes(path):
    task = open_task(card(), Around(str(path)))
    frame = task.score_baseline("majority", seed=0)[0].frame
    text = SEQUENCES["chr1"].upper()
    counts = {base: text.count(base) + 1 for base in "ACGT"}
    for row in frame.itertuples():
        ref, alt = row.example_id.split(":")[2:]
        share = counts[ref] / (counts[ref] + counts[alt])
        assert row.nats == pytest.approx(-math.log(share))
        assert row.correct == (share > 0.5 or (share == 0.5 and ref < alt))
    assert set(task.score_baseline("markov_2", seed=0)[0].frame["variant"]) == {"markov_2"}


def test_which_records_are_sites(tmp_path):
    base = SEQUENCES["chr1"][19:22].upper()
    lines = [
        line("1", 5),
        line("1", 8, alt="A,C" if SEQUENCES["chr1"][7].upper() == "G" else "<DEL>,G"),
        line("1", 10, alt="."),
        line("1", 12, alt="<DEL>", info="END=15"),
        line("1", 14, alt="AT"),
        line("1", 20, ref=base, alt=base[0] + other(base[1]) + base[2]),  # one base of three
        line("1", 30, alt=other(SEQUENCES["chr1"][29], 1)),
        line("1", 30, alt=other(SEQUENCES["chr1"][29], 2)),
        line("3", 7, alt=other(SEQUENCES["chr3"][6], 3).lower()),
        "5\t4\t.\tA\tC\t.\tPASS\t.",
    ]
    sites = read_allele_sites(vcf(tmp_path, lines), GENOME)
    assert sites.positions.tolist() == [4, 20, 6]
    assert [sites.chroms[index] for index in sites.chrom_index] == ["chr1", "chr1", "chr3"]
    expected = [SEQUENCES["chr1"][4], SEQUENCES["chr1"][20], SEQUENCES["chr3"][6]]
    assert ["ACGT"[code] for code in sites.ref] == [one.upper() for one in expected]
    steps = [1, 1, 3]
    found = ["ACGT"[code] for code in sites.alt]
    assert found == [other(one, step) for one, step in zip(expected, steps, strict=True)]
    left = {note.partition(": ")[2]: int(note.split()[0]) for note in sites.notes}
    assert left == {
        "several ALT alleles.": 1,
        "no ALT allele.": 1,
        "not one base for another.": 2,
        "another record speaks about the same base.": 2,
        "on a sequence that the genome does not have.": 1,
    }


def test_sites_without_room_are_left_out(tmp_path):
    sequences = {
        "chr1": "ACGTACGTACGTACGTACGT",
        "chr2": "ACGTACGT",
        "chr3": "ACGTNNNNNNACGTACGTAC",
    }
    genome = Genome.from_sequences(sequences)
    lines = [f"{chrom}\t1\t.\tA\tC\t.\tPASS\t." for chrom in ("chr1", "chr2", "chr3")]
    lines[1:1] = ["chr1\t20\t.\tT\tC\t.\tPASS\t."]
    lines += ["chr3\t4\t.\tT\tC\t.\tPASS\t.", "chr3\t6\t.\tT\tC\t.\tPASS\t."]
    lines += ["chr3\t17\t.\tG\tC\t.\tPASS\t."]
    path = vcf(tmp_path, lines)
    split = ChromosomeSplit(train=("chr1", "chr2"), valid=(), test=("chr3",))
    task = open_task(card(window_length=10), Around(str(path), genome=genome, split=split))
    names = {part: task.windows.windows(part).example_ids().tolist() for part in ("train", "test")}
    # The first base of a chromosome has no base before it, chr2 is too short, chr3:4 stands among
    # N, and chr3:6 is N itself.
    assert names == {"train": ["chr1:20:T:C"], "test": ["chr3:17:G:C"]}


def test_a_limit_spreads_the_sites(path):
    task = open_task(card(max_windows=3), Around(str(path)))
    names = task.windows.windows("test").example_ids().tolist()
    assert [name.split(":")[1] for name in names] == ["32", "102", "162"]  # places 3, 10, 16 of 20


def test_the_file_of_the_card_goes_before_that_of_the_study(path, tmp_path):
    own = tmp_path / "own.vcf"
    own.write_text(HEAD.format("") + line("1", 50) + "\n" + line("3", 50) + "\n")
    task = open_task(card(files={"variants": "own.vcf"}), Around(str(path), tasks_root=tmp_path))
    assert task.windows.windows("test").example_ids().tolist()[0].startswith("chr3:50:")
    assert task.content() != open_task(card(), Around(str(path))).content()
    assert (
        open_task(card(), Around(str(path))).content()
        == open_task(card(title="Other"), Around(str(path))).content()
    )


def test_files_that_are_refused(tmp_path):
    def load(lines, head="", **changes):
        open_task(card(**changes), Around(str(vcf(tmp_path, lines, head)))).load()

    ref = other(SEQUENCES["chr1"][9])
    both = [line("1", 5), line("3", 5)]
    with pytest.raises(
        DataError,
        match=rf"1:10 \(line 4\) has REF {ref}, and the genome has .* there; 1 of 3 sites do not",
    ):
        load([line("1", 5), line("1", 10, ref=ref), line("3", 5)])
    with pytest.raises(
        DataError, match=r"1:999 does not lie on chromosome 'chr1' of 300 bases; .*ass"
    ):
        load([*both[:1], line("1", 999, ref="A"), both[1]])
    with pytest.raises(DataError, match=r"'chr1' has 7 bases, and the genome's 'chr1' has 300"):
        load(both, "##contig=<ID=chr1,length=7>\n")
    with pytest.raises(DataError, match="no chromosome of the genome is named 'x'"):
        load(["x\t5\t.\tA\tC\t.\tPASS\t."])
    with pytest.raises(DataError, match=r"no site .* on the test chromosomes \(chr3\)"):
        load(both[:1])
    with pytest.raises(
        DataError, match=r"no site .*train chromosomes \(chr1\).*train_windows: false"
    ):
        load(both[1:])
    load(both[1:], train_windows=False)


def test_studies_and_cards_that_are_refused(path, tmp_path):
    with pytest.raises(ConfigError, match=r"needs a VCF file; name one as data\.vcf"):
        open_task(card(), Around()).load()
    several = JoinedGenome({"one": GENOME, "two": GENOME})
    with pytest.raises(
        ConfigError, match=r"is of one genome, and the study has several \(one, two\)"
    ):
        open_task(card(), Around(str(path), genome=several)).load()
    with pytest.raises(DataError, match=r"missing files: variants: none\.vcf"):
        open_task(card(files={"variants": "none.vcf"}), Around(tasks_root=tmp_path)).load()
    with pytest.raises(ConfigError, match=r"test.*variants"):
        card(files={"test": "x.vcf"})
    with pytest.raises(
        ConfigError, match="mask_fraction has no meaning for a task of kind 'alleles'"
    ):
        card(mask_fraction=0.2)
    task = open_task(card(window_length=64), Around(str(path)))
    with pytest.raises(
        ConfigError, match=r"windows of 64 bases, but arm 'a' has model\.max_length"
    ):
        task.check_arm("a", CONFIG)


@pytest.mark.data
def test_sites_of_1000_genomes(data_folder):
    """All biallelic single-base records of a window of chromosome 20, counted from the text."""
    folder = data_folder / "human-windows"
    path = folder / "b37.chr20_1000001_2000000.1000G_phase3.sites.vcf.gz"
    genome = Genome.open(folder / "b37.chr20_1000001_2000000.fa.gz")
    expected = []
    with gzip.open(path, "rt") as text:
        for row in text:
            fields = row.split("\t")
            if not row.startswith("#") and len(fields[3]) == len(fields[4]) == 1:
                info = dict(entry.partition("=")[::2] for entry in fields[7].strip().split(";"))
                expected.append((int(fields[1]) - 1, fields[3], fields[4], float(info["AF"])))
    places = Counter(one[0] for one in expected)
    expected = [one for one in expected if places[one[0]] == 1]
    sites = read_allele_sites(path, genome)
    assert sites.positions.tolist() == [one[0] for one in expected]
    assert ["ACGT"[code] for code in sites.ref] == [one[1] for one in expected]
    assert ["ACGT"[code] for code in sites.alt] == [one[2] for one in expected]
    bins = [sum(one[3] >= edge for edge in (0.01, 0.05, 0.5)) for one in expected]
    assert sites.stratum.tolist() == bins
    assert len(sites) > 27_000
