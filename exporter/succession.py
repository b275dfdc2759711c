"""Series that relabelling makes the same, one after the other: whose samples are the history of their common row.

A deployment ends one pod and starts the next; without the label `pod` both are one series. Its samples are those of the
series that is there last, before its first sample those of the one before it, and so on. Nothing is ever interleaved,
and a series that is there beside the one that has the row gives nothing at all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.samples import SampleBatch
from exporter.series import RIVAL, Rows, SeriesTable, rivals

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_END = np.iinfo(np.int64).max
_MISSED_SAMPLES = 2.5  # a series has ended when it lags so many of its usual sample spacings behind another one
_UNKNOWN_SPACING_MS = 300_000.0  # as far as a server looks back


def overtake(table: SeriesTable, batch: SampleBatch, rows: Rows, least_ms: float) -> None:
    """Give the rows of series that have ended to those that came after, in the table and in place in `rows` (n,).

    Only what is in this batch of newest samples counts: a rival has come after when its last sample lies by more than
    `least_ms`, and by some samples, behind that of the series with the row. Values of one moment tell nothing.
    """
    wanting = rivals(rows)
    if not wanting.any():
        return
    lag_ms, patience_ms = _lag_ms(batch, rows, wanting), _patience_ms(batch, least_ms)
    inherit(table, batch, rows, np.flatnonzero(wanting)[lag_ms > patience_ms[_holders(rows, wanting)]])


def inherit(table: SeriesTable, batch: SampleBatch, rows: Rows, heirs: Rows) -> None:
    """Give the rows that some rivals want, at the places `heirs` of a batch, in the table and in place in `rows` (n,):
    each to the one with the newest sample of those that want it."""
    newest_ms = last_ms(batch)[heirs]
    heirs, newest_ms = heirs[~np.isnan(newest_ms)], newest_ms[~np.isnan(newest_ms)]
    if len(heirs) == 0:
        return
    order = np.lexsort((batch.label_hash[heirs], -newest_ms, rows[heirs]))
    _, first = np.unique(rows[heirs][order], return_index=True)
    table.hand_over(batch, rows, heirs[order][first])


def beside(batch: SampleBatch, rows: Rows, least_ms: float) -> Mask:
    """Which series of a batch of newest samples (n,) are there beside the series whose row they want."""
    wanting = rivals(rows)
    if wanting.any():
        lag_ms, patience_ms = _lag_ms(batch, rows, wanting), _patience_ms(batch, least_ms)
        wanting[wanting] = np.abs(lag_ms) <= np.where(
            lag_ms > 0, patience_ms[_holders(rows, wanting)], patience_ms[wanting]
        )
    return wanting


def _holders(rows: Rows, wanting: Mask) -> I64:
    """Where in a batch the series stand that have the rows of rivals; -1, the last, where they are not in it."""
    place = np.full(max(int(rows.max(initial=0)), int((RIVAL - rows[wanting]).max(initial=0))) + 1, -1)
    held = np.flatnonzero(rows >= 0)
    place[rows[held]] = held
    return place[RIVAL - rows[wanting]]


def _lag_ms(batch: SampleBatch, rows: Rows, wanting: Mask) -> npt.NDArray[np.float64]:
    """By how much the last samples of rivals lie behind those of the series with their rows; NaN without one of it."""
    holders, newest_ms = _holders(rows, wanting), last_ms(batch)
    return np.where(holders >= 0, newest_ms[wanting] - newest_ms[holders], np.nan)


def last_ms(batch: SampleBatch) -> npt.NDArray[np.float64]:
    """The time of the last sample of each series; NaN without any."""
    found = np.full(batch.series, np.nan)
    some = np.diff(batch.first) > 0
    found[some] = batch.time_ms[batch.first[1:][some] - 1]
    return found


def _patience_ms(batch: SampleBatch, least_ms: float) -> npt.NDArray[np.float64]:
    """By how much another series may be ahead of each before it has ended."""
    samples = np.diff(batch.first)
    spacing_ms = np.full(batch.series, _UNKNOWN_SPACING_MS / _MISSED_SAMPLES)
    several = samples > 1
    spans = batch.time_ms[batch.first[1:][several] - 1] - batch.time_ms[batch.first[:-1][several]]
    spacing_ms[several] = spans / (samples[several] - 1)
    return np.maximum(least_ms, _MISSED_SAMPLES * spacing_ms)


def succeed(batch: SampleBatch, rows: Rows, without: npt.NDArray[np.uint64]) -> tuple[SampleBatch, Rows]:
    """A batch of a range read in which the samples of successive series are those of their common row, and its rows.

    `rows` (n,) as `SeriesTable.admit` leaves them; `without`: hashes of rivals that give nothing. Where there are no
    rivals, the batch itself; otherwise the series of a common row stand behind all others, and rivals have no row left.
    """
    wanting = rivals(rows)
    if not wanting.any():
        return batch, rows
    common = np.where(wanting, RIVAL - rows, rows)
    member = np.isin(common, common[wanting]) & (np.diff(batch.first) > 0)
    member &= ~(wanting & np.isin(batch.label_hash, without))
    others = np.flatnonzero(~member & (rows >= 0))
    parts = _parts(batch, common, wanting, np.flatnonzero(member))
    series = np.concatenate([others, parts[:, 0]])
    starts = np.concatenate([batch.first[others], parts[:, 1]])
    ends = np.concatenate([batch.first[others + 1], parts[:, 2]])
    row = common[series]
    opens = np.ones(len(series), np.bool_)  # a series of the new batch; what follows belongs to the same row
    opens[len(others) + 1 :] = row[len(others) + 1 :] != row[len(others) : -1]
    return _taken(batch, series, starts, ends, np.flatnonzero(opens)), row[opens]


def _parts(batch: SampleBatch, common: Rows, wanting: npt.NDArray[np.bool_], members: I64) -> I64:
    """(series, start, end) of the samples that count, for each row in the order of time, as rows of a matrix."""
    newest_ms = last_ms(batch)[members]
    order = np.lexsort((batch.label_hash[members], wanting[members], -newest_ms, common[members]))
    parts: list[tuple[int, int, int]] = []
    row, before_ms = -1, _END
    for i in members[order].tolist():  # only series that share a row, which is rare or asked for
        if common[i] != row:
            row, before_ms = int(common[i]), _END
        start, end = int(batch.first[i]), int(batch.first[i + 1])
        end = start + int(np.searchsorted(batch.time_ms[start:end], before_ms))
        if end > start:
            parts.append((i, start, end))
            before_ms = int(batch.time_ms[start])
    return np.array(parts[::-1], np.int64).reshape(-1, 3)


def _taken(batch: SampleBatch, series: I64, starts: I64, ends: I64, opens: I64) -> SampleBatch:
    """A batch of pieces of another one; at `opens` (n,) a series begins."""
    lengths = ends - starts
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    at = np.repeat(starts - first[:-1], lengths) + np.arange(first[-1])
    labelled = series[opens]
    return SampleBatch(
        batch.body, batch.label_start[labelled], batch.label_end[labelled], batch.label_hash[labelled],
        np.append(first[opens], first[-1]), batch.time_ms[at], batch.value[at], batch.histograms,
    )  # fmt: skip
