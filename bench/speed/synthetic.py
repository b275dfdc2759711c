"""A source inside the process: windows without a server's history, and newest samples where no real server fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.speed import madeup
from exporter.samples import SampleBatch
from exporter.source.answer import Answer
from exporter.source.labels import PROCESS_SEED, hash_spans
from exporter.source.reader import Reader
from exporter.source.scan import scan_answer

_CELLS_AN_ANSWER = 20_000_000
_SPACING_S = 60


class Source:
    """Reads like ``source.reader.Reader``: the window is made up here, the newest samples come from a real server
    where there is one, else from an answer that `prepare` has written as Prometheus would."""

    plain = True

    def __init__(self, series: int, reader: Reader | None) -> None:
        self._series = series
        self._reader = reader
        self._body = b""
        texts = [madeup.as_json(own).encode() for own in madeup.labels(series)]
        lengths = np.array([len(text) for text in texts])
        self._end = np.cumsum(lengths)
        self._start = self._end - lengths
        self._labels = np.frombuffer(b"".join(texts) + bytes(64), np.uint8)
        self._hash = hash_spans(self._labels, self._start, self._end, PROCESS_SEED)

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """Every grid time from start to end, some columns at a time."""
        times = np.arange(start_s, end_s + 1, madeup.STEP_S)
        for part in np.array_split(times, -(-len(times) * self._series // _CELLS_AN_ANSWER)):
            cells = madeup.values(part, self._series)
            first = np.arange(self._series + 1, dtype=np.int64) * len(part)
            time_ms = np.tile(part * 1000, self._series)
            yield Answer(
                SampleBatch(self._labels, self._start, self._end, self._hash, first, time_ms, cells.ravel()), fast=True
            )

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The newest samples: of the real server, or of the answer that was prepared."""
        if self._reader is not None:
            return self._reader.newest(time_s, lookback_s)
        return scan_answer(self._body)

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never."""
        return False

    def prepare(self, time_s: int) -> None:
        """Write the next answer beforehand: two samples a series, as a look-back of 90 s finds."""
        if self._reader is not None:
            return
        times = [time_s - _SPACING_S, time_s]
        rows = madeup.values(times, self._series).tolist()
        labels = self._labels.tobytes()
        series = (
            b'{"metric":%b,"values":[[%d,"%.8g"],[%d,"%.8g"]]}' % (labels[start:end], times[0], old, times[1], new)
            for start, end, (old, new) in zip(self._start.tolist(), self._end.tolist(), rows, strict=True)
        )
        self._body = b'{"status":"success","data":{"resultType":"matrix","result":[' + b",".join(series) + b"]}}"
