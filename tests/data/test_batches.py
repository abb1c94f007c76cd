"""The training stream: exact tokens, the same bases in every arm, and what a batch holds."""

import itertools

import numpy as np
import pytest
import torch

from lightning_dna.data.batches import (
    IGNORE,
    TrainingBatches,
    evaluation_batches,
    gather,
)
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.masking import draw_masks, evaluation_mask
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.stream import Rows, WindowStream
from lightning_dna.data.windows import tile
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeats import RepeatPolicy

BASE = {7: "A", 8: "C", 9: "G", 10: "T", 11: "N"}
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@pytest.fixture(scope="module")
def genome() -> Genome:
    """Three chromosomes of 4 kb with some N and lower-case stretches."""
    rng = np.random.default_rng(5)
    sequences = {}
    for name in ("a", "b", "c"):
        letters = rng.choice(list("ACGT"), 4000)
        letters[rng.integers(0, 4000, 20)] = "N"
        for start in range(300, 4000, 700):
            letters[start : start + 90] = np.char.lower(letters[start : start + 90])
        sequences[name] = "".join(letters)
    return Genome.from_sequences(sequences)


def sampler_for(genome, config, schedule=None, *, tokens=640, steps=30, seed=0):
    windows = tile(genome, ["a", "b"], length=config.length, policy=config.repeat_policy)
    stream = WindowStream(windows, seed=seed, reverse_complement=config.reverse_complement)
    sampler = LengthWarmupBatchSampler(
        stream,
        schedule or LengthScheduleConfig(),
        tokens_per_step=tokens,
        total_steps=steps,
        final_length=config.length,
    )
    return windows, sampler


def stream_of(genome, windows, sampler, steps):
    """Return the letters that each step reads, in order."""
    return [
        "".join("ACGTN"[c & 7] for c in gather(genome, windows.chroms, sampler.rows(s)))
        for s in range(steps)
    ]


SCHEDULES = [
    LengthScheduleConfig(),
    LengthScheduleConfig(kind="doubling", start=8, fraction=0.5),
    LengthScheduleConfig(kind="linear", start=10, fraction=0.9, multiple=4),
]


@pytest.mark.parametrize("repeats", ["keep", "remove", "downweight"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_every_step_has_exactly_its_tokens_and_every_arm_the_same_bases(genome, repeats, schedule):
    config = DataConfig(length=64, repeats=repeats, repeat_min_length=16)
    windows, sampler = sampler_for(genome, config, schedule)
    _, plain = sampler_for(genome, config)
    batches = TrainingBatches(genome, windows, config, objective="masked", seed=0)
    for step in range(30):
        rows = sampler.rows(step)
        assert int((rows.ends - rows.starts).sum()) == 640
        assert batches[step, rows].tokens == 640
    assert stream_of(genome, windows, sampler, 30) == stream_of(genome, windows, plain, 30)


def test_one_epoch_reads_every_window_once_and_the_next_in_another_order(genome):
    config = DataConfig(length=64)
    windows, sampler = sampler_for(genome, config, tokens=64, steps=400)
    count = len(windows)
    epochs = [
        [int(sampler.rows(s).starts[0] + 10_000 * sampler.rows(s).chrom_index[0]) for s in steps]
        for steps in (range(count), range(count, 2 * count))
    ]
    expected = sorted((windows.starts + 10_000 * windows.chrom_index).tolist())
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected
    assert epochs[0] != epochs[1]


def test_the_stream_is_the_permuted_windows_laid_end_to_end(genome):
    """Steps that cut windows read the same letters as steps of whole windows."""
    config = DataConfig(length=64)
    windows, whole = sampler_for(genome, config, tokens=64, steps=400)
    _, cut = sampler_for(genome, config, tokens=150, steps=400)
    letters = "".join(stream_of(genome, windows, whole, 130))
    assert "".join(stream_of(genome, windows, cut, 55)) == letters[: 55 * 150]


def test_masks_are_the_same_bases_with_and_without_warmup(genome):
    config = DataConfig(length=64)
    hidden = []
    for schedule in SCHEDULES:
        windows, sampler = sampler_for(genome, config, schedule)
        batches = TrainingBatches(genome, windows, config, objective="masked", seed=4)
        steps = []
        for step in range(20):
            batch = batches[step, sampler.rows(step)]
            real = slice(None) if batch.attention_mask is None else batch.attention_mask
            steps.append(
                (batch.targets[real].flatten().tolist(), batch.input_ids[real].flatten().tolist())
            )
        hidden.append(steps)
    assert hidden[0] == hidden[1] == hidden[2]


def test_targets_are_the_true_bases_and_never_n(genome):
    config = DataConfig(length=64, mask_fraction=0.5)
    windows, sampler = sampler_for(genome, config)
    batches = TrainingBatches(genome, windows, config, objective="masked", seed=0)
    letters = stream_of(genome, windows, sampler, 30)
    for step in range(30):
        batch = batches[step, sampler.rows(step)]
        inputs, targets = batch.input_ids.flatten().tolist(), batch.targets.flatten().tolist()
        for letter, shown, target in zip(letters[step], inputs, targets, strict=True):
            if letter == "N":
                assert (BASE[shown], target) == ("N", IGNORE)
            elif target == IGNORE:
                assert BASE[shown] == letter
            else:
                assert BASE[target] == letter
                assert shown == 3 or BASE[shown] in "ACGT"


def test_reverse_complement_reads_the_other_strand_in_about_half_the_windows(genome):
    config = DataConfig(length=64, reverse_complement=True)
    windows, sampler = sampler_for(genome, config, tokens=64, steps=500)
    flips = 0
    for step in range(len(windows)):
        rows = sampler.rows(step)
        read = stream_of(genome, windows, sampler, step + 1)[-1] if step < 5 else None
        flips += int(rows.flipped[0])
        if read is not None:
            chrom = windows.chroms[rows.chrom_index[0]]
            codes = genome.codes(chrom, int(rows.starts[0]), int(rows.ends[0]))
            forward = "".join("ACGTN"[c] for c in codes)
            turned = forward.translate(COMPLEMENT)[::-1]
            assert read == (turned if rows.flipped[0] else forward)
    assert 0.3 < flips / len(windows) < 0.7


def test_pieces_of_a_flipped_window_join_to_the_whole_flipped_window(genome):
    config = DataConfig(length=64, reverse_complement=True)
    windows, whole = sampler_for(genome, config, tokens=640)
    _, pieces = sampler_for(
        genome, config, LengthScheduleConfig(kind="linear", start=9, fraction=1.0, multiple=1)
    )
    assert stream_of(genome, windows, whole, 30) == stream_of(genome, windows, pieces, 30)


def test_next_token_targets_are_the_following_base_of_the_same_row(genome):
    config = DataConfig(length=50)
    windows, sampler = sampler_for(genome, config, tokens=500)
    batches = TrainingBatches(genome, windows, config, objective="next_token", seed=0)
    letters = stream_of(genome, windows, sampler, 3)
    batch = batches[2, sampler.rows(2)]
    position = 0
    for row in range(batch.targets.shape[0]):
        length = (
            batch.length if batch.attention_mask is None else int(batch.attention_mask[row].sum())
        )
        for column in range(length):
            target = int(batch.targets[row, column])
            last = column == length - 1
            following = None if last else letters[2][position + 1]
            assert target == (IGNORE if last or following == "N" else 7 + "ACGT".index(following))
            position += 1


def test_downweight_gives_repeat_bases_the_stated_weight(genome):
    config = DataConfig(length=64, repeats="downweight", repeat_weight=0.25)
    windows, sampler = sampler_for(genome, config)
    batches = TrainingBatches(genome, windows, config, objective="masked", seed=0)
    rows = sampler.rows(0)
    soft = gather(genome, windows.chroms, rows) & 8
    batch = batches[0, rows]
    assert batch.weights is not None
    assert batch.weights.flatten().tolist() == np.where(soft > 0, 0.25, 1.0).tolist()


def test_removed_repeats_are_never_read(genome):
    config = DataConfig(length=64, repeats="remove", repeat_min_length=16)
    windows, sampler = sampler_for(genome, config)
    assert (tile(genome, ["a", "b"], length=64).lengths.sum()) > windows.lengths.sum()
    for step in range(30):
        assert not (gather(genome, windows.chroms, sampler.rows(step)) & 8).any()


def test_a_sampler_that_goes_on_yields_what_is_left(genome):
    config = DataConfig(length=64)
    _, sampler = sampler_for(genome, config)
    everything = [item for (item,) in sampler]
    _, resumed = sampler_for(genome, config)
    resumed.load_state_dict({"start_step": 17})
    left = [item for (item,) in resumed]
    assert [item.step for item in left] == list(range(17, 30))
    for a, b in zip(everything[17:], left, strict=True):
        assert all((x == y).all() for x, y in zip(a.rows, b.rows, strict=True))


def test_evaluation_batches_hide_by_position_and_ignore_the_repeat_policy(genome):
    windows = tile(genome, ["c"], length=80)
    config = DataConfig(length=80, repeats="remove", repeat_min_length=16)
    batches = evaluation_batches(genome, windows, config, objective="masked", tokens=400)
    assert [len(batch.input_ids) for batch in batches] == [5] * 10
    for row in range(50):
        batch, line = batches[row // 5], row % 5
        start = int(windows.starts[row])
        codes = genome.codes("c", start, start + 80)
        mask = evaluation_mask(0, "c", np.arange(start, start + 80), 0.15) & (codes != 4)
        assert (batch.targets[line] != IGNORE).tolist() == mask.tolist()
        assert (batch.input_ids[line] == 3).tolist() == mask.tolist()
        assert batch.targets[line][mask].tolist() == (codes[mask].astype(int) + 7).tolist()


def test_the_policy_of_the_config_is_the_policy_of_the_genome_room():
    config = DataConfig(repeats="downweight", repeat_weight=0.3, repeat_min_length=20)
    assert config.repeat_policy == RepeatPolicy(name="downweight", weight=0.3, min_length=20)


def slow_batch(genome, chroms, config, objective, seed, step, rows):
    """The batch of a step one base at a time: lists of ids, targets and weights for each row."""
    letters, soft, lengths = [], [], []
    for chrom, start, end, flipped in zip(*(column.tolist() for column in rows), strict=True):
        bases = ["ACGTN"[code] for code in genome.codes(chroms[chrom], start, end)]
        repeat = genome.soft_mask(chroms[chrom], start, end).tolist()
        if flipped:
            bases = [base.translate(COMPLEMENT) for base in reversed(bases)]
            repeat.reverse()
        letters += bases
        soft += repeat
        lengths.append(end - start)
    truth = [7 + "ACGTN".index(letter) for letter in letters]
    inputs, targets = list(truth), [-100] * len(truth)
    weights = [np.float32(config.repeat_weight) if repeat else np.float32(1) for repeat in soft]
    if objective == "masked":
        draw = draw_masks(seed, step, len(truth), config.mask_fraction)
        replacements = dict(zip(draw.replaced.tolist(), draw.bases.tolist(), strict=True))
        hidden = set(draw.hidden.tolist())
        for position in draw.targets.tolist():
            if letters[position] == "N":
                continue
            targets[position] = truth[position]
            if position in hidden:
                inputs[position] = 3
            elif position in replacements:
                inputs[position] = 7 + replacements[position]
    else:
        row_ends = set(itertools.accumulate(lengths))
        for position in range(len(truth)):
            if position + 1 not in row_ends and letters[position + 1] != "N":
                targets[position] = truth[position + 1]
        weights = weights[1:] + weights[:1]
    cuts = [0, *itertools.accumulate(lengths)]
    return [
        [column[low:high] for low, high in itertools.pairwise(cuts)]
        for column in (inputs, targets, weights)
    ]


def padded(rows, fill, dtype):
    """Lay lists of unequal length out as a tensor."""
    longest = max(map(len, rows))
    return torch.tensor(
        [[*map(float, row), *[fill] * (longest - len(row))] for row in rows], dtype=torch.float64
    ).to(dtype)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
@pytest.mark.parametrize("objective", ["masked", "next_token"])
@pytest.mark.parametrize("repeats", ["keep", "downweight", "remove"])
def test_batches_equal_those_made_one_base_at_a_time(genome, repeats, objective, schedule):
    config = DataConfig(
        length=64,
        repeats=repeats,
        repeat_min_length=16,
        mask_fraction=0.4,
        reverse_complement=True,
    )
    windows, sampler = sampler_for(genome, config, schedule, tokens=650, seed=2)
    batches = TrainingBatches(genome, windows, config, objective=objective, seed=9)
    for step in (0, 3, 11, 25, 29):
        rows = sampler.rows(step)
        inputs, targets, weights = slow_batch(
            genome, windows.chroms, config, objective, 9, step, rows
        )
        batch = batches[step, rows]
        real = padded([[1] * len(row) for row in inputs], 0, torch.bool)
        expected = {
            "input_ids": padded(inputs, 4, torch.int64),
            "targets": padded(targets, -100, torch.int64),
            "attention_mask": None if real.all() else real,
            "weights": padded(weights, 0, torch.float32) if repeats == "downweight" else None,
        }
        for name, value in expected.items():
            found = getattr(batch, name)
            if value is None:
                assert found is None
            else:
                assert found.dtype == value.dtype
                assert found.is_contiguous()
                assert torch.equal(found, value), name
        assert batch.tokens == 650


def test_batches_are_the_callers_own(genome):
    """Changing a batch in place changes neither the genome nor the next batch."""
    config = DataConfig(length=64, repeats="downweight")
    windows, sampler = sampler_for(genome, config)
    batches = TrainingBatches(genome, windows, config, objective="next_token", seed=0)
    first, again = (batches[0, sampler.rows(0)] for _ in range(2))
    before = again.input_ids.clone()
    for tensor in (first.input_ids, first.targets, first.weights):
        tensor.zero_()
    assert torch.equal(again.input_ids, before)
    assert torch.equal(batches[0, sampler.rows(0)].input_ids, before)
    assert int(again.targets.max()) == 10


def test_gather_turns_every_stored_byte_and_keeps_its_repeat_mark():
    genome = Genome.from_sequences({"a": "ACGTNacgtn", "b": "GATTACA"})
    rows = Rows(
        chrom_index=np.array([0, 0, 1, 1], dtype=np.int32),
        starts=np.array([0, 0, 2, 0]),
        ends=np.array([10, 10, 5, 4]),
        flipped=np.array([False, True, False, True]),
    )
    letters = "".join("ACGTN   acgtn"[byte] for byte in gather(genome, ("a", "b"), rows))
    assert letters == "ACGTNacgtn" + "nacgtNACGT" + "TTA" + "AATC"


def test_a_batch_moves_whole(genome):
    config = DataConfig(length=64, repeats="downweight")
    schedule = LengthScheduleConfig(kind="linear", start=10, fraction=0.9, multiple=4)
    windows, sampler = sampler_for(genome, config, schedule)
    batches = TrainingBatches(genome, windows, config, objective="masked", seed=0)
    batch = next(
        batch
        for batch in (batches[step, sampler.rows(step)] for step in range(30))
        if batch.attention_mask is not None
    )
    moved = batch.to("meta")
    assert moved.tokens == batch.tokens
    for name in ("input_ids", "targets", "attention_mask", "weights"):
        assert getattr(moved, name).device.type == "meta"
        assert getattr(moved, name).shape == getattr(batch, name).shape
