"""The passes of ``bpe_rounds``, compiled: the same merges in less time and memory.

Import this module only through ``bpe_rounds_driver``: it needs numba (extra ``fast``).
"""

import numpy as np
from numba import njit

from lightning_dna.tokenizers.bpe_rounds import BREAK

_compiled = njit(nogil=True, cache=True)
_BREAK = np.uint16(BREAK)
_ONE = np.uint64(1)
BUCKETS = 1 << 20
_SCATTER = 0x9E3779B97F4A7C15 >> 1
SIEVE = 1 << 16
_ROLL = 0x5851F42D4C957F2D


@_compiled
def _bucket(left, right, n_tokens):
    """Return the counter of a pair: one of its own as long as there are few tokens."""
    key = np.int64(left) * n_tokens + right
    if n_tokens * n_tokens <= BUCKETS:
        return key
    return ((key * _SCATTER) >> 20) & (BUCKETS - 1)


@_compiled
def count_buckets(tokens, before, n_tokens, buckets):
    """Add the pairs of tokens to their buckets: no pair is more frequent than its bucket."""
    for place in range(len(tokens)):
        token = tokens[place]
        if before != _BREAK and token != _BREAK:
            buckets[_bucket(before, token, n_tokens)] += 1
        before = token
    return before


@_compiled
def _place(keys, key):
    """Return where a key is in an open table, or where it would be; 0 is an empty place."""
    mask = len(keys) - 1
    place = ((key * _SCATTER) >> 20) & mask
    while keys[place] != 0 and keys[place] != key:
        place = (place + 1) & mask
    return place


@_compiled
def count_pairs(tokens, before, n_tokens, buckets, least, keys, counts, used):
    """Count exactly the pairs whose bucket holds ``least`` or more; used is -1 if full."""
    for place in range(len(tokens)):
        token = tokens[place]
        apart = before == _BREAK or token == _BREAK
        if not apart and buckets[_bucket(before, token, n_tokens)] >= least:
            key = np.int64(before) * n_tokens + token + 1
            at = _place(keys, key)
            if keys[at] == 0:
                if 2 * used >= len(keys):
                    return before, -1
                keys[at] = key
                used += 1
            counts[at] += 1
        before = token
    return before, used


@_compiled
def _sieved(left, right):
    """Return the bit of a pair in the sieve of candidates."""
    return (np.uint32(left) * np.uint32(40503) + np.uint32(right) * np.uint32(30011)) & np.uint32(
        SIEVE - 1
    )


@_compiled
def _joins(tokens, place, n_tokens, sieve, keys):
    """Return the place of a token and the next among the candidates, -1 if they are none.

    The sieve answers nearly always.
    """
    left, right = tokens[place], tokens[place + 1]
    bit = _sieved(left, right)
    joins = np.int64(-1)
    if (sieve[bit >> np.uint32(6)] >> np.uint64(bit & np.uint32(63))) & np.uint64(1):
        place = _place(keys, np.int64(left) * n_tokens + right + 1)
        if keys[place] != 0:
            joins = place
    return joins


@_compiled
def enlist(pairs, n_tokens, sieve, keys):
    """Enter the candidates into the sieve and the table of keys; return their places there."""
    places = np.empty(len(pairs), np.int64)
    for number in range(len(pairs)):
        left, right = pairs[number]
        bit = _sieved(np.uint16(left), np.uint16(right))
        sieve[bit >> np.uint32(6)] |= _ONE << np.uint64(bit & np.uint32(63))
        key = left * n_tokens + right + 1
        places[number] = _place(keys, key)
        keys[places[number]] = key
    return places


@_compiled
def settled(tokens, n_tokens, sieve, keys):
    """Return how many leading tokens lie before a segment that may go on."""
    place = len(tokens) - 1
    while place > 0 and _joins(tokens, place - 1, n_tokens, sieve, keys) >= 0:
        place -= 1
    return max(place, 0)


@_compiled
def _find(tokens, start, end, pool, starts, table):
    """Return the place of a segment in the table of segments."""
    mixed = np.int64(end - start)
    for place in range(start, end):
        mixed = (mixed ^ np.int64(tokens[place])) * _ROLL
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    mask = len(table) - 1
    at = (mixed ^ (mixed >> 17)) & mask
    while table[at] >= 0:
        segment = table[at]
        first = starts[segment]
        if starts[segment + 1] - first == end - start:
            same = True
            for place in range(end - start):
                if pool[first + place] != tokens[start + place]:
                    same = False
                    break
            if same:
                break
        at = (at + 1) & mask
    return at


@_compiled
def collect(tokens, start, n_tokens, sieve, keys, twos, pool, starts, counts, table, used):
    """Count the segments of two or more tokens, from a place on, until the tables are full.

    Those of two, which are most, are candidates: ``twos`` counts them at their places.

    The tables do not grow in here: arrays that may change cost more than all the rest.
    """
    last = len(tokens) - 1
    while start < last:
        first = _joins(tokens, start, n_tokens, sieve, keys)
        if first < 0:
            start += 1
            continue
        end = start + 2
        while end <= last and _joins(tokens, end - 1, n_tokens, sieve, keys) >= 0:
            end += 1
        if end - start == 2:
            twos[first] += 1
        else:
            at = _find(tokens, start, end, pool, starts, table)
            if table[at] >= 0:
                counts[table[at]] += 1
            else:
                top = starts[used]
                if top + end - start > len(pool) or used + 2 > len(starts):
                    break
                pool[top : top + end - start] = tokens[start:end]
                counts[used] = 1
                table[at] = used
                used += 1
                starts[used] = top + end - start
        start = end
    return start, used


@_compiled
def enter(pool, starts, table, used):
    """Enter all segments into a new table."""
    for segment in range(used):
        first, last = starts[segment], starts[segment + 1]
        table[_find(pool, first, last, pool, starts, table)] = segment


@_compiled
def _count_within(pool, starts, ends, times, pairs):
    """Add the pairs of the segments; return per segment a bit for each of its tokens, modulo 64."""
    holds = np.zeros(len(ends), np.uint64)
    for segment in range(len(ends)):
        for place in range(starts[segment], ends[segment]):
            holds[segment] |= _ONE << np.uint64(pool[place] & 63)
            if place + 1 < ends[segment]:
                pairs[pool[place], pool[place + 1]] += times[segment]
    return holds


@_compiled
def merge(pool, starts, ends, times, pairs, active, n_active, n_old, most, last, least, made):
    """Merge within segments, in local numbers; return the number of merges.

    Args:
        pool: The tokens of the segments, rewritten.
        starts: First places of the segments.
        ends: Ends of the segments, rewritten.
        times: How often each segment stands in the corpus.
        pairs: (tokens, tokens) counts of pairs that stand alone; written.
        active: (places, 2) pairs that may merge, the candidates first.
        n_active: Number of candidates.
        n_old: Tokens before the first merge.
        most: Most merges.
        last: Count, left and right token of the last candidate.
        least: Least count of a pair that merges.
        made: (most, 3) left, right and count of each merge, written.
    """
    holds = _count_within(pool, starts, ends, times, pairs)
    done = 0
    while done < most and n_old + done < len(pairs):
        best, a, b, kept = np.int64(0), 0, 0, 0
        for place in range(n_active):
            left, right = active[place, 0], active[place, 1]
            count = pairs[left, right]
            if count < last[0]:
                continue
            active[kept, 0], active[kept, 1] = left, right
            kept += 1
            if count > best or (count == best and (left < a or (left == a and right < b))):
                best, a, b = count, left, right
        n_active = kept
        late = best == last[0] and (a > last[1] or (a == last[1] and b > last[2]))
        if best < max(least, 1) or late:
            break
        new = n_old + done
        both = (_ONE << np.uint64(a & 63)) | (_ONE << np.uint64(b & 63))
        for segment in range(len(ends)):
            if holds[segment] & both != both:
                continue
            holds[segment] |= _ONE << np.uint64(new & 63)
            first, end = starts[segment], ends[segment]
            into = place = first
            while place < end:
                token = pool[place]
                if token == a and place + 1 < end and pool[place + 1] == b:
                    if into > first:
                        pairs[pool[into - 1], a] -= times[segment]
                        pairs[pool[into - 1], new] += times[segment]
                    if place + 2 < end:
                        pairs[b, pool[place + 2]] -= times[segment]
                        pairs[new, pool[place + 2]] += times[segment]
                    token = new
                    place += 1
                pool[into] = token
                into += 1
                place += 1
            ends[segment] = into
        pairs[a, b] = 0
        made[done] = a, b, best
        done += 1
        while n_active + 2 * new + 1 > len(active):
            active = np.concatenate((active, np.empty_like(active)))
        for token in range(new + 1):
            if pairs[token, new] >= last[0]:
                active[n_active] = token, new
                n_active += 1
            if token < new and pairs[new, token] >= last[0]:
                active[n_active] = new, token
                n_active += 1
    return done


@_compiled
def rewrite(tokens, n_tokens, sieve, keys, became, pool, starts, table, result, ends):
    """Put what the segments became in their places; return the new number of tokens."""
    start, into, last = 0, 0, len(tokens) - 1
    while start <= last:
        first = np.int64(-1)
        if start < last:
            first = _joins(tokens, start, n_tokens, sieve, keys)
        if first < 0:
            tokens[into] = tokens[start]
            into += 1
            start += 1
            continue
        end = start + 2
        while end <= last and _joins(tokens, end - 1, n_tokens, sieve, keys) >= 0:
            end += 1
        if end - start == 2 and became[first] >= 0:
            tokens[into] = became[first]
            into += 1
        elif end - start > 2:
            segment = table[_find(tokens, start, end, pool, starts, table)]
            for place in range(starts[segment], ends[segment]):
                tokens[into] = result[place]
                into += 1
        else:
            for place in range(start, end):
                tokens[into] = tokens[place]
                into += 1
        start = end
    return into
