"""Reading the `limits:` of a config: those of the whole file, and a query's own in place of them."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.config.durations import format_duration
from exporter.config.reading import Reader, Spot
from exporter.config.schema import Limits
from exporter.config.values import duration_ms, integer

_HOUR_MS = 3_600_000
_LEAST_TIMEOUT_MS = 100
_MOST_SERIES = 1_000_000_000
_LEAST_POINTS = 100_000  # room for a series of the longest window
_MOST_POINTS = 1_000_000_000_000
_MOST_LABELS = 10_000
_MOST_BYTES = 1 << 24
_POINTS_ALLOWED = f"0, or a whole number from {_LEAST_POINTS} to {_MOST_POINTS}"


@dataclass(frozen=True, slots=True)
class OuterLimits:
    """What a `limits:` block starts from: the limits around it, and the source's timeout where that is known."""

    limits: Limits
    source_timeout_s: float | None


def read_limits(outer: OuterLimits) -> Reader[Limits]:
    """A `limits:` block; a key that is not there has the value around it, 0 takes a limit away."""

    def read(spot: Spot) -> Limits:
        block = spot.block("limits")
        limits = Limits(
            max_series=block.get("max_series", integer(0, _MOST_SERIES), outer.limits.max_series),
            max_points=block.get("max_points", points, outer.limits.max_points),
            query_timeout_s=block.get("query_timeout", timeout_s, outer.limits.query_timeout_s),
            label_limit=block.get("label_limit", integer(0, _MOST_LABELS), outer.limits.label_limit),
            label_name_length_limit=block.get(
                "label_name_length_limit", integer(0, _MOST_BYTES), outer.limits.label_name_length_limit
            ),
            label_value_length_limit=block.get(
                "label_value_length_limit", integer(0, _MOST_BYTES), outer.limits.label_value_length_limit
            ),
        )
        longest_s = outer.source_timeout_s
        if block.has("query_timeout") and longest_s is not None and limits.query_timeout_s > longest_s:
            longest = format_duration(round(longest_s * 1000))
            block.blame("query_timeout", f"longer than source.timeout {longest}", allowed=f"at most {longest}")
        return limits

    return read


def points(spot: Spot) -> int:
    """A number of points that is room for one series at least, or 0."""
    value = integer(0, _MOST_POINTS)(spot)
    if 0 < value < _LEAST_POINTS:
        raise spot.fault("out of range", allowed=_POINTS_ALLOWED)
    return value


def timeout_s(spot: Spot) -> float:
    """A timeout in seconds, or 0 for none of its own."""
    value_ms = duration_ms(0, _HOUR_MS)(spot)
    if 0 < value_ms < _LEAST_TIMEOUT_MS:
        raise spot.fault("out of range", allowed="0s, or a duration from 100ms to 1h")
    return value_ms / 1000
