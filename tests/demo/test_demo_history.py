"""The past as text, and as Prometheus reads it back."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.demo import history
from exporter.demo.signals import DAY_S
from exporter.demo.stack import find_binaries
from exporter.demo.world import VANISH, Event, World, build

NOW_S = 1_795_327_123.4


@pytest.fixture(scope="module")
def small() -> World:
    whole = build(7)
    chosen = (*whole.series[:2], whole.series[whole.find("demo_worker_limit", tenant="shop")])
    return World(chosen, [Event(VANISH, 1, NOW_S - 3 * DAY_S, NOW_S - 2 * DAY_S)])


def test_the_grid_ends_at_the_last_multiple_before_now() -> None:
    times = history.grid(NOW_S)
    assert times[-1] <= NOW_S < times[-1] + history.STEP_S
    assert set(np.diff(times)) == {history.STEP_S}
    assert set(times % history.STEP_S) == {0}
    assert times[-1] - times[0] >= 14 * DAY_S


def test_the_text_is_openmetrics_with_the_values_of_the_world(small: World) -> None:
    families = list(text_string_to_metric_families("".join(history.chunks(small, NOW_S))))
    times = history.grid(NOW_S)
    assert [family.name for family in families] == ["demo_requests_per_second", "demo_worker_limit"]
    samples = [sample for sample in families[0].samples if sample.labels["service"] == "web"]
    assert [float(sample.timestamp) for sample in samples] == list(times)
    assert [sample.value for sample in samples] == pytest.approx(list(small.values(0, times)), rel=1e-5)
    assert {(s.labels["job"], s.labels["instance"]) for f in families for s in f.samples} == {("demo", "demo-app")}


def test_a_series_that_was_gone_has_a_gap(small: World) -> None:
    families = list(text_string_to_metric_families("".join(history.chunks(small, NOW_S))))
    stamps = [float(sample.timestamp) for sample in families[0].samples if sample.labels["service"] == "api"]
    assert max(np.diff(stamps)) >= DAY_S
    assert len(stamps) == len(history.grid(NOW_S)) - DAY_S // history.STEP_S


def test_write_looks_up_between_the_series(small: World, tmp_path: Path) -> None:
    looks: list[int] = []
    size = history.write(small, NOW_S, tmp_path / "h.om", lambda: looks.append(1))
    assert size == (tmp_path / "h.om").stat().st_size
    assert len(looks) >= len(small.series)


def test_write_ends_where_the_checkpoint_says_so(small: World, tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        history.write(small, NOW_S, tmp_path / "h.om", stop)


def test_promtool_makes_few_blocks_of_it_that_hold_every_sample(small: World, tmp_path: Path) -> None:
    text, data = tmp_path / "h.om", tmp_path / "data"
    promtool = find_binaries().promtool
    history.write(small, NOW_S, text, lambda: None)
    subprocess.run(history.import_command(promtool, text, data), check=True)
    listed = subprocess.run([promtool, "tsdb", "list", str(data)], check=True, capture_output=True, text=True).stdout
    blocks = [line.split() for line in listed.splitlines()[1:]]
    samples = sum(line.count("\n") for line in history.chunks(small, NOW_S)) - 3  # two TYPE lines and the end
    assert 1 <= len(blocks) <= 3
    assert sum(int(block[4]) for block in blocks) == samples
