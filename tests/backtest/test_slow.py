"""What a backtest says of slow signals: when their rules fire, and that people see it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.backtest_reports import HOSTILE, report
from support.backtests import config_text, made_walk, openmetrics

from exporter.backtest.asking import Options
from exporter.backtest.command import backtest
from exporter.backtest.document import document
from exporter.backtest.page import page
from exporter.backtest.shown import visible
from exporter.backtest.slow import MOST_EPISODES, slow_alerts
from exporter.backtest.summary import lines
from exporter.backtest.testing import Asked, totals
from exporter.backtest.testing import tested as backtested
from exporter.config.schema import Query
from exporter.models.settings import RobustBandSettings

STEP, MINUTE = 300, 60
DAY = 86_400
END = 1_760_000_100 // STEP * STEP
COLUMNS = 48
FROZEN_S = 6 * 3600
CONFIG = config_text("http://127.0.0.1:1", "    signals: [shift, stale]\n    window: 5d\n")


def walked(scores: dict[str, np.ndarray], labels=()):
    """A walk of a query with these slow signals; its rules are evaluated each minute, it is judged each step."""
    query = Query("load", "load", (RobustBandSettings(),), interval_s=MINUTE, step_s=STEP, signals=tuple(scores))
    quiet = np.full(next(iter(scores.values())).shape, 0.1)
    return made_walk(query, {"robust_band": quiet}, labels, slow=scores)


def high(series: int, *cells: tuple[int, int, float]) -> np.ndarray:
    """Low scores (series, columns) but for some (row, column, score)."""
    scores = np.full((series, COLUMNS), 0.3)
    for row, column, score in cells:
        scores[row, column] = score
    return scores


def test_a_shift_looks_back_and_a_frozen_value_counts_while_it_is_the_newest():
    scores = high(2, (1, 10, 2.0), (1, 12, 3.0), (1, 20, 1.5), (0, 47, 4.0))
    shift, stale = slow_alerts(walked({"shift": scores, "stale": scores}))
    assert (shift.signal, shift.alerts, stale.signal, stale.alerts) == ("shift", 3, "stale", 4)
    spans = [(one.labels["i"], one.start_s, one.end_s, one.peak_s, one.score) for one in shift.episodes]
    assert spans == [
        ("0", 47 * STEP, None, 47 * STEP, 4.0),
        ("1", 10 * STEP, 12 * STEP + 900, 12 * STEP, 3.0),
        ("1", 20 * STEP, 20 * STEP + 900, 20 * STEP, 1.5),
    ]
    assert [(one.start_s, one.end_s) for one in stale.episodes[1:]] == [
        (column * STEP, (column + 1) * STEP) for column in (12, 10, 20)
    ]
    assert all(one.value == 100.0 for one in (*shift.episodes, *stale.episodes))


def test_nothing_asked_for_is_nothing_told():
    walk = made_walk(Query("load", "load", (RobustBandSettings(),)), {"robust_band": high(1)})
    assert slow_alerts(walk) == ()
    one = backtested(walk, Asked())
    assert "Slow signal" not in page(report(one))[0]
    assert not any("slow " in line for line in lines(report(one)))


def test_quiet_signals_and_those_that_are_never_judged_have_no_alert():
    unjudged = np.full((2, COLUMNS), np.nan)
    one = backtested(walked({"shift": high(2), "stale": unjudged}), Asked())
    assert [(each.alerts, each.episodes) for each in one.slow] == [(0, ()), (0, ())]
    assert page(report(one))[0].count("No alert.") == 3


def test_it_is_told_on_every_way_and_stands_beside_the_pages():
    labels = [{"host": HOSTILE[8], "i": str(i)} for i in range(5)]
    scores = {"shift": high(5, *((i, 5 + i, 2.0 + i) for i in range(5))), "stale": high(5)}
    one = backtested(walked(scores, labels), Asked())
    assert totals([one]) | {"slow_alerts": 5, "pages": 0, "alerts": 0} == totals([one])
    said = [line for line in lines(report(one)) if line]
    at = said.index("  slow     shift: 5 alerts, beside the pages")
    assert [line.split("score")[1].split()[0] for line in said[at + 1 : at + 4]] == ["6", "5", "4"]
    assert said[at + 4] == "  slow     stale: 0 alerts, beside the pages"
    assert all(line.isprintable() for line in said[: said.index("cpu: FAILED: " + visible(HOSTILE[0]))])
    text, _ = page(report(one))
    section = text.split("<h3>Slow signal: shift</h3>")[1].split("<h3>")[0]
    assert section.count("<tr>") == 6
    assert "<script" not in section.split("</table>")[0]
    (query,) = json.loads(json.dumps(document(report(one)), allow_nan=False))["queries"]
    shift, stale = query["slow_signals"]
    assert (shift["signal"], shift["alerts"], shift["episodes_left_out"], stale["alerts"]) == ("shift", 5, 0, 0)
    worst = shift["episodes"][0]
    assert (worst["series"], worst["score"], worst["start"]) == (labels[4], 6.0, 9 * STEP)


def test_of_very_many_the_worst_are_kept():
    # 60 in each of 24 columns: those of the last sixteen, and 40 of the one before
    scores = high(60, *((i, column, 2.0 + column / 100) for i in range(60) for column in range(0, COLUMNS, 2)))
    (stale,) = slow_alerts(walked({"stale": scores}))
    assert (stale.alerts, len(stale.episodes)) == (60 * 24, MOST_EPISODES)
    assert min(one.score for one in stale.episodes) == pytest.approx(2.14)


def test_a_frozen_series_of_a_file_is_found_when_it_freezes(tmp_path):
    rng = np.random.default_rng(3)
    times = np.arange(END - 9 * DAY, END + 1, STEP)
    noise = np.round(50 + rng.normal(0, 1, len(times)), 6)
    frozen = np.where(times > END - FROZEN_S, noise[times == END - FROZEN_S], noise)
    series = {f'host="h{i}"': list(zip(times.tolist(), each.tolist(), strict=True))
              for i, each in enumerate((noise, frozen))}  # fmt: skip
    (tmp_path / "a.om").write_text(openmetrics(series))
    (tmp_path / "c.yml").write_text(CONFIG)
    said: list[str] = []
    asked = Options(str(tmp_path / "c.yml"), input=str(tmp_path / "a.om"), start=str(END - 2 * DAY),
                    json_file=str(tmp_path / "r.json"))  # fmt: skip
    assert backtest(asked, said.append) == 0, said
    (query,) = json.loads((tmp_path / "r.json").read_text())["queries"]
    shift, stale = query["slow_signals"]
    assert shift["alerts"] == 0
    (one,) = stale["episodes"]
    assert one["series"] == {"host": "h1"}
    assert END - FROZEN_S < one["start"] < END - FROZEN_S + 3 * 3600
    assert (one["end"], one["value"]) == (None, frozen[-1])
    assert "  slow     stale: 1 alerts, beside the pages" in "\n".join(said).splitlines()
