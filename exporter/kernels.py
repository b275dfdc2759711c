"""How numeric kernels are compiled: one decorator, so that the choice of options stands in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile a function with numba: cached on disk, and without the interpreter lock so that threads run side by side.

    No fastmath: NaN is a gap everywhere and must survive, and replays must give the same bits.
    """
    return cast(F, numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function))
