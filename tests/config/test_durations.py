"""Durations in Prometheus' syntax."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.durations import format_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ms", 1),
        ("500ms", 500),
        ("15s", 15_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("90m", 5_400_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
        ("1y", 31_536_000_000),
        ("1y2w3d4h5m6s7ms", 31_536_000_000 + 17 * 86_400_000 + 4 * 3_600_000 + 5 * 60_000 + 6_007),
        ("007s", 7_000),
        ("292y", 292 * 31_536_000_000),
    ],
)
def test_good(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "60", "m", "-5m", "+5m", "1.5h", "5 m", " 5m", "5m ", "5m\n", "1m1h", "5m5m", "5M", "5min", "1:30"),
        *("\u0665m", "0x5s", "1e3s", "9999999999999s", "inf", "s5", "293y", "999999999999y"),
    ],
)
def test_bad(text: str) -> None:
    assert parse_duration_ms(text) is None


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (1_500, "1s500ms"),
        (60_000, "1m"),
        (5_400_000, "1h30m"),
        (14 * 86_400_000, "14d"),
        (31_536_000_000, "365d"),
        (90_061_001, "1d1h1m1s1ms"),
    ],
)
def test_written(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text


@given(st.integers(0, 9_223_372_036_854))
def test_what_is_written_reads_back(milliseconds: int) -> None:
    assert parse_duration_ms(format_duration(milliseconds)) == milliseconds


@given(st.text(alphabet="0123456789ywdhms", max_size=12))
def test_whatever_is_taken_means_the_same_when_written_anew(text: str) -> None:
    milliseconds = parse_duration_ms(text)
    if milliseconds is not None:
        assert parse_duration_ms(format_duration(milliseconds)) == milliseconds
    else:
        assert text != "0"
