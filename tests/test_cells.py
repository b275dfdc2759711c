"""Memory that grows where it is."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.cells import Cells


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def test_growing_keeps_what_is_there():
    cells = Cells(7)
    wanted = np.empty((0, 7), np.float32)
    for rows in (1, 2, 600, 601, 100_000):
        cells.grow(rows)
        more = np.arange((rows - len(wanted)) * 7, dtype=np.float32).reshape(-1, 7)
        cells.array[len(wanted) :] = more
        wanted = np.concatenate([wanted, more])
        np.testing.assert_array_equal(cells.array, wanted)


def test_whoever_holds_the_old_array_keeps_it():
    cells = Cells(3)
    cells.grow(5)
    cells.array[:] = 1
    held = cells.array
    cells.grow(100_000)
    cells.array[:5] = 2
    assert (held == 1).all()
    assert (cells.array[:5] == 2).all()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory may be taken at once, or copied")
def test_room_takes_no_memory_and_growing_no_second_block():
    cells = Cells(2000)
    before = _resident_bytes()
    cells.grow(1 << 20)  # 8 GB
    cells.array[:10_000] = 1  # 80 MB
    cells.grow(2 << 20)
    assert cells.array.nbytes == (2 << 20) * 8000
    assert 75e6 < _resident_bytes() - before < 150e6
    assert (cells.array[:10_000] == 1).all()


def test_more_than_there_is_is_a_memory_error():
    with pytest.raises(MemoryError):
        Cells(1 << 20).grow(1 << 30)
