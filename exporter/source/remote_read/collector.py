"""Pieces of a streamed body in, batches of samples out: one per step and series, as a range query would give them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from exporter.errors import SourceError
from exporter.samples import Bytes, SampleBatch
from exporter.source.answer import garbled
from exporter.source.faults import unavailable
from exporter.source.labels import PROCESS_SEED, hash_spans
from exporter.source.remote_read import frames
from exporter.source.remote_read.frames import Grid, count_cells, gather_cells, new_grid, take_frames
from exporter.source.remote_read.labels import KEEP_ALL, Kept

FRAME_BYTES = 32 << 20  # servers send 1 MiB; one series with very many chunks may come in a larger one

_FIRST_BYTES = 1 << 20
_WORTH_READING_BYTES = 1 << 16  # servers send a frame at a time, often of a few KiB; a kernel is called for several
_LABEL_BYTES = 1 << 16
_FAULTS = {
    frames.BAD_LENGTH: "sent a frame whose length is no number",
    frames.BAD_CHECKSUM: "sent a frame whose checksum is wrong",
    frames.BAD_MESSAGE: "sent a frame that is no ChunkedReadResponse",
    frames.BAD_CHUNK: "sent an XOR chunk that ends too early or contradicts itself",
}


class Collector:
    """Decodes one streamed answer for the grid times start_s...end_s (multiples of the step, both included).

    ``rows`` bounds the series of one batch and ``frame_bytes`` the size of one frame: memory is 16 bytes a cell of
    such a batch and one frame, however long the answer. ``keep``: the label names to keep. After ``finish``,
    ``foreign`` counts the samples of unknown encodings that were skipped and ``samples`` all that were decoded.
    """

    def __init__(
        self, origin: str, start_s: int, end_s: int, step_s: int, rows: int,
        keep: Kept = KEEP_ALL, frame_bytes: int = FRAME_BYTES,
    ) -> None:  # fmt: skip
        self._origin = origin
        self._step_ms = step_s * 1000
        self._low_ms = (start_s - step_s) * 1000
        self._keep = keep
        self._frame_bytes = frame_bytes
        self._grid: Grid = new_grid(rows, (end_s - start_s) // step_s + 1, _LABEL_BYTES)
        self._buffer: Bytes = np.empty(_FIRST_BYTES, np.uint8)
        self._fill = 0

    @property
    def foreign(self) -> int:
        """Samples of unknown encodings so far."""
        return int(self._grid.state[frames.FOREIGN])

    @property
    def samples(self) -> int:
        """Samples decoded so far, those beside the span included."""
        return int(self._grid.state[frames.SAMPLES])

    def take(self, piece: bytes) -> Iterator[SampleBatch]:
        """Read on; gives a batch each time the rows are used up. Raises SourceGarbled for what is no such stream."""
        self._append(piece)
        if self._fill >= _WORTH_READING_BYTES:
            yield from self._read()

    def finish(self) -> Iterator[SampleBatch]:
        """The rest, when the body has ended; at least one batch. Raises SourceUnavailable when it ended in a frame."""
        yield from self._read()
        if self._fill:
            raise unavailable(self._origin, "the stream ended within a frame", "connection")
        yield self._emptied()

    def _read(self) -> Iterator[SampleBatch]:
        """Take the frames that are there as a whole."""
        while True:
            how = take_frames(
                self._buffer, self._fill, self._frame_bytes, self._low_ms, self._step_ms, self._keep, self._grid
            )
            if how == frames.MORE:
                break
            if how == frames.NO_ROOM:
                more = np.empty_like(self._grid.labels)
                self._grid = self._grid._replace(labels=np.concatenate([self._grid.labels, more]))
            elif how == frames.NO_ROW:
                yield self._emptied()
            else:
                raise self._fault(how)
        self._drop_read()

    def _append(self, piece: bytes) -> None:
        needed = self._fill + len(piece) + frames.SLACK
        if needed > len(self._buffer):
            larger = np.empty(max(needed, 2 * len(self._buffer)), np.uint8)
            larger[: self._fill] = self._buffer[: self._fill]
            self._buffer = larger
        self._buffer.data[self._fill : self._fill + len(piece)] = piece
        self._fill += len(piece)

    def _drop_read(self) -> None:
        """Move what is left of the buffer to its front; it begins with a frame."""
        at = int(self._grid.state[frames.AT])
        left = self._fill - at
        self._buffer[:left] = self._buffer[at : self._fill].copy()
        self._fill = left
        self._grid.state[frames.AT] = 0

    def _fault(self, how: int) -> SourceError:
        what = _FAULTS.get(how, f"sent a frame of more than {self._frame_bytes:,} bytes")
        return garbled(self._origin, what)

    def _emptied(self) -> SampleBatch:
        """The cells as a batch; the grid is empty afterwards."""
        grid = self._grid
        counts = count_cells(grid)
        time_ms, bits = np.empty(counts.sum(), np.int64), np.empty(counts.sum(), np.uint64)
        gather_cells(grid, self._low_ms, self._step_ms, time_ms, bits)
        rows = np.flatnonzero(counts)
        batch = _with_whole_text(
            SampleBatch(
                body=grid.labels[: grid.state[frames.LABELS]].copy(),
                label_start=grid.label_start[rows],
                label_end=grid.label_end[rows],
                label_hash=grid.label_hash[rows],
                first=np.concatenate(([0], np.cumsum(counts[rows]))).astype(np.int64),
                time_ms=time_ms,
                value=bits.view(np.float64),
                histograms=int(grid.state[frames.HISTOGRAMS]),
            )
        )
        grid.slots[:] = -1
        grid.state[[frames.ROWS, frames.LABELS, frames.HISTOGRAMS]] = 0
        return batch


def compile_kernels() -> None:
    """Compile what is not compiled yet: seconds when cold, milliseconds from the cache, then nothing."""
    collector = Collector("", 0, 0, 1, rows=1)
    deque(collector.finish(), 0)


def _with_whole_text(batch: SampleBatch) -> SampleBatch:
    """The batch with labels that are UTF-8: each byte that is not becomes U+FFFD, as in the JSON of the server."""
    raw = batch.body.tobytes()
    try:
        raw.decode()
    except UnicodeDecodeError:
        return _relabelled(batch)
    return batch


def _relabelled(batch: SampleBatch) -> SampleBatch:
    """Rare: labels from before there were checks. Hence a loop over series."""
    texts = [batch.label_bytes(i).decode(errors="surrogateescape") for i in range(batch.series)]
    spelled = ["".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in text).encode() for text in texts]
    body = np.frombuffer(b"".join(spelled), np.uint8)
    edges = np.cumsum([0, *map(len, spelled)]).astype(np.int64)
    start, end = edges[:-1].copy(), edges[1:].copy()
    return SampleBatch(
        body, start, end, hash_spans(body, start, end, PROCESS_SEED), batch.first, batch.time_ms, batch.value,
        batch.histograms,
    )  # fmt: skip
