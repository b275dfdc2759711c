"""How far it is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest

from exporter.backtest.progress import Progress


class Terminal(io.StringIO):
    """Something that says it is one."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def told(out: io.StringIO, step_s: float) -> str:
    clock = Clock()
    progress = Progress(out, clock)
    progress.begin("load")
    for share in (0.25, 0.5, 0.75, 1.0):
        clock.now_s += step_s
        progress.told(share)
    progress.end("8 series")
    return out.getvalue()


def test_a_bar():
    shown = told(Terminal(), 1).split("\r\x1b[K")
    assert shown[1] == "load [..............................]   0% reading"
    assert shown[3] == "load [###############...............]  50%, 2 s left"
    assert shown[-1] == "load: 8 series, 4.0 s\n"
    assert len(shown) == 7


@pytest.mark.parametrize(("step_s", "lines"), [(1, 0), (10, 4), (6, 2)])
def test_lines_are_few(step_s, lines):
    shown = told(io.StringIO(), step_s).splitlines()
    assert shown[0] == "load: reading"
    assert len(shown) == lines + 2
    assert shown[-1] == f"load: 8 series, {4 * step_s:.1f} s"


def test_a_bar_is_not_drawn_for_every_part():
    assert len(told(Terminal(), 0.01).split("\r\x1b[K")) == 3
