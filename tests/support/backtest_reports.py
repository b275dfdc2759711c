"""Made-up reports of a backtest, with everything hostile in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.backtests import made_walk

from exporter.backtest.budget import parse_budget
from exporter.backtest.document import Report
from exporter.backtest.incidents import Incident
from exporter.backtest.span import Span
from exporter.backtest.testing import Asked, Failed
from exporter.backtest.testing import Tested as Result
from exporter.backtest.testing import tested as backtested
from exporter.config.schema import Alert, Query
from exporter.models.settings import RobustBandSettings

HOSTILE = (
    '</script><script>document.title="pwned"</script>', '<img src=x onerror="document.title=1">', 'a"b\\c\nd\te',
    "\u202egnp.exe", "<b>bold</b> {{7*7}} ${x}", "x" * 10_000, "\x1b[31mred\x07", "\ud800 half", "' onload='x",
)  # fmt: skip


def result(
    rows: int = 9, alerts: int = 3, *, name: str = "load", columns: int = 2016, query: Query | None = None
) -> Result:
    """Series with hostile labels, each with some alerts."""
    scores = np.full((rows, columns), 0.1)
    for row in range(rows):
        scores[row, 100 + row : columns - 10 : columns // alerts] = 2.0 + row
    query = query or Query(
        name, f'{name}{{a=~"<b>|&"}}', (RobustBandSettings(),), interval_s=60, alert=Alert(min_series=99)
    )
    labels = [{"host": HOSTILE[row % len(HOSTILE)], "i": str(row), 'na"me<': "v"} for row in range(rows)]
    walk = made_walk(query, {"robust_band": scores}, labels)
    incidents = (Incident(0, 40_000, labels=(("host", HOSTILE[0]),)), Incident(0, 1, where=HOSTILE[1]))
    return backtested(walk, Asked(incidents, parse_budget("2/week"), (HOSTILE[0],)))


def slow_result() -> Result:
    """A quiet series whose level shifts."""
    query = Query("slow", "slow", (RobustBandSettings(),), signals=("shift",))
    scores = np.full((1, 20), 0.1)
    return backtested(made_walk(query, {"robust_band": scores}, slow={"shift": 20 * scores}), Asked())


def report(*found: Result, **more: object) -> Report:
    """A report of these results, and of a query that failed."""
    made = Report(
        HOSTILE[0] + ".yml", "0123456789ab", "http://p:9090", 1_700_000_000.0, Span(0, 604_800), found,
        (Failed("cpu", HOSTILE[0]),), (HOSTILE[1],), 2, "2/week", f"--- a\n+++ b\n+{HOSTILE[0]}\n",
    )  # fmt: skip
    return replace(made, **more)
