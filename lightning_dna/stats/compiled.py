"""The inner loops of ``weights`` and ``ranked``, compiled: the same digits in less time.

Import this module only through ``backend.load``: it needs numba (extra ``fast``). Every function
states the numpy function whose result it equals; whole numbers make the order of their sums free,
and the one sum of fractions (average precision) keeps the order of ``ranked``.
"""

import numpy as np
from numba import njit

_U = np.uint64
_ZERO, _ONE, _TWO, _ALL = _U(0), _U(1), _U(2), _U(0xFFFFFFFFFFFFFFFF)
_GAMMA, _MIX_1, _MIX_2 = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_30, _27, _31, _11, _32, _64 = _U(30), _U(27), _U(31), _U(11), _U(32), _U(64)
_LOW = _U(0xFFFFFFFF)
_BITS, _STEP = 12, _U(12)
_SLOTS = 64
_LEVELS = 40
SPREAD = np.array(
    [sum(((octet >> bit) & 1) << (8 * bit) for bit in range(8)) for octet in range(256)],
    dtype=np.uint64,
)
"""The bits of an octet, each in an octet of its own."""
_compiled = njit(nogil=True, cache=True)


@_compiled
def _hashed(key, position):
    word = key + (position + _ONE) * _GAMMA
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@_compiled
def _scaled(word, size):
    carried = ((word & _LOW) * size) >> _32
    return ((word >> _32) * size + carried) >> _32


@_compiled
def _reaches(words, masks, reached):
    """Compare with one threshold; a mask is all ones where the bit of the threshold is 0."""
    m0, m1, m2, m3, m4, m5 = masks[0], masks[1], masks[2], masks[3], masks[4], masks[5]
    m6, m7, m8, m9, m10, m11 = masks[6], masks[7], masks[8], masks[9], masks[10], masks[11]
    for slot in range(words.shape[1]):  # unrolled by hand, so that `x` stays in a register
        x = words[0, slot] | m0
        w = words[1, slot]
        x = (x & w) | ((x | w) & m1)
        w = words[2, slot]
        x = (x & w) | ((x | w) & m2)
        w = words[3, slot]
        x = (x & w) | ((x | w) & m3)
        w = words[4, slot]
        x = (x & w) | ((x | w) & m4)
        w = words[5, slot]
        x = (x & w) | ((x | w) & m5)
        w = words[6, slot]
        x = (x & w) | ((x | w) & m6)
        w = words[7, slot]
        x = (x & w) | ((x | w) & m7)
        w = words[8, slot]
        x = (x & w) | ((x | w) & m8)
        w = words[9, slot]
        x = (x & w) | ((x | w) & m9)
        w = words[10, slot]
        x = (x & w) | ((x | w) & m10)
        w = words[11, slot]
        x = (x & w) | ((x | w) & m11)
        reached[slot] = x


@_compiled
def _planes(key, starts, masks, words, level, planes):
    """Draw the counts of 64 units, by the bit: ones, twos, fours, and where to draw again."""
    for bit in range(_BITS):
        base = key + (_U(bit) + _ONE) * _GAMMA
        for slot in range(_SLOTS):
            word = base + starts[slot]
            word = (word ^ (word >> _30)) * _MIX_1
            word = (word ^ (word >> _27)) * _MIX_2
            words[bit, slot] = word ^ (word >> _31)
    for number in range(masks.shape[0]):
        _reaches(words, masks[number], level[number])
    for slot in range(_SLOTS):
        kept = ~level[0, slot]
        ones = level[1, slot] ^ level[2, slot] ^ level[3, slot] ^ level[4, slot]
        ones ^= level[5, slot] ^ level[6, slot] ^ level[7, slot]
        planes[0, slot] = ones & kept
        planes[1, slot] = ((level[2, slot] & ~level[4, slot]) | level[6, slot]) & kept
        planes[2, slot] = level[4, slot] & kept
        planes[3, slot] = level[0, slot]


@_compiled
def _remaining(key, unit, lane, remainder):
    """Draw a count from the remainder of the law."""
    word = _hashed(key, unit * _64 + _U(lane))
    uniform = float(word >> _11) * 2.0**-53
    count = 0
    while remainder[count] <= uniform:
        count += 1
    return count


@_compiled
def weigh(keys, masks, remainder, fill, weights, spread):
    """Equal ``weights._poisson_counts`` and, if ``fill``, ``weights._fill``.

    Args:
        keys: (4,) keys of the block.
        masks: (levels, 12) masks of the thresholds, that of the spare values first.
        remainder: Cumulative law of the rest.
        fill: Whether to bring every column to its total.
        weights: (units, 64) uint8, written.
        spread: ``SPREAD``.
    """
    n_units = weights.shape[0]
    octets = weights.view(np.uint64)
    words = np.empty((_BITS, _SLOTS), np.uint64)
    level = np.zeros((8, _SLOTS), np.uint64)
    planes = np.empty((4, _SLOTS), np.uint64)
    starts = np.empty(_SLOTS, np.uint64)
    for first in range(0, n_units, _SLOTS):
        for slot in range(_SLOTS):
            starts[slot] = _U(first + slot) * _STEP * _GAMMA
        _planes(keys[0], starts, masks, words, level, planes)
        for slot in range(min(_SLOTS, n_units - first)):
            a, b, c = planes[0, slot], planes[1, slot], planes[2, slot]
            for octet in range(8):
                at = _U(8 * octet)
                octets[first + slot, octet] = (
                    spread[(a >> at) & _U(255)]
                    + (spread[(b >> at) & _U(255)] << _ONE)
                    + (spread[(c >> at) & _U(255)] << _TWO)
                )
            if planes[3, slot] != _ZERO:
                for lane in range(64):
                    if (planes[3, slot] >> _U(lane)) & _ONE:
                        unit = _U(first + slot)
                        weights[first + slot, lane] = _remaining(keys[1], unit, lane, remainder)
    if fill:
        total = np.zeros(64, np.int64)
        for unit in range(n_units):
            for lane in range(64):
                total[lane] += weights[unit, lane]
        for lane in range(64):
            missing = n_units - total[lane]
            if missing < 0:
                missing = n_units
                for unit in range(n_units):
                    weights[unit, lane] = 0
            for turn in range(missing):
                word = _hashed(keys[2], (_U(lane) << _32) + _U(turn))
                weights[_scaled(word, _U(n_units)), lane] += 1


@_compiled
def _add(counter, planes, used, slots):
    """Add the counts of every slot to its counter, by the bit; ``used`` levels suffice."""
    for slot in range(slots):
        a, b = counter[0, slot], planes[0, slot]
        counter[0, slot] = a ^ b
        carry = a & b
        a, b = counter[1, slot], planes[1, slot]
        counter[1, slot] = a ^ b ^ carry
        carry = (a & b) | (carry & (a ^ b))
        a, b = counter[2, slot], planes[2, slot]
        counter[2, slot] = a ^ b ^ carry
        planes[3, slot] = (a & b) | (carry & (a ^ b))
    for number in range(3, used):
        for slot in range(slots):
            a, carry = counter[number, slot], planes[3, slot]
            counter[number, slot] = a ^ carry
            planes[3, slot] = a & carry


@_compiled
def _collect(counter, used, counts):
    """Add the counters of all slots up and write the sum of every lane; clears the counters."""
    half = _SLOTS // 2
    while half > 0:
        for slot in range(half):
            carry = _ZERO
            for number in range(used):
                a, b = counter[number, slot], counter[number, slot + half]
                counter[number, slot] = a ^ b ^ carry
                carry = (a & b) | (carry & (a ^ b))
            counter[used, slot] = carry
        used += 1
        half //= 2
    for number in range(used):
        for lane in range(64):
            counts[lane] += np.int64((counter[number, 0] >> _U(lane)) & _ONE) << number
    counter[: used + 1, :] = _ZERO


@_compiled
def count_cells(keys, masks, remainder, fill, order, starts, cell_of, counts):
    """Equal the sums over cells of the weights that ``weigh`` writes, without writing them.

    Args:
        keys: (4,) keys of the block.
        masks: As in ``weigh``.
        remainder: As in ``weigh``.
        fill: As in ``weigh``.
        order: (units,) uint64 units, cell after cell.
        starts: (cells + 1,) first place of every cell in ``order``.
        cell_of: (units,) cell of every unit.
        counts: (cells, 64) int64, written.
    """
    n_units = len(order)
    words = np.empty((_BITS, _SLOTS), np.uint64)
    level = np.zeros((8, _SLOTS), np.uint64)
    planes = np.empty((4, _SLOTS), np.uint64)
    offsets = np.empty(_SLOTS, np.uint64)
    counter = np.zeros((_LEVELS, _SLOTS), np.uint64)
    counts[:] = 0
    for cell in range(len(starts) - 1):
        chunks = 0
        for first in range(starts[cell], starts[cell + 1], _SLOTS):
            size = min(_SLOTS, starts[cell + 1] - first)
            for slot in range(_SLOTS):
                offsets[slot] = order[first + min(slot, size - 1)] * _STEP * _GAMMA
            _planes(keys[0], offsets, masks, words, level, planes)
            for slot in range(size):
                spare = planes[3, slot]
                octet = 0
                while spare != _ZERO:
                    for bit in range(8):
                        if (spare >> _U(bit)) & _ONE:
                            lane = 8 * octet + bit
                            unit = order[first + slot]
                            counts[cell, lane] += _remaining(keys[1], unit, lane, remainder)
                    spare >>= _U(8)
                    octet += 1
            chunks += 1
            used = 3  # a counter holds up to 7 per chunk
            while (1 << used) <= 7 * chunks:
                used += 1
            _add(counter, planes, used, size)
        if chunks > 0:
            _collect(counter, used, counts[cell])
    if fill:
        for lane in range(64):
            total = 0
            for cell in range(len(starts) - 1):
                total += counts[cell, lane]
            missing = n_units - total
            if missing < 0:
                missing = n_units
                for cell in range(len(starts) - 1):
                    counts[cell, lane] = 0
            for turn in range(missing):
                word = _hashed(keys[2], (_U(lane) << _32) + _U(turn))
                counts[cell_of[_scaled(word, _U(n_units))], lane] += 1


@_compiled
def sparse_sums(starts, columns, values, weights, sums):
    """Add to ``sums`` (columns, lanes) what ``kernels.ExactSums`` multiplies, without the zeros.

    Args:
        starts: (units + 1,) first place of every unit in ``columns`` and ``values``.
        columns: Columns of the values that are not 0.
        values: These values.
        weights: (units, lanes) uint8.
        sums: (columns, lanes) float64, written.
    """
    lanes = weights.shape[1]
    wide = np.empty(lanes)
    for unit in range(weights.shape[0]):
        for lane in range(lanes):
            wide[lane] = weights[unit, lane]
        for place in range(starts[unit], starts[unit + 1]):
            value, row = values[place], sums[columns[place]]
            for lane in range(lanes):
                row[lane] += wide[lane] * value


@_compiled
def auroc(order, starts, positive, weights, values):
    """Equal ``ranked.auroc_lanes``; ``values`` (lanes,) is written."""
    lanes = weights.shape[1]
    below, found = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
    some, wins = np.zeros(lanes, np.int32), np.zeros(lanes, np.int64)
    group_p, group_n = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
    # Positives until a 32-bit sum could overflow, if weights add up to less than 2n + 128.
    room = 2**31 // (255 * (2 * len(order) + 128))
    held = 0
    for group in range(len(starts)):
        first = starts[group]
        last = starts[group + 1] if group + 1 < len(starts) else len(order)
        if last - first == 1 and room > 1:
            row = weights[order[first]]
            if positive[order[first]]:
                held += 1
                for lane in range(lanes):
                    weight = np.int32(row[lane])
                    some[lane] += weight * below[lane]
                    found[lane] += weight
                if held >= room - 1:
                    for lane in range(lanes):
                        wins[lane] += 2 * np.int64(some[lane])
                        some[lane] = 0
                    held = 0
            else:
                for lane in range(lanes):
                    below[lane] += np.int32(row[lane])
            continue
        group_p[:] = 0
        group_n[:] = 0
        for place in range(first, last):
            row = weights[order[place]]
            if positive[order[place]]:
                for lane in range(lanes):
                    group_p[lane] += np.int32(row[lane])
            else:
                for lane in range(lanes):
                    group_n[lane] += np.int32(row[lane])
        for lane in range(lanes):
            wins[lane] += np.int64(group_p[lane]) * (2 * np.int64(below[lane]) + group_n[lane])
            below[lane] += group_n[lane]
            found[lane] += group_p[lane]
    for lane in range(lanes):
        wins[lane] += 2 * np.int64(some[lane])
        pairs = np.int64(found[lane]) * np.int64(below[lane])
        values[lane] = wins[lane] / 2 / pairs if pairs > 0 else np.nan


@_compiled
def auprc(order, starts, positive, weights, values):
    """Equal ``ranked.auprc_lanes``; ``values`` (lanes,) is written."""
    lanes = weights.shape[1]
    found, every = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
    hits, total = np.zeros(lanes, np.int32), np.zeros(lanes)
    for group in range(len(starts) - 1, -1, -1):
        last = starts[group + 1] if group + 1 < len(starts) else len(order)
        any_positive = False
        for place in range(last - 1, starts[group] - 1, -1):
            row = weights[order[place]]
            if positive[order[place]]:
                any_positive = True
                for lane in range(lanes):
                    hits[lane] += np.int32(row[lane])
            else:
                for lane in range(lanes):
                    every[lane] += np.int32(row[lane])
        if any_positive:
            for lane in range(lanes):
                found[lane] += hits[lane]
                every[lane] += hits[lane]
                total[lane] += hits[lane] * (found[lane] / max(every[lane], 1))
                hits[lane] = 0
    for lane in range(lanes):
        both = 0 < found[lane] < every[lane]
        values[lane] = total[lane] / found[lane] if both else np.nan


@_compiled
def centred_ranks(order, starts, weights, ranks):
    """Equal ``ranked.centred_ranks`` turned; ``ranks`` (n, lanes) int32 is written."""
    lanes = weights.shape[1]
    below, group_w = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
    total = np.zeros(lanes, np.int32)
    for example in range(weights.shape[0]):
        for lane in range(lanes):
            total[lane] += np.int32(weights[example, lane])
    for group in range(len(starts)):
        first = starts[group]
        last = starts[group + 1] if group + 1 < len(starts) else len(order)
        group_w[:] = 0
        for place in range(first, last):
            row = weights[order[place]]
            for lane in range(lanes):
                group_w[lane] += np.int32(row[lane])
        for place in range(first, last):
            for lane in range(lanes):
                ranks[order[place], lane] = 2 * below[lane] + group_w[lane] - total[lane]
        for lane in range(lanes):
            below[lane] += group_w[lane]


@_compiled
def rank_products(first, second, weights, sums):
    """Write the weighted sums of first * second, first^2 and second^2 into (3, lanes) int64."""
    lanes = weights.shape[1]
    sums[:] = 0
    for example in range(weights.shape[0]):
        for lane in range(lanes):
            weight = np.int64(weights[example, lane])
            a, b = np.int64(first[example, lane]), np.int64(second[example, lane])
            sums[0, lane] += weight * a * b
            sums[1, lane] += weight * a * a
            sums[2, lane] += weight * b * b
