"""Where canaries stand: copies of them in the place of as many bases of the training windows.

Windows, their order, rows, masks and the number of bases are those of the same training without
canaries; only what is read at the places of the copies differs. Each window holds one copy at most,
at a random offset, and is read once in an epoch, so a canary that is planted ``r`` times is read
``r`` times in each epoch of its windows: whole, unless the length schedule cuts its window there,
and turned to the other strand where its window is. The genome itself stays as it is, and so does
whatever else is read from it: evaluation, strata, vocabularies and baselines. What a copy stands in
the place of is not read by this training; ``share`` says how much that is of all training windows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.canaries import CanarySet
from lightning_dna.data.stream import Rows
from lightning_dna.data.windows import Windows
from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import Codes, reverse_complement

_PLACES = 0x706C6163  # "plac": keeps these draws apart from any other use of the same seed


class Planting:
    """Copies of canaries and their places in the training windows.

    Args:
        canaries: The canaries.
        windows: The windows of the training, by the coordinates that rows have.
        hosts: The first so many of them may hold copies: those of one genome or haplotype, whose
            windows all come equally often.

    Attributes:
        canaries: The same.
        copies: Number of copies.
        bases: Bases of all copies.
        share: Share of the bases of all windows that they take.

    Raises:
        ConfigError: If the windows are fewer than the copies, or the copies more than the share of
            the bases that the settings allow.
    """

    def __init__(self, canaries: CanarySet, windows: Windows, hosts: int) -> None:
        config = canaries.config
        self.canaries = canaries
        self.copies = config.copies
        self.bases = config.copies * config.length
        total = int(windows.lengths.sum())
        self.share = self.bases / total
        room = np.flatnonzero(windows.lengths[:hosts] >= config.length)
        if len(room) < self.copies:
            raise ConfigError(
                f"data.canaries: {self.copies:,} copies need as many training windows of"
                f" {config.length} bases or more, and there are {len(room):,}; lower"
                " data.canaries.per_count or data.canaries.repetitions, or shorten data.length."
            )
        if self.share > config.max_share:
            raise ConfigError(
                f"data.canaries: {self.copies:,} copies of {config.length} bases are"
                f" {self.share:.2%} of the {total:,} bases of the training windows, above"
                f" data.canaries.max_share, {config.max_share:.2%}; lower data.canaries.per_count,"
                " data.canaries.repetitions or data.canaries.length, or raise the share."
            )
        generator = np.random.Generator(
            np.random.Philox(key=config.seed, counter=[0, 0, 0, _PLACES])
        )
        shuffled = generator.permutation(room)
        window = shuffled[: self.copies]
        spare = windows.lengths[window] - config.length
        starts = windows.starts[window] + generator.integers(0, spare + 1)
        chrom = windows.chrom_index[window].astype(np.int64)
        order = np.lexsort((starts, chrom))
        self._chrom, self._starts = chrom[order], starts[order]
        repetitions = np.array([one.repetitions for one in canaries.canaries], dtype=np.int64)
        owner = np.repeat(np.arange(len(repetitions)), repetitions)
        self._owner = owner[order]
        # Each canary has the window of its first copy; the control gets those without a copy first.
        self._windows = windows
        control = np.flatnonzero(repetitions == 0)
        self._hosts = np.zeros(len(repetitions), dtype=np.int64)
        self._hosts[control] = np.resize(np.roll(shuffled, -self.copies), len(control))
        self._offsets = generator.integers(
            0, windows.lengths[self._hosts] - config.length, endpoint=True
        )
        planted, first = np.unique(owner, return_index=True)
        self._hosts[planted] = window[first]
        self._offsets[planted] = (starts - windows.starts[window])[first]
        self._codes = np.stack([one.codes for one in canaries.canaries])
        # One number for chromosome and position: what a row holds is then found by bisection.
        self._scale = int(windows.ends.max()) + 1
        self._keys = self._chrom * self._scale + self._starts

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return number of the canary, chromosome index and first base of each copy."""
        return self._owner.copy(), self._chrom.copy(), self._starts.copy()

    def hosts(self) -> tuple[Rows, NDArray[np.int64]]:
        """Return a window of each canary, forward, and the place of the canary within it."""
        windows, chosen = self._windows, self._hosts
        rows = Rows(
            chrom_index=windows.chrom_index[chosen],
            starts=windows.starts[chosen],
            ends=windows.ends[chosen],
            flipped=np.zeros(len(chosen), dtype=np.bool_),
        )
        return rows, self._offsets.copy()

    def apply(self, stored: Codes, rows: Rows) -> None:
        """Write the copies into the bytes of rows, in place, and never as repeats.

        Args:
            stored: The bytes of the rows one after the other.
            rows: The rows, in the coordinates of the windows.
        """
        length = self.canaries.config.length
        base = rows.chrom_index.astype(np.int64) * self._scale
        # Copies that end after the start of a row and start before its end.
        first = np.searchsorted(self._keys, base + rows.starts - length, side="right")
        first = np.maximum(first, np.searchsorted(self._keys, base))
        last = np.searchsorted(self._keys, base + rows.ends, side="left")
        offsets = np.cumsum(rows.ends - rows.starts) - (rows.ends - rows.starts)
        for row in np.flatnonzero(last > first).tolist():
            start, end = int(rows.starts[row]), int(rows.ends[row])
            here = stored[offsets[row] : offsets[row] + end - start]
            for copy in range(int(first[row]), int(last[row])):
                codes, place = self._codes[self._owner[copy]], int(self._starts[copy])
                low, high = max(start, place), min(end, place + length)
                part = codes[low - place : high - place]
                if rows.flipped[row]:
                    here[end - high : end - low] = reverse_complement(part)
                else:
                    here[low - start : high - start] = part

    def record(self) -> Mapping[str, Any]:
        """Return what the record of a training says."""
        return {
            "copies": self.copies,
            "bases": self.bases,
            "share": self.share,
            "digest": self.canaries.digest(),
        }
