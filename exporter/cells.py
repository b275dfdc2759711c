"""Memory for a matrix that grows by rows to many gigabytes: never copied where the system can move it instead."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class Cells:
    """Rows of float32 in anonymous memory of their own. Room that was never written to takes no memory (Linux hands
    out a page when it is first touched), and growing moves the pages, not their content (mremap).

    ``array`` (rows, columns) is valid until the next `grow`, which has to copy while somebody else holds it.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._memory: mmap.mmap | None = None
        self.array: F32 = np.empty((0, columns), np.float32)

    def grow(self, rows: int) -> None:
        """Make room for so many rows, more than there are; the content of new ones is not defined.

        Raises MemoryError when there is none; then everything is as it was.
        """
        size_bytes = rows * self._columns * 4
        old_rows = len(self.array)
        self.array = np.empty((0, self._columns), np.float32)  # who holds the memory keeps it from being moved
        try:
            if self._memory is None or not self._resized(size_bytes):
                self._replace(size_bytes, old_rows)
        except MemoryError:
            self.array = self._view(old_rows)
            raise
        self.array = self._view(rows)

    def _resized(self, size_bytes: int) -> bool:
        """Whether the memory could grow where it is, or be moved."""
        # BufferError: somebody holds the array. SystemError: the system has no mremap. OSError: no address is free.
        with contextlib.suppress(BufferError, SystemError, OSError):
            if self._memory is not None:
                self._memory.resize(size_bytes)
                _ask_for_large_pages(self._memory)
                return True
        return False

    def _replace(self, size_bytes: int, old_rows: int) -> None:
        old = self._view(old_rows)
        self._memory = _anonymous(size_bytes)
        self._view(old_rows)[:] = old

    def _view(self, rows: int) -> F32:
        if self._memory is None:
            return np.empty((0, self._columns), np.float32)
        cells = np.frombuffer(self._memory, np.float32, rows * self._columns)
        return cells.reshape(rows, self._columns)


def _anonymous(size_bytes: int) -> mmap.mmap:
    """Fresh memory, zeros; raises MemoryError when the system has none."""
    try:
        if hasattr(mmap, "MAP_ANONYMOUS"):  # private: shared anonymous memory can't be enlarged
            memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            memory = mmap.mmap(-1, size_bytes)
    except OSError as error:
        raise MemoryError(f"no {size_bytes} bytes for a window") from error
    _ask_for_large_pages(memory)
    return memory


def _ask_for_large_pages(memory: mmap.mmap) -> None:
    """A column of the matrix touches every row: with pages of 2 MiB that is far fewer look-ups of addresses."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
