"""Canaries: how they are drawn, where they stand, and that only training sees them."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from lightning_dna.data.canaries import CanaryConfig, CanarySet
from lightning_dna.data.canary_hosts import canary_hosts
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.training_set import training_set
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode, reverse_complement
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.settings import build, fingerprint
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.training.config import BudgetConfig, RunConfig, deciding_settings

TOKENS = CharacterTokenizer().tokens
FEW = {"length": 20, "per_count": 2, "repetitions": [1, 3, 5], "max_share": 0.5}


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """Two training chromosomes with repeats and some N, one each to validate and to test."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("canaries") / "toy.fa"
    with path.open("w") as handle:
        for name in ("I", "II", "III", "IV"):
            text = "".join(rng.choice([*"ACGT"], 6000))
            text = text[:500] + text[500:1100].lower() + text[1100:3000] + "NNN" + text[3003:]
            handle.write(f">{name}\n{text}\n")
    return path


def config_of(fasta, **changes):
    usual = {
        "genome": str(fasta),
        "split": {"valid": ["III"], "test": ["IV"]},
        "length": 50,
        "validation_windows": 10,
        "canaries": FEW,
    }
    return build(DataConfig, usual | changes, where="test")


def module_of(config, *, seed=0, steps=40, tokens=300, schedule=None):
    return GenomeDataModule(
        config,
        schedule or LengthScheduleConfig(),
        tokens_per_step=tokens,
        total_steps=steps,
        objective="masked",
        seed=seed,
    )


def rows_read(module):
    """The bases of every row of the run, put together again from inputs and targets."""
    found = []
    for batch in module.train_dataloader():
        ids = torch.where(batch.targets >= 0, batch.targets, batch.input_ids)
        real = torch.ones_like(ids, dtype=bool)
        if batch.attention_mask is not None:
            real = batch.attention_mask
        found += [
            "".join(TOKENS[number] for number in row[here].tolist())
            for row, here in zip(ids, real, strict=True)
        ]
    return found


def copies_read(module, canaries):
    """Occurrences of every canary in the rows, on either strand, by brute force.

    A tenth of the targets shows a random base, but targets are what stood there.
    """
    text = "|".join(rows_read(module))
    found = {}
    for canary in canaries:
        here, other = decode(canary.codes), decode(reverse_complement(canary.codes))
        found[canary.name] = len(re.findall(here, text)) + len(re.findall(other, text))
    return found


def test_random_canaries_and_references_follow_from_the_seed_alone():
    config = CanaryConfig(kinds=("random",), **FEW)
    one = CanarySet(config, Genome.from_sequences({"a": "ACGT"}), ["a"])
    other = CanarySet(config, Genome.from_sequences({"b": "GG"}), ["b"])
    assert [c.name for c in one.canaries] == [c.name for c in other.canaries]
    assert Counter(c.repetitions for c in one.canaries) == {0: 2, 1: 2, 3: 2, 5: 2}
    assert len({c.codes.tobytes() for c in one.canaries}) == 8
    references = one.references("random", 1)
    assert references.shape == (1023, 20)
    assert (one.references("random", 1, 30) == references[:30]).all()
    assert not (one.references("random", 0) == references).all()
    share = np.bincount(references.ravel(), minlength=4) / references.size
    assert np.abs(share - 0.25).max() < 0.02
    moved = CanarySet(CanaryConfig(kinds=("random",), seed=1, **FEW), other._genome, ["b"])
    assert not {c.name for c in one.canaries} & {c.name for c in moved.canaries}


def test_more_groups_leave_the_canaries_of_the_others_as_they_are():
    genome = Genome.from_sequences({"a": "ACGTTGCA" * 40})
    few = CanarySet(CanaryConfig(repetitions=(1, 4), per_count=2), genome, ["a"])
    more = CanarySet(CanaryConfig(repetitions=(1, 2, 4), per_count=3), genome, ["a"])
    assert {c.name for c in few.canaries} < {c.name for c in more.canaries}


def test_shuffled_canaries_have_the_pairs_of_a_stretch_of_the_training_chromosomes(fasta):
    genome = Genome.open(fasta)
    canaries = CanarySet(CanaryConfig(kinds=("shuffled",), **FEW), genome, ["I", "II"])
    text = "|".join(decode(genome.codes(name)) for name in ("I", "II")).upper()
    windows = {
        frozenset(Counter(pairwise(text[i : i + 20])).items()) for i in range(len(text) - 19)
    }
    for number in (0, 1):
        group = [c.codes for c in canaries.canaries if c.number == number]
        pairs = {
            frozenset(Counter(pairwise(decode(codes))).items())
            for codes in (*group, *canaries.references("shuffled", number, 50))
        }
        assert len(pairs) == 1
        assert pairs < windows


def test_every_canary_is_read_as_often_as_declared_in_every_epoch(fasta):
    """Two chromosomes have 240 windows of 50 bases, less those of N: one epoch, then another."""
    module = module_of(config_of(fasta, reverse_complement=True))
    per_epoch = int(module.windows.lengths.sum())
    assert per_epoch == 12_000
    canaries = module.training.planting.canaries.canaries
    found = copies_read(module, canaries)
    assert found == {canary.name: canary.repetitions for canary in canaries}
    twice = copies_read(module_of(config_of(fasta, reverse_complement=True), steps=80), canaries)
    assert twice == {canary.name: 2 * canary.repetitions for canary in canaries}


def test_all_other_bases_rows_and_masks_are_those_of_the_training_without_canaries(fasta):
    planted = module_of(config_of(fasta))
    without = module_of(config_of(fasta, canaries=None))
    assert without.training.planting is None
    assert without.training.canary_record() == {}
    changed = 0
    for one, other in zip(planted.train_dataloader(), without.train_dataloader(), strict=True):
        assert one.tokens == other.tokens
        assert one.input_ids.shape == other.input_ids.shape
        changed += int((one.targets != other.targets).sum())
    assert 0 < changed < 0.15 * 1.3 * planted.training.planting.bases
    for one, other in zip(planted.val_dataloader(), without.val_dataloader(), strict=True):
        assert torch.equal(one.input_ids, other.input_ids)
        assert torch.equal(one.targets, other.targets)
    assert planted.genome.digest == without.genome.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"repeats": "remove-split", "repeat_min_length": 30},
        {"repeats": "remove-concat"},
        {"repeats": "hard-mask"},
        {"repeats": "downweight"},
        {"repeats": "matched-unique", "repeat_min_length": 30},
    ],
    ids=lambda changes: changes["repeats"],
)
def test_repeat_policies_neither_hide_nor_weigh_canaries(fasta, changes):
    config = config_of(fasta, reverse_complement=True, **changes)
    epoch = int(module_of(config).windows.lengths.sum())
    module = module_of(config, steps=1, tokens=epoch)  # or the end of a step would cut some
    planting = module.training.planting
    canaries = planting.canaries.canaries
    assert copies_read(module, canaries) == {c.name: c.repetitions for c in canaries}
    owner, chrom, starts = planting.places()
    assert len(owner) == planting.copies
    inside = [
        (
            (module.windows.chrom_index == c)
            & (module.windows.starts <= s)
            & (s + 20 <= module.windows.ends)
        ).sum()
        for c, s in zip(chrom, starts, strict=True)
    ]
    assert set(inside) == {1}


def test_a_canary_in_downweighted_repeats_weighs_one(fasta):
    module = module_of(config_of(fasta, repeats="downweight", repeat_weight=0.25))
    batches = module.train_dataloader().dataset
    planting = module.training.planting
    soft = np.concatenate([module.genome.soft_mask(name) for name in ("I", "II")])
    _, chrom, starts = planting.places()
    expected = np.where(soft, 0.25, 1.0)
    for c, s in zip(chrom.tolist(), starts.tolist(), strict=True):
        expected[6000 * c + s : 6000 * c + s + 20] = 1.0
    assert (expected != np.where(soft, 0.25, 1.0)).any()
    weights = np.concatenate([batches._read(module.sampler.rows(step))[1] for step in range(40)])
    assert weights.sum() == pytest.approx(expected.sum(), rel=1e-6)


def test_parts_of_a_step_hold_the_same_copies_as_the_whole_step(fasta):
    whole = module_of(config_of(fasta))
    text = sorted(rows_read(whole))
    parts = []
    for rank in (0, 1):
        module = module_of(config_of(fasta))
        module.sampler.share(rank, 2)
        parts += rows_read(module)
    assert sorted(parts) == text


def test_short_rows_cut_a_canary_and_lose_none_of_its_bases(fasta):
    schedule = LengthScheduleConfig(kind="doubling", start=12)
    short = "".join(rows_read(module_of(config_of(fasta), schedule=schedule)))
    whole = "".join(rows_read(module_of(config_of(fasta))))
    assert short == whole


def test_longer_tokens_read_the_canaries_too(fasta):
    config = config_of(fasta, tokenizer="kmer-3")
    module = module_of(config)
    tokens = module.tokens.tokenizer.tokens
    text = []
    for batch in module.train_dataloader():
        ids = torch.where(batch.targets >= 0, batch.targets, batch.input_ids)
        text += ["".join(tokens[i] for i in row if len(tokens[i]) < 4) for row in ids.tolist()]
    joined = "|".join(text)
    canaries = module.training.planting.canaries.canaries
    found = {c.name: len(re.findall(decode(c.codes), joined)) for c in canaries}
    assert found == {c.name: c.repetitions for c in canaries}


def test_of_several_genomes_the_first_holds_them_and_of_haplotypes_the_first(fasta, tmp_path):
    rng = np.random.default_rng(5)
    (tmp_path / "b.fa").write_text(f">I\n{''.join(rng.choice([*'ACGT'], 9000))}\n")
    config = build(
        DataConfig,
        {
            "genomes": {
                "yeast": {"genome": str(fasta), "split": {"valid": ["III"], "test": ["IV"]}},
                "worm": {"genome": str(tmp_path / "b.fa"), "split": {"train": ["I"]}},
            },
            "length": 50,
            "canaries": FEW,
        },
        where="test",
    )
    module = module_of(config, steps=70)
    planting = module.training.planting
    _, chrom, _ = planting.places()
    assert {module.windows.chroms[c].split("/")[0] for c in chrom} == {"worm"}
    assert planting.share == pytest.approx(planting.bases / 21_000)
    canaries = planting.canaries.canaries
    assert copies_read(module, canaries) == {c.name: c.repetitions for c in canaries}


def test_the_run_id_of_a_training_without_canaries_is_what_it_was(fasta):
    def deciding(**data):
        model = ModelConfig(width=8, layers=1, heads=2)
        budget = BudgetConfig(tokens=600, tokens_per_step=300)
        return deciding_settings(
            RunConfig(data=config_of(fasta, **data), model=model, budget=budget)
        )

    without = deciding(canaries=None)
    assert "canaries" not in without["data"]
    with_them = deciding()
    assert with_them["data"]["canaries"]["length"] == 20
    other = deciding(canaries=FEW | {"seed": 1})
    assert len({fingerprint(one) for one in (without, with_them, other)}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 51}, "data.canaries.length is 51, above data.length 50: a canary stands"),
        ({"length": 15}, "data.canaries.length is 15; allowed: 16 or more"),
        ({"references": 19}, "1/20, which is not below 0.05; allowed: 20 or more"),
        ({"tracked_references": 5}, "data.canaries.tracked_references is 5: even the first of 6"),
        ({"references": 40, "tracked_references": 41}, "is 41, above data.canaries.references, 40"),
        ({"repetitions": [0, 1]}, "repetitions holds 0; allowed: 1 or more. A control group"),
        ({"repetitions": [2, 2]}, r"repetitions is \[2, 2\]; expected one or more, each once"),
        ({"repetitions": []}, r"repetitions is \[\]; expected one or more"),
        ({"kinds": ["codon"]}, "codon"),
        ({"per_count": 0}, "per_count is 0; allowed: 1 or more"),
        ({"max_share": 0}, r"max_share is 0.0; allowed: \(0, 1\)"),
    ],
)
def test_settings_without_meaning_are_refused(fasta, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_of(fasta, canaries=FEW | changes)


def test_every_canary_has_the_window_of_a_copy_and_the_control_one_without(fasta):
    module = module_of(config_of(fasta))
    hosts = canary_hosts(module.training, module.config)
    planting = module.training.planting
    owner, chroms, starts = planting.places()
    rows, offsets = planting.hosts()
    for number, canary in enumerate(planting.canaries.canaries):
        host = hosts[canary.name]
        length = len(canary.codes)
        own = starts[owner == number]
        there = host.codes[host.start : host.start + length]
        if canary.repetitions:
            assert rows.starts[number] + offsets[number] in own
            assert (there == canary.codes).all()
        else:
            held = (starts >= rows.starts[number]) & (starts < rows.ends[number])
            held &= chroms == rows.chrom_index[number]
            assert not held.any()
        other = np.zeros((2, length), np.uint8)
        changed = host.holding(other)
        assert (changed[:, host.start : host.start + length] == 0).all()
        around = np.delete(changed[1], np.s_[host.start : host.start + length])
        kept = np.delete(host.codes, np.s_[host.start : host.start + length])
        assert (around == kept).all()


def test_overlapping_windows_are_refused(fasta):
    with pytest.raises(ConfigError, match=r"data.stride is 25, below data.length 50: a canary in"):
        config_of(fasta, stride=25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_share": 0.01}, r"36 copies of 20 bases are 6.00% of the 12,000 bases"),
        ({"per_count": 20}, r"360 copies need as many training windows of 20 bases .* are 240"),
    ],
)
def test_canaries_that_the_training_cannot_hold_are_refused(fasta, changes, message):
    config = config_of(fasta, canaries=FEW | changes)
    genome = Genome.open(fasta)
    split = ChromosomeSplit.resolve(config.split, genome.lengths)
    with pytest.raises(ConfigError, match=message):
        training_set(config, genome, split)


def test_chromosomes_without_a_known_stretch_are_refused():
    genome = Genome.from_sequences({"a": "ACGTN" * 50})
    with pytest.raises(DataError, match=r"no stretch of 20 bases without N was .*: \[random\]"):
        CanarySet(CanaryConfig(**FEW), genome, ["a"])


def test_the_order_in_which_a_split_names_chromosomes_does_not_matter(fasta):
    genome = Genome.open(fasta)
    config = CanaryConfig(**FEW)
    digests = {CanarySet(config, genome, names).digest() for names in (["I", "II"], ["II", "I"])}
    assert len(digests) == 1


def test_a_name_tells_sequences_apart():
    genome = Genome.from_sequences({"a": decode(encode("ACGT" * 50))})
    names = [c.name for c in CanarySet(CanaryConfig(), genome, ["a"]).canaries]
    assert len(set(names)) == len(names) == 2 * 7 * 8
