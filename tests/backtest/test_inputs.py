"""Files of samples: good ones in each format, and everything that can be wrong with one."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backtest.faults import BacktestError
from exporter.backtest.inputs.filereader import FileReader, of_query, read_file
from exporter.backtest.inputs.samples import Builder, Samples
from exporter.config.schema import Query
from exporter.series import SeriesTable

HOSTILE = 'a"b\\c\n<script>alert(1)</script>\u202e\x07' + "x" * 10_000


def written(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def table(samples: Samples) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    """The samples by labels."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for of, time_ms, value in zip(samples.of.tolist(), samples.time_ms.tolist(), samples.value.tolist(), strict=True):
        found.setdefault(tuple(sorted(samples.labels[of].items())), []).append((time_ms, value))
    return found


WANTED = {
    (("host", "a"),): [(1_700_000_000_000, 1.5), (1_700_000_300_000, -2.0)],
    (("host", "b"), ("zone", "z")): [(1_700_000_000_500, 3e9)],
}


def test_csv_in_any_order_with_times_of_each_kind(tmp_path):
    text = (
        "\ufeffhost,value,zone,timestamp\r\na,-2,,1700000300\r\n"
        "b,3e9,z,1700000000500\r\n\r\na,1.5,,2023-11-14T22:13:20Z\r\n"
    )
    assert table(read_file(written(tmp_path, "a.csv", text))) == WANTED


def test_openmetrics_with_exemplars_and_escapes(tmp_path):
    text = (
        "# TYPE m gauge\n# HELP m what it is\n"
        'm{host="b",zone="z"} 3e9 1700000000.5 # {trace_id="1"} 1.0\n'
        'm{host="a"} 1.5 1700000000\nm{host="a",} -2 1.7000003e9\n'
        'm{host="q\\"\\\\\\n}"} 4 1700000000\nup 1 1700000000\n# EOF\n'
    )
    found = table(read_file(written(tmp_path, "a.om", text)))
    named = {(("__name__", "m"), *labels): samples for labels, samples in WANTED.items()}
    named[("__name__", "m"), ("host", 'q"\\\n}')] = [(1_700_000_000_000, 4.0)]
    named[(("__name__", "up"),)] = [(1_700_000_000_000, 1.0)]
    assert found == named


def parquet(folder: Path, **columns: object) -> str:
    path = str(folder / "a.parquet")
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns", "float", "int", "date in a zone"])
def test_parquet_with_times_of_each_kind(tmp_path, kind):
    seconds = np.array([1_700_000_300, 1_700_000_000.5, 1_700_000_000])
    if kind == "s":
        seconds[1] = 1_700_000_001
    times = {
        "float": seconds, "int": (seconds * 1000).astype(np.int64),
        "date in a zone": pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", tz="Europe/Berlin")),
    }.get(kind)  # fmt: skip
    if times is None:
        scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind]
        times = pa.array((seconds * scale).astype(np.int64), pa.timestamp(kind))
    path = parquet(
        tmp_path, ts=times, host=pa.array(["a", "b", "a"]).dictionary_encode(), zone=pa.array([None, "z", ""]),
        value=pa.array([-2, 3e9, 1.5]),
    )  # fmt: skip
    found = table(read_file(path))
    assert found[(("host", "a"),)] == WANTED[(("host", "a"),)]
    assert found[("host", "b"), ("zone", "z")][0][1] == 3e9


def test_a_parquet_of_one_series_has_no_labels(tmp_path):
    found = table(read_file(parquet(tmp_path, time=[1_700_000_000], value=pa.array([7], pa.int32()))))
    assert found == {(): [(1_700_000_000_000, 7.0)]}


def test_hostile_labels_stay_what_they_are(tmp_path):
    quoted = HOSTILE.replace('"', '""')
    found = read_file(written(tmp_path, "a.csv", f'"{quoted}",timestamp,value\n"{quoted}",1700000000,1\n'))
    assert found.labels == ({HOSTILE: HOSTILE},)
    batch = next(FileReader(found, 300).range(1_700_000_100, 1_700_000_100, None)).batch
    series = SeriesTable()
    assert series.admit(batch, series.find(batch)).tolist() == [0]
    assert series.labels(0) == {HOSTILE: HOSTILE}


def test_gaps_and_repeats_are_counted_and_the_last_one_counts(tmp_path):
    rows = ["1700000000,NaN", "1700000300,", "1700000600,+Inf", "1700000900,5", "1700000900,6", "1700001200,7"]
    found = read_file(written(tmp_path, "a.csv", "\n".join(["ts,value", *rows, ""])))
    assert table(found) == {(): [(1_700_000_900_000, 6.0), (1_700_001_200_000, 7.0)]}
    assert found.remarks == (
        "3 samples of the file are empty, NaN or infinite: they are gaps",
        "1 samples of the file have the time of another one of their series: the last one counts",
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.xlsx", "", r"a file that ends with .xlsx is not known: .csv, .parquet"),
        ("a", "", "a file that ends with nothing is not known"),
        ("a.csv", "", "the columns are none: one of timestamp, time, ts and value are needed"),
        ("a.csv", "timestamp,value\n", "no sample in it"),
        ("a.csv", "timestamp,value\n1700000000,NaN\n", "no sample in it"),
        ("a.csv", "when,value\n1,2\n", "the columns are when, value: one of"),
        ("a.csv", "timestamp;value\n1;2\n", "the columns are timestamp;value"),
        ("a.csv", "timestamp,time,value\n1,2,3\n", "one of timestamp, time, ts and value"),
        ("a.csv", "timestamp,value,a,a\n1,2,3,4\n", "the column 'a' is there twice"),
        ("a.csv", "timestamp,value,\n1,2,3\n", "a column has no name"),
        ("a.csv", "timestamp,value\nsoon,1\n", r"line 2: 'soon' is no time: unix seconds, or a date such as"),
        ("a.csv", "timestamp,value\n2026-03-01T00:00:00,1\n", "line 2: .* is no time"),
        ("a.csv", "timestamp,value\n-1,1\n", "line 2: not a time from 1970 to 9999"),
        ("a.csv", "timestamp,value\n9e18,1\n", "line 2: not a time from 1970 to 9999"),
        ("a.csv", "timestamp,value\n1,2,3\n", "line 2: 3 fields, but the header has 2"),
        ("a.csv", "timestamp,value\n1700000000,1_000\n", "line 2: '1_000' is no number"),
        ("a.csv", "timestamp,value\n1700000000,0x10\n", "line 2: '0x10' is no number"),
        ("a.csv", "timestamp,value\n1,x\n2,y\n3,z\n4,u\n5,v\n6,w\n7,t\n", r"(?s)line 2.*line 6: .*and 2 more\nnothing"),
        ("a.csv", b"timestamp,value\n1,\xff\n", "not UTF-8"),
        ("a.csv", 'timestamp,value\n1,"2\n', "not CSV"),
        ("a.csv", "timestamp,value,a\n1,2," + "x" * 200_000 + "\n", "not CSV: field larger than"),
        ("a.om", "", "no # EOF: is the file complete"),
        ("a.om", "m 1 1700000000\n", "no # EOF"),
        ("a.om", "# EOF\n", "no sample in it"),
        ("a.om", "m 1 1700000000\n# EOF\nm 2 1700000300\n", "line 3: text after # EOF"),
        ("a.om", "m 1\n# EOF\n", "line 1: no time: each sample needs one"),
        ("a.om", "m 1 1700000000000\n# EOF\n", "line 1: the time 1700000000000 looks like milliseconds"),
        ("a.om", "m 1 soon\n# EOF\n", "line 1: 'soon' is no time in seconds"),
        ("a.om", "m 1 -5\n# EOF\n", "line 1: not a time from 1970"),
        ("a.om", "m one 1700000000\n# EOF\n", "line 1: 'one' is no number"),
        ("a.om", 'm{a="b" 1 1700000000\n# EOF\n', "line 1: not a sample"),
        ("a.om", 'm{a=b} 1 1700000000\n# EOF\n', "line 1: labels that are not understood: 'a=b'"),
        ("a.om", 'm{a="b",a="c"} 1 1700000000\n# EOF\n', "line 1: the label 'a' is there twice"),
        ("a.om", 'm{__name__="x"} 1 1700000000\n# EOF\n', "line 1: the label '__name__' is there twice"),
        ("a.om", b"m \xff 1\n# EOF\n", "line 1: not UTF-8"),
        ("a.om", b"m" * 2_000_000, "line 1 is longer than"),
        ("a.parquet", b"PAR1 not really", "not a Parquet file that can be read"),
        ("a.parquet", b"", "not a Parquet file that can be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_is_used(tmp_path, name, text, words):
    path = written(tmp_path, name, text)
    with pytest.raises(BacktestError, match=words) as error:
        read_file(path)
    assert path in str(error.value)
    assert len(str(error.value)) < 2500


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"time": ["x"], "value": [1.0]}, "the time is string"),
        ({"time": [1], "value": ["x"]}, "value is string: numbers are needed"),
        ({"time": [1], "value": [1.0], "label": [0]}, "the column 'label' is int64: labels are text"),
        ({"time": [1], "value": [1.0], "a": [["x"]]}, "the column 'a' is list"),
        ({"time": [1, None], "value": [1.0, 2.0]}, "1 rows have no time"),
        ({"time": [-1], "value": [1.0]}, "not from 1970 to 9999"),
        ({"time": [float("nan")], "value": [1.0]}, "not from 1970 to 9999"),
        ({"time": [1], "value": pa.array([None], pa.float64())}, "no sample in it"),
        ({"time": pa.array([], pa.int64()), "value": pa.array([], pa.float64())}, "no sample in it"),
        ({"when": [1], "value": [1.0]}, "one of timestamp, time, ts and value"),
        ({"time": [datetime(1960, 1, 1, tzinfo=UTC)], "value": [1.0]}, "not from 1970 to 9999"),
    ],
)
def test_what_is_wrong_with_a_parquet(tmp_path, columns, words):
    with pytest.raises(BacktestError, match=words):
        read_file(parquet(tmp_path, **columns))


@pytest.mark.parametrize("name", ["none.csv", "none.om", "none.parquet", "folder.csv", "folder.om", "folder.parquet"])
def test_a_file_that_is_not_there(tmp_path, name):
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    with pytest.raises(BacktestError, match=f"{name}: can't be read: "):
        read_file(str(tmp_path / name))


def test_too_many_samples_are_refused():
    builder = Builder("a.csv", most=10)
    number = builder.series((), dict)
    builder.add_all(np.full(10, number), np.arange(10), np.zeros(10))
    with pytest.raises(BacktestError, match="more than 10 samples: split the file"):
        builder.add(number, 11, 0.0)


def test_without_pyarrow_it_says_what_to_install(tmp_path):
    path = parquet(tmp_path, time=[1], value=[1.0])
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from exporter.backtest.inputs.filereader import read_file\n"
        f"try: read_file({path!r})\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "BacktestError reading Parquet needs the package pyarrow, which is not installed: "
        "pip install 'anomaly-exporter[parquet]'"
    )


def named(*names: str) -> Samples:
    labels = tuple({"__name__": name, "i": "1"} for name in names)
    count = len(labels)
    return Samples(labels, np.arange(count), np.full(count, 1_700_000_000_000), np.arange(float(count)))


def test_the_expr_chooses_among_metrics():
    both = named("cpu", "load")
    assert of_query(both, Query("q", " load\n"), "f").labels == (both.labels[1],)
    assert of_query(both, Query("q", "load"), "f").value.tolist() == [1.0]
    assert of_query(named("cpu"), Query("q", "rate(x[5m])"), "f").labels == named("cpu").labels
    with pytest.raises(BacktestError, match=r"f holds 2 metrics \(cpu, load\): the expr of query q must be the name"):
        of_query(both, Query("q", "rate(cpu[5m])"), "f")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4000), st.floats(-1e6, 1e6)), min_size=1, max_size=40),
    st.integers(0, 8), st.integers(0, 14),
)  # fmt: skip
def test_the_grid_has_the_last_sample_of_each_step(rows, first, last):
    builder = Builder("f")
    for of, time_s, value in rows:
        builder.add(builder.series(of, lambda of=of: {"i": str(of)}), time_s * 1000, value)
    step = 300
    (answer,) = FileReader(builder.samples(), step).range(first * step, last * step, None)
    latest: dict[tuple[str, int], tuple[int, float]] = {}
    for of, time_s, value in rows:
        key = str(of), -(-time_s // step)
        if time_s >= latest.get(key, (-1, 0.0))[0]:
            latest[key] = time_s, value
    wanted = {key: value for key, (_, value) in latest.items() if first <= key[1] <= last}
    batch = answer.batch
    have = {}
    for i in range(batch.series):
        label = batch.label_bytes(i).decode().split('"')[3]
        for at in range(batch.first[i], batch.first[i + 1]):
            have[label, int(batch.time_ms[at]) // (step * 1000)] = float(batch.value[at])
    assert have == wanted
