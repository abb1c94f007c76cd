"""Byte-pair training in memory, compiled: one merge after the other, each where it happens.

While there are few tokens, pairs are counted in a square table, and a merge is one pass over all
tokens. Later ones stand in few places: then every token has a list of its places, and a merge looks
at the shorter of two lists. A token keeps the places of its parts and is written at the first and
the last of them, so that both neighbours are found without links.

Import this module only through ``bpe_exact``: it needs numba (extra ``fast``).
"""

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True)
_SCATTER = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_GONE = np.uint16(0xFFFE)  # at the first place of a token that a merge took in
BREAK = 0xFFFF


@_compiled
def count_square(tokens, counts):
    """Count the pairs of neighbours in a square table; what stands beside a break does no harm."""
    for place in range(len(tokens) - 1):
        counts[tokens[place], tokens[place + 1]] += 1


@_compiled
def _replace(tokens, size, a, b, new, counts):
    """Merge one pair everywhere, keep the counts, and return the new number of tokens.

    The first and the last token are breaks.
    """
    into = place = 1
    while place < size - 1:
        token = tokens[place]
        if token == a and tokens[place + 1] == b:
            before, after = tokens[into - 1], tokens[place + 2]
            counts[before, a] -= 1
            counts[before, new] += 1
            counts[b, after] -= 1
            counts[new, after] += 1
            token = new
            place += 1
        tokens[into] = token
        into += 1
        place += 1
    tokens[into] = tokens[place]
    return into + 1


@_compiled
def merge_square(tokens, counts, n_tokens, most, least, made):
    """Merge the most frequent pair again and again; return the tokens left and the merges done."""
    size = len(tokens)
    for done in range(most):
        here = n_tokens + done
        best, a, b = np.int64(0), 0, 0
        for left in range(here):
            top = np.int64(0)
            for right in range(here):
                top = max(top, counts[left, right])
            if top > best:
                best, a = top, left
        if best < least:
            return size, done
        while counts[a, b] != best:
            b += 1
        size = _replace(tokens, size, a, b, np.uint8(here), counts)
        counts[a, b] = 0
        made[done] = a, b, best
    return size, most


@_compiled
def _slot(keys, key):
    """Return where a pair is in an open table, or where it would be; 0 is an empty place."""
    mask = np.uint64(len(keys) - 1)
    slot = (np.uint64(key) * _SCATTER >> np.uint64(32)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@_compiled
def _key(left, right):
    """Return a pair as a number above 0."""
    return np.uint32((np.uint32(left) << np.uint32(16) | np.uint32(right)) + np.uint32(1))


@_compiled
def _sink(heap, size, value):
    """Put a value in the place of the first of a heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@_compiled
def _rise(heap, size, value):
    """Add a value to a heap; return its new size."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if heap[parent] >= value:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = value
    return size + 1


@_compiled
def _ranked(times, key):
    """Return a number that is greater for what merges first: more frequent, then smaller ids."""
    return np.uint64(times) << np.uint64(32) | (_LOW - np.uint64(key))


@_compiled
def _gathered(keys, times, floor, below):
    """Return a heap of the pairs that stand from ``floor`` to just below ``below`` times."""
    count = 0
    for slot in range(len(keys)):
        if floor <= times[slot] < below:
            count += 1
    heap = np.empty(max(2 * count, 1024), np.uint64)
    size = 0
    for slot in range(len(keys)):
        if floor <= times[slot] < below:
            size = _rise(heap, size, _ranked(times[slot], keys[slot]))
    return heap, size


@_compiled
def _grown(keys, times, more, least):
    """Return a table with room for more pairs, without those that cannot merge any longer."""
    alive = 0
    for slot in range(len(keys)):
        if times[slot] >= least:
            alive += 1
    size = 1024
    while size < 2 * (alive + more):
        size *= 2
    new_keys, new_times = np.zeros(size, np.uint32), np.zeros(size, np.int32)
    for slot in range(len(keys)):
        if times[slot] >= least:
            into = _slot(new_keys, keys[slot])
            new_keys[into] = keys[slot]
            new_times[into] = times[slot]
    return new_keys, new_times, alive


@_compiled
def _listed(tokens, n_tokens, starts, ends):
    """Return the places of every token, token by token, and how many they are."""
    for place in range(len(tokens)):
        if tokens[place] < n_tokens:
            ends[tokens[place]] += 1
    top = 0
    for token in range(n_tokens):
        count = ends[token]
        starts[token] = ends[token] = top
        top += count
    places = np.empty(top + top // 4 + 1024, np.uint32)
    for place in range(len(tokens)):
        token = tokens[place]
        if token < n_tokens:
            places[ends[token]] = place
            ends[token] += 1
    return places, top


@_compiled
def _join(tokens, places, starts, ends, wide, a, b, new, top, previous_ids, afters, lefts, rights):
    """Merge one pair everywhere.

    Args:
        tokens: Tokens at the first and last of their places.
        places: The places of each token; those of the new one are written from ``top`` on.
        starts: Where the list of each token begins.
        ends: Where it ends.
        wide: How many places each token has.
        a: Left token.
        b: Right token.
        new: What they become.
        top: End of all lists.
        previous_ids: How often each token stood before the pair; zero when called.
        afters: How often it stood behind; zero when called.
        lefts: Tokens that stood before the pair, written.
        rights: Tokens that stood behind, written.

    Returns:
        The new end of all lists, the tokens in ``lefts`` and in ``rights``, and how often the new
        token follows itself.
    """
    n_left = n_right = doubled = 0
    by_left = a == b or ends[a] - starts[a] <= ends[b] - starts[b]
    token = a if by_left else b
    kept = starts[token]
    for entry in range(starts[token], ends[token]):
        place = np.int64(places[entry])
        if tokens[place] != token:
            continue
        first = place if by_left else place - wide[a]
        middle = first + wide[a]
        if tokens[middle if by_left else middle - 1] != (b if by_left else a):
            places[kept] = place
            kept += 1
            continue
        before, after = tokens[first - 1], tokens[middle + wide[b]]
        if before == new:
            doubled += 1
        elif before != BREAK:
            if previous_ids[before] == 0:
                lefts[n_left] = before
                n_left += 1
            previous_ids[before] += 1
        if after != BREAK:
            if afters[after] == 0:
                rights[n_right] = after
                n_right += 1
            afters[after] += 1
        tokens[middle] = _GONE
        tokens[first] = new
        tokens[middle + wide[b] - 1] = new
        places[top] = first
        top += 1
    ends[token] = kept
    return top, n_left, n_right, doubled


@_compiled
def _less(keys, times, key, count):
    """Take some times off a pair, if it is still of interest."""
    slot = _slot(keys, key)
    if keys[slot] != 0:
        times[slot] -= count


@_compiled
def _more(keys, times, key, count):
    """Enter a new pair; return how many places it took."""
    slot = _slot(keys, key)
    taken = np.int64(keys[slot] == 0)
    keys[slot] = key
    times[slot] = count
    return taken


@_compiled
def _recount(
    keys, times, heap, n_heap, floor, least, a, b, new, previous_ids, afters, lefts, rights, doubled
):
    """Change the counts around a merge; return the pairs entered and the size of the heap."""
    own, used = _key(a, b), np.int64(0)
    for side in range(2):
        around, tally = (lefts, previous_ids) if side == 0 else (rights, afters)
        for entry in range(len(around)):
            token = around[entry]
            count = tally[token]
            tally[token] = 0
            old = _key(token, a) if side == 0 else _key(b, token)
            made = _key(token, new) if side == 0 else _key(new, token)
            if old != own:
                _less(keys, times, old, count)
            if side == 1 and token == a:
                count -= doubled  # what followed was merged too
            if count >= least:
                used += _more(keys, times, made, count)
                if count >= floor:
                    n_heap = _rise(heap, n_heap, _ranked(count, made))
    if doubled >= least:
        made = _key(new, new)
        used += _more(keys, times, made, doubled)
        if doubled >= floor:
            n_heap = _rise(heap, n_heap, _ranked(doubled, made))
    times[_slot(keys, own)] = 0
    return used, n_heap


@_compiled
def _longer(array, used, more):
    """Return an array with room for more entries."""
    result = np.empty(used + more + used // 4 + 1024, array.dtype)
    result[:used] = array[:used]
    return result


@_compiled
def merge_lists(tokens, counts, n_tokens, most, least, made):
    """Merge the most frequent pair again and again; return the number of merges.

    Args:
        tokens: uint16, breaks first and last; rewritten.
        counts: Counts of the pairs in a square table.
        n_tokens: Tokens so far.
        most: Most merges.
        least: Least count of a pair that merges, 1 or more.
        made: (most, 3) left, right and count of each merge, written.
    """
    total = n_tokens + most
    starts, ends = np.zeros(total, np.int64), np.zeros(total, np.int64)
    wide = np.ones(total, np.int64)
    previous_ids, afters = np.zeros(total, np.int32), np.zeros(total, np.int32)
    lefts, rights = np.empty(total, np.uint16), np.empty(total, np.uint16)
    keys, times, used = np.zeros(4, np.uint32), np.zeros(4, np.int32), np.int64(0)
    keys, times, used = _grown(keys, times, n_tokens * n_tokens, least)
    below = np.int64(1)
    for left in range(n_tokens):
        for right in range(n_tokens):
            if counts[left, right] >= least:
                used += _more(keys, times, _key(left, right), counts[left, right])
                below = max(below, counts[left, right] + 1)
    places, top = _listed(tokens, n_tokens, starts, ends)
    floor, n_heap = below, 0
    heap = np.empty(1024, np.uint64)
    done = 0
    while done < most:
        if n_heap == 0:
            # Only the most frequent pairs are ranked, and the next ones when these are used up.
            if floor <= least:
                break
            below, floor = floor, max(least, floor * 3 // 4)
            heap, n_heap = _gathered(keys, times, floor, below)
            continue
        key = np.uint32(_LOW - (heap[0] & _LOW))
        count, now = np.int64(heap[0] >> np.uint64(32)), times[_slot(keys, key)]
        if now != count and now >= floor:
            _sink(heap, n_heap, _ranked(now, key))
            continue
        n_heap -= 1
        _sink(heap, n_heap, heap[n_heap])
        if now != count:
            continue
        a, b = np.int64((key - np.uint32(1)) >> np.uint32(16)), np.int64((key - 1) & 0xFFFF)
        new = n_tokens + done
        if top + count > len(places):
            places = _longer(places, top, count)
        starts[new] = top
        wide[new] = wide[a] + wide[b]
        top, n_left, n_right, doubled = _join(
            tokens, places, starts, ends, wide, a, b, new, top, previous_ids, afters, lefts, rights
        )
        ends[new] = top
        entered = n_left + n_right + 1
        if 3 * (used + entered) > 2 * len(keys):
            keys, times, used = _grown(keys, times, used // 2 + entered, least)
        if n_heap + entered > len(heap):
            heap = _longer(heap, n_heap, entered)
        taken, n_heap = _recount(
            keys, times, heap, n_heap, floor, least, a, b, new, previous_ids, afters,
            lefts[:n_left], rights[:n_right], doubled,
        )  # fmt: skip
        used += taken
        made[done] = a, b, count
        done += 1
    return done
