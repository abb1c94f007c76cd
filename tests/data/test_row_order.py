"""The rows of a run in any order: exact tokens, the same bases, and any step without the others."""

from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest

from lightning_dna.data.length_schedule import LengthScheduleConfig, drawn_lengths
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.stream import WindowStream
from lightning_dna.data.windows import Windows
from lightning_dna.errors import ConfigError

TOKENS, STEPS, LENGTH = 500, 40, 64
STAGES = ((16, 0.25), (40, 0.25))


def schedule(**changes):
    return LengthScheduleConfig(**changes)


WARMUPS = {
    "doubling": schedule(kind="doubling", start=8, fraction=0.6),
    "linear": schedule(kind="linear", start=10, fraction=0.8, multiple=4),
    "root": schedule(kind="root", start=10, fraction=0.8, multiple=1),
    "stages": schedule(kind="stages", stages=STAGES),
}
RANDOM = {
    "mixed": schedule(kind="mixed", start=8),
    "mixed by window": schedule(kind="mixed", start=8, draw="window"),
    "mixed list": schedule(kind="mixed", stages=STAGES),
}
REORDERED = {
    "shuffled": schedule(kind="doubling", start=8, fraction=0.6, order="shuffled"),
    "sorted": schedule(kind="mixed", start=8, draw="window", order="sorted"),
    "grouped": schedule(kind="mixed", start=8, draw="window", order="grouped"),
    "grouped warm-up": schedule(kind="doubling", start=8, fraction=0.6, order="grouped"),
}
TRUNCATED = {
    "truncated": schedule(kind="doubling", start=8, fraction=0.6, long_windows="truncate"),
    "truncated mixed": schedule(kind="mixed", start=8, long_windows="truncate"),
}
ALL = {"fixed": schedule()} | WARMUPS | RANDOM | REORDERED | TRUNCATED


def windows_of(kind):
    """Windows on two chromosomes: all of 64 bases, or of 20 to 64 as without repeats."""
    generator = np.random.default_rng(3)
    sizes = np.full(130, LENGTH) if kind == "equal" else generator.integers(20, LENGTH + 1, 190)
    starts = np.cumsum(sizes + 7) - sizes
    chrom_index = (np.arange(len(sizes)) % 2).astype(np.int32)
    return Windows(("a", "b"), chrom_index, starts, starts + sizes, 0, 0)


@pytest.fixture(scope="module", params=["equal", "unequal"])
def windows(request):
    return windows_of(request.param)


def sampler_of(windows, chosen, *, tokens=TOKENS, steps=STEPS, seed=0, **ranks):
    return LengthWarmupBatchSampler(
        WindowStream(windows, seed=seed, reverse_complement=True),
        chosen,
        tokens_per_step=tokens,
        total_steps=steps,
        final_length=LENGTH,
        **ranks,
    )


def rows_of(sampler, step):
    """The rows of a step as tuples of chromosome, start, end, strand."""
    return list(zip(*(column.tolist() for column in sampler.rows(step)), strict=True))


def bases(rows):
    """Count each base of each strand that some rows read."""
    return Counter((c, at, turned) for c, start, end, turned in rows for at in range(start, end))


@pytest.mark.parametrize("name", ALL)
def test_every_step_has_exactly_its_tokens_in_rows_within_windows(windows, name):
    sampler = sampler_of(windows, ALL[name])
    inside = {}
    for chrom, start, end in zip(windows.chrom_index, windows.starts, windows.ends, strict=True):
        inside |= dict.fromkeys(((chrom, at) for at in range(start, end)), (start, end))
    for step in range(STEPS):
        rows = rows_of(sampler, step)
        assert sum(end - start for _, start, end, _ in rows) == TOKENS
        for chrom, start, end, _ in rows:
            assert 1 <= end - start <= LENGTH
            assert inside[chrom, start] == inside[chrom, end - 1]


@pytest.mark.parametrize("name", ALL)
def test_any_step_can_be_asked_for_first(windows, name):
    whole = sampler_of(windows, ALL[name])
    expected = [rows_of(whole, step) for step in range(STEPS)]
    for step in (31, 7, STEPS - 1, 0):
        assert rows_of(sampler_of(windows, ALL[name]), step) == expected[step]
    other = sampler_of(windows, ALL[name], seed=1)
    assert [rows_of(other, step) for step in range(STEPS)] != expected


@pytest.mark.parametrize("name", WARMUPS | RANDOM | REORDERED)
def test_reshaping_reads_the_bases_of_the_fixed_run(windows, name):
    """Whatever the order, over the whole run each base is read as often as without warm-up."""
    fixed, sampler = sampler_of(windows, ALL["fixed"]), sampler_of(windows, ALL[name])
    expected, found = (
        sum((bases(rows_of(one, step)) for step in range(STEPS)), Counter())
        for one in (fixed, sampler)
    )
    assert found == expected
    if name not in REORDERED:
        for step in (0, 5, 22):
            assert bases(rows_of(sampler, step)) == bases(rows_of(fixed, step))


@pytest.mark.parametrize("kind", WARMUPS)
def test_shuffling_moves_the_very_rows_of_the_warmup(windows, kind):
    plain = sampler_of(windows, WARMUPS[kind])
    changes = {field: getattr(WARMUPS[kind], field) for field in ("kind", "start", "fraction")}
    changes |= {"multiple": WARMUPS[kind].multiple, "stages": WARMUPS[kind].stages}
    moved = sampler_of(windows, schedule(**changes, order="shuffled"))
    before, after = ([rows_of(one, s) for s in range(STEPS)] for one in (plain, moved))
    assert Counter(chain.from_iterable(before)) == Counter(chain.from_iterable(after))
    assert before != after


def test_shuffling_leaves_no_trend_in_the_length():
    sampler = sampler_of(windows_of("equal"), REORDERED["shuffled"], tokens=640, steps=200)
    mean = [np.mean([end - start for _, start, end, _ in rows_of(sampler, s)]) for s in range(200)]
    assert abs(np.corrcoef(mean, np.arange(200))[0, 1]) < 0.2  # 0.14 is 2 standard errors
    plain = sampler_of(windows_of("equal"), WARMUPS["doubling"], tokens=640, steps=200)
    mean = [np.mean([end - start for _, start, end, _ in rows_of(plain, s)]) for s in range(200)]
    assert np.corrcoef(mean, np.arange(200))[0, 1] > 0.8


@pytest.mark.parametrize(
    "chosen",
    [REORDERED["sorted"], schedule(order="sorted")],
    ids=["drawn lengths", "lengths of the windows"],
)
def test_sorting_lays_rows_out_by_length_and_cuts_them_at_step_ends_only(chosen):
    sampler = sampler_of(windows_of("unequal"), chosen)
    sizes = [[end - start for _, start, end, _ in rows_of(sampler, s)] for s in range(STEPS)]
    inner = [size for step in sizes for size in step[1:-1]]  # never cut
    assert all(a <= b for a, b in pairwise(inner))
    assert inner[0] < 24
    assert inner[-1] > 56
    for before, after in pairwise(sizes):
        # Two halves of a row, or two rows that end and begin where the steps do.
        whole = before[-1] + after[0]
        assert before[-2] <= whole <= after[1] or before[-2] <= before[-1] <= after[0] <= after[1]


def test_windows_of_unequal_length_are_sorted_whole():
    """The sequences themselves by length, as dnaGrinder has them."""
    windows = windows_of("unequal")
    steps = int(windows.lengths.sum()) // 100
    sampler = sampler_of(windows, schedule(order="sorted"), tokens=100, steps=steps)
    sizes = [end - start for s in range(steps) for _, start, end, _ in rows_of(sampler, s)]
    whole = Counter(windows.lengths.tolist())
    found = Counter(sizes)
    # All but those that a step's end has cut, or the end of the run.
    assert sum((whole - found).values()) <= steps


def test_grouped_steps_are_those_of_the_sorted_run_in_another_order(windows):
    chosen = {
        order: schedule(kind="mixed", start=8, draw="window", order=order)
        for order in ("sorted", "grouped")
    }
    first, second = (
        [tuple(rows_of(sampler_of(windows, one), step)) for step in range(STEPS)]
        for one in chosen.values()
    )
    assert Counter(first) == Counter(second)
    assert first != second


def test_grouping_pads_less_than_mixing():
    def padding(order):
        chosen = schedule(kind="mixed", start=8, draw="window", order=order)
        sampler = sampler_of(windows_of("equal"), chosen)
        slots = 0
        for step in range(STEPS):
            sizes = [end - start for _, start, end, _ in rows_of(sampler, step)]
            slots += len(sizes) * max(sizes)
        return 1 - STEPS * TOKENS / slots

    assert padding("grouped") < 0.25 < padding("scheduled")


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncation_keeps_the_heads_of_windows(windows, name):
    """Against a walk over the windows one at a time."""
    sampler = sampler_of(windows, TRUNCATED[name])
    stream = sampler.stream
    lengths = [sampler.plan.longest(step) for step in range(STEPS)]
    window, dropped = 0, 0
    for step, longest in enumerate(lengths):
        expected, left = [], TOKENS
        while left:
            whole = stream.whole_windows(window, 1)
            first, size = int(whole.first[0]), int(whole.size[0])
            kept = min(size, longest, left)
            expected.append((first, kept))
            dropped += size - kept
            left -= kept
            window += 1
        found = sampler.plan.stretches(step)
        assert list(zip(found.first.tolist(), found.size.tolist(), strict=True)) == expected
    assert sampler.dropped_tokens == dropped > 0
    assert len(set(lengths)) > 2


def test_truncation_reads_the_beginning_of_each_window_on_its_strand():
    windows = windows_of("equal")
    sampler = sampler_of(windows, TRUNCATED["truncated"])
    spans = {
        (c, s): e for c, s, e in zip(windows.chrom_index, windows.starts, windows.ends, strict=True)
    }
    ends = {(chrom, end): start for (chrom, start), end in spans.items()}
    for chrom, start, end, turned in rows_of(sampler, 0):
        assert end - start <= 8
        assert (chrom, end) in ends if turned else (chrom, start) in spans


def test_without_truncation_nothing_is_dropped(windows):
    assert sampler_of(windows, WARMUPS["linear"]).dropped_tokens == 0


@pytest.mark.parametrize("order", ["sorted", "grouped"])
def test_sorting_rows_of_one_length_is_refused(order):
    sampler = sampler_of(windows_of("equal"), schedule(order=order))
    with pytest.raises(ConfigError, match=rf"'{order}', but every row .* 64 bases.*kind: mixed"):
        sampler.rows(0)


@pytest.mark.parametrize("world_size", [2, 3, 7])
@pytest.mark.parametrize("name", ALL)
def test_ranks_share_the_rows_of_a_step(name, world_size):
    windows = windows_of("unequal")
    whole = sampler_of(windows, ALL[name])
    parts = [
        sampler_of(windows, ALL[name], rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step in (0, 3, 20, STEPS - 1):
        shares = [part[step] for part in parts]
        joined = [row for part in parts for row in rows_of(part, step)]
        assert joined == rows_of(whole, step)
        counts = [int((share.rows.ends - share.rows.starts).sum()) for share in shares]
        assert [share.first_token for share in shares] == [
            sum(counts[:rank]) for rank in range(world_size)
        ]
        assert max(abs(count - TOKENS / world_size) for count in counts) <= LENGTH


def test_ranks_without_rows_are_refused():
    with pytest.raises(
        ConfigError, match=r"500, less than one window of 64 .* each of 8 proc.*512"
    ):
        sampler_of(windows_of("equal"), ALL["fixed"], rank=0, world_size=8)
    with pytest.raises(ConfigError, match="rank is 2 of 2 processes; allowed: 0 to 1"):
        sampler_of(windows_of("equal"), ALL["fixed"], rank=2, world_size=2)


def test_what_is_left_after_a_stop_is_what_an_uninterrupted_run_would_read(windows):
    generator = np.random.default_rng(9)
    for name, chosen in ALL.items():
        stop = int(generator.integers(1, STEPS))
        whole, resumed = sampler_of(windows, chosen), sampler_of(windows, chosen)
        resumed.load_state_dict({"start_step": stop})
        left = [item for (item,) in resumed]
        assert [item.step for item in left] == list(range(stop, STEPS)), name
        for item in left:
            for found, expected in zip(item.rows, whole.rows(item.step), strict=True):
                assert found.tobytes() == expected.tobytes(), name


def test_places_in_the_stream_agree_with_one_another(windows):
    """Over three epochs, against windows counted one by one."""
    stream = WindowStream(windows, seed=2, reverse_complement=True)
    count = 2 * len(windows) + 5
    whole = stream.whole_windows(0, count)
    assert whole.first.tolist() == [0, *np.cumsum(whole.size).tolist()[:-1]]
    assert sorted(whole.size[: len(windows)]) == sorted(windows.lengths)
    last = whole.first + whole.size - 1
    everywhere = np.concatenate((last[::-1], whole.first))
    expected = [*range(count - 1, -1, -1), *range(count)]
    assert stream.window_of(everywhere).tolist() == expected
    part = stream.whole_windows(len(windows) - 2, 4)  # over the end of an epoch
    assert part.first.tolist() == whole.first[len(windows) - 2 : len(windows) + 2].tolist()


def test_a_window_cut_by_a_step_keeps_its_drawn_length(windows):
    """Its part in either step is cut into the fewest rows of at most the length drawn for it."""
    chosen = RANDOM["mixed by window"]
    sampler = sampler_of(windows, chosen, tokens=100)
    drawn = drawn_lengths(chosen, np.arange(500), LENGTH, seed=0)
    for step in range(STEPS):
        stretches = sampler.plan.stretches(step)
        places = sampler.stream.window_of(stretches.first)
        for window in np.unique(places):
            sizes = stretches.size[places == window]
            assert len(sizes) == -(-sizes.sum() // drawn[window])
            assert sizes.max() <= drawn[window]
