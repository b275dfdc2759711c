"""Two exporters on one real Prometheus, one of them started late, the other restarted: equal samples to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import GLOBAL, config_text, running_exporter
from support.receiver import Receiver, receiver
from support.replicas import by_key, differing
from support.servers import wait_until
from support.shop import GOODS, RunningPrometheus, running_prometheus

PER_CYCLE = 2 * 4 * (len(GOODS) + 1)  # a score and a band of two models for each series
# An expression looks at samples of this very moment, which the server may not hold yet: hence the offset.
QUERIES = {
    "sales": "expr: sales, signals: [stale], detectability: true",
    "total": "expr: sum by (job) (sales offset 15s)",
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("shop")) as server:
        yield server


def config_of(prometheus: RunningPrometheus, url: str) -> str:
    target = f"  - {{url: '{url}', name: mine, queue_config: {{batch_send_deadline: 100ms}}}}\n"
    return config_text(prometheus.url, QUERIES, start=f"{GLOBAL}remote_write:\n{target}")


def samples_of(back: Receiver) -> dict:
    return by_key([sample for posted in list(back.posted) for sample in posted.samples])


def wait_for_more(back: Receiver, cycles: int) -> None:
    wanted = len(samples_of(back)) + cycles * PER_CYCLE
    wait_until(lambda: len(samples_of(back)) >= wanted, f"{cycles} more cycles are written", 300)


def test_a_pair_needs_no_coordination(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    configs = [tmp_path / "one.yml", tmp_path / "other.yml"]
    with receiver() as one, receiver() as other:
        for config, back in zip(configs, (one, other), strict=True):
            config.write_text(config_of(prometheus, back.url))
        with running_exporter(configs[0]) as first:
            wait_for_more(one, 4)
            with running_exporter(configs[1]):
                wait_for_more(other, 4)
                assert first.end()[0] == 0
                with running_exporter(configs[0]):  # the same replica once more
                    wait_for_more(one, 6)
                    wait_for_more(other, 2)
        mine, theirs = samples_of(one), samples_of(other)
    both = mine.keys() & theirs.keys()
    assert len(both) > 6 * PER_CYCLE
    assert {dict(labels)["query"] for labels, _ in both} == set(QUERIES)
    assert {dict(labels)["__name__"] for labels, _ in both} >= {"anomaly_score", "anomaly_upper", "anomaly_stale_score"}
    assert not differing(mine, theirs, "__name__")
    assert all(len(bits) == 1 for tape in (mine, theirs) for bits in tape.values())  # nor does a restart contradict
