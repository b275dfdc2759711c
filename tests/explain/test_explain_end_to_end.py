"""A running exporter beside a real Prometheus: the page and the command give what was published, digit by digit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
from support.browser import dom, measured
from support.process import Exporter, config_text, running_exporter
from support.servers import wait_until
from support.shop import GOODS, RunningPrometheus, running_prometheus

from exporter.explain.replaying import published
from exporter.names import FAMILIES

HOSTILE = (
    """"><script>document.title='hacked'</script><img src=x onerror=document.title='hacked'>\u202egnp.exe\\\\ $1 '"""
)
# With an offset, because a scrape of the very moment of a cycle may be stored after it (docs/explain.md).
EXPRS = {
    "plain": "sales",
    "summed": "sum by (good) (sales offset 2s)",
    "large": "1e8 + sales offset 2s",
    "gaps": "sales offset 2s > 24",
    "joined": "sales offset 2s / on (good, job, instance) group_left sales offset 2s * 3",
    "hostile": "label_replace(sum by (good) (sales offset 2s), 'evil', `" + HOSTILE.replace("$", "$$") + "`, '', '')",
}
START = "global: {interval: 5s, step: 5m, window: 2d}\n"
TEA = '{good="tea",instance="shop-1",job="shop"}'


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="module")
def config(prometheus: RunningPrometheus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exporter") / "config.yml"
    queries = {name: f"expr: {json.dumps(expr)}" for name, expr in EXPRS.items()}
    queries["plain"] += ", detectability: true, signals: [stale]"
    file.write_text(config_text(prometheus.url, queries, start=START))
    return file


@pytest.fixture(scope="module")
def exporter(prometheus: RunningPrometheus, config: Path) -> Iterator[Exporter]:
    with running_exporter(config, address=f"127.0.0.1:{prometheus.exporter_port}") as running:
        wait_until(running.ready, f"the exporter is ready\n{running.log}")
        wait_until(lambda: len(prometheus.ask('anomaly_score{query="hostile"}')) == 2 * len(GOODS), "it is scraped")
        yield running


def explained(exporter: Exporter, **asked: str) -> requests.Response:
    """The page, with as much patience as a first explanation may take."""
    return requests.get(f"{exporter.url}/explain?{urlencode(asked)}", timeout=60)


def as_json(exporter: Exporter, **asked: str) -> dict:
    answer = explained(exporter, format="json", **asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter.cli", "explain", f"--config.file={config}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def selector(labels: dict[str, str]) -> str:
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", EXPRS)
def test_the_page_gives_the_numbers_that_are_published_now(exporter: Exporter, query: str) -> None:
    scores = [labels for labels, _ in exporter.samples("anomaly_score", query=query, model="robust_band")]
    assert len(scores) == len(GOODS) if query != "gaps" else scores
    for labels in scores[:3]:
        own = {name: value for name, value in labels.items() if name not in ("query", "model")}
        told = as_json(exporter, query=query, series=selector(own))
        assert told["published"]["where"] == "this exporter"
        assert told["published"]["equal"], told["published"]
        assert {name: value for name, value in told["labels"].items() if name != "__name__"} == own
        parts = told["contributions"]["parts"]
        assert sum(parts.values()) == pytest.approx(told["verdicts"]["robust_band"]["score"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("query", EXPRS)
def test_a_past_verdict_has_the_digits_that_prometheus_scraped(
    prometheus: RunningPrometheus, exporter: Exporter, query: str
) -> None:
    wait_until(lambda: _scraped(prometheus, query, time.time() - 4), "verdicts are scraped")
    at_s = time.time() - 4
    numbers = _scraped(prometheus, query, at_s)
    series = sorted({json.dumps(labels) for _, _, labels in numbers})[:2]
    for text in series:
        own = json.loads(text)
        told = as_json(exporter, query=query, series=selector(own), at=f"{at_s:.3f}")
        assert told["published"]["where"] == "the source"
        assert told["published"]["equal"], told["published"]
        for model, verdict in told["verdicts"].items():
            for name in ("score", "expected", "lower", "upper"):
                assert published(verdict[name]) == numbers[f"anomaly_{name}", model, text_key(own)]


def test_a_past_verdict_that_was_written_has_the_time_of_its_sample(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    target = f"{{url: '{prometheus.url}/api/v1/write', queue_config: {{batch_send_deadline: 100ms}}}}"
    start = f"{START}metrics_page: self\nremote_write: [{target}]\n"
    config = tmp_path / "config.yml"
    config.write_text(config_text(prometheus.url, {"written": "expr: sales"}, start=start))
    range_of_tea = 'anomaly_score{query="written",good="tea",model="robust_band"}[1m]'
    with running_exporter(config) as running:
        wait_until(lambda: len(_matrix(prometheus, range_of_tea)) >= 4, "verdicts are written", 300)
        for at_s, score in _matrix(prometheus, range_of_tea)[1:4]:
            told = as_json(running, query="written", series=TEA, at=f"{at_s:.3f}")
            assert told["published"]["where"] == "the source"
            assert told["published"]["equal"], told["published"]
            assert told["verdicts"]["robust_band"]["score"] == score  # written with all its digits


def _matrix(prometheus: RunningPrometheus, expr: str) -> list[tuple[float, float]]:
    answer = requests.post(f"{prometheus.url}/api/v1/query", data={"query": expr}, timeout=30).json()
    return [(at_s, float(text)) for each in answer["data"]["result"] for at_s, text in each["values"]]


def text_key(labels: dict[str, str]) -> str:
    return json.dumps(dict(sorted(labels.items())))


class _Numbers(dict):
    """(name, model, labels as text) -> value; iterates over (name, model, labels)."""

    def __iter__(self):
        return ((name, model, json.loads(text)) for name, model, text in super().__iter__())


def _scraped(prometheus: RunningPrometheus, query: str, at_s: float) -> _Numbers:
    names = "|".join(FAMILIES[key].name for key in ("score", "expected", "lower", "upper"))
    form = {"query": f'{{__name__=~"{names}",query="{query}"}}', "time": f"{at_s:.3f}"}
    result = requests.post(f"{prometheus.url}/api/v1/query", data=form, timeout=30).json()["data"]["result"]
    found = _Numbers()
    for each in result:
        labels = each["metric"]
        name, model = labels.pop("__name__"), labels.pop("model")
        labels.pop("query")
        if labels.get("job") == "anomaly-exporter":  # added by the scrape
            del labels["job"], labels["instance"]
        found[name, model, text_key(labels)] = float(each["value"][1])
    return found


def test_the_exported_detectability_is_the_explained_one(exporter: Exporter) -> None:
    told = as_json(exporter, query="plain", series=TEA)
    shown = [told["detectable"][side] for side in ("up", "down") if told["detectable"][side] is not None]

    def exported() -> float:
        ((_, value),) = exporter.samples("anomaly_min_detectable_ratio", good="tea", model="robust_band")
        return value

    # A cycle may have passed between the two.
    wait_until(lambda: published(min(shown)) == exported() or min(_again(exporter)) == exported(), "the same ratio")
    assert not exporter.samples("anomaly_min_detectable_ratio", query="summed")


def _again(exporter: Exporter) -> list[float]:
    told = as_json(exporter, query="plain", series=TEA, at="0s")["detectable"]
    return [published(told[side]) for side in ("up", "down") if told[side] is not None]


# --- the series that is meant -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "series", "status", "words"), [
    ("plain", '{good="tea"}', 200, "the only series with these labels"),
    ("plain", TEA[:-1] + ',query="plain",model="shesd"}', 200, "labels that the exporter adds were left out"),
    ("summed", '{good="tea",job="anomaly-exporter",instance="a:1"}', 200, "instance, job: not a label of the series"),
    ("plain", '{job="shop"}', 400, "6 series have these labels"),
    ("plain", '{good="tee"}', 404, "has no series"),
    ("plain", '{good=~"tea"}', 400, "one series is explained at a time"),
    ("plain", "tea=", 400, "is no series"),
    ("plian", TEA, 404, "there is no query plian; there are: plain"),
    ("", TEA, 400, "which query?"),
])  # fmt: skip
def test_which_series_is_meant(exporter: Exporter, query: str, series: str, status: int, words: str) -> None:
    answer = explained(exporter, query=query, series=series)
    assert answer.status_code == status
    assert words in answer.text.replace("&#x27;", "'").replace("&quot;", '"')
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    told = explained(exporter, query=query, series=series, format="json")
    assert told.status_code == status
    assert words in json.dumps(told.json())


def test_the_nearest_candidates_come_first_and_are_links(exporter: Exporter) -> None:
    told = explained(exporter, query="plain", series='{good="tee",job="shop"}', format="json").json()
    assert told["candidates"][0] == {"good": "tea", "instance": "shop-1", "job": "shop"}
    page = explained(exporter, query="plain", series='{good="tee",job="shop"}').text
    assert f'href="/explain?{urlencode({"query": "plain", "series": TEA})}"'.replace("&", "&amp;") in page


@pytest.mark.parametrize(("asked", "words"), [
    ({"tenant": "t"}, "no tenants are configured"), ({"model": "stl"}, "is no model of the query"),
    ({"at": "soon"}, "is no time"), ({"at": "4102444800"}, "is in the future"), ({"format": "xml"}, "format is not"),
])  # fmt: skip
def test_other_parameters(exporter: Exporter, asked: dict[str, str], words: str) -> None:
    answer = explained(exporter, query="plain", series=TEA, **asked)
    assert answer.status_code in (400, 404)
    assert words in answer.text


def test_a_time_before_all_data(exporter: Exporter) -> None:
    answer = explained(exporter, query="plain", series=TEA, at="2001-01-01T00:00:00Z")
    assert answer.status_code == 404
    assert "has no series" in answer.text


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(prometheus: RunningPrometheus, exporter: Exporter, config: Path) -> None:
    done = run(config, "--query=plain", f"--series={TEA}")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    assert "Equal in every digit to what the source published" in " ".join(done.stdout.split())
    assert "the same as the running exporter's" in " ".join(done.stdout.split())
    assert "What makes up the score" in done.stdout


def test_the_command_says_that_the_exporter_runs_with_another_config(
    exporter: Exporter, config: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yml"
    other.write_text(config.read_text().replace('expr: "sales"', 'sensitivity: low, expr: "sales"'))
    done = run(other, "--query=plain", f"--series={TEA}", f"--exporter={exporter.url}/", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["config"]["exporters"] == [as_json(exporter, query="plain", series=TEA)["config"]["hash"]]
    assert told["config"]["hash"] not in told["config"]["exporters"]
    assert told["published"]["equal"] is False
    assert "another config" in told["published"]["words"]
    assert told["policy"]["sensitivity"] == 1.25


@pytest.mark.parametrize(("words", "message"), [
    (["--query=plain", '--series={good="tee"}'], "has no series"),
    (["--query=nope", f"--series={TEA}"], "there is no query nope"),
    (["--query=plain", "--series=5"], "is no series"),
    (["--query=plain", f"--series={TEA}", "--at=tomorrow"], "is no time"),
])  # fmt: skip
def test_the_command_helps_with_what_is_wrong(config: Path, words: list[str], message: str) -> None:
    done = run(config, *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_command_without_a_source(config: Path, prometheus: RunningPrometheus, tmp_path: Path) -> None:
    dead = tmp_path / "dead.yml"
    dead.write_text(
        config.read_text().replace(prometheus.url, "http://127.0.0.1:9").replace("source:", "source:\n  timeout: 1s")
    )
    done = run(dead, "--query=plain", f"--series={TEA}")
    assert done.returncode == 1
    assert "http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(config, "--query=plain", f"--series={TEA}", "--exporter=http://127.0.0.1:9")
    assert done.returncode == 1
    assert "can't ask the exporter" in done.stderr


# --- in a browser -----------------------------------------------------------------------------------------------------


def pages(exporter: Exporter) -> dict[str, str]:
    labels, _ = exporter.samples("anomaly_score", query="hostile", model="robust_band", good="tea")[0]
    hostile = {"good": "tea", "evil": labels["evil"]}
    return {
        "explanation": explained(exporter, query="plain", series=TEA).text,
        "hostile": explained(exporter, query="hostile", series=selector(hostile)).text,
        "unknown": explained(exporter, query="hostile", series=selector({**hostile, "good": HOSTILE})).text,
        "landing": exporter.get("/").text,
    }


def test_no_page_overflows_a_phone_or_runs_what_labels_hold(exporter: Exporter, tmp_path: Path) -> None:
    for name, html in pages(exporter).items():
        assert "<script" not in html, name
        for width in (360, 1100):
            content, view, title = measured(html, tmp_path, width=width)
            assert content <= view == width, (name, width, content, view)
            assert "hacked" not in title


def test_the_policy_lets_the_page_look_as_it_should(exporter: Exporter, tmp_path: Path) -> None:
    url = f"{exporter.url}/explain?{urlencode({'query': 'plain', 'series': TEA})}"
    found = dom(url, tmp_path, flags=("--enable-logging=stderr",))
    assert found.count('class="chart wide"') == found.count('class="chart narrow"') == 2
    assert "Content-Security-Policy" in requests.get(url, timeout=60).headers
    assert "nan" not in found.partition("<body>")[2].replace("nance", "").lower().split('d="m')[1].split('"')[0]


def test_the_hostile_value_is_there_and_harmless(exporter: Exporter) -> None:
    html = pages(exporter)["hostile"]
    assert "&lt;script&gt;" in html
    assert "\u202e" not in html.partition("<body>")[2].partition("<input")[0]
