"""Against a real Prometheus: a window filled by remote read is that of range queries, to the bit."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grown_prometheus
import numpy as np
import pytest
from naive import xor_chunks as naive
from support.servers import make_blocks

from exporter.config.schema import Query
from exporter.intake import Intake
from exporter.series import SeriesTable
from exporter.source.client import Client
from exporter.source.reader import Reader
from exporter.source.remote_read.streamed import FALLBACK
from exporter.window import Window

ClientOf = Callable[..., Client]
HOUR_S = 3600
STEP_S = 300
WINDOW_S = 30 * HOUR_S
ODD_VALUES = ("0.1", "1e300", "-5e-324", "NaN", "+Inf", "-Inf", "123456789012345678", "1.7976931348623157e308")
ODD_LABELS = {"quoted": '/x"y\\z', "lines": "a\nb\tc", "snow": "☃ <&>", "empty_like": " "}


@dataclass
class Grown:
    """The server, and the time that is now to the tests: a multiple of the step, 100 s after the newest samples."""

    url: str
    now_s: int


def _history(rng: random.Random, start_s: int, end_s: int) -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """Metric and samples of each series that lies in blocks. Times in seconds, up to milliseconds."""
    yield "regular", [(t, str(i)) for i, t in enumerate(range(start_s, end_s, 15))]
    yield "jittered", [(t + rng.randrange(15_000) / 1000, f"{rng.gauss(0, 1)!r}") for t in range(start_s, end_s, 15)]
    yield "gappy", [(t, f"{t % 977}") for t in range(start_s, end_s, 60) if t // 1700 % 3]
    yield "seldom", [(t + 7.25, f"{t % 7}") for t in range(start_s, end_s, 1300)]
    yield "constant", [(t, "42") for t in range(start_s, end_s, 60)]
    yield "large", [(t, f"{1e15 + rng.random() * 1000!r}") for t in range(start_s, end_s, 300)]
    yield "odd", [(t, rng.choice(ODD_VALUES)) for t in range(start_s, end_s, 100)]
    total = 0.0
    counted = []
    for t in range(start_s, end_s, 30):
        total = 0.0 if rng.random() < 0.002 else total + rng.randrange(100)
        counted.append((t, f"{total:.0f}"))
    yield "counted", counted


def _text(rng: random.Random, start_s: int, end_s: int) -> str:
    labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in ODD_LABELS.items())
    labels = labels.replace("\\t", "\t")
    lines = []
    for metric, samples in _history(rng, start_s, end_s):
        lines += [f"# TYPE {metric} gauge", *(f"{metric}{{{labels}}} {value} {t:.3f}" for t, value in samples)]
    return "\n".join([*lines, "# EOF", ""])


def _head(rng: random.Random, start_s: int, end_s: int) -> list[tuple[dict[str, str], naive.Samples]]:
    """The same series in the head, and one that goes stale twice; one is only there."""
    series = []
    for metric, samples in _history(rng, start_s, end_s):
        floats = [(round(t * 1000), naive.bits_of(float(value))) for t, value in samples]
        series.append(({"__name__": metric, **ODD_LABELS}, floats))
    stale, young = [], []
    for i, t in enumerate(range(start_s, end_s, 20)):
        bits = naive.STALE_BITS if i % 50 in (20, 21) else naive.bits_of(float(i))
        stale.append((t * 1000 + 1, bits))
        if t > end_s - 1000:
            young.append((t * 1000, naive.bits_of(i / 3)))
    return [*series, ({"__name__": "stale", "job": "a"}, stale), ({"__name__": "young"}, young)]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """28 hours in blocks, then a gap, then a head of 3 hours; some of the head comes late and out of order."""
    folder, rng = tmp_path_factory.mktemp("grown"), random.Random(7)
    now_s = int(time.time()) // STEP_S * STEP_S
    make_blocks(folder, _text(rng, now_s - 32 * HOUR_S, now_s - 4 * HOUR_S), longest="12h")
    with grown_prometheus.running(folder) as url:
        head = _head(rng, now_s - 3 * HOUR_S, now_s - 100)
        early = [(labels, [s for i, s in enumerate(samples) if i // 40 % 5]) for labels, samples in head]
        late = [(labels, [s for i, s in enumerate(samples) if not i // 40 % 5]) for labels, samples in head]
        grown_prometheus.push(url, early)
        grown_prometheus.push(url, late)  # out of order: chunks of its own that overlap those of the head
        before_s = now_s - 6 * HOUR_S  # and samples between those that lie in blocks
        between = [(t * 1000 + 500, naive.bits_of(-1.0)) for t in range(before_s, before_s + HOUR_S, 45)]
        grown_prometheus.push(url, [({"__name__": "regular", **ODD_LABELS}, between)])
        yield Grown(url, now_s)


@dataclass
class Filled:
    """A window after one update, and what the client observed."""

    table: SeriesTable
    window: Window
    outcomes: list[str]

    def cells(self) -> dict[str, tuple[bytes, float, int, bytes]]:
        """Series -> the bits of its row, its offset, its newest sample."""
        found = {}
        for row in range(self.table.rows):
            name = self.table.name(row) + json.dumps(self.table.labels(row), sort_keys=True)
            last = int(self.window.last_ms[row]), self.window.last_value[row].tobytes()
            found[name] = (self.window.ring[row].tobytes(), float(self.window.offset[row]), *last)
        return found


def filled(client: Client, expr: str, now_s: int, **settings: object) -> Filled:
    """What the exporter does at its start."""
    outcomes: list[str] = []
    client.observe = lambda outcome, _: outcomes.append(outcome)
    reader = Reader(client, expr, STEP_S, **settings)  # type: ignore[arg-type]
    table, window = SeriesTable(), Window(WINDOW_S // STEP_S, 3, STEP_S)
    Intake(Query("q", expr, step_s=STEP_S, window_s=WINDOW_S), reader, table, window).update(now_s)
    return Filled(table, window, outcomes)


KINDS = ["regular", "jittered", "gappy", "seldom", "constant", "large", "odd", "counted", "stale", "young"]
SELECTORS = ['{__name__=~".+",__name__!="young"}', 'regular{snow="☃ <&>", lines=~"a\\nb.*"}', "{job!~`b|`}",
             '{__name__=~"odd|stale|nothing", quoted!="q"} # both']  # fmt: skip


@pytest.mark.parametrize("expr", KINDS + SELECTORS)
def test_the_window_is_that_of_range_queries(expr: str, grown: Grown, client_of: ClientOf) -> None:
    by_queries = filled(client_of(grown.url), expr, grown.now_s)
    by_remote_read = filled(client_of(grown.url), expr, grown.now_s, remote_read=True)
    assert by_remote_read.cells() == by_queries.cells()
    assert by_queries.table.live >= 1
    assert set(by_remote_read.outcomes) == {"ok"}
    filled_cells = np.count_nonzero(np.isfinite(by_queries.window.ring[: by_queries.table.rows]))
    assert filled_cells > (2 if expr == "young" else 20)


@pytest.mark.parametrize("max_points", [40, 700])
def test_requests_and_batches_of_any_size_give_the_same(max_points: int, grown: Grown, client_of: ClientOf) -> None:
    """40 points make a request for every few columns, 700 a batch for every two series."""
    expr = '{__name__=~".+"}'
    by_queries = filled(client_of(grown.url), expr, grown.now_s)
    in_pieces = filled(client_of(grown.url), expr, grown.now_s, remote_read=True, max_points=max_points)
    rings = {name: cells[0] for name, cells in in_pieces.cells().items()}
    # A series' offset comes from its first batch; these are all 0 but for the large one, whose offset may differ.
    assert {name: ring for name, ring in rings.items() if not name.startswith("large")} == {
        name: cells[0] for name, cells in by_queries.cells().items() if not name.startswith("large")
    }
    assert rings.keys() == by_queries.cells().keys()


def test_a_series_is_one_row_by_remote_read_and_by_newest_samples(grown: Grown, client_of: ClientOf) -> None:
    reader = Reader(client_of(grown.url), '{__name__=~"regular|stale"}', STEP_S, remote_read=True)
    spans = list(reader.range(grown.now_s - HOUR_S, grown.now_s, None))
    newest = reader.newest(grown.now_s, 3000).batch
    table = SeriesTable()
    for batch in [*(span.batch for span in spans), newest]:
        table.admit(batch, table.find(batch))
    assert table.live == 2
    assert sorted(table.name(row) for row in range(2)) == ["regular", "stale"]
    plain = Reader(client_of(grown.url), "stale", STEP_S, remote_read=True)
    (span,) = plain.range(grown.now_s - HOUR_S, grown.now_s, 1)
    assert span.batch.label_hash.tolist() == plain.newest(grown.now_s, 3000).batch.label_hash.tolist()


def test_a_selector_without_series_gives_nothing(grown: Grown, client_of: ClientOf) -> None:
    found = filled(client_of(grown.url), "nothing", grown.now_s, remote_read=True)
    assert (found.table.live, set(found.outcomes)) == (0, {"ok"})


def test_a_pattern_that_the_server_refuses_falls_back_to_its_own_words(grown: Grown, client_of: ClientOf) -> None:
    client = client_of(grown.url)
    outcomes: list[str] = []
    client.observe = lambda outcome, _: outcomes.append(outcome)
    with pytest.raises(Exception, match="HTTP 400"):
        list(Reader(client, '{a=~"("}', STEP_S, remote_read=True).range(grown.now_s - HOUR_S, grown.now_s, 3))
    assert FALLBACK in outcomes


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """A server with external labels; one of its series has one of them by itself."""
    folder: Path = tmp_path_factory.mktemp("labelled")
    now_s = int(time.time()) // STEP_S * STEP_S
    labels = {"external_labels": {"replica": "0", "region": "eu"}}
    with grown_prometheus.running(folder, **{"global": labels}) as url:
        samples = [(1000 * t, naive.bits_of(float(t % 97))) for t in range(now_s - 2 * HOUR_S, now_s, 60)]
        series = [{"__name__": "plain", "job": "a"}, {"__name__": "plain", "job": "b"}]
        own = [{"__name__": "own", "region": "eu"}, {"__name__": "own", "job": "b"}]
        grown_prometheus.push(url, [(labels, samples) for labels in series + own])
        yield Grown(url, now_s)


def test_external_labels_are_dropped(labelled: Grown, client_of: ClientOf) -> None:
    by_queries = filled(client_of(labelled.url), "plain", labelled.now_s)
    by_remote_read = filled(client_of(labelled.url), "plain", labelled.now_s, remote_read=True)
    assert by_remote_read.cells() == by_queries.cells()
    assert len(by_queries.cells()) == 2
    assert set(by_remote_read.outcomes) == {"ok"}


@pytest.mark.parametrize("expr", ["own", 'plain{region="eu"}', 'plain{replica!="1"}'])
def test_where_external_labels_can_not_be_told_range_queries_are_used(
    expr: str, labelled: Grown, client_of: ClientOf
) -> None:
    by_queries = filled(client_of(labelled.url), expr, labelled.now_s)
    by_remote_read = filled(client_of(labelled.url), expr, labelled.now_s, remote_read=True)
    assert by_remote_read.cells() == by_queries.cells()
    assert FALLBACK in by_remote_read.outcomes
