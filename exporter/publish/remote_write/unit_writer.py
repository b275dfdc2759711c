"""What one tenant x query writes: which of its samples are new, which series have ended, and their bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from exporter.names import Family
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.trail import F64, NEVER, Due, Trail
from exporter.publish.remote_write.wire import Ints, encode

_BLOCK = 1 << 16  # rows encoded at once: 15 MB
_NO_ROWS: Ints = np.empty(0, np.int64)
NO_MODEL = ""  # of families that are about the series

Kind: TypeAlias = tuple[str, str]  # key of the family, model ("" where a family has none)


@dataclass(frozen=True, slots=True)
class Part:
    """What a cycle publishes of one family of one model: rows (n,) ascending, values (n,), times of the samples (n,).

    NaN is a gap. Without times the values are of the time of the cycle.
    """

    family: str
    model: str
    rows: Ints
    values: F64
    times_ms: Ints | None = None


class UnitWriter:
    """Encodes a unit's cycles for the outlet. Cycles come from one thread, `close` may come from another.

    Series end with a stale marker: when a cycle does not publish them, when their row is dismissed, when the unit is
    withdrawn or closed. Not when the program stops: a restart goes on with them.
    """

    def __init__(
        self,
        outlet: Outlet,
        unit: str,
        families: Mapping[str, Family],
        models: Iterable[str],
        external: Iterable[tuple[str, str]] = (),
        tenant: str = "",
    ) -> None:
        """`external`: labels of every series that has none of that name; `tenant`: whose results these are."""
        self._tenant = tenant
        self._external = tuple(external)
        self._outlet = outlet
        self._unit = unit
        self._names = {key: name_field(family.name) for key, family in families.items()}
        self._labels = {model: LabelBytes() for model in (*models, NO_MODEL)}
        self._trails: dict[Kind, Trail] = {}
        self._before_ms: Ints = np.empty(0, np.int64)  # up to when the unit before this one has written each row
        self._lock = threading.Lock()
        self._cycle_ms = 0
        self._closed = False
        self._held = False

    # -- rows ----------------------------------------------------------------------------------------------------------

    def set_row(self, row: int, model: str, labels: Iterable[tuple[str, str]]) -> None:
        """Give a row its labels for one model; `admit` follows."""
        if self._external:
            own = dict(labels)
            labels = (*own.items(), *(pair for pair in self._external if pair[0] not in own))
        with self._lock:
            self._labels[model].set_row(row, labels)

    def admit(self, rows: list[int]) -> None:
        """Take in rows that have their labels."""
        if not rows:
            return
        with self._lock:
            more = max(rows) + 1 - len(self._before_ms)
            if more > 0:
                more = max(more, len(self._before_ms))
                self._before_ms = np.concatenate([self._before_ms, np.full(more, NEVER, np.int64)])
            self._learn_floors(rows)
            for trail in self._trails.values():
                trail.admit(np.array(rows), self._before_ms)

    def _learn_floors(self, rows: list[int]) -> None:
        floors = self._outlet.floors(self._unit)
        labels = self._labels[NO_MODEL]
        self._before_ms[rows] = [floors.get(labels.fields(row), NEVER) for row in rows] if floors else NEVER

    def dismiss(self, rows: Ints) -> None:
        """Forget rows; those that were still published end now."""
        with self._lock:
            if not self._closed:
                for kind, trail in self._trails.items():
                    self._send(kind, trail.end(rows, self._cycle_ms))
            for labels in self._labels.values():
                for row in rows.tolist():  # once in the life of a series
                    labels.drop_row(row)

    def start_over(self) -> None:
        """End all series and leave word of them to itself: the clock was set back, and what is written again of a time
        that has been written must not be sent."""
        with self._lock:
            if not (self._closed or self._held):
                self._end_all()
                self._outlet.leave(self._unit, self._written())

    # -- cycles --------------------------------------------------------------------------------------------------------

    def begin(self, cycle_ms: int) -> None:
        """A cycle as of this time begins."""
        self._cycle_ms = cycle_ms

    def write(self, parts: Iterable[Part]) -> None:
        """Write what a cycle publishes, which is all that goes on: other series end."""
        with self._lock:
            if self._closed or self._held:
                return
            seen = set()
            for part in parts:
                seen.add((part.family, part.model))
                self._write(part)
            for kind in self._trails.keys() - seen:
                nothing = np.empty(0), _NO_ROWS
                self._send(kind, self._trails[kind].due(_NO_ROWS, *nothing, self._cycle_ms))

    def _write(self, part: Part) -> None:
        kind = part.family, part.model
        rows, values, times_ms = self._sendable(part)
        due = self._trail(kind).due(rows, values, times_ms, self._cycle_ms)
        self._outlet.drop("out_of_order", due.late, self._tenant)
        self._send(kind, due)

    def _sendable(self, part: Part) -> tuple[Ints, F64, Ints]:
        """Rows, values and times of a part without the rows whose labels are refused, which are counted."""
        rows, values = part.rows, np.asarray(part.values, np.float64)
        times_ms = np.full(len(rows), self._cycle_ms, np.int64) if part.times_ms is None else part.times_ms
        refused = self._labels[part.model].refused
        if not refused:
            return rows, values, times_ms
        bad = np.isin(rows, list(refused))
        for row in rows[bad & ~np.isnan(values)].tolist():  # hardly ever any
            self._outlet.drop(refused[row], 1, self._tenant)
        return rows[~bad], values[~bad], times_ms[~bad]

    def _trail(self, kind: Kind) -> Trail:
        if kind not in self._trails:
            self._trails[kind] = Trail(self._before_ms)
        return self._trails[kind]

    def _send(self, kind: Kind, due: Due, unit_time_ms: int | None = None) -> None:
        family, model = kind
        arrays = self._labels[model].arrays()
        time_ms = self._cycle_ms if unit_time_ms is None else unit_time_ms
        for start in range(0, len(due.rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            encoded = encode(self._names[family], *arrays, due.rows[part], due.bits[part], due.times_ms[part])
            self._outlet.put(self._unit, time_ms, encoded, self._tenant)

    # -- the past ------------------------------------------------------------------------------------------------------

    def backfill(self, rows: Ints, times_ms: Ints, values: Mapping[Kind, F64], stop: threading.Event) -> int:
        """Queue verdicts of the past, before the first cycle of the unit; returns the columns queued.

        Shapes: ``rows`` (n,), ``times_ms`` (t,) ascending or (n, t) for samples with times of their own, each of
        ``values`` (n, t), by family and model, NaN is a gap. Column by column over all series, because a receiver
        takes nothing much older than the newest sample it has. Waits while a queue is more than half full, until
        `stop` is set. Samples not newer than what is written already are left out.
        """
        columns = int(times_ms.shape[-1])
        for column in range(columns):
            if not self._outlet.wait_for_room(stop, self._tenant):
                return column
            at_ms = np.broadcast_to(times_ms[..., column], len(rows)).astype(np.int64)
            with self._lock:
                if self._closed:
                    return column
                for kind, matrix in values.items():
                    own = self._sendable(Part(*kind, rows, matrix[:, column], at_ms))
                    self._send(kind, self._trail(kind).append(*own), int(at_ms.max(initial=0)))
        return columns

    def hold(self) -> None:
        """Write nothing until `release`: another writer of this unit writes the past of its series first."""
        self._held = True

    def release(self) -> None:
        """Write from the next cycle on, after what the other writer has left word of with `hand_over`."""
        with self._lock:
            start = self._labels[NO_MODEL].arrays()[1][: len(self._before_ms)]
            self._learn_floors(np.flatnonzero(start >= 0).tolist())
            self._outlet.forget(self._unit)  # what comes later is newer than the past
            self._held = False

    def hand_over(self) -> None:
        """Write no more, end no series, and leave word for the writer that goes on with them."""
        with self._lock:
            if not self._closed:
                self._outlet.leave(self._unit, self._written())
                self._closed = True

    # -- the end -------------------------------------------------------------------------------------------------------

    def withdraw(self) -> None:
        """End all series, as of the cycle that has begun last."""
        with self._lock:
            if not self._closed:
                self._end_all()

    def close(self) -> None:
        """End all series for good, also when a cycle is still running, and leave word for the next unit of this key."""
        with self._lock:
            if not self._closed:
                self._end_all()
                if not self._held:  # it has written nothing; the word that another has left stands
                    self._outlet.leave(self._unit, self._written())
                self._closed = True

    def _end_all(self) -> None:
        for kind, trail in self._trails.items():
            self._send(kind, trail.end_all(self._cycle_ms))

    def _written(self) -> dict[bytes, int]:
        newest_ms = self._before_ms.copy()
        for trail in self._trails.values():
            known = len(trail.newest_ms)
            newest_ms[:known] = np.maximum(newest_ms[:known], trail.newest_ms)
        labels = self._labels[NO_MODEL]
        return {labels.fields(row): int(newest_ms[row]) for row in np.flatnonzero(newest_ms != NEVER).tolist()}
