"""Which class each repeat is: RepeatMasker output and BED files with a class column.

A class is written as RepeatMasker writes it, ``LINE/L1`` (class and family); ``LINE`` means all of
its families. A question mark behind a doubtful class is dropped.
"""

import hashlib
import itertools
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError, unknown_name
from lightning_dna.genome.intervals import Intervals, as_intervals, match_names, merge
from lightning_dna.genome.plaintext import text_lines

UNCLASSIFIED = "unclassified"

# Where classes overlap, the first counts for a base: interspersed repeats before simple ones, which
# lie within many of them; then the others by name.
_PRECEDENCE = ("LINE", "SINE", "LTR", "Retroposon", "DNA", "RC")
_LAST = ("Satellite", "Simple_repeat", "Low_complexity", "Unknown", UNCLASSIFIED)
_OUT_HEADER = re.compile(r"\s*(SW\s+perc|score\s+div)")
_REMAINDER = re.compile(r"\((\d+)\)")
_WITHOUT = -1  # divergence of a repeat of which none is stated

# sequence, start, end, class, length of the sequence, divergence in per cent
_Row = tuple[str, int, int, str, int | None, float | None]

DIVERGENCE_EDGES = (0, 5, 10, 20, 30)
"""Per cent of substitutions against the consensus at which a bin of repeats begins."""


def divergence_names() -> tuple[str, ...]:
    """Return the names of the bins of divergence, in per cent, the youngest repeats first.

    Example:
        >>> divergence_names()
        ('div_0_5', 'div_5_10', 'div_10_20', 'div_20_30', 'div_30_100')
    """
    return tuple(f"div_{low}_{high}" for low, high in itertools.pairwise((*DIVERGENCE_EDGES, 100)))


class RepeatAnnotation:
    """Repeats by class on the chromosomes of a genome; made by `RepeatAnnotation.read`.

    Attributes:
        names: Classes with their families, such as ``"LINE/L1"``, sorted.
        classes: Top-level classes, in the order of precedence: the code of a class in `codes` is
            its place here plus 1.
        skipped: Sequences of the file that the genome does not have, to their number of repeats.
    """

    def __init__(
        self,
        repeats: Mapping[str, Mapping[str, Intervals]],
        lengths: Mapping[str, int],
        *,
        skipped: Mapping[str, int] | None = None,
        by_divergence: Mapping[str, Sequence[Intervals]] | None = None,
    ) -> None:
        self.lengths = dict(lengths)
        self.skipped = dict(skipped or {})
        self._by_divergence = {
            chrom: [merge(rows) for rows in bins] for chrom, bins in (by_divergence or {}).items()
        }
        self._repeats = {
            chrom: {name: merge(rows) for name, rows in found.items()}
            for chrom, found in repeats.items()
        }
        self._by_class: dict[tuple[str, str], Intervals] = {}
        self.names = tuple(sorted({name for found in self._repeats.values() for name in found}))
        self.classes = tuple(sorted({_top(name) for name in self.names}, key=_rank))

    @classmethod
    def read(cls, path: str | Path, lengths: Mapping[str, int]) -> "RepeatAnnotation":
        """Read a RepeatMasker ``.out`` file, or a BED file whose fourth column is the class.

        Names are matched as those of annotations are. A RepeatMasker file says how long each
        sequence is, and that must be the length of the chromosome.

        Args:
            path: The file, plain, gzip or bgzip.
            lengths: Length of each chromosome of the genome, in bases.

        Raises:
            DataError: If the file is missing, cut off or in another format, a line is wrong (the
                message has its number), no name matches a chromosome, or the file belongs to
                another genome.
        """
        found = _read(Path(path).expanduser(), lengths)
        return cls(found.repeats, lengths, skipped=found.skipped, by_divergence=found.by_divergence)

    @property
    def has_divergence(self) -> bool:
        """Whether the file says how far repeats are from their consensus."""
        return any(len(rows) for bins in self._by_divergence.values() for rows in bins)

    def chosen(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the full names that classes mean; ``LINE`` means ``LINE/L1``, ``LINE/L2``, ...

        Raises:
            ConfigError: If a class is not in the file.
        """
        for name in classes:
            if name not in self.names and name not in self.classes:
                raise unknown_name("repeat class", name, {*self.names, *self.classes})
        return tuple(n for n in self.names if n in classes or _top(n) in classes)

    def intervals(self, chrom: str, classes: Sequence[str] = ()) -> Intervals:
        """Return the stretches of some classes on a chromosome, as a set; of all without any.

        Raises:
            ConfigError: If the genome has no such chromosome, or the file no such class.
        """
        if chrom not in self.lengths:
            raise unknown_name("chromosome", chrom, self.lengths)
        wanted = self.chosen(classes) if classes else self.names
        found = self._repeats.get(chrom, {})
        rows = [found[name] for name in wanted if name in found]
        return merge(np.concatenate(rows)) if rows else as_intervals([])

    def codes(self, chrom: str, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the class of each base of a stretch, uint8 of shape ``(end - start,)``.

        0 is no repeat; ``k`` is ``classes[k - 1]``. Where classes overlap, the first one counts:
        LINE, SINE, LTR, Retroposon, DNA and RC, then others by name, then satellites, simple
        repeats, low complexity and unknown ones.

        Raises:
            ConfigError: If the genome has no such chromosome.
        """
        codes = np.zeros(end - start, dtype=np.uint8)
        for code in range(len(self.classes), 0, -1):
            key = (chrom, self.classes[code - 1])
            if key not in self._by_class:
                self._by_class[key] = self.intervals(chrom, key[1:])
            _paint(codes, self._by_class[key], start, end, code)
        return codes

    def divergence_codes(self, chrom: str, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the bin of divergence of each base of a stretch, shape ``(end - start,)``.

        0 is no repeat, or one of which no divergence is stated; ``k`` is
        ``divergence_names()[k - 1]``. Where repeats overlap, the least diverged one counts.

        Raises:
            ConfigError: If the genome has no such chromosome.
        """
        if chrom not in self.lengths:
            raise unknown_name("chromosome", chrom, self.lengths)
        codes = np.zeros(end - start, dtype=np.uint8)
        bins = self._by_divergence.get(chrom, [])
        for code in range(len(bins), 0, -1):
            _paint(codes, bins[code - 1], start, end, code)
        return codes

    def divergence_digest(self) -> str:
        """Hash where repeats of each bin of divergence lie."""
        digest = hashlib.sha256()
        for chrom in self.lengths:
            digest.update(f"\0{chrom}\0".encode())
            for rows in self._by_divergence.get(chrom, []):
                digest.update(f"\0{len(rows)}\0".encode() + rows.astype("<i8").tobytes())
        return digest.hexdigest()[:24]

    def digest(self, classes: Sequence[str] = ()) -> str:
        """Hash the stretches of some classes: what a policy that treats only these depends on."""
        digest = hashlib.sha256()
        for chrom in self.lengths:
            digest.update(f"\0{chrom}\0".encode())
            digest.update(self.intervals(chrom, classes).astype("<i8").tobytes())
        return digest.hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class _Found:
    """What a file holds: chromosome to class to rows, and to the rows of each bin of divergence."""

    repeats: dict[str, dict[str, Intervals]]
    skipped: dict[str, int]
    by_divergence: dict[str, list[Intervals]]


def _paint(
    codes: npt.NDArray[np.uint8], stretches: Intervals, start: int, end: int, code: int
) -> None:
    """Give the bases of a window that lie in some stretches a code."""
    low = int(np.searchsorted(stretches[:, 1], start, side="right"))
    high = int(np.searchsorted(stretches[:, 0], end, side="left"))
    for first, last in (np.clip(stretches[low:high], start, end) - start).tolist():
        codes[first:last] = code


def _top(name: str) -> str:
    """Return the class without its family."""
    return name.partition("/")[0]


def _rank(name: str) -> tuple[int, str]:
    """Sort classes by precedence, then by name."""
    if name in _PRECEDENCE:
        return _PRECEDENCE.index(name) - len(_PRECEDENCE), ""
    return (1 + _LAST.index(name), "") if name in _LAST else (0, name)


def _read(path: Path, lengths: Mapping[str, int]) -> _Found:
    """Read rows, match names, check lengths and ends."""
    parse: Callable[[list[str]], _Row] | None = None
    columns: dict[str, dict[str, array[int]]] = {}
    width = 0
    stated: dict[str, tuple[int, int]] = {}  # the length that the file states, and in which line
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip() or line.startswith(("#", "track ", "browser ")):
            continue
        if _OUT_HEADER.match(line):
            parse = _out_row
            continue
        try:
            parse = parse or (_out_row if _looks_like_out(line.split()) else _bed_row)
            fields = line.split("\t") if parse is _bed_row and "\t" in line else line.split()
            if parse is _bed_row and len(fields) < min(width, 4):
                raise ValueError(f"{len(fields)} columns; the lines before it have {width}")
            width = len(fields)
            chrom, start, end, name, length, divergence = parse(fields)
        except (ValueError, IndexError) as error:
            cut = "" if line.endswith("\n") else " It is the last line: the file seems cut off."
            raise DataError(
                f"{path}, line {number}: {line.strip()[:80]!r} is neither RepeatMasker output nor "
                f"BED with a class in the fourth column ({error}).{cut}"
            ) from None
        if length is not None and stated.setdefault(chrom, (length, number))[0] != length:
            raise DataError(
                f"{path}, line {number}: '{chrom}' has {length} bases here and "
                f"{stated[chrom][0]} in line {stated[chrom][1]}; the file is damaged."
            )
        if end > start:
            rows = columns.setdefault(chrom, {}).setdefault(name, array("q"))
            rows.extend((start, end, number, _divergence_bin(divergence)))
    if not columns:
        raise DataError(f"{path} holds no repeat; expected RepeatMasker output or BED lines.")
    matches = match_names(columns, lengths, where=str(path), partly=True)
    for name, chrom in matches.items():
        _check_length(path, name, chrom, lengths[chrom], stated.get(name), columns[name])
    repeats = {
        chrom: {kind: _rows(numbers)[:, :2] for kind, numbers in columns[name].items()}
        for name, chrom in matches.items()
    }
    skipped = {
        name: sum(len(_rows(numbers)) for numbers in found.values())
        for name, found in columns.items()
        if name not in matches
    }
    by_divergence = {
        chrom: _bins(np.concatenate([_rows(numbers) for numbers in columns[name].values()]))
        for name, chrom in matches.items()
    }
    return _Found(repeats, skipped, by_divergence)


def _divergence_bin(divergence: float | None) -> int:
    """Return the bin of a divergence in per cent, from 0."""
    if divergence is None:
        return _WITHOUT
    return int(np.searchsorted(DIVERGENCE_EDGES, divergence, side="right")) - 1


def _bins(rows: npt.NDArray[np.int64]) -> list[Intervals]:
    """Return the stretches of each bin of divergence."""
    return [rows[rows[:, 3] == at, :2] for at in range(len(DIVERGENCE_EDGES))]


def is_repeatmasker(path: Path) -> bool:
    """Tell whether a file is RepeatMasker output, by its first line that is not blank.

    Raises:
        DataError: If the file cannot be read.
    """
    first = next((line for line in text_lines(path) if line.strip()), "")
    return bool(_OUT_HEADER.match(first)) or _looks_like_out(first.split())


def _rows(numbers: "array[int]") -> npt.NDArray[np.int64]:
    """Return start, end, line number and bin of divergence, shape ``(n, 4)``."""
    return np.frombuffer(numbers, dtype=np.int64).reshape(-1, 4)


def _looks_like_out(fields: list[str]) -> bool:
    """Tell RepeatMasker's columns from those of BED: numbers before the name, (left) behind."""
    return len(fields) >= 14 and bool(_REMAINDER.fullmatch(fields[7])) and fields[0].isdigit()


def _out_row(fields: list[str]) -> _Row:
    """Read one line of RepeatMasker output, whose ends are 1-based and included."""
    if len(fields) < 14:
        raise ValueError(f"{len(fields)} columns; RepeatMasker writes 15")
    left = _REMAINDER.fullmatch(fields[7])
    if left is None or fields[8] not in ("+", "C"):
        raise ValueError(f"{' '.join(fields[5:9])!r} where begin, end, (left) and strand belong")
    start, end = int(fields[5]) - 1, int(fields[6])
    if not 0 <= start < end:
        raise ValueError(f"begin {fields[5]} and end {fields[6]}")
    name = fields[10].replace("?", "") or UNCLASSIFIED
    divergence = float(fields[1])
    if not 0 <= divergence <= 100:
        raise ValueError(f"{fields[1]} per cent of substitutions in the second column")
    return fields[4], start, end, name, end + int(left.group(1)), divergence


def _bed_row(fields: list[str]) -> _Row:
    """Read one line of BED; without a fourth column a repeat has no class."""
    start, end = int(fields[1]), int(fields[2])
    if not 0 <= start <= end:
        raise ValueError(f"start {start} and end {end}")
    name = fields[3].strip().replace("?", "") if len(fields) > 3 else ""
    return fields[0], start, end, name or UNCLASSIFIED, None, None


def _check_length(
    path: Path,
    name: str,
    chrom: str,
    length: int,
    stated: tuple[int, int] | None,
    columns: Mapping[str, "array[int]"],
) -> None:
    """Refuse repeats of another genome: by the length that the file states, or by an end."""
    if stated is not None and stated[0] != length:
        raise DataError(
            f"{path}, line {stated[1]}: '{name}' has {stated[0]} bases there, and chromosome "
            f"'{chrom}' of the genome {length}; the file belongs to another assembly."
        )
    for numbers in columns.values():
        rows = _rows(numbers)
        outside = np.flatnonzero(rows[:, 1] > length)
        if len(outside):
            start, end, line = rows[outside[0], :3].tolist()
            raise DataError(
                f"{path}, line {line}: {name}:{start}-{end} ends beyond chromosome '{chrom}' of "
                f"{length} bases; the file belongs to another assembly."
            )
