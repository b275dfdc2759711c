"""Which row belongs to which series: a hash table from raw label bytes to row numbers, and the labels of each row.

The hot path only hashes: a label set seen before costs one look-up in a kernel. A JSON parser meets a label set once,
when it is new.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.errors import SourceGarbled
from exporter.kernels import kernel
from exporter.label_book import LabelBook
from exporter.names import REFUSALS
from exporter.relabelling.publishing import METRIC_NAME, Relabelling
from exporter.samples import SampleBatch

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

UNKNOWN = -1
REJECTED = -2  # a series that may not have a row: its labels are those of another one
_EMPTY = -3
SHED = -4  # and below: a series that waits for room; the distance from it is its turn, the lowest comes first
RIVAL = -(1 << 33)  # and below: a series that relabelling gives the labels of a row's; the distance from it is the row
REFUSED = -(1 << 40)  # and below: a series that relabelling drops or a limit keeps out; the distance is its reason
_LEAST_SLOTS = 1024
_SHOWN_CHARS = 300  # of a series in a message


def waiting(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of the rows found (n,) stand for series that wait for room."""
    found: npt.NDArray[np.bool_] = (rows <= SHED) & (rows > RIVAL)
    return found


def rivals(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of the rows found (n,) stand for series whose published labels are those of another one."""
    found: npt.NDArray[np.bool_] = (rows <= RIVAL) & (rows > REFUSED)
    return found


def refused_for(rows: Rows) -> dict[str, int]:
    """How many of the rows found (n,) stand for series that are not watched, by reason (names.REFUSALS)."""
    reasons = REFUSED - rows[rows <= REFUSED]
    counts = np.bincount(reasons, minlength=len(REFUSALS)).tolist()
    return {reason: count for reason, count in zip(REFUSALS, counts, strict=True) if count}


def _parsed(raw: bytes) -> dict[str, str]:
    """A raw label set. Bytes that are no Unicode text become U+FFFD, as where the JSON parser reads the whole answer.

    Raises SourceGarbled for what is no JSON: the scanner has only seen that it is an object of strings.
    """
    try:
        return dict(json.loads(raw.decode("utf-8", "replace"), strict=False))
    except ValueError as error:
        raise SourceGarbled(f"a series has no label set but {raw[:80]!r}", reason="garbled") from error


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
    keys: Hashes, slots: Rows, gone: npt.NDArray[np.bool_], shed: bool, marks: bool, new_keys: Hashes, new_slots: Rows
) -> int:
    """Copy the rows that stay, where `shed` the series that wait for room, and where `marks` those that relabelling
    leaves without a row; returns how many."""
    kept = 0
    for i in range(len(keys)):
        row = slots[i]
        if row <= RIVAL:
            keep = marks and (row <= REFUSED or not gone[RIVAL - row])
        elif row <= SHED:
            keep = shed
        else:
            keep = row >= 0 and not gone[row]
        if keep:
            _insert(new_keys, new_slots, keys[i], row)
            kept += 1
    return kept


@kernel
def _demote(slots: Rows, handed: npt.NDArray[np.bool_]) -> None:
    """Whoever has one of these rows becomes a rival for it."""
    for i in range(len(slots)):
        if slots[i] >= 0 and handed[slots[i]]:
            slots[i] = RIVAL - slots[i]


@dataclass(frozen=True, slots=True)
class Collision:
    """A series without a row, because another series already has the labels that would be published for it.

    `relabelled`: their own labels differ, only what relabelling leaves does not.
    """

    wanted: str
    holder: str
    relabelled: bool = False


@dataclass(frozen=True, slots=True)
class _Met:
    """A series as the table sees it: the text of its published labels, its name, the text of its own labels (empty
    where they are the published ones), and what stands for it where it is not watched (0: it is)."""

    key: bytes = b""
    name: str = ""
    source: bytes = b""
    refused: int = 0


class SeriesTable:
    """Rows of one tenant x query: found by label hash, created on sight, reused after they are forgotten.

    A row's identity is its label set without ``__name__`` (servers differ in keeping the name), as relabelling leaves
    it. Two series that differ by name only can't both have a row: the later one is refused and reported as a
    :class:`Collision`. Nor can two that relabelling makes the same: the later one is found as RIVAL or below, and can
    be given the row when the other one is gone (`hand_over`). Cost: a look-up is a few nanoseconds; a new series meets
    a JSON parser, and the rules, once.

    Where there is room for some of the new series only, those with the lowest hash of their labels get it, whatever
    their order in the answer: replicas agree. The others wait, and are found as SHED or below.
    """

    def __init__(self, relabelling: Relabelling | None = None) -> None:
        self._relabelling = relabelling
        self._keys: Hashes = np.zeros(_LEAST_SLOTS, np.uint64)
        self._slots: Rows = np.full(_LEAST_SLOTS, _EMPTY, np.int64)
        self._used = 0
        self._free: list[int] = []
        self._labels = LabelBook()
        self._names: list[str] = []
        self._sources: dict[int, bytes] = {}  # own labels of the series that have a row, where they are relabelled
        self._waiting = 0  # marks of series that wait, at most
        self._noted = 0  # marks of rivals and of series that are refused, at most
        self._late: set[int] = set()  # turns of the series that got their row after others had to wait
        self.collisions: list[Collision] = []
        self.over_limits: dict[str, str] = {}  # by limit the first series that was over it

    @property
    def rows(self) -> int:
        """The length that arrays by row must have: up to the last row of a series, free ones before it included."""
        return self._labels.rows

    @property
    def live(self) -> int:
        """Rows that belong to a series now."""
        return self._labels.live

    def labels(self, row: int) -> dict[str, str]:
        """The labels to publish of a row, without ``__name__``; empty for a free row."""
        raw = self._labels.text(row)
        return dict(json.loads(raw)) if raw else {}

    def row_of(self, labels: Mapping[str, str]) -> int | None:
        """The row of a series by its own labels, with its name or without; None when it has none."""
        met = self._meet(json.dumps(dict(labels)).encode())
        return None if met.refused else self._labels.find(met.key)

    def name(self, row: int) -> str:
        """The metric name that a row's series came with; empty where servers or functions drop it."""
        return self._names[row]

    def stable_hash(self, row: int) -> int:
        """A hash of the row's labels that is the same in every process, for spreading work over time."""
        return self._labels.crc(row)

    def find(self, batch: SampleBatch) -> Rows:
        """The row of each series in the batch (n,); UNKNOWN for a label set never seen, REJECTED for a refused one,
        less for one that waits for room, wants a row that another one has, or is not to be watched (`waiting`,
        `rivals`, `refused_for`)."""
        out = np.empty(batch.series, np.int64)
        _find(self._keys, self._slots, batch.label_hash, out)
        return out

    def admit(self, batch: SampleBatch, found: Rows, most: int | None = None) -> Rows:
        """Give rows to the series of a batch that have none, in place in `found`; returns the rows that are new.

        `most` is how many series may have one at a time, None is no limit.
        """
        if self._noted > 2 * max(batch.series, _LEAST_SLOTS):  # most of them are not in the answers any more
            self._rebuild(np.zeros(max(self.rows, 1), np.bool_), marks=False)
        waited = waiting(found)
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

    def hand_over(self, batch: SampleBatch, found: Rows, chosen: Rows) -> None:
        """Give rivals, at the places `chosen` of a batch, the rows that they want, in place in `found`; whoever had
        them is a rival from now on. Each row once."""
        rows = RIVAL - found[chosen]
        handed = np.zeros(self.rows, np.bool_)
        handed[rows] = True
        former = np.flatnonzero(found >= 0)
        former = former[handed[found[former]]]
        found[former] = RIVAL - found[former]
        _demote(self._slots, handed)
        self._noted += len(rows)
        for index, row in zip(chosen.tolist(), rows.tolist(), strict=True):  # once in the life of a series
            met = self._meet(batch.label_bytes(index))
            self._sources[row], self._names[row] = met.source, met.name or self._names[row]
            found[index] = row
            self._remember(int(batch.label_hash[index]), row)

    def note_rival(self, batch: SampleBatch, index: int, row: int) -> None:
        """Report a rival in a batch as a :class:`Collision` with the series that has the row."""
        met = self._meet(batch.label_bytes(index))
        self._collide(met.name, met.source, row, relabelled=True)

    def forget(self, rows: Rows) -> None:
        """Free rows; their label sets are unknown again, and so are refused ones (their rival may be gone)."""
        if len(rows) == 0:
            return
        gone = np.zeros(self.rows, np.bool_)
        gone[rows] = True
        for row in rows.tolist():  # once in the life of a series
            crc = self._labels.crc(row)
            if self._labels.drop(row):
                self._late.discard(crc)
                self._sources.pop(row, None)
                self._free.append(row)
        self._cut_end()
        self._rebuild(gone)

    def _cut_end(self) -> None:
        """Without the free rows at the end: nobody has to make room for them."""
        before = self.rows
        self._labels.cut_end()
        del self._names[self.rows :]
        if self.rows < before:
            self._free = [row for row in self._free if row < self.rows]

    def _choose(self, batch: SampleBatch, found: Rows, room: int) -> Rows:
        """The series of a batch that get the last rows; the others are marked as waiting, in place in `found`."""
        if self._waiting > 2 * max(batch.series, _LEAST_SLOTS):  # most of them are not in the answers any more
            self._rebuild(np.zeros(max(self.rows, 1), np.bool_), shed=False)
        unsure = found == UNKNOWN
        if self._late:
            unsure |= np.isin(SHED - found, np.array(sorted(self._late), np.int64))
        # A loop over series, but each label set passes here once in its life, and once more when it gets a row.
        for index in np.flatnonzero(unsure).tolist():
            found[index] = self._mark(batch.label_bytes(index))
            self._remember(int(batch.label_hash[index]), int(found[index]))
        if room == 0:
            return np.empty(0, np.int64)
        queue = np.flatnonzero(waiting(found))
        chosen: Rows = queue[np.argsort(-found[queue], kind="stable")[:room]]
        return chosen

    def _mark(self, raw: bytes) -> int:
        """What stands for a series while there is no room: the row that it has under another spelling, or its turn."""
        met = self._meet(raw)
        if met.refused or self._labels.find(met.key) is not None:
            return self._admit_one(raw)[0]
        self._waiting += 1
        return SHED - zlib.crc32(met.key)

    def _meet(self, raw: bytes) -> _Met:
        """What relabelling makes of the labels of a series."""
        labels = _parsed(raw)
        name = sys.intern(labels.get(METRIC_NAME, ""))  # all series of a metric share it
        if self._relabelling is None:
            labels.pop(METRIC_NAME, None)
            return _Met(_text(labels), name)
        published = self._relabelling.publish(labels, len(raw))
        if isinstance(published, str):
            return _Met(name=published, refused=REFUSED - REFUSALS.index(published))
        if not self._relabelling.changes:
            return _Met(_text(published), name)
        labels.pop(METRIC_NAME, None)
        return _Met(_text(published), name, _text(labels))

    def _admit_one(self, raw: bytes) -> tuple[int, bool]:
        met = self._meet(raw)
        if met.refused:
            self._noted += 1
            self.over_limits.setdefault(met.name, raw[:_SHOWN_CHARS].decode("utf-8", "replace"))
            return met.refused, False
        row = self._labels.find(met.key)
        if row is None:
            return self._new_row(met), True
        other = self._sources.get(row, b"") != met.source
        if met.name and self._names[row] and met.name != self._names[row]:
            self._collide(met.name, met.source or met.key, row, relabelled=other)
            return REJECTED, False
        if other:
            self._noted += 1
            return RIVAL - row, False
        self._names[row] = self._names[row] or met.name
        return row, False

    def _collide(self, name: str, labels: bytes, row: int, *, relabelled: bool) -> None:
        if len(self.collisions) < 1000:
            of_holder = self._sources.get(row) or self._labels.text(row)
            wanted, holder = (
                f"{metric}{text.decode()}"[:_SHOWN_CHARS]
                for metric, text in ((name, labels), (self._names[row], of_holder))
            )
            self.collisions.append(Collision(wanted, holder, relabelled))

    def _new_row(self, met: _Met) -> int:
        if self._free:
            row = self._free.pop()
            self._names[row] = met.name
        else:
            row = self.rows
            self._names[row:] = [met.name]
        if met.source:
            self._sources[row] = met.source
        self._labels.put(row, met.key)
        return row

    def _remember(self, key: int, row: int) -> None:
        if 2 * (self._used + 1) > len(self._keys):
            self._rebuild(np.zeros(max(self.rows, 1), np.bool_))
        if _insert(self._keys, self._slots, np.uint64(key), row):
            self._used += 1

    def _rebuild(self, gone: npt.NDArray[np.bool_], *, shed: bool = True, marks: bool = True) -> None:
        """A fresh table with the hashes of the rows that stay and of the series that wait or are left out, at most half
        full."""
        size = _LEAST_SLOTS
        self._waiting = int(np.count_nonzero(waiting(self._slots))) if shed else 0
        self._noted = int(np.count_nonzero(self._slots <= RIVAL)) if marks else 0
        kept = int(np.count_nonzero(self._slots >= 0)) + self._waiting + self._noted
        while size < 2 * (kept + 1):
            size *= 2
        keys, slots = np.zeros(size, np.uint64), np.full(size, _EMPTY, np.int64)
        self._used = _copy_kept(self._keys, self._slots, gone, shed, marks, keys, slots)
        self._keys, self._slots = keys, slots


def _text(labels: Mapping[str, str]) -> bytes:
    """Labels in one spelling only."""
    text = json.dumps(labels, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
