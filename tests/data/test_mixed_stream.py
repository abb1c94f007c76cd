"""The stream of several sources: exact shares everywhere, every window once, any part by itself."""

from collections import Counter

import numpy as np
import pytest

from lightning_dna.data import mixed_stream
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.mixed_stream import MixedStream, Source
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.stream import Stretches, WindowStream
from lightning_dna.data.windows import Windows

# Windows by source: chromosome, first base, length. Lengths differ, as where repeats are removed.
SIZES = ((13, 40, 7, 64, 21, 3, 55), (30, 12, 64, 64, 9), (5, 17))


def windows_of(sizes, shift=0):
    sizes = np.array(sizes)
    ends = np.cumsum(sizes)
    return Windows(
        chroms=("x", "y"),
        chrom_index=(np.arange(len(sizes)) % 2 + shift).astype(np.int32),
        starts=ends - sizes,
        ends=ends,
        dropped_n=0,
        dropped_bases=0,
    )


def stream_of(shares, *, seed=0, turned=True, sizes=SIZES):
    parts = [
        Source(
            WindowStream(windows_of(one), seed=seed, reverse_complement=turned, draws=number + 1),
            share,
            2 * number,
        )
        for number, (one, share) in enumerate(zip(sizes, shares, strict=False))
    ]
    everything = [windows_of(one, 2 * number) for number, one in enumerate(sizes[: len(parts)])]
    joined = Windows(
        chroms=tuple("xyXYuv"[: 2 * len(parts)]),
        chrom_index=np.concatenate([one.chrom_index for one in everything]),
        starts=np.concatenate([one.starts for one in everything]),
        ends=np.concatenate([one.ends for one in everything]),
        dropped_n=0,
        dropped_bases=0,
    )
    return MixedStream(joined, parts, seed=seed)


@pytest.fixture(params=[(0.5, 0.3, 0.2), (0.97, 0.02, 0.01), (0.4, 0.6), (1.0,)])
def stream(request, monkeypatch):
    monkeypatch.setattr(mixed_stream, "_BLOCK", 1)  # so that a test crosses many blocks
    return stream_of(request.param)


TOTAL = 60_000


def sources_of(rows):
    return rows.chrom_index // 2


def test_every_source_has_its_share_at_every_point(stream):
    rows = stream.at(stream.pieces(0, TOTAL))
    sizes, source = rows.ends - rows.starts, sources_of(rows)
    read = np.cumsum(sizes)
    longest = sum(max(one) for one in SIZES[: len(stream.sources)])
    for number, part in enumerate(stream.sources):
        given = np.cumsum(np.where(source == number, sizes, 0))
        assert np.abs(given - part.share * read).max() <= longest


def test_the_count_by_source_is_that_of_the_rows(stream):
    for tokens in (1, 99, 5_000, 33_333, TOTAL):
        rows = stream.at(stream.pieces(0, tokens))
        weights = rows.ends - rows.starts
        counted = np.bincount(sources_of(rows), weights, minlength=len(stream.sources))
        assert stream.read_by_source(tokens) == counted.tolist()


def test_pieces_tile_the_stream_wherever_it_is_entered(stream):
    whole = stream.pieces(0, TOTAL)
    assert (whole.first == np.cumsum(whole.size) - whole.size).all()
    assert whole.size.sum() == TOTAL
    ends = whole.first + whole.size
    size = stream._size
    for first, count in ((0, 1), (size - 1, 2), (size, size), (777, 3 * size + 5), (41_003, 997)):
        part = stream.pieces(first, count)
        inside = (ends > first) & (whole.first < first + count)
        assert (part.first == np.maximum(whole.first[inside], first)).all()
        stop = np.minimum(ends[inside], first + count)
        assert (part.first + part.size == stop).all()


def test_windows_are_found_by_number(stream):
    pieces = stream.pieces(0, TOTAL)
    numbers = np.arange(len(pieces.first))
    assert (stream.window_of(pieces.first) == numbers).all()
    assert (stream.window_of(pieces.first + pieces.size - 1) == numbers).all()
    for first, count in ((0, 3), (1, 1), (250, 400), (len(numbers) - 8, 7)):
        found = stream.whole_windows(first, count)
        assert (found.first == pieces.first[first : first + count]).all()
        assert (found.size == pieces.size[first : first + count]).all()


def test_each_source_reads_its_windows_once_an_epoch(stream):
    rows = stream.at(stream.pieces(0, TOTAL))
    for number, sizes in enumerate(SIZES[: len(stream.sources)]):
        here = sources_of(rows) == number
        counts = Counter(rows.starts[here].tolist())
        assert set(counts) <= set(windows_of(sizes).starts.tolist()) | {int(rows.starts[-1])}
        whole = [counts[start] for start in windows_of(sizes).starts.tolist()]
        assert max(whole) - min(whole) <= 1


def test_parts_of_a_window_lie_within_it_on_either_strand(stream):
    pieces = stream.pieces(0, 4_000)
    whole = stream.at(pieces)
    cuts = Stretches(pieces.first + pieces.size // 3, pieces.size - pieces.size // 3)
    part = stream.at(cuts)
    assert (part.flipped == whole.flipped).all()
    assert whole.flipped.any()
    third = pieces.size // 3
    assert (part.starts == np.where(whole.flipped, whole.starts, whole.starts + third)).all()
    assert (part.ends == np.where(whole.flipped, whole.ends - third, whole.ends)).all()


def test_rows_do_not_depend_on_what_was_read_before(stream):
    shares = [part.share for part in stream.sources]
    there = stream.at(stream.pieces(50_000, 500))
    stream.pieces(0, 100)
    fresh = stream_of(shares)
    for one, other in zip(there, fresh.at(fresh.pieces(50_000, 500)), strict=True):
        assert (one == other).all()
    backwards = stream.pieces(50_000, 500).take(slice(None, None, -1))
    for one, other in zip(there, stream.at(backwards), strict=True):
        assert (one == other[::-1]).all()


def test_few_blocks_are_kept(monkeypatch):
    monkeypatch.setattr(mixed_stream, "_BLOCK", 1)
    monkeypatch.setattr(mixed_stream, "_MOST_KEPT", 1)
    stream = stream_of((0.5, 0.3, 0.2))
    stream.pieces(0, TOTAL)
    assert len(stream._kept) == 1


def test_another_seed_another_order_the_same_shares():
    first, second = stream_of((0.5, 0.5)), stream_of((0.5, 0.5), seed=1)
    assert first.read_by_source(10_000) == pytest.approx(second.read_by_source(10_000), abs=64)
    rows = [stream.at(stream.pieces(0, 1000)).starts.tolist() for stream in (first, second)]
    assert rows[0] != rows[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kind": "doubling", "start": 8, "fraction": 0.5},
        {"order": "shuffled", "kind": "linear", "start": 8, "fraction": 0.9, "multiple": 4},
        {"order": "sorted", "kind": "doubling", "start": 8, "fraction": 0.5},
        {"long_windows": "truncate", "kind": "doubling", "start": 8, "fraction": 0.5},
    ],
)
def test_every_schedule_reads_exactly_its_tokens_from_all_sources(settings):
    stream = stream_of((0.7, 0.3), sizes=((64,) * 9, (64,) * 4))
    sampler = LengthWarmupBatchSampler(
        stream,
        LengthScheduleConfig(**settings),
        tokens_per_step=300,
        total_steps=40,
        final_length=64,
    )
    steps = [sampler.rows(step) for step in range(40)]
    assert {int((rows.ends - rows.starts).sum()) for rows in steps} == {300}
    again = sampler.rows(17)
    assert (again.starts == steps[17].starts).all()
    read = np.zeros(2)
    for rows in steps:
        read += np.bincount(sources_of(rows), rows.ends - rows.starts, minlength=2)
    assert read.sum() == 12_000
    assert read[0] == pytest.approx(0.7 * 12_000, abs=300)
