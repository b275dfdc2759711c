"""An alert rule evaluated as rules/alerting.go does it: one series, one evaluation after the other."""

from __future__ import annotations

from collections.abc import Sequence


def active_at(samples: dict[int, float], now_s: int, lookback_s: int) -> bool:
    """Whether max_over_time(score[lookback]) > 1 at a time; the range holds what is newer than its left edge."""
    inside = [score for time_s, score in samples.items() if now_s - lookback_s < time_s <= now_s]
    return bool(inside) and max(inside) > 1


def firing_at(active: Sequence[bool], interval_s: int, for_s: int, keep_s: int) -> list[bool]:
    """Whether the alert fires at each evaluation: pending since it became active, firing after `for`, and when it is
    active no more until it has been so for `keep_firing_for`."""
    state, since, inactive_since = "inactive", 0, None
    found = []
    for number, is_active in enumerate(active):
        now_s = number * interval_s
        if not is_active:
            keep = False
            if state == "firing" and keep_s > 0:
                inactive_since = now_s if inactive_since is None else inactive_since
                keep = now_s - inactive_since < keep_s
            if not keep:
                state = "inactive"
        else:
            if state == "inactive":
                state, since = "pending", now_s
            inactive_since = None
            if state == "pending" and now_s - since >= for_s:
                state = "firing"
        found.append(state == "firing")
    return found
