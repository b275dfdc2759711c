"""A source inside the process: windows without a server's history, and newest samples where no real server fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.speed import madeup
from bench.speed.madeup import I64
from exporter.samples import SampleBatch
from exporter.source.answer import Answer
from exporter.source.labels import PROCESS_SEED, hash_spans
from exporter.source.reader import Reader
from exporter.source.scan import scan_answer

_CELLS_AN_ANSWER = 20_000_000
_SPACING_S = 60
_SERIES_AT_ONCE = 10_000


def _texts(first: int, end: int) -> Iterator[bytes]:
    """The label sets of some series."""
    return (madeup.as_json(madeup.labels_of(number)).encode() for number in range(first, end))


class Source:
    """Reads like ``source.reader.Reader``: the window is made up here, the newest samples come from a real server
    where there is one, else from an answer that `prepare` has written as Prometheus would.

    Like a reader it keeps nothing of an answer, so that the memory of the process is the exporter's.
    """

    plain = True

    def __init__(self, series: int, reader: Reader | None) -> None:
        self._series = series
        self._reader = reader
        self._body = bytearray()

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """Every grid time from start to end, some columns at a time."""
        times = np.arange(start_s, end_s + 1, madeup.STEP_S)
        labels, start, end = self._label_sets()
        hashes = hash_spans(labels, start, end, PROCESS_SEED)
        for part in np.array_split(times, -(-len(times) * self._series // _CELLS_AN_ANSWER)):
            cells = madeup.values(part, self._series)
            first = np.arange(self._series + 1, dtype=np.int64) * len(part)
            time_ms = np.tile(part * 1000, self._series)
            yield Answer(SampleBatch(labels, start, end, hashes, first, time_ms, cells.ravel()), fast=True)

    def _label_sets(self) -> tuple[npt.NDArray[np.uint8], I64, I64]:
        """The texts of all label sets, one behind the other, and where each starts and ends (series,)."""
        body, length = bytearray(), np.empty(self._series, np.int64)
        for number, text in enumerate(_texts(0, self._series)):
            body += text
            length[number] = len(text)
        end = np.cumsum(length)
        body += bytes(64)  # the scanner reads words
        return np.frombuffer(body, np.uint8), end - length, end

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The newest samples: of the real server, or of the answer that was prepared."""
        if self._reader is not None:
            return self._reader.newest(time_s, lookback_s)
        body, self._body = self._body, bytearray()
        return scan_answer(body)

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never."""
        return False

    def prepare(self, time_s: int) -> None:
        """Write the next answer beforehand: two samples a series, as a look-back of 90 s finds."""
        if self._reader is not None:
            return
        times = [time_s - _SPACING_S, time_s]
        body = bytearray(b'{"status":"success","data":{"resultType":"matrix","result":[')
        for first in range(0, self._series, _SERIES_AT_ONCE):
            end = min(first + _SERIES_AT_ONCE, self._series)
            values = madeup.values(times, end - first, first).tolist()
            body += b",".join(
                b'{"metric":%b,"values":[[%d,"%.8g"],[%d,"%.8g"]]}' % (labels, times[0], old, times[1], new)
                for labels, (old, new) in zip(_texts(first, end), values, strict=True)
            )
            body += b"," if end < self._series else b"]}}"
        self._body = body
