"""Medians of many windows at once: sliding ones, and those over the same time of day on several days.

The windows of neighbouring columns lie side by side, so that a sorting network (networks.py) finds the middle of
sixteen of them at a time. A window consists of one or more pieces of neighbouring columns.

Gaps: a series is laid out with its gaps filled by +inf and -inf in turn (`lay_out`). Then each piece of a window holds
as many of the one as of the other, or one more of either, and the median of the valid samples lies half the surplus of
+inf below the middle of all. So a network that tells a few ranks round the middle serves every pattern of gaps, and
columns outside of the series are gaps like others.

A median is rounded once, if at all: the two middle samples are averaged in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.networks import LANES, chooser, sorter
from exporter.models.order import F32, F64, I32, median_of_keys, to_keys

I64 = npt.NDArray[np.int64]

DAYS = 7  # the pieces of a window over the time of day
BLOCK = 96  # columns worked on together: what belongs to them stays in the first-level cache
LEAD = BLOCK + 64  # gaps laid out before a series: a block and the widest piece at least
ORIGIN = 2 * BLOCK  # place of the first column laid out; before it a block of -inf and one of +inf
_LOWEST, _HIGHEST = 0, BLOCK  # the places of these two

_WIDEST = 31
_MOST_DAYS = 32  # beyond it the median of each phase is found by itself

_NEXT = np.arange(16)
# Sixteen neighbours are sorted once per column (a row of the table for each rank) and serve three windows of 48.
_RUN = 16
_RUN_COLUMNS = BLOCK + 2 * _RUN
_THREE_RUNS = (np.arange(3)[:, None] * _RUN + np.arange(_RUN)[None] * _RUN_COLUMNS).ravel()


def _round_middle(size: int, pieces: int) -> range:
    """The ranks that may be the middle of the valid samples among `size` in so many pieces."""
    return range(max(0, (size - pieces - 1) // 2), min(size - 1, (size + pieces) // 2) + 1)


_sort_13 = sorter(13)
_sort_16 = sorter(16)
_sort_31 = sorter(31)
_middle_3 = chooser([1] * 3, _round_middle(3, 1))
_middle_6 = chooser([1] * 6, _round_middle(6, 1))
_middle_12 = chooser([1] * 12, _round_middle(12, 1))
_middle_3_runs = chooser([_RUN] * 3, _round_middle(48, 1))
_days_1 = chooser([1] * DAYS, _round_middle(DAYS, DAYS))
_days_3 = chooser([1] * 3 * DAYS, _round_middle(3 * DAYS, DAYS))
_days_5 = chooser([1] * 5 * DAYS, _round_middle(5 * DAYS, DAYS))
_days_13 = chooser([13] * DAYS, _round_middle(13 * DAYS, DAYS))
_days_31 = chooser([31] * DAYS, _round_middle(31 * DAYS, DAYS))
_phases_8 = chooser([1] * 8, range(8))
_phases_16 = chooser([1] * 16, range(16))
_phases_32 = chooser([1] * 32, range(32))


class Room(NamedTuple):
    """Scratch memory, made once for many rows.

    `line` and `gaps`: a series laid out, from place ORIGIN on, and how many gaps there are before each column. For a
    block of windows: `places` of a network's inputs, `pieces` already sorted; per window (BLOCK,) its valid samples and
    its surplus of +inf over -inf, the two ranks `wanted` and found in the middle (2, BLOCK), and its median.
    """

    line: F32
    gaps: I32
    places: I64
    pieces: F32
    valid: I32
    surplus: I32
    wanted: I32
    found: F32
    median: F64


def room_for(columns: int) -> Room:
    """Room for laying out that many columns, the gaps before and behind a series included."""
    line = np.empty(ORIGIN + columns + BLOCK + LANES, np.float32)
    line[_LOWEST:_HIGHEST], line[_HIGHEST:ORIGIN] = -np.inf, np.inf
    return Room(
        line=line,
        gaps=np.empty(len(line) - ORIGIN + 1, np.int32),
        places=np.empty(_WIDEST * DAYS, np.int64),
        pieces=np.empty((_WIDEST * DAYS, BLOCK), np.float32),
        valid=np.empty(BLOCK, np.int32),
        surplus=np.empty(BLOCK, np.int32),
        wanted=np.empty((2, BLOCK), np.int32),
        found=np.empty((2, BLOCK), np.float32),
        median=np.empty(BLOCK, np.float64),
    )


@kernel
def lay_out(x: F32, start: int, room: Room) -> None:
    """Lay out x[start], x[start + 1], ... as far as there is room; `start` may be negative."""
    size = len(room.line) - ORIGIN
    first, last = min(max(-start, 0), size), max(min(len(x) - start, size), 0)
    count = _lay_outside(room, 0, first, 0)
    inside, gaps = x[start + first : start + last], room.gaps[first:last]
    for k in range(len(inside)):
        gaps[k] = count
        count += inside[k] != inside[k]
    line = room.line[ORIGIN + first : ORIGIN + last]
    for k in range(len(inside)):
        line[k] = inside[k] if inside[k] == inside[k] else _filler(gaps[k])
    room.gaps[size] = _lay_outside(room, last, size, count)


@kernel
def _lay_outside(room: Room, first: int, last: int, count: int) -> int:
    """Gaps in all columns from `first` to `last`, with `count` before them; returns how many there are then."""
    line, gaps = room.line[ORIGIN + first : ORIGIN + last], room.gaps[first:last]
    for k in range(len(line)):
        gaps[k] = count + k
        line[k] = _filler(count + k)
    return count + len(line)


@kernel
def _filler(gaps: int) -> np.float32:
    """What fills the gap that has so many before it."""
    return np.float32(-np.inf) if gaps & 1 else np.float32(np.inf)


@kernel
def _count_piece(room: Room, place: int, width: int) -> None:
    """Add a piece to what is known of the block's windows; in the first one it begins at `place`."""
    before = room.gaps[place - ORIGIN : place - ORIGIN + BLOCK]
    after = room.gaps[place - ORIGIN + width : place - ORIGIN + width + BLOCK]
    valid, surplus = room.valid, room.surplus
    for k in range(BLOCK):
        valid[k] += np.int32(width - (after[k] - before[k]))
        surplus[k] += np.int32((after[k] & 1) - (before[k] & 1))


@kernel
def _want_middle(room: Room, size: int, first: int) -> None:
    """Say which two ranks of each window the median lies between, counted from the network's lowest, `first`."""
    surplus = room.surplus
    for row in range(2):
        wanted = room.wanted[row]
        for k in range(BLOCK):
            wanted[k] = ((size - surplus[k] - 1 + row) >> 1) - first


@kernel
def _take_medians(room: Room, at_least: int) -> None:
    """Medians from the two samples found in the middle of each window; NaN where fewer than `at_least` are valid."""
    low, high, valid, median = room.found[0], room.found[1], room.valid, room.median
    for k in range(BLOCK):
        middle = 0.5 * (np.float64(low[k]) + np.float64(high[k]))
        median[k] = middle if valid[k] >= at_least else np.nan


# --- sliding windows --------------------------------------------------------------------------------------------------


@kernel
def running_median(room: Room, length: int, at_least: int, shift: int, out: F32) -> None:
    """out[t] = median of the valid samples among the last `length` before t (shift 1) or up to and with t (shift 0).

    The series is laid out behind LEAD gaps; out (n,). Lengths: 3, 6, 12, 48. Fewer than `at_least` valid samples give
    NaN.
    """
    for start in range(0, len(out), BLOCK):
        place = ORIGIN + LEAD + start - shift - length + 1
        room.valid[:] = 0
        room.surplus[:] = 0
        _count_piece(room, place, length)
        _want_middle(room, length, (length - 2) >> 1)
        _find_neighbours(room, place, length)
        _take_medians(room, at_least)
        block = out[start : start + BLOCK]
        for k in range(len(block)):
            block[k] = room.median[k]


@kernel
def _find_neighbours(room: Room, place: int, length: int) -> None:
    """The wanted ranks of each `length` neighbours; in the block's first window they begin at `place`."""
    if length == 48:
        table = room.pieces.reshape(-1)[: _RUN * _RUN_COLUMNS].reshape(_RUN, _RUN_COLUMNS)
        for k in range(0, _RUN_COLUMNS, LANES):
            _sort_16(room.line, _NEXT, place + k, table, k)
        for k in range(0, BLOCK, LANES):
            _middle_3_runs(table, _THREE_RUNS, k, room.wanted, room.found, k)
        return
    for k in range(0, BLOCK, LANES):
        if length == 3:
            _middle_3(room.line, _NEXT, place + k, room.wanted, room.found, k)
        elif length == 6:
            _middle_6(room.line, _NEXT, place + k, room.wanted, room.found, k)
        else:
            _middle_12(room.line, _NEXT, place + k, room.wanted, room.found, k)


# --- windows over the time of day ------------------------------------------------------------------------------------


@kernel
def day_medians(room: Room, place: int, period: int, width: int, out: F32) -> None:
    """out[k] = median of the valid samples in seven pieces a day apart, the last one beginning at place + k.

    `width` is odd and at most 31. What begins before the first column laid out must lie in gaps altogether. NaN where
    nothing is valid.
    """
    wide = _network_width(width)
    first = max(0, (DAYS * wide - DAYS - 1) >> 1) - DAYS * ((wide - width) >> 1)
    for start in range(0, len(out), BLOCK):
        room.valid[:] = 0
        room.surplus[:] = 0
        for day in range(DAYS):
            piece = max(place + start - day * period, ORIGIN)
            _count_piece(room, piece, width)
            _take_piece(room, day, piece, width)
        _want_middle(room, DAYS * width, first)
        _find_days(room, wide)
        _take_medians(room, 1)
        block = out[start : start + BLOCK]
        for k in range(len(block)):
            block[k] = room.median[k]


@kernel
def _network_width(width: int) -> int:
    """Width of the pieces in the network that serves this width: what is missing is half -inf and half +inf."""
    if width > 13:
        return 31
    return 13 if width > 5 else width


@kernel
def _take_piece(room: Room, day: int, place: int, width: int) -> None:
    """Say where the inputs of a day's piece are; wide pieces are sorted by themselves first."""
    wide = _network_width(width)
    places = room.places[day * wide : (day + 1) * wide]
    for i in range(width):
        places[i] = place + i
    for i in range(width, wide):
        places[i] = _LOWEST if i & 1 else _HIGHEST
    if wide <= 5:
        return
    table = room.pieces[day * wide : (day + 1) * wide]
    for k in range(0, BLOCK, LANES):
        if wide == 13:
            _sort_13(room.line, places, k, table, k)
        else:
            _sort_31(room.line, places, k, table, k)
    for i in range(wide):
        places[i] = (day * wide + i) * BLOCK


@kernel
def _find_days(room: Room, wide: int) -> None:
    """The wanted ranks of the block's windows."""
    for k in range(0, BLOCK, LANES):
        if wide == 1:
            _days_1(room.line, room.places, k, room.wanted, room.found, k)
        elif wide == 3:
            _days_3(room.line, room.places, k, room.wanted, room.found, k)
        elif wide == 5:
            _days_5(room.line, room.places, k, room.wanted, room.found, k)
        elif wide == 13:
            _days_13(room.pieces, room.places, k, room.wanted, room.found, k)
        else:
            _days_31(room.pieces, room.places, k, room.wanted, room.found, k)


# --- one median per phase ---------------------------------------------------------------------------------------------


@kernel
def phase_medians(x: F32, period: int, room: Room, out: F64) -> None:
    """out[k] = median of the valid x[k], x[k + period], x[k + 2 period], ...; NaN where nothing is valid.

    Shapes: x (n,), laid out behind LEAD gaps with at least a period of gaps behind it; out (period,).
    """
    days = (len(x) + period - 1) // period
    if days > _MOST_DAYS:
        _phase_by_phase(x, period, out)
        return
    for start in range(0, period, BLOCK):
        room.valid[:] = 0
        room.surplus[:] = 0
        room.places[:_MOST_DAYS] = _HIGHEST  # what a network takes beyond the days does not move the ranks below
        for day in range(days):
            room.places[day] = ORIGIN + LEAD + day * period + start
            _count_piece(room, room.places[day], 1)
        _want_middle(room, days, 0)
        _find_phases(room, days)
        _take_medians(room, 1)
        block = out[start : start + BLOCK]
        for k in range(len(block)):
            block[k] = room.median[k]


@kernel
def _find_phases(room: Room, days: int) -> None:
    """The wanted ranks of the block's windows of one sample a day."""
    for k in range(0, BLOCK, LANES):
        if days <= 8:
            _phases_8(room.line, room.places, k, room.wanted, room.found, k)
        elif days <= 16:
            _phases_16(room.line, room.places, k, room.wanted, room.found, k)
        else:
            _phases_32(room.line, room.places, k, room.wanted, room.found, k)


@kernel
def _phase_by_phase(x: F32, period: int, out: F64) -> None:
    """The same for windows of very many days."""
    for phase in range(period):
        samples = x[phase::period].copy()
        keys = np.empty(len(samples), np.int32)
        out[phase] = median_of_keys(keys, to_keys(samples, keys))
