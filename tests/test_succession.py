"""Whose samples become those of a common row."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.relabelling.publishing import Relabelling
from exporter.samples import SampleBatch
from exporter.series import RIVAL, SeriesTable
from exporter.source.scan import scan_answer
from exporter.succession import beside, overtake, succeed

NOBODY = np.empty(0, np.uint64)


def batch_of(*series: tuple[dict[str, str], list[int]]) -> SampleBatch:
    """Series with samples at some seconds; the value says whose it is: 100 times its place, and its second."""
    result = [
        {"metric": labels, "values": [[at, str(100 * place + at)] for at in times]}
        for place, (labels, times) in enumerate(series)
    ]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}, separators=(",", ":"))
    return scan_answer(body.encode()).batch


def pods(*times: list[int]) -> SampleBatch:
    return batch_of(*(({"app": "a", "pod": str(i)}, at) for i, at in enumerate(times)))


def admitted(table: SeriesTable, batch: SampleBatch) -> np.ndarray:
    rows = table.find(batch)
    table.admit(batch, rows)
    return rows


def common() -> SeriesTable:
    return SeriesTable(Relabelling(drop=["pod"]))


def samples(batch: SampleBatch, rows: np.ndarray) -> dict[int, list[float]]:
    assert len(set(rows.tolist())) == len(rows) == batch.series
    return {
        int(row): batch.value[batch.first[i] : batch.first[i + 1]].tolist() for i, row in enumerate(rows) if row >= 0
    }


def merged(batch: SampleBatch, without: np.ndarray = NOBODY) -> dict[int, list[float]]:
    return samples(*succeed(batch, admitted(common(), batch), without))


def test_a_batch_without_rivals_is_itself() -> None:
    batch = batch_of(({"app": "a", "pod": "1"}, [1]), ({"app": "b", "pod": "1"}, [1]))
    rows = admitted(common(), batch)
    assert succeed(batch, rows, NOBODY) == (batch, rows)
    assert rows.tolist() == [0, 1]


def test_one_after_the_other_is_one_series() -> None:
    assert merged(pods([1, 2, 3], [4, 5], [6])) == {0: [1, 2, 3, 104, 105, 206]}


def test_the_order_of_the_answer_does_not_matter() -> None:
    assert merged(pods([6], [4, 5], [1, 2, 3])) == {0: [201, 202, 203, 104, 105, 6]}


def test_where_they_overlap_the_one_that_is_there_last_counts() -> None:
    assert merged(pods([1, 2, 3, 4], [3, 4, 5])) == {0: [1, 2, 103, 104, 105]}


def test_gaps_are_not_filled_by_others() -> None:
    assert merged(pods([1, 2, 3, 4, 5], [2, 6])) == {0: [1, 102, 106]}


def test_of_two_that_are_there_at_the_end_the_one_with_the_row_counts() -> None:
    assert merged(pods([3, 4, 5], [1, 2, 3, 4, 5])) == {0: [101, 102, 3, 4, 5]}
    batch = pods([3, 4, 5], [1, 2, 3, 4, 5])
    assert merged(batch, batch.label_hash[1:]) == {0: [3, 4, 5]}


def test_other_series_stay_as_they_are() -> None:
    batch = batch_of(
        ({"app": "a", "pod": "1"}, [1, 2]),
        ({"app": "b"}, [1, 2, 3]),
        ({"app": "a", "pod": "2"}, [3]),
        ({"app": "c"}, []),
    )
    assert merged(batch) == {0: [1, 2, 203], 1: [101, 102, 103]}


def test_rivals_beside_the_series_with_the_row_are_known() -> None:
    table, batch = common(), pods([1], [1])
    rows = admitted(table, batch)
    assert rows.tolist() == [0, RIVAL]
    assert beside(batch, rows, 0.0).tolist() == [False, True]
    later = batch_of(({"app": "a", "pod": "1"}, [2]))
    assert beside(later, table.find(later), 0.0).tolist() == [False]


def test_a_series_that_has_ended_is_overtaken() -> None:
    table, batch = common(), pods([10, 20, 30, 40], [10, 20, 30, 100], [50, 60, 70, 80, 90])
    rows = admitted(table, batch)
    overtake(table, batch, rows, 0.0)
    assert rows.tolist() == [RIVAL, 0, RIVAL]
    assert table.find(batch).tolist() == [RIVAL, 0, RIVAL]
    assert beside(batch, rows, 0.0).tolist() == [False, False, True]  # 10 s behind, of a series with one each 10 s


def test_a_series_that_lags_a_little_keeps_its_row() -> None:
    for table, batch, least_ms in (
        (common(), pods([10, 20, 30], [10, 20, 30, 54]), 0.0),
        (common(), pods([10, 20, 30], [10, 20, 30, 64]), 40_000.0),
        (common(), pods([30], [10, 20, 290]), 0.0),
    ):
        rows = admitted(table, batch)
        overtake(table, batch, rows, least_ms)
        assert rows.tolist() == [0, RIVAL]
        assert beside(batch, rows, least_ms).tolist() == [False, True]


def test_a_series_that_lags_a_little_more_has_ended() -> None:
    for table, batch, least_ms in (
        (common(), pods([10, 20, 30], [10, 20, 30, 56]), 0.0),  # two and a half of its spacings are 25 s
        (common(), pods([10, 20, 30], [10, 20, 30, 71]), 40_000.0),
        (common(), pods([30], [10, 20, 331]), 0.0),  # a server looks back 5 minutes
    ):
        rows = admitted(table, batch)
        assert beside(batch, rows, least_ms).tolist() == [False, False]
        overtake(table, batch, rows, least_ms)
        assert rows.tolist() == [RIVAL, 0]


def test_values_of_one_moment_overtake_nobody() -> None:
    table, batch = common(), pods([100], [100])
    rows = admitted(table, batch)
    overtake(table, batch, rows, 0.0)
    assert rows.tolist() == [0, RIVAL]


def test_a_rival_whose_series_is_not_in_the_answer_waits() -> None:
    table = common()
    admitted(table, pods([100]))
    later = batch_of(({"app": "a", "pod": "9"}, [500]))
    rows = admitted(table, later)
    overtake(table, later, rows, 0.0)
    assert rows.tolist() == [RIVAL]
    assert beside(later, rows, 0.0).tolist() == [False]


_times = st.lists(st.integers(1, 60), min_size=1, max_size=12, unique=True).map(sorted)


@given(st.lists(_times, min_size=2, max_size=5))
def test_nothing_is_interleaved_and_times_ascend(times: list[list[int]]) -> None:
    found = merged(pods(*times))[0]
    at, whose = [int(value) % 100 for value in found], [int(value) // 100 for value in found]
    assert at == sorted(set(at))
    turns = [owner for i, owner in enumerate(whose) if i == 0 or owner != whose[i - 1]]
    assert len(turns) == len(set(turns))
    assert at[-1] == max(map(max, times))
    assert at[0] == min(map(min, times))
    for owner in turns:  # of each owner all samples of its turn
        mine = [each for each, who in zip(at, whose, strict=True) if who == owner]
        assert [each for each in times[owner] if mine[0] <= each <= mine[-1]] == mine
