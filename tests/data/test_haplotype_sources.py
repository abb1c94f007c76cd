"""Haplotypes as the source of a training: which bases are read, what is lifted, what is not."""

import numpy as np
import pytest
import torch

from lightning_dna.data import training_set as sources
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.training_set import lift_intervals, lift_repeats, training_set
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.haplotype_map import CoordinateMap, Segment
from lightning_dna.genome.intervals import as_intervals
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.splits import ChromosomeSplit, SplitSpec
from lightning_dna.models.config import ModelConfig
from lightning_dna.settings import build
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.training.config import BudgetConfig, RunConfig, deciding_settings

TOKENS = CharacterTokenizer().tokens
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP\tQ\n"


def vcf_line(position, ref, alt, first="1|0", second="0|0", chrom="I"):
    return f"{chrom}\t{position}\t.\t{ref}\t{alt}\t.\tPASS\t.\tGT\t{first}\t{second}\n"


@pytest.fixture
def files(tmp_path):
    """A genome of A alone, 100 to 160 soft-masked, and a file that makes some of it C, G, T."""
    bases = "A" * 100 + "a" * 60 + "A" * 240
    (tmp_path / "toy.fa").write_text(f">I\n{bases}\n>II\n{'A' * 300}\n")
    (tmp_path / "toy.vcf").write_text(
        HEAD
        + vcf_line(21, "A", "C")  # 1st haplotype
        + vcf_line(51, "A", "AGGG", first="0|1")  # 2nd haplotype
        + vcf_line(121, "AAAAA", "A", first="1|1")  # both, within the soft mask
        + vcf_line(31, "A", "T", chrom="II", first="1|1")
    )
    return tmp_path


def config_of(files, **settings):
    usual = {
        "genome": str(files / "toy.fa"),
        "vcf": str(files / "toy.vcf"),
        "variants": "snv+indel",
        "split": {"test": ["II"]},
        "length": 40,
    }
    return build(DataConfig, usual | settings, where="test")


def set_of(config):
    genome = sources_genome(config)
    return training_set(config, genome, ChromosomeSplit.resolve(config.split, genome.lengths))


def sources_genome(config):
    return Genome.open(config.genome)


def module_of(config, *, seed=0, steps=10):
    return GenomeDataModule(
        config,
        LengthScheduleConfig(),
        tokens_per_step=400,
        total_steps=steps,
        objective="masked",
        seed=seed,
    )


def bases_of(batch):
    ids = torch.where(batch.targets >= 0, batch.targets, batch.input_ids)
    return "".join(TOKENS[number] for number in ids.flatten().tolist())


def test_training_reads_haplotypes_and_evaluation_the_reference(files):
    module = module_of(config_of(files), steps=20)
    letters = "".join(bases_of(batch) for batch in module.train_dataloader())
    assert set(letters) == {"A", "C", "G"}  # T is on the test chromosome, GGG on one haplotype
    assert letters.count("GGG") == letters.count("G") // 3
    assert len(letters) == 8000
    assert module.genome.names == ("I", "II")
    assert set(decode(module.genome.codes("II"))) == {"A"}
    assert all(source.genome.names == ("I",) for source in module.training.sources)


def test_each_haplotype_gives_half_of_the_bases(files):
    training = set_of(config_of(files))
    assert training.shares == (0.5, 0.5)
    assert training.by_genome(training.shares) == {"": 1.0}
    lengths = [source.genome.lengths["I"] for source in training.sources]
    assert lengths == [396, 399]
    assert training.budgets[""].applied[0]["snv"] == (1, 1)


def test_kinds_of_variants_are_a_setting(files):
    found = {
        kind: {
            decode(source.genome.codes("I"))
            for source in set_of(config_of(files, variants=kind)).sources
        }
        for kind in ("none", "snv", "snv+indel")
    }
    plain = "A" * 400
    assert found["none"] == {plain}
    assert found["snv"] == {plain, plain[:20] + "C" + plain[21:]}
    assert len(found["snv+indel"]) == 2
    assert not found["snv+indel"] & found["snv"]


def test_a_sample_of_the_file_can_be_chosen(files):
    training = set_of(config_of(files, vcf_sample="Q"))
    assert {decode(source.genome.codes("I")) for source in training.sources} == {"A" * 400}
    with pytest.raises(ConfigError, match="'R'"):
        set_of(config_of(files, vcf_sample="R"))


def test_the_soft_mask_is_lifted(files):
    training = set_of(config_of(files, repeats="remove-split", repeat_min_length=8))
    for source, shift in zip(training.sources, (0, 3), strict=True):
        assert source.genome.soft_masked["I"] == 56
        ends = source.windows.ends[source.windows.ends <= 120]
        assert ends.max() == 100 + shift
        assert 156 + shift in source.windows.starts.tolist()


def test_classes_of_repeats_are_lifted(files):
    bed = files / "repeats.bed"
    bed.write_text("I\t10\t60\tLINE\nI\t200\t230\tSINE\n")
    config = config_of(
        files, repeat_bed=str(bed), repeat_classes=["LINE"], repeats="downweight", variants="+sv"
    )
    genome = Genome.open(config.genome, mask_bed=config.repeat_bed)
    training = training_set(config, genome, ChromosomeSplit.resolve(config.split, genome.lengths))
    lifted = [treatment.stretches.tolist() for treatment in training.treated]
    assert lifted == [[[10, 60]], [[10, 63]]]
    repeats = RepeatAnnotation.read(bed, genome.lengths)
    moved = lift_repeats(repeats, training.sources[1].genome)
    assert moved.intervals("I", ("SINE",)).tolist() == [[199, 229]]


SEGMENTS = [
    [Segment(100, 0, 1)],
    [Segment(10, 0, 1), Segment(90, 15, 1)],  # a deletion
    [Segment(30, 0, 1), Segment(6, 29, 0), Segment(70, 30, 1)],  # an insertion
    [Segment(20, 0, 1), Segment(30, 49, -1), Segment(50, 50, 1)],  # an inversion
    [Segment(4, 0, 0), Segment(40, 3, 1), Segment(5, 60, -1), Segment(9, 59, 0), Segment(8, 77, 1)],
]


@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("seed", range(5))
def test_lifted_stretches_hold_the_bases_that_lay_in_them(segments, seed):
    there = CoordinateMap(segments)
    edges = np.sort(np.random.default_rng(seed).choice(110, 8, replace=False)).reshape(-1, 2)
    places, _ = there.to_reference(np.arange(there.length))
    inside = [any(low <= place < high for low, high in edges.tolist()) for place in places]
    lifted = lift_intervals(there, edges)
    covered = np.zeros(there.length, dtype=bool)
    for low, high in lifted.tolist():
        assert low < high
        covered[low:high] = True
    assert covered.tolist() == inside


def test_nothing_lifted_is_nothing():
    assert lift_intervals(CoordinateMap([Segment(9, 0, 1)]), as_intervals([])).shape == (0, 2)


def test_haplotypes_are_made_once_in_a_process(files, monkeypatch):
    first = set_of(config_of(files))
    monkeypatch.setattr(sources, "build_haplotypes", None)
    again = set_of(config_of(files, length=32))
    assert again.sources[0].genome is first.sources[0].genome


def run_of(config):
    budget = BudgetConfig(tokens=800, tokens_per_step=400)
    model = ModelConfig(width=8, layers=1, heads=1)
    return RunConfig(data=config, model=model, budget=budget)


def test_what_decides_a_run_with_variants(files):
    one = deciding_settings(run_of(config_of(files)))
    assert "vcf" not in one["data"]
    copy = files / "elsewhere.vcf"
    copy.write_text((files / "toy.vcf").read_text())
    assert deciding_settings(run_of(config_of(files, vcf=str(copy)))) == one
    copy.write_text((files / "toy.vcf").read_text().replace("\tC\t", "\tG\t"))
    assert deciding_settings(run_of(config_of(files, vcf=str(copy)))) != one
    assert deciding_settings(run_of(config_of(files, variant_seed=1))) != one


def test_without_variants_their_settings_decide_nothing(files):
    plain = build(
        DataConfig,
        {"genome": str(files / "toy.fa"), "split": {"test": ["II"]}, "length": 40},
        where="test",
    )
    content = deciding_settings(run_of(plain))
    assert not {"genomes", "variants", "vcf", "haplotypes"} & set(content["data"])
    unused = config_of(files, variants="none", haplotypes=5, variant_seed=3)
    assert deciding_settings(run_of(unused)) == content


def test_a_file_of_another_genome_is_told(files):
    (files / "toy.vcf").write_text(HEAD + vcf_line(21, "G", "C"))
    with pytest.raises(DataError, match="REF"):
        set_of(config_of(files))


def test_variants_of_one_of_two_genomes(files):
    (files / "other.fa").write_text(f">I\n{'T' * 300}\n")
    genomes = {
        "toy": {"genome": str(files / "toy.fa"), "vcf": str(files / "toy.vcf")},
        "other": {"genome": str(files / "other.fa"), "split": {"train": ["I"]}},
    }
    genomes["toy"]["split"] = {"test": ["II"]}
    genomes["other"]["weight"], genomes["toy"]["weight"] = 1, 1
    config = build(DataConfig, {"genomes": genomes, "variants": "snv", "length": 40}, where="test")
    module = module_of(config, steps=20)
    assert [source.name for source in module.training.sources] == ["other", "toy", "toy"]
    assert module.training.shares == (0.5, 0.25, 0.25)
    assert list(module.training.budgets) == ["toy"]
    assert module.share_table() == {
        "other": {"share": 0.5, "bases": pytest.approx(4000, abs=60)},
        "toy": {"share": 0.5, "bases": pytest.approx(4000, abs=60)},
    }
    files_of = deciding_settings(run_of(config))["genome_files"]
    assert list(files_of) == ["toy"]
    assert list(files_of["toy"]) == ["vcf_file"]


@pytest.mark.data
def test_the_1000_genomes_window(data_folder):
    folder = data_folder / "human-windows"
    reference = folder / "b37.chr20_1000001_2000000.fa.gz"
    config = DataConfig(
        genome=str(reference),
        vcf=str(folder / "b37.chr20_1000001_2000000.1000G_phase3.sites.vcf.gz"),
        variants="snv",
        haplotypes=3,
        split=SplitSpec(train=("z",)),
        length=512,
    )
    genome = Genome.open(reference)
    training = training_set(config, genome, ChromosomeSplit.resolve(config.split, genome.lengths))
    assert training.shares == (1 / 3, 1 / 3, 1 / 3)
    for source, counts in zip(training.sources, training.budgets[""].applied, strict=True):
        differing = int((source.genome.codes("z") != genome.codes("z")).sum())
        assert differing == counts["snv"][1]
        assert 500 < differing < 2000  # about one base in a thousand differs between people
        assert len(source.windows) == 1_000_000 // 512
