"""Which rows publish their bands."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.config.schema import Query
from exporter.selection import Selection, lasting_s

ROWS = np.array([0, 2, 5])


def banded(selection: Selection, time_s: int, *scores: list[float], rows: np.ndarray = ROWS) -> list[int]:
    return selection.banded(rows, [np.array(score) for score in scores], time_s).tolist()


def test_all_is_the_same_array():
    assert Selection(Query("q", "up")).banded(ROWS, [], 60) is ROWS


def test_score_is_none():
    assert banded(Selection(Query("q", "up", publish="score")), 60, [9.0, 9.0, 9.0]) == []


def test_anomalous_ones_and_those_that_were_lately():
    selection = Selection(Query("q", "up", publish="anomalous"))
    assert banded(selection, 60, [0.5, 1.0, np.nan], [np.nan, 0.9, 1.5]) == [5]
    assert banded(selection, 120, [0.5, 2.0, 0.1]) == [2, 5]
    assert banded(selection, 60 + 900, [0.0, 0.0, 0.0]) == [2, 5]
    assert banded(selection, 61 + 900, [0.0, 0.0, 0.0]) == [2]
    assert banded(selection, 10_000, [0.0, 0.0, 0.0]) == []


def test_a_row_of_a_new_owner_begins_anew():
    selection = Selection(Query("q", "up", publish="anomalous"))
    assert banded(selection, 60, [2.0, 2.0, 2.0]) == [0, 2, 5]
    selection.forget(np.array([2, 99]))
    assert banded(selection, 120, [0.0, 0.0, 0.0]) == [0, 5]
    assert banded(selection, 120, [0.0], rows=np.array([1000])) == []
    assert banded(selection, 120, rows=np.array([], int)) == []


@pytest.mark.parametrize(("interval_s", "wanted_s"), [(10, 900), (60, 900), (300, 1500)])
def test_fifteen_minutes_or_five_cycles(interval_s, wanted_s):
    assert lasting_s(interval_s) == wanted_s
