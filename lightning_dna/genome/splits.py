"""Which chromosomes train, which validate, which test: whole chromosomes only, never shared."""

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lightning_dna.errors import ConfigError, unknown_name

_DEFAULT_FRACTION = 0.1


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How to split, written as settings; `ChromosomeSplit.resolve` applies it to a genome.

    One of three ways: by names (``train``, ``valid``, ``test``), by fraction of the bases
    (``valid_fraction``, ``test_fraction``), or as folds (``folds``, ``fold``). With none of them, a
    tenth of the bases validates and a tenth tests.

    Args:
        train: Training chromosomes; ``None`` for all that are named nowhere else.
        valid: Validation chromosomes.
        test: Test chromosomes.
        exclude: Chromosomes left out of every part; patterns such as ``"chrUn_*"`` are allowed.
        valid_fraction: Share of the bases to validate on, in [0, 1).
        test_fraction: Share of the bases to test on, in [0, 1).
        folds: Number of groups, at least 3, of about equal length.
        fold: Which group tests, from 0; the next one validates.
        seed: Orders the chromosomes for fractions and folds; no effect on names.

    Raises:
        ConfigError: If the ways are mixed, a value is out of range, or a chromosome stands twice.
    """

    train: tuple[str, ...] | None = None
    valid: tuple[str, ...] | None = None
    test: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    valid_fraction: float | None = None
    test_fraction: float | None = None
    folds: int | None = None
    fold: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        ways = {
            "train, valid, test": (self.train, self.valid, self.test),
            "valid_fraction, test_fraction": (self.valid_fraction, self.test_fraction),
            "folds, fold": (self.folds, self.fold),
        }
        used = [way for way, values in ways.items() if any(value is not None for value in values)]
        if len(used) > 1:
            raise ConfigError(
                f"split: {' and '.join(f'({way})' for way in used)} are given together; choose one "
                f"way to split: by names, by fraction, or by folds."
            )
        _refuse_repeats(
            {
                "train": self.train or (),
                "valid": self.valid or (),
                "test": self.test or (),
                "exclude": self.exclude,
            }
        )
        _check_fractions(*self.fractions)
        if (self.folds is None) != (self.fold is None):
            missing = "fold" if self.fold is None else "folds"
            raise ConfigError(f"split: '{missing}' is missing; folds and fold go together.")
        if self.folds is not None and self.fold is not None:
            _check_folds(self.folds, self.fold)

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares of the bases that validate and test; the default where none is given."""
        if self.valid_fraction is None and self.test_fraction is None:
            return _DEFAULT_FRACTION, _DEFAULT_FRACTION
        return self.valid_fraction or 0.0, self.test_fraction or 0.0

    @property
    def by_names(self) -> bool:
        """Whether the spec names chromosomes."""
        return any(names is not None for names in (self.train, self.valid, self.test))


@dataclass(frozen=True)
class ChromosomeSplit:
    """Disjoint chromosomes for training, validation and test.

    Args:
        train: Training chromosomes; at least one.
        valid: Validation chromosomes; may be empty.
        test: Test chromosomes; may be empty.

    Raises:
        ConfigError: If a chromosome stands twice, in one part or in two, or nothing trains.

    Example:
        >>> lengths = {"I": 5, "II": 5, "III": 5}
        >>> ChromosomeSplit.by_names(lengths, valid=("II",), test=("I",)).train
        ('III',)
    """

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        _refuse_repeats({"train": self.train, "valid": self.valid, "test": self.test})
        if not self.train:
            raise ConfigError("split: no chromosome is left for training.")

    def part(self, name: Literal["train", "valid", "test"]) -> tuple[str, ...]:
        """Return the chromosomes of one part by its name."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        if name not in parts:
            raise unknown_name("part of the split", name, parts)
        return parts[name]

    @classmethod
    def resolve(cls, spec: SplitSpec, lengths: Mapping[str, int]) -> "ChromosomeSplit":
        """Apply a spec to the chromosomes of a genome.

        Args:
            spec: How to split.
            lengths: Chromosome name to length in bases.

        Raises:
            ConfigError: If a name is not in the genome, or it has too few chromosomes.
        """
        excluded = expand(spec.exclude, lengths)
        if spec.by_names:
            return cls.by_names(
                lengths,
                train=spec.train,
                valid=spec.valid or (),
                test=spec.test or (),
                exclude=excluded,
            )
        rest = {name: length for name, length in lengths.items() if name not in excluded}
        if spec.folds is not None and spec.fold is not None:
            return cls.by_folds(rest, folds=spec.folds, fold=spec.fold, seed=spec.seed)
        valid_fraction, test_fraction = spec.fractions
        return cls.by_fraction(
            rest, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=spec.seed
        )

    @classmethod
    def by_names(
        cls,
        lengths: Mapping[str, int],
        *,
        train: tuple[str, ...] | None = None,
        valid: tuple[str, ...] = (),
        test: tuple[str, ...] = (),
        exclude: Iterable[str] = (),
    ) -> "ChromosomeSplit":
        """Split by chromosome names; ``train=None`` takes every chromosome named nowhere else."""
        parts = named_parts(lengths, train=train, valid=valid, test=test, exclude=tuple(exclude))
        return cls(*parts)

    @classmethod
    def by_fraction(
        cls,
        lengths: Mapping[str, int],
        *,
        valid_fraction: float = _DEFAULT_FRACTION,
        test_fraction: float = _DEFAULT_FRACTION,
        seed: int = 0,
    ) -> "ChromosomeSplit":
        """Give whole chromosomes, in seeded order, to test, then validation, the rest to train.

        A chromosome is taken if that brings the part's bases nearer to its share, and a part whose
        share is not 0 gets at least one. The order depends on names and seed alone.

        Args:
            lengths: Chromosome name to length in bases.
            valid_fraction: Share of the bases to validate on, in [0, 1).
            test_fraction: Share of the bases to test on, in [0, 1).
            seed: Any whole number.

        Raises:
            ConfigError: If a share is out of range, or there are fewer chromosomes than parts.
        """
        _check_fractions(valid_fraction, test_fraction)
        parts = 1 + (valid_fraction > 0) + (test_fraction > 0)
        _check_enough(lengths, parts, "the parts of this split")
        free = _shuffled(lengths, seed)
        total = sum(lengths.values())
        test = _take(free, lengths, test_fraction * total, leave=1 + (valid_fraction > 0))
        valid = _take(free, lengths, valid_fraction * total, leave=1)
        return cls._in_order(lengths, valid=valid, test=test)

    @classmethod
    def by_folds(
        cls, lengths: Mapping[str, int], *, folds: int, fold: int, seed: int = 0
    ) -> "ChromosomeSplit":
        """Group chromosomes into folds of about equal length: one tests, the next one validates.

        From the longest chromosome down, each goes to the fold that is shortest so far. The seed
        numbers the folds and decides between chromosomes of equal length. Over all values of
        ``fold``, each chromosome is tested exactly once.

        Args:
            lengths: Chromosome name to length in bases.
            folds: Number of folds, at least 3.
            fold: The one that tests, in [0, folds); ``fold + 1``, cyclically, validates.
            seed: Any whole number.

        Raises:
            ConfigError: If a number is out of range, or there are fewer chromosomes than folds.
        """
        _check_folds(folds, fold)
        _check_enough(lengths, folds, "the folds")
        order = sorted(_shuffled(lengths, seed), key=lambda name: -lengths[name])
        groups: list[list[str]] = [[] for _ in range(folds)]
        sizes = [0] * folds
        for name in order:
            shortest = sizes.index(min(sizes))
            groups[shortest].append(name)
            sizes[shortest] += lengths[name]
        groups.sort(key=lambda group: _rank(group[0], seed))
        return cls._in_order(lengths, valid=groups[(fold + 1) % folds], test=groups[fold])

    @classmethod
    def _in_order(
        cls, lengths: Mapping[str, int], *, valid: Iterable[str], test: Iterable[str]
    ) -> "ChromosomeSplit":
        """Build the split with every part in the order of the genome."""
        valid, test = {*valid}, {*test}
        return cls(
            train=tuple(name for name in lengths if name not in valid | test),
            valid=tuple(name for name in lengths if name in valid),
            test=tuple(name for name in lengths if name in test),
        )


def named_parts(
    lengths: Mapping[str, int],
    *,
    train: tuple[str, ...] | None,
    valid: tuple[str, ...],
    test: tuple[str, ...],
    exclude: tuple[str, ...],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the chromosomes for training, validation and test by their names; any may be none.

    Raises:
        ConfigError: If a name is not in the genome, or stands twice.
    """
    parts = {"train": train or (), "valid": valid, "test": test, "exclude": exclude}
    for part, names in parts.items():
        for name in names:
            if name not in lengths:
                raise unknown_name("chromosome", name, lengths, where=f"split, {part}")
    _refuse_repeats(parts)
    if train is None:
        taken = {*valid, *test, *exclude}
        train = tuple(name for name in lengths if name not in taken)
    return train, valid, test


def _refuse_repeats(parts: Mapping[str, Iterable[str]]) -> None:
    """Refuse a chromosome that stands in two parts, or twice in one."""
    home: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in home:
                place = f"twice in {part}" if home[name] == part else f"in {home[name]} and {part}"
                raise ConfigError(f"split: '{name}' stands {place}; a chromosome has one place.")
            home[name] = part


def _check_fractions(valid_fraction: float, test_fraction: float) -> None:
    """Refuse shares outside [0, 1), and shares that leave nothing to train on."""
    for field, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value < 1:
            raise ConfigError(f"split: {field} is {value}; expected a number in [0, 1).")
    if valid_fraction + test_fraction >= 1:
        raise ConfigError(
            f"split: valid_fraction {valid_fraction} and test_fraction {test_fraction} leave "
            f"nothing for training; their sum must be below 1."
        )


def _check_folds(folds: int, fold: int) -> None:
    """Refuse fold counts without room for three parts, and folds that do not exist."""
    if folds < 3:
        raise ConfigError(
            f"split: folds is {folds}; expected 3 or more: one tests, one validates, others train."
        )
    if not 0 <= fold < folds:
        raise ConfigError(f"split: fold is {fold}; expected 0 to {folds - 1}.")


def _check_enough(lengths: Mapping[str, int], needed: int, what: str) -> None:
    """Refuse a genome with fewer chromosomes than parts."""
    if len(lengths) < needed:
        raise ConfigError(
            f"split: the genome has {len(lengths)} chromosome(s) to share out, fewer than {what} "
            f"({needed}); whole chromosomes are never cut."
        )


def expand(patterns: Iterable[str], lengths: Mapping[str, int]) -> tuple[str, ...]:
    """List the chromosomes that names or patterns mean; each must mean at least one."""
    found: dict[str, None] = {}
    for pattern in patterns:
        hits = [pattern] if pattern in lengths else fnmatch.filter(lengths, pattern)
        if not hits:
            raise unknown_name("chromosome", pattern, lengths, where="split, exclude")
        found |= dict.fromkeys(hits)
    return tuple(found)


def _rank(name: str, seed: int) -> bytes:
    """Return a sort key that is as good as random, and the same on every machine and version."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _shuffled(lengths: Mapping[str, int], seed: int) -> list[str]:
    """Order chromosomes by seed."""
    return sorted(lengths, key=lambda name: _rank(name, seed))


def _take(free: list[str], lengths: Mapping[str, int], target: float, *, leave: int) -> list[str]:
    """Move chromosomes out of ``free`` while that brings their bases nearer to ``target``."""
    taken: list[str] = []
    if target == 0:
        return taken
    size = 0
    for name in list(free):
        nearer = abs(size + lengths[name] - target) < abs(size - target)
        if len(free) > leave and nearer:
            free.remove(name)
            taken.append(name)
            size += lengths[name]
    if not taken:  # every chromosome overshoots: take the one that overshoots least
        taken.append(min(free, key=lambda name: lengths[name]))
        free.remove(taken[0])
    return taken
