"""The application whose series are watched: most stay, some leave for a while, some are new and soon gone for good."""

from __future__ import annotations

import time

from bench.speed import madeup
from bench.speed.live import Target

AWAY_SHARE = 0.02  # of the series are not shown at a time
AWAY_S = 180  # for so long; then others leave
NEW_SHARE = 0.01  # beside them, as pods of a deployment that is rolled out
METRIC = madeup.METRIC


class Churning(Target):
    """Shows made-up series live, with churn."""

    def __init__(self, series: int) -> None:
        self._turn = 0
        super().__init__(series)

    def refresh(self) -> None:
        """New values for now, and who is there now."""
        now_s = time.time()
        values = madeup.values([int(now_s)], len(self._names))[:, 0].tolist()
        away, turn = max(1, int(AWAY_SHARE * len(self._names))), int(now_s) // AWAY_S
        gone = {(turn * away + k) % len(self._names) for k in range(away)}
        lines = [
            f"{name} {x:.8g}\n" for i, (name, x) in enumerate(zip(self._names, values, strict=True)) if i not in gone
        ]
        young = max(1, int(NEW_SHARE * len(self._names)))
        lines += [f'{METRIC}{{pod="new-{turn}-{k}"}} {values[k]:.8g}\n' for k in range(young)]
        self._text = "".join(lines).encode()
