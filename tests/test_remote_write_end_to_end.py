"""The whole program writing to a receiver that is as strict about order as Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from support.process import END_S, GLOBAL, Exporter, config_text, running_exporter
from support.receiver import Ledger, Receiver, Reply, receiver
from support.servers import wait_until
from support.shop import GOODS, SALES, TOTAL, RunningPrometheus, running_prometheus

from exporter.publish.remote_write.wire import STALE_BITS

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("shop")) as server:
        yield server


def config_of(prometheus: RunningPrometheus, queries: dict[str, str], *urls: str, page: str = "self") -> str:
    targets = "".join(
        f"  - {{url: '{url}', name: t{i}, bearer_token: swordfish, queue_config: {{batch_send_deadline: 100ms}}}}\n"
        for i, url in enumerate(urls)
    )
    return config_text(prometheus.url, queries, start=f"{GLOBAL}metrics_page: {page}\nremote_write:\n{targets}")


def reload(exporter: Exporter, config: Path, text: str) -> None:
    config.write_text(text)
    answer = requests.post(f"{exporter.url}/-/reload", timeout=60)
    assert answer.status_code == 200, answer.text


def found(ledger: Ledger, **wanted: str) -> dict[tuple, list[tuple[int, int]]]:
    return {labels: samples for labels, samples in ledger.series.items() if wanted.items() <= dict(labels).items()}


def ended(ledger: Ledger, **wanted: str) -> bool:
    series = found(ledger, **wanted).values()
    return bool(series) and all(samples[-1][1] == STALE_BITS for samples in series)


def refused(exporter: Exporter) -> float:
    return exporter.number("remote_write_samples_failed_total", target="t0")


def test_results_leave_by_remote_write_only(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    ledger = Ledger()
    config = tmp_path / "config.yml"
    with receiver(ledger.respond) as back:
        config.write_text(config_of(prometheus, SALES | TOTAL, back.url))
        with running_exporter(config) as exporter:
            wait_until(lambda: len(found(ledger, __name__="anomaly_score")) == 2 * (len(GOODS) + 1), "scores", 300)
            wait_until(lambda: max(map(len, ledger.series.values())) >= 4, "more samples")
            for family in FAMILIES:
                labels = [dict(one) for one in found(ledger, __name__=family, query="sales")]
                assert {(one["good"], one["model"]) for one in labels} == {
                    (good, model) for good in GOODS for model in ("robust_band", "shesd")
                }
                assert all(one["job"] == "shop" and one["instance"] == "shop-1" for one in labels)
            page = exporter.get("/metrics").text
            assert "\nanomaly_score" not in page
            assert refused(exporter) == 0
            assert exporter.number("remote_write_samples_total", target="t0") > 100
            assert "salt" in exporter.get("/").text  # the page for people still shows them
            for text in (page, exporter.get("/config").text, exporter.log):
                assert "swordfish" not in text
            assert {posted.headers["authorization"] for posted in back.posted} == {"Bearer swordfish"}
            status, seconds = exporter.end()
            assert (status, seconds < END_S) == (0, True)
    assert not any(ended(ledger, good=good) for good in GOODS)  # a restart goes on with them


def test_a_written_value_is_the_judged_sample_at_its_own_time(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    ledger = Ledger()
    config = tmp_path / "config.yml"
    with receiver(ledger.respond) as back:
        config.write_text(config_of(prometheus, SALES, back.url, page="results"))
        with running_exporter(config) as exporter:
            wait_until(lambda: found(ledger, __name__="anomaly_value", good="tea"), "values", 300)
            assert exporter.samples("anomaly_score", query="sales")
    samples = next(iter(found(ledger, __name__="anomaly_value", good="tea", model="shesd").values()))
    params = {"query": 'sales{good="tea"}[10m]'}
    (series,) = requests.get(f"{prometheus.url}/api/v1/query", params=params, timeout=30).json()["data"]["result"]
    stored = {round(time_s * 1000): float(text) for time_s, text in series["values"]}
    for time_ms, bits in samples:
        assert stored[time_ms] == float(np.uint64(bits).view(np.float64))


def test_a_series_that_vanishes_ends_and_comes_back(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    ledger = Ledger()
    config = tmp_path / "config.yml"
    with receiver(ledger.respond) as back:
        config.write_text(config_of(prometheus, SALES, back.url))
        with running_exporter(config) as exporter:
            wait_until(lambda: found(ledger, __name__="anomaly_score", good="rice"), "scores", 300)
            prometheus.shop.closed.add("rice")
            try:
                wait_until(lambda: ended(ledger, __name__="anomaly_score", good="rice"), "rice ends")
                wait_until(lambda: found(ledger, __name__="anomaly_absent_seconds", good="rice"), "rice is absent")
            finally:
                prometheus.shop.closed.remove("rice")
            wait_until(lambda: not ended(ledger, __name__="anomaly_score", good="rice"), "rice is back")
            wait_until(lambda: ended(ledger, __name__="anomaly_absent_seconds", good="rice"), "rice is not absent")
            assert not ended(ledger, __name__="anomaly_score", good="tea")
            assert refused(exporter) == 0


def test_reloads_change_queries_and_targets_without_a_refusal(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    ledger, second = Ledger(), Ledger()
    config = tmp_path / "config.yml"
    with receiver(ledger.respond) as back, receiver(second.respond) as more:
        config.write_text(config_of(prometheus, SALES | TOTAL, back.url))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(lambda: found(ledger, __name__="anomaly_score", query="total"), "scores", 300)
            wait_until(lambda: found(ledger, __name__="anomaly_score", query="sales"), "scores", 300)

            # The same series from another unit: the one before ends, and no sample comes twice.
            reload(
                exporter, config, config_of(prometheus, {"sales": "expr: sales, sensitivity: low"} | TOTAL, back.url)
            )
            wait_until(lambda: ended(ledger, __name__="anomaly_score", query="sales"), "the unit before has ended")
            wait_until(lambda: not ended(ledger, __name__="anomaly_score", query="sales"), "the new one goes on")

            reload(exporter, config, config_of(prometheus, TOTAL, back.url, more.url))
            wait_until(lambda: ended(ledger, query="sales"), "sales ends")
            wait_until(lambda: found(second, __name__="anomaly_score", query="total"), "the second target")
            assert not ended(ledger, __name__="anomaly_score", query="total")
            assert refused(exporter) == exporter.number("remote_write_samples_failed_total", target="t1") == 0

            reload(exporter, config, config_text(prometheus.url, TOTAL))  # no remote write: back on the page
            assert exporter.samples("anomaly_exporter_remote_write_samples_total") == []
            wait_until(lambda: exporter.samples("anomaly_score", query="total"), "the results are on the page")


def test_a_receiver_that_is_away_delays_nothing_and_gets_it_all(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    ledger = Ledger()
    config = tmp_path / "config.yml"
    with receiver(lambda posted: Reply(503)) as back:
        config.write_text(config_of(prometheus, SALES, back.url))
        with running_exporter(config) as exporter:
            wait_until(exporter.ready, "verdicts", 300)
            exporter.wait_for_cycles("sales", 3)
            waiting = exporter.number("remote_write_samples_pending", target="t0")
            assert waiting >= 10 * len(GOODS)
            _let_in(back, ledger)
            wait_until(lambda: exporter.number("remote_write_samples_total", target="t0") >= waiting, "all of it")
            assert refused(exporter) == 0
            assert exporter.log.count("remote write fails") == 1
            wait_until(lambda: exporter.log.count("remote write goes on") == 1, "it is told")


def _let_in(back: Receiver, ledger: Ledger) -> None:
    back.respond = ledger.respond
