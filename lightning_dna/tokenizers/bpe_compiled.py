"""The inner loops of ``bpe_encoder``, compiled: the same tokens in less time.

Import this module only through ``backend``: it needs numba (extra ``fast``).
"""

import numpy as np
from numba import njit

_NEVER = np.int32(2**31 - 1)
_compiled = njit(nogil=True, cache=True)


@_compiled
def borders(n_symbols, tokens, first, other, made, slot, n_slots):
    """Equal ``bpe_tables.border_rows`` with 64 borders in a word, shape (n_tokens, words).

    Args:
        n_symbols: Number of symbols.
        tokens: As in ``Tables``.
        first: As ``pairs_by_left`` returns it, like ``other`` and ``made``.
        other: Right tokens of the pairs.
        made: Tokens that the pairs become.
        slot: Per token where its row is kept, -1 if no token has it as its right part.
        n_slots: Number of rows kept.
    """
    n = tokens.shape[0]
    kept = np.empty((n_slots, n), np.int32)
    merge = np.full(n, _NEVER, np.int32)
    row = np.empty(n, np.int32)
    bits = np.zeros((n, (n + 63) // 64), np.uint64)
    for a in range(n):
        for place in range(first[a], first[a + 1]):
            merge[other[place]] = made[place]
        if a < n_symbols:
            row[:a] = merge[:a]
        else:
            older = kept[slot[tokens[a, 1]]]
            for b in range(a):
                row[b] = older[b] if older[b] < a else merge[b]
        for b in range(a, n):
            near = row[tokens[b, 0]] if b >= n_symbols else _NEVER
            row[b] = near if near <= b else merge[b]
        for place in range(first[a], first[a + 1]):
            merge[other[place]] = _NEVER
        if slot[a] >= 0:
            kept[slot[a]] = row
        for word in range(bits.shape[1]):
            packed = np.uint64(0)
            for b in range(word * 64, min(n, word * 64 + 64)):
                packed |= np.uint64(row[b] == _NEVER) << np.uint64(b & 63)
            bits[a, word] = packed
    return bits


@_compiled
def stays(left, right, n_symbols, tokens, keys, made):
    """Tell whether two neighbours stay apart, from the merges instead of the table of borders.

    The token that was made last is taken apart, and the pair at the border looked up each time.
    """
    limit = _NEVER
    mask = len(keys) - 1
    while True:
        key = np.int64(left) * len(tokens) + right + 1
        place = (np.int64(left) * 0x9E3779B1 + np.int64(right) * 0x85EBCA6B) & mask
        while keys[place] != 0:
            if keys[place] == key:
                if made[place] < limit:
                    return False
                break
            place = (place + 1) & mask
        if left < n_symbols and right < n_symbols:
            return True
        if left > right:
            limit = np.int32(left)
            left = tokens[left, 1]
        else:
            limit = np.int32(right + 1)
            right = tokens[right, 0]


@_compiled
def _run(symbols, at, last, tables, dead, out, starts, count):
    """Encode the symbols of one run; return the new number of tokens.

    In one piece on purpose: as a function of its own, the look-up costs a fifth of the speed.
    """
    n_symbols, window, tokens, children, ends, windows, keys, made, bits = tables
    base = n_symbols + 1
    power = base ** (window - 1)
    bottom = count
    code, coded = 0, at - window
    token = np.int32(-1)
    fresh, listed = True, len(bits) > 0
    while at < last or not fresh:
        if fresh:
            if at < coded or at - coded >= window:
                code = 0
                for place in range(at, at + window):
                    code = code * base + (np.int64(symbols[place]) if place < last else n_symbols)
            else:
                for place in range(coded, at):
                    more = place + window
                    code = (code - np.int64(symbols[place]) * power) * base
                    code += np.int64(symbols[more]) if more < last else n_symbols
            coded = at
            token, node = windows[code, 0], windows[code, 1]
            if node > 0:
                for place in range(at + window, last):
                    node = children[node, symbols[place]]
                    if node == 0:
                        break
                    if ends[node] >= 0:
                        token = ends[node]
        while token >= 0:
            if not dead[at + tokens[token, 3]]:
                if count == bottom:
                    break
                before, word = out[count - 1], np.uint32(token) >> np.uint32(6)
                if listed:
                    if (bits[np.uint32(before), word] >> np.uint64(token & 63)) & np.uint64(1):
                        break
                elif stays(before, token, n_symbols, tokens, keys, made):
                    break
            token = tokens[token, 2]
        fresh = token >= 0
        if fresh:
            out[count] = token
            starts[count] = at
            count += 1
            at += tokens[token, 3]
        else:  # no token fits behind the last one: no encoding has a border here
            dead[at] = True
            count -= 1
            at = starts[count]
            token = tokens[out[count], 2]
    return count


@_compiled
def encode(symbols, tables, fused, out, starts):
    """Equal ``bpe_encoder.PlainEncoder.encode``.

    Args:
        symbols: (n,) uint16; from ``n_symbols`` on they are tokens of their own.
        tables: ``n_symbols``, ``window``, ``tokens``, ``children``, ``ends``, ``windows``,
            ``pair_keys``, ``pair_tokens`` and the borders (none: look the pairs up).
        fused: Symbol of which a row is one token, -1 for none.
        out: (n,) int32 tokens, written.
        starts: (n,) int64 first symbols of the tokens, written.

    Returns:
        The number of tokens.
    """
    n_symbols = tables[0]
    alone = len(tables[2]) - n_symbols
    dead = np.zeros(len(symbols) + 1, np.bool_)
    count, at = 0, 0
    while at < len(symbols):
        if symbols[at] >= n_symbols:
            if symbols[at] != fused or at == 0 or symbols[at - 1] != fused:
                out[count] = alone + symbols[at]
                starts[count] = at
                count += 1
            at += 1
            continue
        last = at + 1
        while last < len(symbols) and symbols[last] < n_symbols:
            last += 1
        count = _run(symbols, at, last, tables, dead, out, starts, count)
        at = last
    return count
