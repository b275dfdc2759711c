"""Reading labelled sets, and their samples on columns."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled_series import series

from bench.quality.corpus import CorpusError, find_sets, on_grid, read_set, read_sets, usual_step

DAY = 86_400


def write_set(folder, names, part=None, windows=None, rows=10):
    folder.mkdir(parents=True)
    columns = {
        "series": np.repeat(names, rows),
        "ts": np.tile(np.arange(rows) * 60, len(names)),
        "value": np.arange(rows * len(names), dtype=float),
        "label": np.zeros(rows * len(names), np.int8),
    }
    if part is not None:
        columns["part"] = np.concatenate([np.asarray(part[name]) for name in names])
    pq.write_table(pa.table(columns), folder / "data.parquet")
    if windows is not None:
        (folder / "windows.json").write_text(json.dumps(windows))
    return folder


def test_series_keep_their_order_rows_and_names(tmp_path):
    found = read_set(write_set(tmp_path / "made", ["b", "a"]))
    assert (found.name, found.nab, [one.name for one in found.series]) == ("made", False, ["b", "a"])
    assert found.series[1].value.tolist() == list(range(10, 20))
    assert found.series[0].test.all()
    assert not found.series[0].train.any()


def test_parts_say_what_is_measured(tmp_path):
    part = {"both": ["train"] * 4 + ["test"] * 6, "train only": ["train"] * 10}
    folder = write_set(tmp_path / "made", list(part), part=part)
    both, alone = read_set(folder).series
    assert both.train.tolist() == [True] * 4 + [False] * 6
    assert (both.test == ~both.train).all()
    assert alone.train.all()
    assert not alone.test.any()
    alone = read_set(folder, whole=True).series[1]
    assert alone.test.all()
    assert not alone.train.any()


def test_a_set_with_windows_is_measured_after_nabs_probation(tmp_path):
    folder = write_set(tmp_path / "nab", ["a"], windows={"a": [[300, 420]]}, rows=100)
    found = read_set(folder)
    assert found.nab
    assert found.series[0].windows == ((300, 420),)
    assert found.series[0].test.tolist() == [False] * 15 + [True] * 85


def test_nabs_own_folder_gives_what_the_table_gives(tmp_path):
    root = tmp_path / "NAB"
    (root / "data" / "real").mkdir(parents=True)
    (root / "labels").mkdir()
    lines = ["timestamp,value", *(f"2014-04-01 00:{m:02d}:00,{m / 2}" for m in range(40))]
    (root / "data" / "real" / "one.csv").write_text("\n".join(lines) + "\n")
    limits = [["2014-04-01 00:10:00.000000", "2014-04-01 00:12:00.000000"]]
    (root / "labels" / "combined_windows.json").write_text(json.dumps({"real/one.csv": limits}))
    found = read_set(root)
    one = found.series[0]
    assert (found.name, found.nab, one.name, len(one.value)) == ("nab", True, "real/one.csv", 40)
    assert one.time_s[0] == 1_396_310_400
    assert np.flatnonzero(one.label).tolist() == [10, 11, 12]
    assert one.windows == ((1_396_310_400 + 600, 1_396_310_400 + 720),)
    assert one.test.tolist() == [False] * 6 + [True] * 34


def test_sets_of_a_folder_and_the_wanted_ones(tmp_path):
    for name in ("two", "one"):
        write_set(tmp_path / name, ["a"])
    (tmp_path / "other").mkdir()
    assert [one.name for one in read_sets(tmp_path)] == ["one", "two"]
    assert [one.name for one in read_sets(tmp_path, ("two",))] == ["two"]
    assert [one.name for one in read_sets(tmp_path / "one")] == ["one"]


def test_what_can_not_be_read_says_why(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        find_sets(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"neither a data\.parquet"):
        find_sets(tmp_path)
    write_set(tmp_path / "one", ["a"])
    with pytest.raises(CorpusError, match="no set three; there: one"):
        find_sets(tmp_path, ("three",))
    (tmp_path / "bad").mkdir()
    pq.write_table(pa.table({"series": ["a"], "ts": [0]}), tmp_path / "bad" / "data.parquet")
    with pytest.raises(CorpusError, match="no column label, value"):
        read_set(tmp_path / "bad")


def test_columns_hold_the_newest_sample_and_hidden_rows_are_never_judged():
    one = series([0] * 5, time_s=[600, 890, 900, 1500, 1500], value=[1, 2, 3, 4, 5])
    grid = on_grid(series([0] * 40, step_s=300))
    assert (grid.step_s, grid.first_column, len(grid.value)) == (300, 0, 40)
    grid = on_grid(one)
    assert grid.step_s == 300
    assert grid.first_column == 2
    assert np.array_equal(grid.value, [1, 3, np.nan, 5], equal_nan=True)
    assert grid.place.tolist() == [0, -1, 1, -1, 3]
    assert np.array_equal(grid.per_row(np.array([10.0, 20, 30, 40])), [10, np.nan, 20, np.nan, 40], equal_nan=True)


def test_rows_out_of_order_lie_where_their_times_say():
    grid = on_grid(series([0] * 4, time_s=[0, 120, 60, 180], value=[1, 2, 3, 4]))
    assert grid.value.tolist() == [1, 3, 2, 4]
    assert grid.place.tolist() == [0, 2, 1, 3]


def test_a_pause_between_the_parts_is_shortened_by_whole_days():
    time_s = np.concatenate([np.arange(100) * 600, 20 * DAY + np.arange(100) * 600 + 6000])
    train = np.arange(200) < 100
    grid = on_grid(series([0] * 200, time_s=time_s, train=train, test=~train))
    start_of_test = grid.place[100] - grid.place[99]
    assert start_of_test * 600 < DAY + 600
    assert (time_s[100] - time_s[99] - start_of_test * 600) % DAY == 0
    unparted = on_grid(series([0] * 200, time_s=time_s))
    assert len(unparted.value) > 20 * 144


@pytest.mark.parametrize(
    ("spacing", "step"), [(15, 15), (60, 60), (58, 60), (299, 300), (450, 600), (1800, 1800), (7200, 3600)]
)
def test_the_step_divides_a_day(spacing, step):
    assert usual_step(np.arange(50) * spacing) == step
    assert DAY % step == 0


def test_one_row_alone_has_a_step():
    assert usual_step(np.array([5])) == 60
