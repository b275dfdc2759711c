"""The frames of a streamed remote read, decoded into a grid of cells: a row per series, a column per step.

A frame is a varint length, the CRC-32C of the message (big-endian) and a ChunkedReadResponse (prompb/remote.proto):
one series, or a part of one, with some of its chunks. A grid holds a bounded number of series and is emptied when it
is full, so that memory does not grow with the answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.samples import Bytes
from exporter.source.labels import PROCESS_SEED, hash_bytes
from exporter.source.remote_read.castagnoli import crc32c
from exporter.source.remote_read.labels import FULL, Kept, write_labels
from exporter.source.remote_read.varint import SHORT, read_span, read_varint, skip_value
from exporter.source.remote_read.xor import I64, NO_TIME, SLACK, U64, decode_chunk

__all__ = ["SLACK", "Grid", "new_grid", "take_frames"]

MORE, NO_ROW, NO_ROOM = 0, 1, 2  # how taking ends: all complete frames are read; no row, no room for labels is left
BAD_LENGTH, OVERSIZED, BAD_CHECKSUM, BAD_MESSAGE, BAD_CHUNK = 3, 4, 5, 6, 7  # this is no stream of frames

# What ``Grid.state`` holds.
AT, FRAME_END, ROWS, LABELS, HISTOGRAMS, FOREIGN, SAMPLES = range(7)
_BETWEEN_FRAMES = -1

_RESPONSE_SERIES = np.uint64(1 << 3 | 2)  # ChunkedReadResponse.chunked_series
_SERIES_CHUNK = np.uint64(2 << 3 | 2)  # ChunkedSeries.chunks
_CHUNK_TYPE, _CHUNK_DATA = np.uint64(3 << 3), np.uint64(4 << 3 | 2)  # Chunk.type, Chunk.data
_XOR, _HISTOGRAM, _FLOAT_HISTOGRAM = np.uint64(1), np.uint64(2), np.uint64(3)
_CHECKSUM_BYTES = 4
_FREE = -1


class Grid(NamedTuple):
    """Rows of one span: cells (rows, columns), their labels as JSON, and a hash table from labels to rows.

    ``state`` (7,): position in the buffer, end of the frame that is being read (-1 between frames), rows and bytes of
    labels in use, samples of histogram chunks and of unknown encodings that were skipped, samples decoded. ``seed``
    keys the hashes as the JSON scanner does; it differs by process, so no kernel that is kept on disk may know it.
    """

    cell_ms: npt.NDArray[np.int64]
    cell_bits: npt.NDArray[np.uint64]
    labels: Bytes
    label_start: I64
    label_end: I64
    label_hash: U64
    slots: I64
    state: I64
    seed: np.uint64


def new_grid(rows: int, columns: int, label_bytes: int) -> Grid:
    """An empty grid. Its memory is only taken as rows come into use."""
    size = 1 << (2 * rows).bit_length()
    state = np.zeros(7, np.int64)
    state[FRAME_END] = _BETWEEN_FRAMES
    return Grid(
        cell_ms=np.empty((rows, columns), np.int64),
        cell_bits=np.empty((rows, columns), np.uint64),
        labels=np.empty(label_bytes, np.uint8),
        label_start=np.empty(rows, np.int64),
        label_end=np.empty(rows, np.int64),
        label_hash=np.empty(rows, np.uint64),
        slots=np.full(size, _FREE, np.int64),
        state=state,
        seed=PROCESS_SEED,
    )


@kernel
def _row_of(grid: Grid, label_hash: np.uint64, label_end: int) -> int:
    """The row of a label set that has just been written behind the labels in use; -1 when it is new and none is left.

    A series whose frames do not follow one another finds its row again.
    """
    mask = np.uint64(len(grid.slots) - 1)
    slot = label_hash & mask
    while grid.slots[slot] != _FREE:
        if grid.label_hash[grid.slots[slot]] == label_hash:
            return grid.slots[slot]  # type: ignore[no-any-return]
        slot = (slot + np.uint64(1)) & mask
    row = grid.state[ROWS]
    if row == len(grid.label_hash):
        return -1
    grid.slots[slot] = row
    grid.label_hash[row] = label_hash
    grid.label_start[row], grid.label_end[row] = grid.state[LABELS], label_end
    grid.state[LABELS] = label_end
    grid.state[ROWS] += 1
    grid.cell_ms[row, :] = NO_TIME
    return row  # type: ignore[no-any-return]


@kernel
def _take_chunk(buf: Bytes, at: int, end: int, low_ms: int, step_ms: int, row: int, grid: Grid) -> int:
    """One Chunk message: MORE, BAD_MESSAGE or BAD_CHUNK. Chunks that hold no floats are counted by their samples."""
    encoding, data, data_end = np.uint64(0), 0, 0
    while at < end:
        tag, at = read_varint(buf, at, end)
        if at < 0:
            return BAD_MESSAGE
        if tag == _CHUNK_TYPE:
            encoding, at = read_varint(buf, at, end)
        elif tag == _CHUNK_DATA:
            data, data_end = read_span(buf, at, end)
            at = data_end
        else:
            at = skip_value(buf, at, end, tag)
        if at < 0:
            return BAD_MESSAGE
    samples = np.int64(buf[data]) << 8 | np.int64(buf[data + 1]) if data_end - data >= 2 else 0
    if encoding == _XOR:
        grid.state[SAMPLES] += samples
        taken = decode_chunk(buf, data, data_end, low_ms, step_ms, grid.cell_ms[row], grid.cell_bits[row])
        return MORE if taken else BAD_CHUNK
    known = encoding in (_HISTOGRAM, _FLOAT_HISTOGRAM)
    grid.state[HISTOGRAMS if known else FOREIGN] += samples if known else max(samples, 1)
    return MORE


@kernel
def _take_series(buf: Bytes, at: int, end: int, low_ms: int, step_ms: int, keep: Kept, grid: Grid) -> int:
    """One ChunkedSeries message: MORE, or why it can't be taken. For want of room nothing of it has been taken yet."""
    start = grid.state[LABELS]
    label_end = write_labels(buf, at, end, keep, grid.labels, start)
    if label_end < 0:
        return NO_ROOM if label_end == FULL else BAD_MESSAGE
    row = _row_of(grid, hash_bytes(grid.labels, start, label_end, grid.seed), label_end)
    if row < 0:
        return NO_ROW
    while at < end:  # write_labels has seen that all fields are whole
        tag, at = read_varint(buf, at, end)
        if tag != _SERIES_CHUNK:
            at = skip_value(buf, at, end, tag)
            continue
        chunk, at = read_span(buf, at, end)
        how = _take_chunk(buf, chunk, at, low_ms, step_ms, row, grid)
        if how != MORE:
            return how
    return MORE


@kernel
def _take_message(buf: Bytes, low_ms: int, step_ms: int, keep: Kept, grid: Grid) -> int:
    """The rest of the ChunkedReadResponse that is being read, from the series on that did not fit before."""
    state = grid.state
    at, end = state[AT], state[FRAME_END]
    while at < end:
        state[AT] = at
        tag, at = read_varint(buf, at, end)
        if at < 0:
            return BAD_MESSAGE
        if tag != _RESPONSE_SERIES:
            at = skip_value(buf, at, end, tag)
        else:
            series, at = read_span(buf, at, end)
            how = _take_series(buf, series, at, low_ms, step_ms, keep, grid) if at > 0 else BAD_MESSAGE
            if how != MORE:
                return how
        if at < 0:
            return BAD_MESSAGE
    state[AT], state[FRAME_END] = end, _BETWEEN_FRAMES
    return MORE


@kernel
def _open_frame(buf: Bytes, fill: int, frame_bytes: int, state: I64) -> tuple[int, bool]:
    """Step into the next frame when it is there as a whole: (MORE or what is wrong, whether it is)."""
    length, body = read_varint(buf, state[AT], fill)
    if body < 0:
        return MORE if body == SHORT else BAD_LENGTH, False
    if length > np.uint64(frame_bytes):
        return OVERSIZED, False
    start = body + _CHECKSUM_BYTES
    end = start + int(length)
    if end > fill:
        return MORE, False
    told = np.uint64(0)
    for i in range(body, start):
        told = told << np.uint64(8) | np.uint64(buf[i])
    if crc32c(buf, start, end) != told:
        return BAD_CHECKSUM, False
    state[AT], state[FRAME_END] = start, end
    return MORE, True


@kernel
def take_frames(buf: Bytes, fill: int, frame_bytes: int, low_ms: int, step_ms: int, keep: Kept, grid: Grid) -> int:
    """Read the frames in ``buf[state[AT]:fill]`` that are complete; says how that ended (MORE, NO_ROW, ...).

    After NO_ROW and NO_ROOM it goes on where it was, once there is room. ``frame_bytes`` bounds one message; the
    buffer must be at least SLACK bytes longer than ``fill``. Column k of the grid ends at low_ms + (k + 1) * step_ms.
    """
    while True:
        if grid.state[FRAME_END] == _BETWEEN_FRAMES:
            how, opened = _open_frame(buf, fill, frame_bytes, grid.state)
            if not opened:
                return how
        how = _take_message(buf, low_ms, step_ms, keep, grid)
        if how != MORE:
            return how


@kernel
def count_cells(grid: Grid) -> I64:
    """The filled cells of each row in use (rows,)."""
    counts = np.zeros(grid.state[ROWS], np.int64)
    for row in range(len(counts)):
        for k in range(grid.cell_ms.shape[1]):
            counts[row] += grid.cell_ms[row, k] != NO_TIME
    return counts


@kernel
def gather_cells(grid: Grid, low_ms: int, step_ms: int, time_ms: I64, bits: U64) -> None:
    """The filled cells row after row, oldest first, with the time that ends their step, into (m,) arrays."""
    m = 0
    for row in range(grid.state[ROWS]):
        for k in range(grid.cell_ms.shape[1]):
            if grid.cell_ms[row, k] != NO_TIME:
                time_ms[m], bits[m] = low_ms + (k + 1) * step_ms, grid.cell_bits[row, k]
                m += 1
