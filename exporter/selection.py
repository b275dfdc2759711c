"""Which rows publish more than their score: the query's `publish`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_LONG_AGO_S = np.iinfo(np.int64).min // 2
_LEAST_S, _LEAST_CYCLES = 900, 5


def lasting_s(interval_s: int) -> int:
    """How long after its last anomalous sample a series goes on to show its band: 15 minutes, for as long as the
    shipped rules look back, or 5 cycles where that is longer. A dashboard shows the end of an episode, and a score
    around 1 does not cut its band to pieces."""
    return max(_LEAST_S, _LEAST_CYCLES * interval_s)


class Selection:
    """Knows when each row was last anomalous, as far as that matters."""

    def __init__(self, query: Query) -> None:
        self._publish = query.publish
        self._lasting_s = lasting_s(query.interval_s)
        self._anomalous_s: I64 = np.empty(0, np.int64)

    def banded(self, rows: I64, scores: Iterable[F64], time_s: int) -> I64:
        """Those of `rows` (n,) whose bands and values are published: all, none, or where a score (n,) of any model is
        above 1 or was lately. The same array where it is all of them."""
        if self._publish == "all":
            return rows
        if self._publish == "score" or len(rows) == 0:
            return rows[:0]
        self._make_room(int(rows[-1]) + 1)
        anomalous = np.logical_or.reduce([score > 1 for score in scores])
        self._anomalous_s[rows[anomalous]] = time_s
        return rows[time_s - self._anomalous_s[rows] <= self._lasting_s]

    def forget(self, rows: I64) -> None:
        """Rows get new owners."""
        known = rows[rows < len(self._anomalous_s)]
        self._anomalous_s[known] = _LONG_AGO_S

    def _make_room(self, rows: int) -> None:
        more = rows - len(self._anomalous_s)
        if more > 0:
            self._anomalous_s = np.concatenate([self._anomalous_s, np.full(more, _LONG_AGO_S)])
