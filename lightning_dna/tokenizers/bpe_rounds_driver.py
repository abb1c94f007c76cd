"""The passes of ``bpe_rounds`` with their loops compiled; see ``bpe_rounds.make_rounds``."""

import numpy as np
import numpy.typing as npt

from lightning_dna.tokenizers import bpe_rounds_compiled as kernels
from lightning_dna.tokenizers.bpe_rounds import (
    BREAK,
    Blocks,
    Candidate,
    Learned,
    Tokens,
    chosen,
    joined_blocks,
)

Counts = npt.NDArray[np.int64]

_RANKED = 2048
_SHARE = 0.6


class CompiledRounds:
    """The passes with their loops compiled."""

    def candidates(self, blocks: Blocks, n_tokens: int, least: int) -> list[Candidate]:
        """Return the most frequent pairs, best first; see ``bpe_rounds.Rounds``."""
        buckets = np.zeros(min(kernels.BUCKETS, n_tokens * n_tokens), dtype=np.int64)
        before = BREAK
        for tokens in blocks():
            before = kernels.count_buckets(tokens, before, n_tokens, buckets)
        total = int(buckets.sum())
        ranked = np.sort(buckets[buckets >= least])[::-1]
        known = 0
        while known < len(ranked):
            # Buckets may hold several pairs; so go down until one pair is known to be frequent.
            covered = np.cumsum(ranked[known : known + _RANKED])
            known += max(1, int(np.searchsorted(covered, total * _SHARE)))
            floor = int(ranked[min(known, len(ranked)) - 1])
            found = self._counted(blocks, n_tokens, buckets, floor)
            if found:
                return chosen(found, total)
        return []

    def learn(
        self, blocks: Blocks, found: list[Candidate], n_tokens: int, most: int, least: int
    ) -> Learned:
        """Return at most ``most`` merges down to the last candidate."""
        size = 1 << (4 * len(found)).bit_length()
        keys, twos = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        sieve = np.zeros(kernels.SIEVE // 64, dtype=np.uint64)
        ends_of = np.array([(candidate.left, candidate.right) for candidate in found])
        places = kernels.enlist(ends_of, n_tokens, sieve, keys)
        pool, counts = np.empty(1 << 12, dtype=np.uint16), np.zeros(1 << 10, dtype=np.int64)
        starts, table = np.zeros(1 << 10, dtype=np.int64), np.full(1 << 12, -1, dtype=np.int32)
        used = 0
        for tokens in joined_blocks(
            blocks(), lambda held: kernels.settled(held, n_tokens, sieve, keys)
        ):
            start = 0
            while True:
                start, used = kernels.collect(
                    tokens, start, n_tokens, sieve, keys, twos, pool, starts, counts, table, used
                )
                if start >= len(tokens) - 1:
                    break
                pool = np.concatenate((pool, np.empty(len(pool), dtype=np.uint16)))
                starts, counts = np.append(starts, starts * 0), np.append(counts, counts * 0)
                table = np.full(4 * len(starts), -1, dtype=np.int32)
                kernels.enter(pool, starts, table, used)
        result, ends, made = self._merged(
            pool[: starts[used]], starts[:used], starts[1 : used + 1].copy(), counts[:used], found,
            twos[places], n_tokens, most, least,
        )  # fmt: skip
        new = {(int(a), int(b)): n_tokens + at for at, (a, b, _) in enumerate(made)}
        became = np.full(size, -1, dtype=np.int32)
        became[places] = [new.get((c.left, c.right), -1) for c in found]

        def rewrite(tokens: Tokens) -> Tokens:
            end = kernels.rewrite(
                tokens, n_tokens, sieve, keys, became, pool, starts, table, result, ends
            )
            return tokens[:end]

        pairs = [(int(left), int(right)) for left, right, _ in made]
        return Learned(pairs, [int(count) for _, _, count in made], rewrite)

    def _counted(
        self, blocks: Blocks, n_tokens: int, buckets: Counts, floor: int
    ) -> list[Candidate]:
        """Return the pairs that stand ``floor`` times or more, best first."""
        size = 1 << 12
        while True:
            keys, counts = np.zeros(size, np.int64), np.zeros(size, np.int64)
            before, used = BREAK, 0
            for tokens in blocks():
                before, used = kernels.count_pairs(
                    tokens, before, n_tokens, buckets, floor, keys, counts, used
                )
                if used < 0:
                    break
            if used >= 0:
                break
            size *= 4
        kept = np.flatnonzero(counts >= floor)
        order = np.lexsort((keys[kept], -counts[kept]))
        return [
            Candidate(int(counts[at]), *divmod(int(keys[at]) - 1, n_tokens)) for at in kept[order]
        ]

    def _merged(
        self,
        pool: Tokens,
        starts: Counts,
        ends: Counts,
        counts: Counts,
        found: list[Candidate],
        twos: Counts,
        n_tokens: int,
        most: int,
        least: int,
    ) -> tuple[Tokens, Counts, Counts]:
        """Merge within segments; return their new tokens, their ends and the merges."""
        edges = [token for candidate in found for token in (candidate.left, candidate.right)]
        alive = np.unique(np.append(pool, np.array(edges, dtype=np.uint16)))
        local = np.zeros(1 << 16, dtype=np.int32)
        local[alive] = np.arange(len(alive))
        most = min(most, len(found))
        result = local[pool]
        pairs = np.zeros((len(alive) + most, len(alive) + most), dtype=np.int64)
        active = np.array([(local[c.left], local[c.right]) for c in found], dtype=np.int32)
        pairs[active[:, 0], active[:, 1]] = twos
        last = found[-1]
        limit = np.array([last.times, local[last.left], local[last.right]], dtype=np.int64)
        made = np.zeros((most, 3), dtype=np.int64)
        done = kernels.merge(
            result, starts, ends, counts, pairs, active, len(found), len(alive), most, limit, least,
            made,
        )  # fmt: skip
        names = np.concatenate((alive.astype(np.int64), n_tokens + np.arange(done)))
        made = made[:done]
        made[:, :2] = names[made[:, :2]]
        return names[result].astype(np.uint16), ends, made
