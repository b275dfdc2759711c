"""Numbers, times and texts from outside as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from exporter.config.durations import format_duration

_MOST_DECIMALS = 9


def number(x: float, unit: float = math.nan) -> str:
    """A number as people read it: to about a hundredth of `unit`, by default of the number itself."""
    if math.isnan(x):
        return "none"
    if math.isinf(x):
        return "infinite" if x > 0 else "minus infinite"
    unit = unit if unit > 0 and math.isfinite(unit) else abs(x)
    decimals = max(0, 2 - math.floor(math.log10(unit))) if unit > 0 else 0
    if decimals > _MOST_DECIMALS or abs(x) >= 1e15:
        return f"{x:.6g}"
    return f"{x:,.{decimals}f}"


def percent(ratio: float) -> str:
    """A share in percent, with a sign."""
    return f"{100 * ratio:+.0f} %" if abs(ratio) >= 0.1 else f"{100 * ratio:+.2g} %"


def factor(ratio: float) -> str:
    """How many times: two digits."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def moment(time_s: float, *, date: bool = True) -> str:
    """A time in UTC; "never" for none."""
    if math.isnan(time_s):
        return "never"
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC" if date else "%H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time_s:.0f} s"


def duration(seconds: float) -> str:
    """A duration, in whole minutes from two minutes on: `3h12m`."""
    whole = max(0, round(seconds))
    return format_duration(1000 * (whole if whole < 120 else whole // 60 * 60))
