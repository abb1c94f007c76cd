"""Symbols into byte-pair tokens: exact, in time linear in their number.

Merging pair by pair in the order of their ranks gives the one row of tokens in which every two
neighbours stay apart (no merge crosses their border while they are made). So the encoders look for
that row directly: the longest token that stays apart from the one before it, else the next shorter
one, else a step back; a place where nothing fits is never tried again. The idea is that of the
crate ``bpe`` of github.com/github/rust-gems; tables and program are our own.
"""

import heapq
from functools import cached_property
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lightning_dna.tokenizers.backend import Backend, compiled_kernels
from lightning_dna.tokenizers.bpe_tables import (
    MOST_BORDERS,
    NEVER,
    Bits,
    Ints,
    Merges,
    Tables,
    border_rows,
    build_tables,
    pairs_by_left,
)

Symbols = npt.NDArray[np.uint16]
Starts = npt.NDArray[np.int64]


class Encoder(Protocol):
    """Turns symbols into tokens.

    Symbols below ``n_symbols`` merge. The others are tokens of their own, ``n_tokens`` for the
    first of them, and part the text into runs.

    Attributes:
        longest: Symbols of the longest token; 0 if borders are only known at the end of a run.
    """

    longest: int

    def encode(self, symbols: Symbols, fused: int = -1) -> tuple[Ints, Starts]:
        """Return the tokens of symbols and the first symbol of each.

        Args:
            symbols: Shape ``(n,)``.
            fused: A symbol of which a row is one token, -1 for none.
        """
        ...

    def stays(self, left: int, right: int) -> bool:
        """Tell whether two neighbouring tokens stay apart."""
        ...


def make_encoder(merges: Merges, backend: Backend = "auto") -> Encoder:
    """Return the fastest encoder for these merges."""
    if not merges.in_order:
        return MergingEncoder(merges)
    kernels = compiled_kernels(backend)
    tables = build_tables(merges)
    return PlainEncoder(tables) if kernels is None else CompiledEncoder(tables, kernels)


class CompiledEncoder:
    """The encoder with its loops in ``bpe_compiled``."""

    def __init__(self, tables: Tables, kernels: ModuleType) -> None:
        self.longest = tables.longest
        self._tables = tables
        self._kernels = kernels

    def encode(self, symbols: Symbols, fused: int = -1) -> tuple[Ints, Starts]:
        """Return the tokens of symbols and the first symbol of each."""
        out = np.empty(len(symbols), dtype=np.int32)
        starts = np.empty(len(symbols), dtype=np.int64)
        count = self._kernels.encode(symbols, self._arguments, fused, out, starts)
        return out[:count], starts[:count]

    def stays(self, left: int, right: int) -> bool:
        """Tell whether two neighbouring tokens stay apart."""
        t = self._tables
        found = self._kernels.stays(
            np.int32(left), np.int32(right), t.n_symbols, t.tokens, t.pair_keys, t.pair_tokens
        )
        return bool(found)

    @cached_property
    def _arguments(self) -> tuple[object, ...]:
        t = self._tables
        return (
            t.n_symbols,
            t.window,
            t.tokens,
            t.children,
            t.ends,
            t.windows,
            t.pair_keys,
            t.pair_tokens,
            self._borders(),
        )

    def _borders(self) -> Bits:
        """Return the table of borders, empty where it would be too large."""
        tables = self._tables
        n = tables.merges.n_tokens
        if n > MOST_BORDERS:
            return np.zeros((0, 1), dtype=np.uint64)
        right = np.unique(tables.tokens[:, 1])
        slot = np.full(n, -1, dtype=np.int32)
        slot[right] = np.arange(len(right))
        pairs = pairs_by_left(tables.merges)
        bits: Bits = self._kernels.borders(
            tables.n_symbols, tables.tokens, *pairs, slot, len(right)
        )
        return bits


class PlainEncoder:
    """The encoder without numba: tokens as parts of a string, borders as rows of bytes."""

    def __init__(self, tables: Tables) -> None:
        self.longest = tables.longest
        self._tables = tables
        self._rank = tables.merges.rank
        self._parts: list[list[int]] = tables.tokens.tolist()
        texts = ["".join(map(chr, text)) for text in tables.merges.texts]
        occurring = {int(token) for token in tables.ends if token >= 0}
        self._tokens = {text: i for i, text in enumerate(texts) if i in occurring}
        self._lengths = sorted({len(text) for text in self._tokens}, reverse=True)
        self._first: dict[str, tuple[int, bool]] = {}

    def encode(self, symbols: Symbols, fused: int = -1) -> tuple[Ints, Starts]:
        """Return the tokens of symbols and the first symbol of each."""
        n_symbols = self._tables.n_symbols
        alone = len(self._parts) - n_symbols
        out: list[int] = []
        starts: list[int] = []
        breaks = np.flatnonzero(symbols >= n_symbols).tolist()
        text = symbols.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        at = 0
        for end in [*breaks, len(text)]:
            if end > at:
                self._run(text[at:end], at, out, starts)
            at = end + 1
            if end == len(text):
                break
            symbol = ord(text[end])
            if symbol != fused or end == 0 or ord(text[end - 1]) != fused:
                out.append(alone + symbol)
                starts.append(end)
        return np.array(out, dtype=np.int32), np.array(starts, dtype=np.int64)

    def stays(self, left: int, right: int) -> bool:
        """Tell whether two neighbouring tokens stay apart."""
        limit = NEVER
        while True:
            if self._rank.get((left, right), (NEVER, NEVER))[1] < limit:
                return False
            if max(left, right) < self._tables.n_symbols:
                return True
            if left > right:
                limit, left = left, self._parts[left][1]
            else:
                limit, right = right + 1, self._parts[right][0]

    @cached_property
    def _borders(self) -> list[bytes] | None:
        if len(self._parts) > MOST_BORDERS:
            return None
        return [row.tobytes() for row in border_rows(self._tables)]

    def _longest(self, text: str, at: int) -> int:
        """Return the longest token at a place."""
        window = self._tables.window
        head = text[at : at + window]
        found = self._first.get(head)
        if found is None:
            token = next(
                self._tokens[head[:size]]
                for size in range(len(head), 0, -1)
                if head[:size] in self._tokens
            )
            longer = len(head) == window and any(
                len(text) > window and text.startswith(head) for text in self._tokens
            )
            found = self._first[head] = (token, longer)
        if found[1]:
            for length in self._lengths:
                if length <= window:
                    break
                part = text[at : at + length]
                if part in self._tokens:
                    return self._tokens[part]
        return found[0]

    def _run(self, text: str, offset: int, out: list[int], starts: list[int]) -> None:
        """Encode one run and add its tokens."""
        parts, borders = self._parts, self._borders
        dead: set[int] = set()
        bottom, at = len(out), 0
        token = -1
        fresh = True
        while at < len(text) or not fresh:
            if fresh:
                token = self._longest(text, at)
            while token >= 0:
                if at + parts[token][3] not in dead and (
                    len(out) == bottom
                    or (
                        borders[out[-1]][token]
                        if borders is not None
                        else self.stays(out[-1], token)
                    )
                ):
                    break
                token = parts[token][2]
            fresh = token >= 0
            if fresh:
                out.append(token)
                starts.append(at + offset)
                at += parts[token][3]
            else:
                dead.add(at)
                at = starts.pop() - offset
                token = parts[out.pop()][2]


class MergingEncoder:
    """The definition itself, with a queue: for merges that are in no order a trainer leaves."""

    def __init__(self, merges: Merges) -> None:
        self.longest = 0
        self._merges = merges

    def encode(self, symbols: Symbols, fused: int = -1) -> tuple[Ints, Starts]:
        """Return the tokens of symbols and the first symbol of each."""
        n_symbols, alone = self._merges.n_symbols, self._merges.n_tokens - self._merges.n_symbols
        tokens = [int(s) if s < n_symbols else int(s) + alone for s in symbols]
        after = list(range(1, len(tokens) + 1))
        before = list(range(-1, len(tokens) - 1))
        gone = [
            at > 0 and symbol == fused and symbols[at - 1] == fused
            for at, symbol in enumerate(symbols)
        ]
        rank = self._merges.rank
        queue: list[tuple[int, int, int, int, int]] = []

        def wait(at: int, following: int) -> None:
            pair = (tokens[at], tokens[following])
            if pair in rank:
                order, made = rank[pair]
                heapq.heappush(queue, (order, at, made, *pair))

        for at in range(len(tokens) - 1):
            wait(at, at + 1)
        while queue:
            _, at, made, left, right = heapq.heappop(queue)
            following = after[at]
            if (
                gone[at]
                or following == len(tokens)
                or (tokens[at], tokens[following])
                != (
                    left,
                    right,
                )
            ):
                continue
            tokens[at], gone[following] = made, True
            after[at] = after[following]
            if after[at] < len(tokens):
                before[after[at]] = at
                wait(at, after[at])
            if before[at] >= 0:
                wait(before[at], at)
        kept = [at for at in range(len(tokens)) if not gone[at]]
        return np.array([tokens[at] for at in kept], dtype=np.int32), np.array(kept, dtype=np.int64)

    def stays(self, left: int, right: int) -> bool:
        """Unknown before the end of a run."""
        return False
