"""Which rows each step of a run holds: stretches of the stream, as the length schedule wants them.

Every plan answers for any step without having been asked for the ones before, and gives it exactly
its tokens. Plans that reorder the run make a table of it when first asked, of some 40 bytes for
each row (or window); it follows from the seed and is no state.
"""

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.length_schedule import (
    LengthScheduleConfig,
    drawn_lengths,
    length_at,
    nothing_to_sort,
)
from lightning_dna.data.stream import Stretches, TokenStream, cut

_ROW_STREAM = 0x726F7773  # "rows": keeps these draws apart from any other use of the same seed


class Plan(Protocol):
    """What the steps of a run read."""

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step, as stretches of the stream."""


class Scheduled:
    """Rows in the order of the stream: step ``s`` reads its tokens ``[s * T, (s + 1) * T)``.

    Args:
        stream: The windows in training order.
        schedule: How long the rows are.
        tokens_per_step: Real tokens of each step, ``T``.
        total_steps: Steps of the whole training.
        final_length: Row length after the warm-up.
    """

    def __init__(
        self,
        stream: TokenStream,
        schedule: LengthScheduleConfig,
        *,
        tokens_per_step: int,
        total_steps: int,
        final_length: int,
    ) -> None:
        self.stream = stream
        self.schedule = schedule
        self.tokens_per_step = tokens_per_step
        self.total_steps = total_steps
        self.final_length = final_length

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step."""
        pieces = self.stream.pieces(step * self.tokens_per_step, self.tokens_per_step)
        if self.schedule.draw == "window":
            return cut(pieces, self._drawn(pieces))
        return cut(pieces, self.longest(step))

    def longest(self, step: int) -> int:
        """Return the longest row that a step may hold."""
        return length_at(
            self.schedule, step, self.total_steps, self.final_length, seed=self.stream.seed
        )

    def _drawn(self, pieces: Stretches) -> NDArray[np.int64]:
        """Return the row length that was drawn for the window of each piece."""
        windows = self.stream.window_of(pieces.first)
        return drawn_lengths(self.schedule, windows, self.final_length, seed=self.stream.seed)

    def _run(self, *, by_step: bool) -> tuple[Stretches, NDArray[np.int64]]:
        """Return the pieces of the whole run, cut where steps end or not, and their row lengths."""
        total = self.total_steps * self.tokens_per_step
        pieces = self.stream.pieces(0, total)
        if by_step:
            step_starts = np.arange(self.total_steps, dtype=np.int64) * self.tokens_per_step
            first = np.union1d(pieces.first, step_starts)
            pieces = Stretches(first, np.diff(first, append=total))
        if self.schedule.draw == "window":
            return pieces, self._drawn(pieces)
        if self.schedule.kind == "fixed":
            return pieces, np.full_like(pieces.first, self.final_length)
        longest = np.array([self.longest(step) for step in range(self.total_steps)])
        return pieces, longest[pieces.first // self.tokens_per_step]

    def _generator(self) -> np.random.Generator:
        """Return the generator of the order of rows."""
        counter = [0, 0, _ROW_STREAM, 0]
        return np.random.Generator(np.random.Philox(key=self.stream.seed, counter=counter))


class Truncated(Scheduled):
    """One row from each window, cut off at the length of the step; the rest is dropped.

    A step begins with a window of its own and takes as many as give it its tokens, the last of them
    cut off where the tokens end.
    """

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step."""
        return self._heads(int(self._first_window[step]), self.longest(step))

    @property
    def dropped_tokens(self) -> int:
        """Bases of the windows of the whole run that no row holds."""
        last = self._heads(int(self._first_window[-1]), self.longest(self.total_steps - 1))
        beyond = int(self._first_window[-1]) + len(last.first)
        read = int(self.stream.whole_windows(beyond, 1).first[0])
        return read - self.total_steps * self.tokens_per_step

    def _heads(self, window: int, longest: int) -> Stretches:
        """Return the first bases of the windows from ``window`` on, of one step in all."""
        wanted = self.tokens_per_step
        count = -(-wanted // longest)
        while True:
            windows = self.stream.whole_windows(window, count)
            size = np.minimum(windows.size, longest)
            ends = np.cumsum(size)
            if ends[-1] >= wanted:
                break
            count += -(-(wanted - int(ends[-1])) // longest)  # some windows were shorter
        count = int(np.searchsorted(ends, wanted)) + 1
        size[count - 1] -= ends[count - 1] - wanted
        return Stretches(windows.first[:count], size[:count])

    @cached_property
    def _first_window(self) -> NDArray[np.int64]:
        """The first window of each step, over epochs; steps before it have read the others."""
        shortest = int(self.stream.windows.lengths.min())
        firsts = np.empty(self.total_steps, dtype=np.int64)
        window = 0
        for step in range(self.total_steps):
            firsts[step] = window
            longest = self.longest(step)
            if longest <= shortest:
                window += -(-self.tokens_per_step // longest)
            else:
                window += len(self._heads(window, longest).first)
        return firsts


class Shuffled(Scheduled):
    """The very rows of the scheduled run in random order.

    The part of a window that a step reads changes places with others of equal size, drawn from the
    whole run, and keeps the row length of the step it comes from. So every step still has exactly
    its tokens, and no row is cut anew.
    """

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step."""
        pieces, longest, bounds = self._table
        here = slice(bounds[step], bounds[step + 1])
        return cut(pieces.take(here), longest[here])

    @cached_property
    def _table(self) -> tuple[Stretches, NDArray[np.int64], NDArray[np.int64]]:
        """Pieces in their new order, their row lengths, and where each step begins among them."""
        pieces, longest = self._run(by_step=True)
        steps = np.arange(self.total_steps + 1) * self.tokens_per_step
        bounds = np.searchsorted(pieces.first, steps)
        random = self._generator().random(len(pieces.size))
        moved = np.empty(len(random), dtype=np.int64)
        moved[np.argsort(pieces.size, kind="stable")] = np.lexsort((random, pieces.size))
        return pieces.take(moved), longest[moved], bounds


class Sorted(Scheduled):
    """The rows of the run by ascending length, laid end to end; equal ones as in the stream.

    A row in which a step ends is cut there.
    """

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step."""
        rows, ends = self._table
        low = step * self.tokens_per_step
        high = low + self.tokens_per_step
        a = int(np.searchsorted(ends, low, side="right"))
        b = int(np.searchsorted(ends, high, side="left")) + 1
        last = ends[a:b]
        first = last - rows.size[a:b]
        begin, end = np.maximum(first, low), np.minimum(last, high)
        return Stretches(rows.first[a:b] + begin - first, end - begin)

    @cached_property
    def _table(self) -> tuple[Stretches, NDArray[np.int64]]:
        """Rows in ascending order of length, and where each ends among them."""
        by_step = self.schedule.kind != "fixed" and self.schedule.draw == "step"
        rows = cut(*self._run(by_step=by_step))
        sizes = np.unique(rows.size[:-1])  # the last may be cut off by the end of the run
        if len(sizes) == 1:
            raise nothing_to_sort(self.schedule.order, int(sizes[0]))
        rows = rows.take(np.argsort(rows.size, kind="stable"))
        return rows, np.cumsum(rows.size)


class Grouped(Sorted):
    """The steps of the sorted run in random order: rows of like length together, no curriculum."""

    def stretches(self, step: int) -> Stretches:
        """Return the rows of one step."""
        return super().stretches(int(self._steps[step]))

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """Which step of the sorted run each step is."""
        return self._generator().permutation(self.total_steps)


PLANS: dict[str, type[Scheduled]] = {
    "scheduled": Scheduled,
    "shuffled": Shuffled,
    "sorted": Sorted,
    "grouped": Grouped,
}


def plan_type(schedule: LengthScheduleConfig) -> type[Scheduled]:
    """Return the plan that a schedule asks for."""
    return Truncated if schedule.long_windows == "truncate" else PLANS[schedule.order]
