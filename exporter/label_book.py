"""The label text of every row, packed: a row is found by its text, a text by its row.

A million series have a million texts. As objects in a list and a dict each took 120 bytes beside its letters, here it
takes about 30. Only what happens once in the life of a series comes here, so plain Python is fast enough.
"""

from __future__ import annotations

import zlib
from array import array

_EMPTY = -1
_LEAST_SLOTS = 1024
_LEAST_WASTE_BYTES = 65536  # packing anew for less than this is not worth the copy


class LabelBook:
    """Texts of rows 0 and up, each text once. Rows without one are free. A MemoryError leaves it as it was.
    For one thread; another one may read at the same time, and may miss a text that is just being moved or dropped.

    One byte array holds the texts, an open-addressing table of row numbers finds them by a hash that is another one in
    each process, as strangers choose the texts; equal ones are compared byte by byte. Cost: a few microseconds a call;
    the text of rows that are dropped is reclaimed once it is more than half of all.
    """

    def __init__(self) -> None:
        self._texts = bytearray(), array("q")  # and where each starts: replaced together, as others may be reading
        self._length = array("I")  # 0: the row is free, as no label set is written with fewer than two letters
        self._hash = array("I")
        self._slots = array("i", [_EMPTY]) * _LEAST_SLOTS
        self._live_bytes = 0
        self.live = 0

    @property
    def rows(self) -> int:
        """Rows ever used, free ones included."""
        return len(self._texts[1])

    def text(self, row: int) -> bytes:
        """The text of a row; empty for a free one, and beyond the last one."""
        blob, starts = self._texts
        try:
            start = starts[row]
            return bytes(blob[start : start + self._length[row]])
        except IndexError:
            return b""

    def crc(self, row: int) -> int:
        """CRC-32 of the text of a row, 0 for a free one: the same in every process."""
        return zlib.crc32(self.text(row))

    def find(self, text: bytes) -> int | None:
        """The row with this text; None without one."""
        row = self._slots[self._slot_of(text, _hash_of(text))]
        return None if row == _EMPTY else row

    def put(self, row: int, text: bytes) -> None:
        """Give a free row, or the next one, a text that no other row has and that is not empty."""
        if 2 * (self.live + 1) > len(self._slots):
            self._widen()
        blob, starts = self._texts
        start, hashed = len(blob), _hash_of(text)
        blob += text
        for column in (self._length, self._hash, starts):  # this one last: it says how many rows there are
            if len(column) == row:
                column.append(0)
        slot = self._slot_of(text, hashed)
        starts[row], self._length[row], self._hash[row] = start, len(text), hashed
        self._slots[slot] = row
        self._live_bytes += len(text)
        self.live += 1

    def drop(self, row: int) -> bool:
        """Free a row; returns whether it had a text."""
        if not self._length[row]:
            return False
        self._close_gap(self._slot_of(self.text(row), self._hash[row]))
        self._live_bytes -= self._length[row]
        self._length[row] = 0
        self.live -= 1
        if len(self._texts[0]) > 2 * self._live_bytes + _LEAST_WASTE_BYTES:
            self._pack()
        return True

    def cut_end(self) -> None:
        """Without the free rows at the end."""
        while self._length and not self._length[-1]:
            for column in (self._texts[1], self._length, self._hash):
                column.pop()

    def _slot_of(self, text: bytes, hashed: int) -> int:
        """The slot of the row with this text, or the empty one where it would be."""
        slots, mask = self._slots, len(self._slots) - 1
        at = hashed & mask
        while (row := slots[at]) != _EMPTY and not (self._hash[row] == hashed and self.text(row) == text):
            at = (at + 1) & mask
        return at

    def _close_gap(self, gap: int) -> None:
        """Empty a slot; those behind it that were only pushed past it move up, so that each is still found.

        Deletion without marks: Knuth, The Art of Computer Programming, volume 3, algorithm 6.4R.
        """
        slots, mask = self._slots, len(self._slots) - 1
        at = (gap + 1) & mask
        while (row := slots[at]) != _EMPTY:
            home = self._hash[row] & mask
            if (at - home) & mask >= (at - gap) & mask:
                slots[gap], gap = row, at
            at = (at + 1) & mask
        slots[gap] = _EMPTY

    def _widen(self) -> None:
        """Twice as many slots: half of them stay empty at least."""
        mask = 2 * len(self._slots) - 1
        slots = array("i", [_EMPTY]) * (mask + 1)
        for row in self._slots:
            if row != _EMPTY:
                at = self._hash[row] & mask
                while slots[at] != _EMPTY:
                    at = (at + 1) & mask
                slots[at] = row
        self._slots = slots

    def _pack(self) -> None:
        """The texts that are still in use, one behind the other."""
        packed, start = bytearray(), array("q", self._texts[1])
        for row, length in enumerate(self._length):
            if length:
                start[row] = len(packed)
                packed += self.text(row)
        self._texts = packed, start


def _hash_of(text: bytes) -> int:
    """32 bits of Python's own hash, which is keyed by a secret of the process (PEP 456)."""
    return hash(text) & 0xFFFFFFFF
