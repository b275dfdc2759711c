"""Which row belongs to which series: a hash table from raw label bytes to row numbers, and the labels of each row.

The hot path only hashes: a label set seen before costs one look-up in a kernel. A JSON parser meets a label set once,
when it is new.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.samples import SampleBatch

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

UNKNOWN = -1
REJECTED = -2  # a series that may not have a row: its labels are those of another one
_EMPTY = -3
SHED = -4  # and below: a series that waits for room; the distance from it is its turn, the lowest comes first
_LEAST_SLOTS = 1024


@kernel
def _find(keys: Hashes, slots: Rows, wanted: Hashes, out: Rows) -> None:
    mask = np.uint64(len(keys) - 1)
    for i in range(len(wanted)):
        at = wanted[i] & mask
        while slots[at] != _EMPTY and keys[at] != wanted[i]:
            at = (at + np.uint64(1)) & mask
        out[i] = UNKNOWN if slots[at] == _EMPTY else slots[at]


@kernel
def _insert(keys: Hashes, slots: Rows, key: np.uint64, row: int) -> bool:
    """Put one key; returns whether a slot was taken that was empty before."""
    mask = np.uint64(len(keys) - 1)
    at = key & mask
    while slots[at] != _EMPTY and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    fresh = slots[at] == _EMPTY
    keys[at] = key
    slots[at] = row
    return bool(fresh)


@kernel
def _copy_kept(
    keys: Hashes, slots: Rows, gone: npt.NDArray[np.bool_], waiting: bool, new_keys: Hashes, new_slots: Rows
) -> int:
    """Copy the rows that stay and, where `waiting`, the series that wait for room; returns how many."""
    kept = 0
    for i in range(len(keys)):
        row = slots[i]
        if (row >= 0 and not gone[row]) or (waiting and row <= SHED):
            _insert(new_keys, new_slots, keys[i], row)
            kept += 1
    return kept


@dataclass(frozen=True, slots=True)
class Collision:
    """A series without a row, because another series already has the labels that would be published for it."""

    wanted: str
    holder: str


class SeriesTable:
    """Rows of one tenant x query: found by label hash, created on sight, reused after they are forgotten.

    A row's identity is its label set without ``__name__`` (servers differ in keeping the name). Two series that differ
    by name only can't both have a row: the later one is refused and reported as a :class:`Collision`. Cost: a look-up
    is a few nanoseconds; a new series meets a JSON parser once.

    Where there is room for some of the new series only, those with the lowest hash of their labels get it, whatever
    their order in the answer: replicas agree. The others wait, and are found as SHED or below.
    """

    def __init__(self) -> None:
        self._keys: Hashes = np.zeros(_LEAST_SLOTS, np.uint64)
        self._slots: Rows = np.full(_LEAST_SLOTS, _EMPTY, np.int64)
        self._used = 0
        self._free: list[int] = []
        self._row_of: dict[bytes, int] = {}
        self._labels: list[bytes | None] = []
        self._names: list[str] = []
        self._waiting = 0  # marks of series that wait, at most
        self._late: set[int] = set()  # turns of the series that got their row after others had to wait
        self.collisions: list[Collision] = []

    @property
    def rows(self) -> int:
        """Rows ever handed out, free ones included: the length that arrays by row must have."""
        return len(self._labels)

    @property
    def live(self) -> int:
        """Rows that belong to a series now."""
        return len(self._row_of)

    def labels(self, row: int) -> dict[str, str]:
        """The labels of a row, without ``__name__``; empty for a free row."""
        raw = self._labels[row]
        return dict(json.loads(raw)) if raw else {}

    def row_of(self, labels: Mapping[str, str]) -> int | None:
        """The row of a series by its labels, with its name or without; None when it has none."""
        key, _ = _identity(json.dumps(dict(labels)).encode())
        return self._row_of.get(key)

    def name(self, row: int) -> str:
        """The metric name that a row's series came with; empty where servers or functions drop it."""
        return self._names[row]

    def stable_hash(self, row: int) -> int:
        """A hash of the row's labels that is the same in every process, for spreading work over time."""
        return zlib.crc32(self._labels[row] or b"")

    def find(self, batch: SampleBatch) -> Rows:
        """The row of each series in the batch (n,); UNKNOWN for a label set never seen, REJECTED for a refused one,
        SHED or less for one that waits for room."""
        out = np.empty(batch.series, np.int64)
        _find(self._keys, self._slots, batch.label_hash, out)
        return out

    def admit(self, batch: SampleBatch, found: Rows, most: int | None = None) -> Rows:
        """Give rows to the series of a batch that have none, in place in `found`; returns the rows that are new.

        `most` is how many series may have one at a time, None is no limit.
        """
        waited = found <= SHED
        wanted = np.flatnonzero((found == UNKNOWN) | waited)
        if most is not None and len(wanted) > max(0, most - self.live):
            wanted = self._choose(batch, found, max(0, most - self.live))
        late = SHED - found[wanted[waited[wanted]]]
        self._late.update(late.tolist())  # another spelling of them may still be marked as waiting
        created: list[int] = []
        # A loop over series, but each label set passes here once in its life.
        for index in wanted.tolist():
            row, new = self._admit_one(batch.label_bytes(index))
            found[index] = row
            self._remember(int(batch.label_hash[index]), row)
            if new:
                created.append(row)
        return np.array(created, np.int64)

    def forget(self, rows: Rows) -> None:
        """Free rows; their label sets are unknown again, and so are refused ones (their rival may be gone)."""
        if len(rows) == 0:
            return
        gone = np.zeros(self.rows, np.bool_)
        gone[rows] = True
        for row in rows.tolist():  # once in the life of a series
            raw = self._labels[row]
            if raw is not None:
                self._late.discard(zlib.crc32(raw))
                del self._row_of[raw]
                self._labels[row] = None
                self._free.append(row)
        self._rebuild(gone)

    def _choose(self, batch: SampleBatch, found: Rows, room: int) -> Rows:
        """The series of a batch that get the last rows; the others are marked as waiting, in place in `found`."""
        if self._waiting > 2 * max(batch.series, _LEAST_SLOTS):  # most of them are not in the answers any more
            self._rebuild(np.zeros(max(self.rows, 1), np.bool_), waiting=False)
        unsure = found == UNKNOWN
        if self._late:
            unsure |= np.isin(SHED - found, np.array(sorted(self._late), np.int64))
        # A loop over series, but each label set passes here once in its life, and once more when it gets a row.
        for index in np.flatnonzero(unsure).tolist():
            found[index] = self._mark(batch.label_bytes(index))
            self._remember(int(batch.label_hash[index]), int(found[index]))
        if room == 0:
            return np.empty(0, np.int64)
        waiting = np.flatnonzero(found <= SHED)
        chosen: Rows = waiting[np.argsort(-found[waiting], kind="stable")[:room]]
        return chosen

    def _mark(self, raw: bytes) -> int:
        """What stands for a series while there is no room: the row that it has under another spelling, or its turn."""
        key, _ = _identity(raw)
        if key in self._row_of:
            return self._admit_one(raw)[0]
        self._waiting += 1
        return SHED - zlib.crc32(key)

    def _admit_one(self, raw: bytes) -> tuple[int, bool]:
        key, name = _identity(raw)
        row = self._row_of.get(key)
        if row is None:
            return self._new_row(key, name), True
        if name and self._names[row] and name != self._names[row]:
            if len(self.collisions) < 1000:
                text = key.decode()
                self.collisions.append(Collision(f"{name}{text}", f"{self._names[row]}{text}"))
            return REJECTED, False
        self._names[row] = self._names[row] or name
        return row, False

    def _new_row(self, key: bytes, name: str) -> int:
        if self._free:
            row = self._free.pop()
            self._labels[row], self._names[row] = key, name
        else:
            row = len(self._labels)
            self._labels.append(key)
            self._names.append(name)
        self._row_of[key] = row
        return row

    def _remember(self, key: int, row: int) -> None:
        if 2 * (self._used + 1) > len(self._keys):
            self._rebuild(np.zeros(max(self.rows, 1), np.bool_))
        if _insert(self._keys, self._slots, np.uint64(key), row):
            self._used += 1

    def _rebuild(self, gone: npt.NDArray[np.bool_], *, waiting: bool = True) -> None:
        """A fresh table with the hashes of the rows that stay and of the series that wait, at most a third full."""
        size = _LEAST_SLOTS
        self._waiting = int(np.count_nonzero(self._slots <= SHED)) if waiting else 0
        kept = int(np.count_nonzero(self._slots >= 0)) + self._waiting
        while size < 3 * (kept + 1):
            size *= 2
        keys, slots = np.zeros(size, np.uint64), np.full(size, _EMPTY, np.int64)
        self._used = _copy_kept(self._keys, self._slots, gone, waiting, keys, slots)
        self._keys, self._slots = keys, slots


def _identity(raw: bytes) -> tuple[bytes, str]:
    """The label set of a series without its name, written in one way only, and the name."""
    labels = json.loads(raw)
    name = labels.pop("__name__", "")
    key = json.dumps(labels, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return key.encode("utf-8", "replace"), name
