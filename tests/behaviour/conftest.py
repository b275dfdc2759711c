"""`measured`: what a test measures is shown in the summary of `pytest -v`, for docs/behaviour.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from judged_rows import Measured

_PREFIX = "rate: "


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Note a number under a name and hand it back."""

    def note(name: str, value: float) -> float:
        record_property(_PREFIX + name, f"{value:.4g}")
        return value

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.verbosity < 1:
        return
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)]
    for report in reports:
        rates = [(name, value) for name, value in report.user_properties if name.startswith(_PREFIX)]
        if rates:
            terminalreporter.write_line(report.nodeid.rpartition("::")[2])
        for name, value in rates:
            terminalreporter.write_line(f"    {value:>8}  {name.removeprefix(_PREFIX)}")
