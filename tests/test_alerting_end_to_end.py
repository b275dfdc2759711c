"""From a sample to the pager: Prometheus, exporter, rules, Alertmanager and a receiver, all real.

One story is lived through once, and the tests look at what came of it: two series of one query leave their bands, a
third one vanishes, and at the same time a third of the series of another query (a storm); all of it ends, and then the
exporter is killed. Only times differ from what is shipped, see support/plant.py.
"""

from __future__ import annotations

import html
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from support.browser import dom
from support.pager import Notified, Pager, muted
from support.plant import (
    ABSENT_FOR_S,
    DOWN_FOR_S,
    EVALUATION_S,
    HOSTILE,
    INTERVAL_S,
    LOOKBACK_S,
    PATHS,
    SCRAPE_S,
    STEP_S,
    Key,
    World,
    group_wait_s,
    labels_of,
    running_world,
    shipped_alertmanager,
    usual,
)
from support.rule_texts import ROOT
from support.servers import ask, wait_until

from exporter import names
from exporter.config import Alert
from exporter.config.durations import format_duration, parse_duration_ms
from exporter.publish.label_text import label_text

SPIKE, DROP, GONE = ("depth", "mail"), ("depth", HOSTILE), ("depth", "returns")
STORM = PATHS[::3]
HELD = {SPIKE: 180.5, DROP: 0.0} | dict.fromkeys(STORM, 300.0)

# What the times of this test promise; docs/alerts.md has the sum for those that are shipped.
START_S = SCRAPE_S + INTERVAL_S + SCRAPE_S + EVALUATION_S
GENEROUS = 6  # so much slower may a busy machine be
SINCE_STEP_S = 30  # in which the text looks up when an anomaly began (docs/alerts.md)


# --- the story --------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What happened, and when (unix seconds). ``opened``: the pages behind links, by link, as they were opened then;
    ``again``: the explanations as JSON, at the time of the alert and when all was over."""

    folder: Path
    pager: Pager
    exporter: str = ""
    changed_s: float = 0.0
    released_s: float = 0.0
    returned_s: float = 0.0
    killed_s: float = 0.0
    muted: list[dict[str, str]] = field(default_factory=list)
    opened: dict[str, requests.Response] = field(default_factory=dict)
    again: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    graphs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    drawn: str = ""
    ports: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def first(self, alert: str, status: str = "firing", key: Key | None = None) -> Notified:
        """The alert as the pager was told of it first."""
        return self.pager.alerts(status, alertname=alert, **(labels_of(key) if key else {}))[0]


def live_through(world: World, story: Story) -> None:
    pager, plant = world.pager, world.plant
    story.exporter = world.exporter.url
    wait_until(lambda: is_calm(world), "no column or fit ends soon")
    plant.closed = frozenset([GONE])
    plant.held, story.changed_s = HELD, time.time()
    wait_until(lambda: has_heard(pager, "firing", of_gone=False), f"the pager is told\n{world.exporter.log}")
    story.muted = muted(world.alertmanager, alertname=names.ALERT_DETECTED)
    for alert in [story.first(names.ALERT_DETECTED, key=key) for key in (SPIKE, DROP)] + [
        story.first(names.ALERT_SHARE)
    ]:
        open_links(world, story, alert)
    story.drawn = dom(story.first(names.ALERT_DETECTED, key=DROP).annotations["explain_url"], world.folder, width=1200)
    plant.held, story.released_s = {}, time.time()
    wait_until(lambda: pager.alerts("firing", alertname=names.ALERT_ABSENT), "the pager is told of the gone series")
    open_links(world, story, story.first(names.ALERT_ABSENT))
    plant.closed, story.returned_s = frozenset(), time.time()
    wait_until(lambda: has_heard(pager, "resolved", of_gone=True), "the pager is told that all is over")
    for link, answers in story.again.items():
        answers.append(requests.get(f"{link}&format=json", timeout=60).json())
    world.exporter.process.kill()
    story.killed_s = time.time()
    wait_until(lambda: pager.alerts("firing", alertname=names.ALERT_DOWN), "the pager is told of the killed exporter")


def is_calm(world: World) -> bool:
    """Whether neither a step ends nor a fit is due within the next minute: the alert then tells of one verdict only."""
    now_s = time.time()
    selector = label_text(sorted(labels_of(SPIKE).items())).decode().strip()
    asked = {"query": "depth", "series": selector, "format": "json"}
    fitted = requests.get(f"{world.exporter.url}/explain", params=asked, timeout=60).json()["fitted"]
    return now_s % STEP_S < STEP_S - 60 and now_s - datetime.fromisoformat(fitted).timestamp() < 3540


def has_heard(pager: Pager, status: str, *, of_gone: bool) -> bool:
    """Whether the pager knows of both series outside, of the storm and of the gone series."""
    single = [pager.alerts(status, alertname=names.ALERT_DETECTED, **labels_of(key)) for key in (SPIKE, DROP)]
    gone = [pager.alerts(status, alertname=names.ALERT_ABSENT)] if of_gone else []
    return all([*single, *gone, pager.alerts(status, alertname=names.ALERT_SHARE)])


def open_links(world: World, story: Story, alert: Notified) -> None:
    """Open what a person would, with the links as they came."""
    explain = alert.annotations["explain_url"]
    for link in (explain, alert.annotations["runbook_url"]):
        story.opened[link] = requests.get(link, timeout=60)
    story.again[explain] = [requests.get(f"{explain}&format=json", timeout=60).json()]
    (expr,) = parse_qs(urlsplit(alert.annotations["graph"]).query)["g0.expr"]
    story.graphs[alert.annotations["graph"]] = ask(world.prometheus, expr)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    (folder / "tmp").mkdir()
    threads = {thread.name for thread in threading.enumerate()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(folder / "tmp"))  # of every process that is started, and a mark of it
        with running_world(folder) as world:
            made = Story(folder, world.pager, threads=threads)
            urls = (world.pager.url, world.alertmanager, world.prometheus, world.exporter.url)
            made.ports = [int(urlsplit(url).port or 0) for url in urls]
            live_through(world, made)
    return made


# --- what the pager says ----------------------------------------------------------------------------------------------

SAID = re.compile(
    r"Value (?P<value>\S+), (?P<direction>above|below) its band \((?P<lower>\S+) to (?P<upper>\S+)\),"
    r" expected (?P<expected>\S+)\. Anomalous since (?P<since>[-\d]+ [:\d]+) UTC\. Score (?P<score>\S+) by robust_band"
    r" at its worst within the last minute; 1 is the edge of what is usual for this series\."
    r" Series of (?P<query>\w+): (?P<labels>.*)"
)
SHOWN = {
    SPIKE: '{instance="plant-1", job="plant", queue="mail"}',
    DROP: r"""{instance="plant-1", job="plant", queue="\"><script>document.title='hacked'</script>\\ {{ $value }}"""
    r""" %s ' & \u202e\nline"}""",
}
SINGLES = pytest.mark.parametrize("key", [SPIKE, DROP], ids=["spike", "drop_of_a_hostile_name"])


def said(story: Story, key: Key) -> dict[str, str]:
    """What the text of the alert about a series says."""
    text = story.first(names.ALERT_DETECTED, key=key).annotations["description"]
    found = SAID.fullmatch(text)
    assert found is not None, text
    return found.groupdict()


def headline_score(words: str) -> float:
    """The score in the headline of an explanation: three digits, as the alert has, but not written alike."""
    found = re.search(r"Anomalous: score ([\d,.]+)", words)
    assert found is not None, words
    return float(found[1].rstrip(".").replace(",", ""))


def minute(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M")


@SINGLES
def test_an_anomaly_pages_within_the_promised_time(story: Story, key: Key) -> None:
    alert = story.first(names.ALERT_DETECTED, key=key)
    assert 0 < alert.starts_s - story.changed_s < GENEROUS * START_S
    assert alert.came_s - alert.starts_s < group_wait_s(**alert.labels) + 30


@SINGLES
def test_the_page_says_what_by_how_much_since_when_and_why(story: Story, key: Key) -> None:
    alert, text = story.first(names.ALERT_DETECTED, key=key), said(story, key)
    wanted = {"alertname": names.ALERT_DETECTED, "severity": "warning", "query": "depth", "model": "robust_band"}
    assert alert.labels == wanted | labels_of(key)
    assert alert.annotations["summary"] == (
        f"Anomaly in depth {SHOWN[key]}, score {text['score']} (1 is the edge of the band)"
    )
    assert (text["query"], text["labels"]) == ("depth", SHOWN[key])
    assert text["direction"] == {SPIKE: "above", DROP: "below"}[key]
    assert float(text["value"]) == HELD[key]
    expected, usual_now = float(text["expected"]), usual(key, story.changed_s)
    assert float(text["lower"]) < expected < float(text["upper"])
    assert abs(expected - usual_now) < 3
    assert float(text["score"]) > 5
    assert minute(story.changed_s) <= text["since"] <= minute(alert.starts_s + SINCE_STEP_S)


@SINGLES
def test_the_links_of_the_page_lead_to_runbook_dashboard_and_graph(story: Story, key: Key) -> None:
    alert = story.first(names.ALERT_DETECTED, key=key)
    runbook = story.opened[alert.annotations["runbook_url"]]
    assert (runbook.status_code, f"<h1>{names.ALERT_DETECTED}" in runbook.text) == (200, True)
    board = urlsplit(alert.annotations["dashboard_url"])
    asked = parse_qs(board.query)
    assert (board.netloc, board.path) == ("grafana.example.org", f"/d/{names.DASHBOARD_SERIES}")
    assert (asked["var-query"], asked["var-model"]) == (["depth"], ["robust_band"])
    assert asked["var-series"] == [SHOWN[key][1:-1].replace('", ', '",')]
    drawn = {each["metric"]["__name__"] for each in story.graphs[alert.annotations["graph"]]}
    assert drawn == {"anomaly_value", "anomaly_expected", "anomaly_lower", "anomaly_upper"}
    assert {each["metric"]["queue"] for each in story.graphs[alert.annotations["graph"]]} == {key[1]}


def test_all_is_over_on_the_pager_too(story: Story) -> None:
    for key in (SPIKE, DROP):
        fired, over = (story.first(names.ALERT_DETECTED, status, key) for status in ("firing", "resolved"))
        assert over.starts_s == fired.starts_s
        after_s = over.ends_s - story.released_s
        assert LOOKBACK_S - SCRAPE_S <= after_s < LOOKBACK_S + GENEROUS * START_S


def test_the_documented_times_are_those_of_the_shipped_config() -> None:
    shipped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["global"]
    seen_s = sum(parse_duration_ms(shipped[name]) // 1000 for name in ("scrape_interval", "evaluation_interval"))
    alert, judged_s = Alert(), 60 + seen_s
    single_s, storm_s = (group_wait_s(alertname=name) for name in (names.ALERT_DETECTED, names.ALERT_SHARE))
    later_s = parse_duration_ms(shipped_alertmanager()["route"]["group_interval"]) // 1000
    promised_s = {
        names.ALERT_DETECTED: judged_s + single_s,
        names.ALERT_SHARE: judged_s + storm_s,
        names.ALERT_ABSENT: judged_s + ABSENT_FOR_S + single_s,
        names.ALERT_DOWN: seen_s + 300 + single_s,
        f"resolved: {names.ALERT_DETECTED}": judged_s + alert.lookback_s + later_s,
        f"resolved: {names.ALERT_SHARE}": judged_s + alert.storm_lookback_s + later_s,
    }
    text = (ROOT / "docs" / "alerts.md").read_text()
    for alert_name, time_s in promised_s.items():
        assert f"| {alert_name} | {format_duration(int(time_s * 1000))} | " in text


# --- one click --------------------------------------------------------------------------------------------------------


@SINGLES
def test_the_link_opens_an_explanation_with_the_numbers_of_the_page(story: Story, key: Key) -> None:
    link, text = story.first(names.ALERT_DETECTED, key=key).annotations["explain_url"], said(story, key)
    assert link.startswith(f"{story.exporter}/explain?query=depth&model=robust_band&series=%7B")
    at_once, later = story.again[link]
    for answer in (at_once, later):  # and it still does when the series is back
        verdict = answer["verdicts"]["robust_band"]
        assert {name: f"{verdict[name]:.6g}" for name in ("expected", "lower", "upper")} == {
            name: text[name] for name in ("expected", "lower", "upper")
        }
        assert (f"{verdict['score']:.3g}", f"{answer['judged']['value']:.6g}") == (text["score"], text["value"])
        assert answer["labels"] == {"__name__": "depth"} | labels_of(key)
        assert (answer["published"]["equal"], answer["published"]["where"]) == (True, "the source")
        assert verdict["upper"] == answer["would_alert"]["above"]["value"]
        assert verdict["lower"] == answer["would_alert"]["below"]["value"]


@SINGLES
def test_the_page_behind_the_link_says_in_words_what_was_paged(story: Story, key: Key) -> None:
    page, text = story.opened[story.first(names.ALERT_DETECTED, key=key).annotations["explain_url"]], said(story, key)
    assert page.status_code == 200
    words = html.unescape(page.text)
    assert headline_score(words) == pytest.approx(float(text["score"]), rel=0.005)
    seen = re.search(r"the value was (\S+)\. Expected was (\S+), the band (\S+) to (\S+): the value is (.*?)\.", words)
    assert seen is not None
    for shown, name in zip(seen.groups(), ("value", "expected", "lower", "upper"), strict=False):
        decimals = len(shown.partition(".")[2])
        assert float(shown) == pytest.approx(float(text[name]), abs=0.501 * 10**-decimals)
    assert f"{text['direction']} expected" in seen[5]
    needed = f"To score above 1 the value had to be above {seen[4]} "
    assert needed in words
    assert f"or below {seen[3]} " in words


def test_chromium_shows_the_explanation_and_runs_no_label(story: Story) -> None:
    title = re.search(r"<title>(.*?)</title>", story.drawn, re.DOTALL)
    assert title is not None
    assert title[1].endswith(" - depth")
    assert headline_score(title[1]) == pytest.approx(float(said(story, DROP)["score"]), rel=0.005)
    assert "<script>document" not in story.drawn
    assert "&lt;script&gt;document.title='hacked'" in story.drawn
    assert "\u202e" not in story.drawn


# --- the storm --------------------------------------------------------------------------------------------------------


def test_a_storm_is_one_notification_and_mutes_the_single_alerts(story: Story) -> None:
    pages = story.pager.alerts("firing", alertname=names.ALERT_SHARE)
    assert len({page.place for page in pages}) == len(pages) == 1
    assert {(labels["query"], labels["path"]) for labels in story.muted} == set(STORM)
    # Not when it ends either: it looks back a minute longer.
    assert story.pager.alerts("firing", alertname=names.ALERT_DETECTED, query="requests") == []


def test_the_storm_says_how_many_and_links_to_its_worst_series(story: Story) -> None:
    alert = story.first(names.ALERT_SHARE)
    assert alert.labels == {"alertname": names.ALERT_SHARE, "severity": "critical", "query": "requests"}
    assert 0 < alert.starts_s - story.changed_s < GENEROUS * START_S
    assert alert.came_s - alert.starts_s < group_wait_s(**alert.labels) + 30
    assert alert.annotations["summary"] == "33.33% of the series of requests are anomalous at once"
    text = alert.annotations["description"]
    assert text.startswith(f"{len(STORM)} of {len(PATHS)} series were outside their bands within the last ")
    assert f"Above their expected value now: {len(STORM)}." in text
    worst = re.findall(r'\{instance="plant-1", job="plant", path="([^"]*)"\} score (\S+)\.', text)
    assert len(worst) == 3
    explained = story.again[alert.annotations["explain_url"]][0]
    assert (explained["labels"]["path"], f"{explained['verdicts']['robust_band']['score']:.3g}") == worst[0]
    assert story.opened[alert.annotations["runbook_url"]].status_code == 200


def test_the_storm_ends(story: Story) -> None:
    over = story.pager.alerts("resolved", alertname=names.ALERT_SHARE)
    assert len(over) == 1
    assert over[0].ends_s - story.released_s >= LOOKBACK_S - SCRAPE_S


# --- what is gone -----------------------------------------------------------------------------------------------------


def test_a_series_that_vanishes_is_named(story: Story) -> None:
    pages = story.pager.alerts("firing", alertname=names.ALERT_ABSENT)
    assert {page.labels["queue"] for page in pages} == {GONE[1]}
    alert = pages[0]
    promised_s = 2.5 * SCRAPE_S + ABSENT_FOR_S + START_S
    assert ABSENT_FOR_S <= alert.starts_s - story.changed_s < ABSENT_FOR_S + GENEROUS * (promised_s - ABSENT_FOR_S)
    shown = '{instance="plant-1", job="plant", queue="returns"}'
    assert alert.annotations["summary"] == f"A series of depth {shown} has gone missing"
    assert alert.annotations["description"].endswith(f" Series of depth: {shown}")
    page = story.opened[alert.annotations["explain_url"]]
    assert (page.status_code, "No verdict: absent" in page.text) == (200, True)
    over = story.first(names.ALERT_ABSENT, "resolved", GONE)
    assert over.ends_s > story.returned_s


def test_a_killed_exporter_pages(story: Story) -> None:
    alert = story.first(names.ALERT_DOWN)
    address = urlsplit(story.exporter).netloc
    assert alert.labels == {
        "alertname": names.ALERT_DOWN, "severity": "critical", "job": names.JOB, "instance": address,
    }  # fmt: skip
    assert alert.annotations["summary"] == f"anomaly-exporter {address} can't be scraped"
    late_s = alert.starts_s - story.killed_s
    assert DOWN_FOR_S <= late_s < DOWN_FOR_S + GENEROUS * (SCRAPE_S + EVALUATION_S)


def test_nothing_else_was_paged(story: Story) -> None:
    heard = story.pager.alerts("firing")
    single = {(names.ALERT_DETECTED, key[1]) for key in (SPIKE, DROP)}
    others = {(names.ALERT_SHARE, None), (names.ALERT_ABSENT, GONE[1]), (names.ALERT_DOWN, None)}
    assert {(one.labels["alertname"], one.labels.get("queue")) for one in heard} == single | others


# --- afterwards -------------------------------------------------------------------------------------------------------


def left_behind(mark: str) -> list[str]:
    """The command lines of processes that were started with a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and (line := (process / "cmdline").read_bytes()):
                found.append(line.replace(b"\0", b" ").decode())
        except OSError:  # gone by now, or of somebody else
            continue
    return found


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_no_process_port_thread_or_temporary_file_is_left(story: Story) -> None:
    temporary = story.folder / "tmp"
    wait_until(lambda: not left_behind(f"TMPDIR={temporary}"), "all processes have ended", patience_s=60)
    assert [port for port in story.ports if listens(port)] == []
    assert {thread.name for thread in threading.enumerate()} <= story.threads
    assert list(temporary.iterdir()) == []
