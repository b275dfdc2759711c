"""Incidents: how they are read, and which alerts meet them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.backtests import made_walk

from exporter.backtest.alerting import alerts_of
from exporter.backtest.episodes import groups_of
from exporter.backtest.faults import BacktestError
from exporter.backtest.incident_files import parse_labels, read_incidents
from exporter.backtest.incidents import Incident, meet, of_alerts, strangers
from exporter.config.schema import Alert, Query
from exporter.models.settings import RobustBandSettings

QUERY = Query("load", "load", (RobustBandSettings(),), interval_s=60, step_s=300, alert=Alert(min_series=3))
HOURS = 3600


def walk_of(*high: tuple[int, int], query: Query = QUERY):
    """Five series of ten hours; (row, column) are outside."""
    scores = np.full((5, 120), 0.1)
    for row, column in high:
        scores[row, column] = 3.0
    labels = [{"host": f"h{i}", "zone": f"z{i % 2}"} for i in range(5)]
    return made_walk(query, {"robust_band": scores}, labels)


def met_by(walk, *incidents: Incident):
    groups, _ = groups_of(walk)
    alerts = alerts_of(walk.query, walk.grid, walk.points, walk.present, groups)
    return meet(walk, alerts, groups, incidents)


def test_hits_misses_delays_and_false_alerts():
    walk = walk_of((0, 12), (1, 40), (2, 80))  # at 1 h, 3:20 h, 6:40 h
    met = met_by(
        walk,
        Incident(3300, 3900),  # hit after 5 minutes
        Incident(12_000 + 840, 20_000),  # the alert fires until 15 minutes after its sample: just met, delay 0
        Incident(12_000 + 960, 20_000),  # two evaluations later it does not any more
        Incident(0, 100),
        Incident(24_000, 24_000),  # at the very moment
        Incident(40_000, 50_000),  # after the span: not counted
    )
    assert met.hit.tolist() == [True, True, False, False, True]
    assert met.delay_s[met.hit].tolist() == [300.0, 0.0, 0.0]
    assert (met.hits, met.misses, met.false_alerts) == (3, 2, 0)
    assert (met.median_delay_s(), met.worst_delay_s()) == (0.0, 300.0)
    assert met_by(walk, Incident(0, 100)).false_alerts == 3


def test_nothing_hit_has_no_delay():
    met = met_by(walk_of(), Incident(0, 100))
    assert (met.median_delay_s(), met.worst_delay_s(), met.false_alerts) == (None, None, 0)


@pytest.mark.parametrize(
    ("incident", "hit"),
    [
        (Incident(3000, 4000, labels=(("host", "h0"),)), True),
        (Incident(3000, 4000, labels=(("host", "h1"),)), False),
        (Incident(3000, 4000, labels=(("host", "h0"), ("rack", "r"))), False),
        (Incident(3000, 4000, labels=(("host", "h0"), ("rack", "r")), loose=True), True),
        (Incident(3000, 4000, labels=(("host", "h1"), ("rack", "r")), loose=True), False),
        (Incident(3000, 4000, query="load"), True),
    ],
)
def test_an_incident_is_about_series_with_its_labels(incident, hit):
    assert met_by(walk_of((0, 12)), incident).hit.tolist() == [hit]


def test_an_incident_of_another_query_or_tenant_is_not_counted():
    other = Incident(3000, 4000, query="cpu"), Incident(3000, 4000, tenant="b")
    met = met_by(walk_of((0, 12)), *other)
    assert (met.incidents, met.false_alerts) == ((), 1)


def test_a_storm_is_false_only_where_it_meets_nothing():
    walk = walk_of((0, 12), (1, 12), (2, 12), (3, 12))
    met = met_by(walk, Incident(3000, 4000, labels=(("host", "h0"),)))
    assert (met.false_single.tolist(), met.false_storms.tolist()) == ([False, True, True, True], [False])
    assert met_by(walk, Incident(20_000, 21_000)).false_storms.tolist() == [True]


def test_incidents_about_nobody_are_named():
    walk = walk_of()
    unknown = Incident(0, 1, labels=(("host", "h9"),), where="line 2")
    known = Incident(0, 1, labels=(("host", "h1"),)), Incident(0, 1)
    assert strangers([walk], [unknown, *known, Incident(0, 1, query="cpu")]) == [unknown, Incident(0, 1, query="cpu")]


def test_the_history_of_alerts_becomes_incidents():
    times = np.array([0, 60, 120, 180, 3600, 3660, 90_000], float)
    labels = {"__name__": "ALERTS", "alertname": "Slow", "alertstate": "firing", "severity": "page", "query": "load",
              "model": "robust_band", "host": "h1"}  # fmt: skip
    found = of_alerts(labels, times, "w")
    assert [(one.start_s, one.end_s) for one in found] == [(0, 180), (3600, 3660), (90_000, 90_000)]
    assert {(one.query, one.labels, one.loose, one.where) for one in found} == {("load", (("host", "h1"),), True, "w")}


def test_csv_of_incidents(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text(
        'start,end,query,labels\n2026-03-01T00:00:00Z,1772326800,load,"{host=""h1"",zone=""a,b""}"\n'
        "1700000000000,1700000600,,\n"
    )
    one, other = read_incidents(str(path))
    assert (one.start_s, one.end_s, one.query) == (1_772_323_200, 1_772_326_800, "load")
    assert one.labels == (("host", "h1"), ("zone", "a,b"))
    assert (other.start_s, other.query, other.labels, other.where) == (1_700_000_000, "", (), "line 3")


def test_alerts_as_csv_and_as_json_of_the_api_are_the_same(tmp_path):
    times = [1_700_000_000 + 60 * i for i in (0, 1, 2, 50, 51)]
    metric = {"__name__": "ALERTS", "alertname": "Slow", "host": 'h"1'}
    values = [[t, "1"] for t in times]
    matrix = [{"metric": {**metric, "alertstate": state}, "values": values} for state in ("firing", "pending")]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": matrix}}
    (tmp_path / "a.json").write_text(json.dumps(answer))
    rows = [f'{t},1,{state},"h""1",Slow' for t in times for state in ("firing", "pending")]
    (tmp_path / "a.csv").write_text("\n".join(["timestamp,value,alertstate,host,alertname", *rows, ""]))
    found = [read_incidents(str(tmp_path / name)) for name in ("a.json", "a.csv")]
    shown = [[(one.start_s, one.end_s, one.labels, one.loose) for one in each] for each in found]
    assert shown[0] == shown[1]
    assert [row[:2] for row in shown[0]] == [(times[0], times[2]), (times[3], times[4])]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "", "incidents are read from .csv or .json"),
        ("a.csv", "", "the columns are none: start,end and"),
        ("a.csv", "start,finish\n1,2\n", "the columns are start, finish"),
        ("a.csv", "start,end,why\n1,2,x\n", "start,end and, if wanted, query, tenant and labels"),
        ("a.csv", "start,end\n", "no incident in it"),
        ("a.csv", "start,end\n5,4\n", "line 2: the end is before the start"),
        ("a.csv", "start,end\nsoon,4\n", "line 2: 'soon' is no time"),
        ("a.csv", "start,end\n1,2,3\n", "line 2: 3 fields"),
        ("a.csv", 'start,end,labels\n1,2,host=h1\n', "line 2: labels are written as"),
        ("a.csv", "timestamp,value,alertstate\n1700000000,1,pending\n", "no incident in it"),
        ("a.json", "[]", "answered JSON that is no object.*query_range is wanted"),
        ("a.json", '{"status":"error","error":"no"}', "not success: no"),
        ("a.json", "{", "query_range is wanted"),
        ("a.json", '{"status":"success","data":{"resultType":"matrix","result":[]}}', "no incident in it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(BacktestError, match=words):
        read_incidents(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path):
    for name in ("none.csv", "none.json"):
        with pytest.raises(BacktestError, match=f"{name}: can't be read: no such file"):
            read_incidents(str(tmp_path / name))


@pytest.mark.parametrize("text", ["{a=b}", 'a="b" c="d"', '{a="b",a="c"}', 'a=~"b"', "{", 'a="b', "x" * 10_000])
def test_labels_that_are_not_understood(text):
    with pytest.raises(ValueError, match="labels are written as"):
        parse_labels(text)


def test_labels():
    assert parse_labels("") == parse_labels("{}") == ()
    assert parse_labels(' b="2", a="x\\"y\\n\\\\" ') == (("a", 'x"y\n\\'), ("b", "2"))
