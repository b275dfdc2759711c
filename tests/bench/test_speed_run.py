"""The command as a whole on few series against a real Prometheus, the naive ways agreeing with ours, and refusals."""

from __future__ import annotations

import json
import math
import os
import shutil

import numpy as np
import pytest

from bench.speed import madeup, protocol
from bench.speed.__main__ import main
from bench.speed.clocks import cpu_of, memory_bytes, own_cpu_s
from bench.speed.live import self_metrics
from bench.speed.report import MEASURES
from bench.speed.synthetic import Source
from bench.speed.writing import Samples
from exporter.series import SeriesTable

needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus on PATH")
BEGIN, END = "<!-- speed: written by python -m bench.speed -->", "<!-- speed: end -->"


@needs_prometheus
def test_a_small_run_measures_everything(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main(["--scale", "50", "--json", str(tmp_path / "out.json"), "--write", str(page)]) == 0
    found = {entry["measure"]: entry for entry in json.loads((tmp_path / "out.json").read_text())}
    assert list(found) == list(MEASURES)
    assert all(math.isfinite(entry["value"]) and entry["scale"] for entry in found.values())
    assert all(entry["value"] > 0 for name, entry in found.items() if name != "growth_exponent")
    compared = {name for name, entry in found.items() if entry["naive"] is not None}
    assert compared == set(MEASURES[:9])
    assert all(found[name]["ratio"] > 0 for name in compared)
    printed = capsys.readouterr().out
    assert "fit robust_band, 4032 points, 30 % gaps" in printed
    assert "| window read, 100,800 points | 50 |" in page.read_text()


def test_without_prometheus_it_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--scale", "50"]) == 2
    assert "needs prometheus and promtool" in (told := capsys.readouterr().err)
    assert "apt-get install prometheus" in told


def test_a_page_without_marks_is_refused_before_anything_runs(tmp_path, capsys):
    assert main(["--write", str(tmp_path / "none.md")]) == 2
    assert "must hold these two lines" in capsys.readouterr().err


def test_an_unknown_scale_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--scale", "huge"])
    assert "allowed: 10k, 100k, 1m, or a number" in capsys.readouterr().err


def test_remote_write_of_ours_and_of_protobuf_say_the_same():
    samples = Samples(5)
    ours = [protocol.decoded(body) for body in samples.requests(1234)]
    naive = [protocol.decoded(body) for body in samples.naive_requests(1234)]
    assert len(ours) == len(naive) == 4
    for one, other in zip(ours, naive, strict=True):
        assert [list(series.samples) for series in one.timeseries] == [
            list(series.samples) for series in other.timeseries
        ]
        assert len(one.timeseries) == 5
        names = [label.name for label in one.timeseries[0].labels]
        assert names == sorted(names)
        assert {"__name__", "model", "pod", "query"} < set(names)


def test_the_source_within_spells_series_alike_in_both_reads():
    source, table = Source(7, None), SeriesTable()
    start_s = 1_700_000_100
    (window,) = source.range(start_s, start_s + 2 * madeup.STEP_S, None)
    assert window.batch.first.tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert window.batch.time_ms[:3].tolist() == [(start_s + k * madeup.STEP_S) * 1000 for k in range(3)]
    rows = table.find(window.batch)
    table.admit(window.batch, rows)
    source.prepare(start_s)
    newest = source.newest(start_s, 90)
    assert newest.fast
    assert table.find(newest.batch).tolist() == rows.tolist() == list(range(7))
    assert newest.batch.time_ms[:2].tolist() == [(start_s - 60) * 1000, start_s * 1000]


def test_made_up_windows_have_the_gaps_that_were_asked_for():
    missing = np.isnan(madeup.windows(64, 2016, 300, 0.3)).mean()
    assert missing == pytest.approx(0.3, abs=0.01)
    assert not np.isnan(madeup.windows(2, 288, 300, 0.0)).any()


def test_clocks_and_memory_are_of_the_process_that_is_named():
    before = own_cpu_s()
    assert cpu_of(os.getpid()) >= before
    assert memory_bytes(os.getpid(), "VmHWM") >= memory_bytes("self") > 1 << 20


def test_self_metrics_are_summed_by_outcome():
    page = (
        'anomaly_score{a="1"} 2\n# TYPE anomaly_exporter_cycles_total counter\n'
        'anomaly_exporter_cycles_total{query="a",outcome="ok"} 3\n'
        'anomaly_exporter_cycles_total{query="b",outcome="ok"} 4\n'
    )
    assert self_metrics(page) == {"anomaly_exporter_cycles_total ok": 7.0}
