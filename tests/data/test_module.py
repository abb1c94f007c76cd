"""The data module: the same batches from any number of processes, its state, no validation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import SplitSpec

FIELDS = ("input_ids", "targets", "attention_mask", "weights")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """A FASTA file of three chromosomes of 3 kb with N and lower case."""
    generator = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("genome") / "toy.fa"
    with path.open("w") as file:
        for name in ("a", "b", "c"):
            letters = generator.choice(list("ACGTacgt"), 3000)
            letters[generator.integers(0, 3000, 30)] = "N"
            file.write(f">{name}\n{''.join(letters)}\n")
    return path


def module_of(fasta, *, num_workers=0, objective="masked", seed=0, valid=("c",), **changes):
    settings = {"length": 48, "reverse_complement": True, "repeats": "downweight"} | changes
    return GenomeDataModule(
        DataConfig(genome=str(fasta), split=SplitSpec(valid=valid, test=()), **settings),
        LengthScheduleConfig(kind="linear", start=10, fraction=0.5, multiple=2),
        tokens_per_step=500,
        total_steps=14,
        objective=objective,
        seed=seed,
        num_workers=num_workers,
    )


def assert_equal(first, second):
    assert first.tokens == second.tokens
    for name in FIELDS:
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and torch.equal(a, b))


@pytest.mark.parametrize("objective", ["masked", "next_token"])
def test_a_worker_process_makes_the_batches_of_the_training_process(fasta, objective):
    here = list(module_of(fasta, objective=objective).train_dataloader())
    there = list(module_of(fasta, objective=objective, num_workers=1).train_dataloader())
    assert len(here) == len(there) == 14
    for first, second in zip(here, there, strict=True):
        assert_equal(first, second)


def test_another_seed_reads_in_another_order(fasta):
    first, second = (next(iter(module_of(fasta, seed=s).train_dataloader())) for s in (0, 1))
    assert not torch.equal(first.input_ids, second.input_ids)


def test_the_state_is_the_step_to_go_on_from(fasta):
    everything = list(module_of(fasta).train_dataloader())
    stopped = module_of(fasta)
    assert stopped.state_dict() == {"start_step": 0}
    stopped.trainer = SimpleNamespace(global_step=9)
    state = stopped.state_dict()
    assert state == {"start_step": 9}
    for num_workers in (0, 1):
        resumed = module_of(fasta, num_workers=num_workers)
        resumed.load_state_dict(state)
        left = list(resumed.train_dataloader())
        assert len(left) == 5
        for first, second in zip(everything[9:], left, strict=True):
            assert_equal(first, second)


def test_training_never_reads_the_validation_chromosomes(fasta):
    module = module_of(fasta)
    assert module.windows.chroms == ("a", "b")
    assert module.validation_windows().chroms == ("c",)


def test_validation_batches_are_whole_windows_the_same_for_every_seed(fasta):
    first = module_of(fasta, validation_windows=7).val_dataloader()
    second = module_of(fasta, validation_windows=7, seed=5).val_dataloader()
    assert sum(len(batch.input_ids) for batch in first) == 7
    for one, other in zip(first, second, strict=True):
        assert one.length == 48
        assert one.weights is None
        assert_equal(one, other)


def test_without_validation_chromosomes_there_is_nothing_to_validate(fasta):
    module = module_of(fasta, valid=())
    assert module.windows.chroms == ("a", "b", "c")
    assert module.validation_windows() is None
    assert module.val_dataloader() == []
    assert next(iter(module.train_dataloader())).tokens == 500


def test_an_opened_genome_stands_for_the_one_of_the_config(fasta):
    genome = Genome.open(fasta)
    module = GenomeDataModule(
        DataConfig(
            genome="not-there.fa",
            length=48,
            split=SplitSpec(valid=(), test=()),
        ),
        LengthScheduleConfig(),
        tokens_per_step=480,
        total_steps=2,
        objective="masked",
        seed=0,
        genome=genome,
    )
    assert module.genome is genome
    assert [batch.input_ids.shape for batch in module.train_dataloader()] == [(10, 48)] * 2
