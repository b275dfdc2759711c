"""The C heap of a process that runs for months: what has been freed must not pile up in it.

glibc gives threads heaps (arenas) of their own, up to eight for each processor, and takes ever larger blocks from them
instead of from the system (mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD). The arrays of a cycle are of some MB, and of
another thread each time: every arena ends up with as much as the largest pieces of work took that ever ran in it.
"""

from __future__ import annotations

import ctypes
import os

from exporter.crew import processors

# mallopt's numbers for its parameters, from malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

_MOST_ARENAS = 4  # kernels that run side by side seldom wait for one another's allocations
_LARGE_BYTES = 4 << 20  # above the arrays of a block of fits, which come again and again
_SPARE_BYTES = 16 << 20  # at the end of an arena: less would be taken and given back in every cycle
_TUNED_BY = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def bound_heap() -> bool:
    """Few arenas, and large blocks straight from the system, which has them back as soon as they are freed.

    To be called before threads are begun. Returns whether it was done: not where the environment sets glibc's own
    tunables, whoever set them knows why, nor where the C library is another one.
    """
    if any(os.environ.get(name) for name in _TUNED_BY):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no such function, or no C library of that kind
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    arenas = min(_MOST_ARENAS, max(2, processors()))
    wanted = ((_ARENA_MAX, arenas), (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _SPARE_BYTES))
    taken = [mallopt(parameter, value) for parameter, value in wanted]
    return all(taken)
