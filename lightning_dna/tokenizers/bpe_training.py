"""Byte-pair vocabularies from DNA: exact in memory, exact from a stream, and three short cuts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import BASES, CODE_BITS, Codes, N
from lightning_dna.tokenizers.backend import Backend, compiled_kernels
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.bpe_encoder import make_encoder
from lightning_dna.tokenizers.bpe_rounds import BREAK, Blocks, Learned, Tokens, make_rounds
from lightning_dna.tokenizers.bpe_stream import BLOCK, Encoded, settled_tokens, stream
from lightning_dna.tokenizers.bpe_tables import Merges, Pair
from lightning_dna.tokenizers.bpe_vocabulary import SPECIAL

Corpus = Callable[[], Iterable[Codes]]
"""Gives the sequences anew each time it is called."""

Token = TypeVar("Token", np.uint8, np.uint16)
_MOST_IN_LISTS = 2**31  # bases; places and counts have four bytes
_SYMBOLS = len(BASES) - 1  # A, C, G, T; an N parts words


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a vocabulary has to be.

    Attributes:
        vocab_size: Tokens in all: special ones, four bases, merges.
        min_frequency: Least count of a pair that merges.
        special: Special tokens, which count towards ``vocab_size``.

    Raises:
        ConfigError: If the vocabulary is too small for the bases or too large for two bytes.
    """

    vocab_size: int = 4096
    min_frequency: int = 2
    special: tuple[str, ...] = SPECIAL

    def __post_init__(self) -> None:
        """Check the sizes."""
        least = len(self.special) + _SYMBOLS
        if not least <= self.vocab_size < BREAK:
            raise ConfigError(
                f"a vocabulary of {self.vocab_size} tokens; allowed: {least} (the special tokens"
                f" and the four bases) to {BREAK - 1}."
            )
        if self.min_frequency < 1:
            raise ConfigError(f"min_frequency = {self.min_frequency}; allowed: 1 or more.")

    @property
    def merges(self) -> int:
        """Merges that make the vocabulary full."""
        return self.vocab_size - len(self.special) - _SYMBOLS


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained vocabulary.

    Attributes:
        merges: The pairs that merge, in order.
        counts: How often each pair stood in what it was counted on.
        goal: What was asked for.
    """

    merges: tuple[tuple[str, str], ...]
    counts: tuple[int, ...]
    goal: Goal

    def tokenizer(self, backend: Backend = "auto") -> BPETokenizer:
        """Return the tokenizer, in the layout of DNABERT-2's file."""
        return BPETokenizer.from_merges(self.merges, special=self.goal.special, backend=backend)


def train_exact(sequences: Iterable[Codes], goal: Goal, *, backend: Backend = "auto") -> Trained:
    """Train in memory, some three bytes a base.

    The merges are those of ``tokenizers``: ``BpeTrainer`` with the same sizes and A, C, G, T as the
    initial alphabet, by ``train_from_iterator`` on the runs of A, C, G and T between Ns, in upper
    case, without a pre-tokenizer.

    Args:
        sequences: Base codes; the soft mask is dropped.
        goal: The vocabulary.
        backend: ``"numba"``, ``"python"``, or ``"auto"``.

    Raises:
        DataError: If no two bases stand side by side.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> trained = train_exact([encode("ACGACGACGT")], Goal(vocab_size=11))
        >>> trained.merges, trained.counts
        ((('A', 'C'), ('AC', 'G')), (3, 3))
    """
    held = list(sequences)
    bases = sum(map(len, held)) + len(held) + 1
    if compiled_kernels(backend) is None or bases >= _MOST_IN_LISTS:
        tokens = _tokens_of(held, np.uint16(BREAK))
        return _trained(_rounds(_Held(tokens), goal.merges, goal, backend), goal)
    from lightning_dna.tokenizers.bpe_exact import SMALL_BREAK, learn

    small = _tokens_of(held, np.uint8(SMALL_BREAK))
    learned = learn(small, _SYMBOLS, goal.merges, goal.min_frequency)
    _check_learned(learned, goal)
    return _trained(learned, goal)


def train_streamed(corpus: Corpus, goal: Goal, *, backend: Backend = "auto") -> Trained:
    """Train on a corpus of any size in bounded memory: the same merges as ``train_exact``.

    The corpus is read again for every pass and encoded with the merges so far; a vocabulary of
    4,096 takes some forty rounds of three passes.

    Args:
        corpus: Gives the sequences anew each time it is called.
        goal: The vocabulary.
        backend: As in ``train_exact``.

    Raises:
        DataError: If no two bases stand side by side.
    """
    return _trained(_rounds(_Streamed(corpus, backend), goal.merges, goal, backend), goal)


def train_iteratively(
    splits: Sequence[Corpus], goal: Goal, *, backend: Backend = "auto"
) -> Trained:
    """Grow the vocabulary split by split, with one split in memory: the dnaGrinder reading.

    Each split is encoded with the merges so far, and adds its equal share of merges from its own
    counts. The result depends on the order of the splits. The rule by which dnaGrinder keeps merges
    between splits is not published; this is its plainest reading.

    Args:
        splits: The corpus in parts.
        goal: The vocabulary.
        backend: As in ``train_exact``.

    Raises:
        DataError: If there are no splits, or no two bases stand side by side in one.
    """
    _check_splits(splits)
    learned: list[tuple[Pair, int]] = []
    for number, split in enumerate(splits, start=1):
        share = goal.merges * number // len(splits)
        before = [pair for pair, _ in learned]
        tokens = np.concatenate([*_Streamed(split, backend, before).blocks()])
        learned += _rounds(_Held(tokens), share - len(learned), goal, backend, len(learned))
    return _trained(learned, goal)


def train_by_vote(splits: Sequence[Corpus], goal: Goal, *, backend: Backend = "auto") -> Trained:
    """Train on each split alone and keep the tokens with the most votes.

    A token's votes are the counts of its pair when it was made, added up over the splits; it is
    made in the way with the most votes, and has no more votes than its parts, so that these are
    kept with it.

    Args:
        splits: The corpus in parts.
        goal: The vocabulary.
        backend: As in ``train_exact``.

    Raises:
        DataError: If there are no splits, or no two bases stand side by side in one.
    """
    _check_splits(splits)
    votes: defaultdict[str, defaultdict[tuple[str, str], int]] = defaultdict(
        lambda: defaultdict(int)
    )
    for split in splits:
        trained = train_exact(split(), goal, backend=backend)
        for pair, count in zip(trained.merges, trained.counts, strict=True):
            votes["".join(pair)][pair] += count
    total = dict.fromkeys(BASES[:_SYMBOLS], np.inf)
    way: dict[str, tuple[str, str]] = {}
    for token in sorted(votes, key=lambda token: (len(token), token)):
        way[token] = max(votes[token], key=lambda pair: (votes[token][pair], pair))
        total[token] = min(sum(votes[token].values()), *(total[part] for part in way[token]))
    ranked = sorted(way, key=lambda token: (-total[token], len(token), token))[: goal.merges]
    return Trained(
        merges=tuple(way[token] for token in ranked),
        counts=tuple(int(total[token]) for token in ranked),
        goal=goal,
    )


def train_on_sample(
    corpus: Corpus,
    goal: Goal,
    *,
    bases: int,
    seed: int,
    length: int = 4192,
    backend: Backend = "auto",
) -> Trained:
    """Train on windows drawn at random, as SentencePiece does from shuffled sentences.

    Args:
        corpus: Gives the sequences anew each time it is called.
        goal: The vocabulary.
        bases: Bases to draw; all of them if the corpus is smaller.
        seed: Of the draw.
        length: Bases of a window; SentencePiece's default limit for a sentence.
        backend: As in ``train_exact``.

    Raises:
        ConfigError: If fewer bases than one window are asked for.
        DataError: If no two bases stand side by side.
    """
    if length < 2 or bases < length:
        raise ConfigError(f"bases = {bases} in windows of {length}; allowed: one window or more.")
    lengths = [len(codes) for codes in corpus()]
    places = [(n, at) for n, size in enumerate(lengths) for at in range(0, size, length)]
    size = min(-(-bases // length), len(places))
    drawn = np.random.default_rng(seed).choice(len(places), size=size, replace=False)
    wanted: defaultdict[int, list[int]] = defaultdict(list)
    for number in np.sort(drawn).tolist():
        wanted[places[number][0]].append(places[number][1])
    windows = [
        codes[at : at + length] for n, codes in enumerate(corpus()) for at in wanted.get(n, ())
    ]
    return train_exact(windows, goal, backend=backend)


class _Source(Protocol):
    """A corpus as tokens."""

    def blocks(self) -> Iterable[Tokens]: ...

    def apply(self, learned: Learned) -> None: ...


class _Held:
    """Tokens in memory."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def blocks(self) -> Iterable[Tokens]:
        return [self._tokens]

    def apply(self, learned: Learned) -> None:
        self._tokens = learned.rewrite(self._tokens)


class _Streamed:
    """Tokens that are made anew from the bases each time."""

    def __init__(self, corpus: Corpus, backend: Backend, pairs: Sequence[Pair] = ()) -> None:
        self._corpus = corpus
        self._backend: Backend = backend
        self._pairs = list(pairs)
        self._prepare()

    def blocks(self) -> Iterator[Tokens]:
        end = np.full(1, BREAK, dtype=np.uint16)
        for codes in self._corpus():
            blocks = (codes[at : at + BLOCK] for at in range(0, len(codes), BLOCK))
            parts = stream(
                blocks, BLOCK, whole=lambda c: self._part(c)[0], part=self._part, least=1
            )
            for tokens, _ in parts:
                yield tokens.astype(np.uint16)
            yield end

    def apply(self, learned: Learned) -> None:
        self._pairs += learned.pairs
        self._prepare()

    def _prepare(self) -> None:
        self._n_tokens = _SYMBOLS + len(self._pairs)
        merges = Merges(
            n_symbols=_SYMBOLS,
            pairs=tuple(self._pairs),
            made=tuple(range(_SYMBOLS, self._n_tokens)),
            n_tokens=self._n_tokens,
        )
        self._encoder = make_encoder(merges, self._backend)

    def _part(self, codes: Codes) -> tuple[Encoded, int]:
        """Encode from a settled border on; also return how many tokens are settled."""
        symbols = (codes & np.uint8(CODE_BITS)).astype(np.uint16)
        tokens, starts = self._encoder.encode(symbols)
        settled = settled_tokens(self._encoder, _SYMBOLS, symbols, starts)
        offsets = np.stack((starts, np.append(starts[1:], len(symbols))), axis=1)
        return (np.where(tokens < self._n_tokens, tokens, BREAK), offsets), settled


def _rounds(
    source: _Source, most: int, goal: Goal, backend: Backend, n_before: int = 0
) -> list[tuple[Pair, int]]:
    """Learn at most ``most`` merges, and how often each pair stood."""
    rounds = make_rounds(backend)
    learned: list[tuple[Pair, int]] = []
    while len(learned) < most:
        n_tokens = _SYMBOLS + n_before + len(learned)
        blocks: Blocks = source.blocks
        found = rounds.candidates(blocks, n_tokens, goal.min_frequency)
        if not found:
            break
        more = rounds.learn(blocks, found, n_tokens, most - len(learned), goal.min_frequency)
        learned += zip(more.pairs, more.counts, strict=True)
        source.apply(more)
    if most and n_before == 0:
        _check_learned(learned, goal)
    return learned


def _check_learned(learned: Sequence[tuple[Pair, int]], goal: Goal) -> None:
    """Refuse a corpus in which nothing merges."""
    if goal.merges and not learned:
        raise DataError(
            f"no pair of bases stands {goal.min_frequency} times in the corpus; expected sequences"
            " of A, C, G and T, or a lower min_frequency."
        )


def _tokens_of(held: Sequence[Codes], end: Token) -> npt.NDArray[Token]:
    """Return the bases of all sequences, with one break before, between and behind runs."""
    tokens = np.empty(sum(map(len, held)) + len(held) + 1, dtype=end.dtype)
    tokens[0] = end
    count = 1
    for codes in held:
        for at in range(0, len(codes), BLOCK):
            bases = codes[at : at + BLOCK] & np.uint8(CODE_BITS)
            known = bases < N
            known[1:] |= known[:-1]  # the first N of a row, and none of the others
            known[:1] |= tokens[count - 1] != end
            bases = bases[known]
            tokens[count : count + len(bases)] = np.where(bases < N, bases, end)
            count += len(bases)
        if tokens[count - 1] != end:
            tokens[count] = end
            count += 1
    tokens.resize(count, refcheck=False)
    return tokens


def _check_splits(splits: Sequence[Corpus]) -> None:
    """Refuse to learn from nothing."""
    if not splits:
        raise DataError("no splits of the corpus to train on; expected one or more.")


def _trained(learned: Sequence[tuple[Pair, int]], goal: Goal) -> Trained:
    """Return the merges as text."""
    texts = list(BASES[:_SYMBOLS])
    for (left, right), _ in learned:
        texts.append(texts[left] + texts[right])
    return Trained(
        merges=tuple((texts[left], texts[right]) for (left, right), _ in learned),
        counts=tuple(count for _, count in learned),
        goal=goal,
    )
