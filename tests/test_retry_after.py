"""How long to wait: seconds, or each form of a date that HTTP knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from exporter.retry_after import http_date_s, retry_after_s
from exporter.source.clock import Clock

FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y")  # RFC 9110, 5.6.7


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the local time is nine hours ahead."""
    monkeypatch.setenv("TZ", "UTC-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_of_utc_wherever_we_are(far_away: None, form: str) -> None:
    now_s = time.time()
    assert http_date_s(datetime.fromtimestamp(now_s, UTC).strftime(form)) == int(now_s)
    assert 50 < retry_after_s(datetime.fromtimestamp(now_s + 60, UTC).strftime(form)) <= 60
    clock = Clock()
    clock.note(datetime.fromtimestamp(now_s, UTC).strftime(form))
    assert -1 < clock.ahead_s < 60


@pytest.mark.parametrize(
    "text", ["", "soon", "1 2", "Sun Nov 99 08:49:37 1994", "\x00", "Wed, 21 Oct 99999 07:28:00 GMT"]
)
def test_what_is_no_date_says_nothing(text: str) -> None:
    assert http_date_s(text) is None
    assert retry_after_s(text) == 0.0


def test_more_digits_than_anybody_waits_for_are_still_a_number() -> None:
    assert 1e8 <= retry_after_s("9" * 400) < 1e9
