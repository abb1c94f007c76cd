"""From schedules to batches: resumed and shared batches are those of one uninterrupted process."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import SplitSpec

STEPS = 12
FIELDS = ("input_ids", "targets", "attention_mask", "weights")
SCHEDULES = {
    "fixed": {},
    "doubling": {"kind": "doubling", "start": 6, "fraction": 0.7},
    "linear": {"kind": "linear", "start": 10, "fraction": 0.9, "multiple": 2},
    "root": {"kind": "root", "start": 10, "fraction": 0.9},
    "stages": {"kind": "stages", "stages": ((12, 0.3), (20, 0.3))},
    "mixed": {"kind": "mixed", "start": 8},
    "mixed by window": {"kind": "mixed", "start": 8, "draw": "window"},
    "truncated": {"kind": "doubling", "start": 6, "fraction": 0.7, "long_windows": "truncate"},
    "shuffled": {"kind": "doubling", "start": 6, "fraction": 0.7, "order": "shuffled"},
    "sorted": {"kind": "mixed", "start": 8, "draw": "window", "order": "sorted"},
    "grouped": {"kind": "mixed", "start": 8, "draw": "window", "order": "grouped"},
}


@pytest.fixture(scope="module")
def genome() -> Genome:
    """Three chromosomes of 2 kb with N and lower case; a run reads more than one epoch."""
    generator = np.random.default_rng(1)
    sequences = {}
    for name in ("a", "b", "c"):
        letters = generator.choice(list("ACGTacgt"), 2000)
        letters[generator.integers(0, 2000, 20)] = "N"
        sequences[name] = "".join(letters)
    return Genome.from_sequences(sequences)


def module_of(genome, name, *, objective="masked", workers=0):
    return GenomeDataModule(
        DataConfig(
            length=48,
            reverse_complement=True,
            repeats="downweight",
            split=SplitSpec(valid=("c",), test=()),
        ),
        LengthScheduleConfig(**SCHEDULES[name]),
        tokens_per_step=500,
        total_steps=STEPS,
        objective=objective,
        seed=4,
        num_workers=workers,
        genome=genome,
    )


def bytes_of(batch):
    tensors = (getattr(batch, name) for name in FIELDS)
    return [None if tensor is None else tensor.numpy().tobytes() for tensor in tensors]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_that_goes_on_at_any_step_reads_the_same_bytes(genome, name):
    whole = [bytes_of(batch) for batch in module_of(genome, name).train_dataloader()]
    assert len(whole) == STEPS
    stops = np.random.default_rng(len(name)).integers(1, STEPS, 3).tolist()
    for stop in stops:
        resumed = module_of(genome, name)
        resumed.load_state_dict({"start_step": stop})
        assert [bytes_of(batch) for batch in resumed.train_dataloader()] == whole[stop:]


def test_a_worker_process_reads_the_same_bytes(genome):
    for name in ("truncated", "shuffled"):
        here = module_of(genome, name).train_dataloader()
        there = module_of(genome, name, workers=1).train_dataloader()
        assert [bytes_of(batch) for batch in here] == [bytes_of(batch) for batch in there]


def real_tokens(batch):
    """The tokens of a batch without padding: inputs, targets, weights, and where rows begin."""
    mask = torch.ones_like(batch.input_ids, dtype=torch.bool)
    real = mask if batch.attention_mask is None else batch.attention_mask
    begins = torch.zeros_like(real)
    begins[:, 0] = True
    columns = (batch.input_ids, batch.targets, batch.weights, begins)
    return [column[real] for column in columns]


@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_batches_of_all_ranks_are_the_batch_of_one_process(genome, name, objective):
    whole = module_of(genome, name, objective=objective).train_dataloader()
    ranks = []
    for rank in range(3):
        module = module_of(genome, name, objective=objective)
        module.trainer = SimpleNamespace(global_rank=rank, world_size=3)
        ranks.append(module.train_dataloader())
    for expected, *parts in zip(whole, *ranks, strict=True):
        assert sum(part.tokens for part in parts) == expected.tokens == 500
        found = zip(*(real_tokens(part) for part in parts), strict=True)
        for columns, column in zip(found, real_tokens(expected), strict=True):
            # The last base of a step predicts nothing, and its weight means nothing.
            if objective == "masked" or columns[0].dtype != torch.float32:
                assert torch.equal(torch.cat(columns), column)
