"""The table and the links."""

from urllib.parse import parse_qs, urlsplit

from exporter.demo import report
from exporter.demo.watch import Finding
from exporter.demo.world import VANISH, ZERO, Event, Row

SHOP = Row("requests", (("instance", "demo-app"), ("job", "demo"), ("region", "eu"), ("tenant", "shop")))
QUEUE = Row("queue", (("queue", "orders"), ("tenant", "shop")))

SEEN = Finding(
    Event(ZERO, 0, 100.0),
    SHOP,
    105.0,
    11.6,
    1,
    8.24911,
    0.0,
    51.23456,
    40.0,
    62.0,
    alert="AnomalyDetected",
    fired_after_s=14.2,
)
GONE = Finding(
    Event(VANISH, 1, 100.0), QUEUE, 105.0, 20.0, 2, absent_s=31.0, alert="AnomalySeriesAbsent", fired_after_s=80.0
)
MISSED = Finding(Event(ZERO, 0, 100.0), SHOP)


def test_the_table_has_a_line_per_event() -> None:
    lines = report.table([SEEN, GONE, MISSED]).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["event", "dip to zero", "vanished", "dip to zero"]
    assert " ".join(lines[1].split()) == (
        "dip to zero requests shop/eu 12 s, cycle 1 8.249 0 51.23 40 to 62 AnomalyDetected, 14 s"
    )


def test_a_vanished_series_has_an_absence_in_place_of_numbers() -> None:
    line = report.table([GONE]).splitlines()[1]
    assert "absent 31 s" in line
    assert line.split()[-6:] == ["-", "-", "-", "AnomalySeriesAbsent,", "80", "s"]


def test_a_missed_event_says_so() -> None:
    line = report.table([MISSED]).splitlines()[1]
    assert "not seen" in line
    assert line.endswith("not fired")


def test_columns_begin_at_the_same_place() -> None:
    lines = report.table([SEEN, GONE, MISSED]).splitlines()
    starts = [lines[0].index(name) for name in report.HEADER]
    for line in lines[1:]:
        assert all(line[start - 1] == " " and line[start] != " " for start in starts[1:])


def test_clean_rows_with_a_high_score_are_named() -> None:
    assert report.clean_text([], [], 62) == "Of 62 series without an event, none fired an alert."
    text = report.clean_text([(SHOP, "shesd", 1.2345)], [SHOP], 62)
    assert text == "Of 62 series without an event, 1 fired an alert.\n  scored above 1: requests shop/eu (shesd 1.23)"


def test_the_links_lead_to_the_band_of_the_row() -> None:
    text = report.links(SHOP, "http://p/classic", "http://a", "http://e")
    urls = [line.split()[-1] for line in text.splitlines()]
    graph = urlsplit(urls[0])
    assert graph.path == "/classic/graph"
    assert parse_qs(graph.query)["g0.expr"] == [
        '{__name__=~"anomaly_value|anomaly_expected|anomaly_lower|anomaly_upper",'
        'instance="demo-app",job="demo",model="robust_band",query="requests",region="eu",tenant="shop"}'
    ]
    assert urls[1:] == ["http://p/classic/alerts", "http://e/", "http://a/"]


def test_numbers_are_short() -> None:
    assert [report.number(x) for x in (float("nan"), 0.0, 1234567.0, 0.00412345)] == ["-", "0", "1,234,567", "0.004123"]
