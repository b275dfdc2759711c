"""The table for people, in a terminal and in BENCHMARKS.md, and the flat list for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_BEGIN, _END = "<!-- speed: written by python -m bench.speed -->", "<!-- speed: end -->"

MEASURES = (
    "read_window_client_cpu",
    "read_window_total_cpu",
    "newest_client_cpu",
    "fit_shesd_dense_rate",
    "fit_shesd_gaps_rate",
    "fit_robust_band_rate",
    "evaluate_column_cpu",
    "render_cpu",
    "remote_write_encode_cpu",
    "cycle_exporter_cpu",
    "cycle_exporter_share",
    "rss_bytes",
    "start_to_first_verdict",
    "growth_exponent",
)
_HEAD = ("", "at", "exporter", "server", "unit", "naive way", "ratio", "target", "met")


class SpeedError(Exception):
    """The bench can't go on; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured.

    `value` of the exporter and `server` of Prometheus for the same work, in `unit`; `naive` of the naive way. None: not
    measured, and `remark` says why. A unit that ends in "/s" is better when it is more, all others when less. `target`
    is for this size; `measure` is the name in the flat list, empty for rows that only people read.
    """

    title: str
    at: str
    unit: str
    value: float | None
    server: float | None = None
    naive: float | None = None
    naive_name: str = ""
    target: float | None = None
    stretch: float | None = None
    measure: str = ""
    remark: str = ""

    @property
    def more_is_better(self) -> bool:
        """Whether this is a rate."""
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """How many times better than the naive way; None when either is not known."""
        if not self.value or not self.naive:
            return None
        return self.value / self.naive if self.more_is_better else self.naive / self.value

    def reaches(self, target: float | None) -> bool | None:
        """Whether the value is as good as `target`; None when either is not known."""
        if self.value is None or target is None:
            return None
        return self.value >= target if self.more_is_better else self.value <= target


Entry = dict[str, str | float | None]


def as_list(rows: Iterable[Row], *scales: str) -> list[Entry]:
    """One entry for each measure, in their order; null where there is no value or no naive way.

    `scales`: the run's, then others that some rows were measured at. The scale of a row that says another size (fits of
    128 rows at a time) is the run's.

    SpeedError when a measure has no row or more than one.
    """
    named: dict[str, list[Row]] = {name: [] for name in MEASURES}
    for row in rows:
        if row.measure:
            named[row.measure].append(row)
    wrong = [name for name, found in named.items() if len(found) != 1]
    if wrong:
        raise SpeedError(f"measured not exactly once: {', '.join(wrong)}")
    return [_entry(found[0], scales) for found in named.values()]


def _entry(row: Row, scales: Sequence[str]) -> Entry:
    return {
        "measure": row.measure,
        "scale": row.at if row.at in scales else scales[0],
        "value": row.value,
        "unit": row.unit,
        "naive": row.naive,
        "ratio": row.ratio,
    }


def write_json(path: Path, rows: Iterable[Row], *scales: str) -> None:
    """The flat list as a file."""
    path.write_text(json.dumps(as_list(rows, *scales), indent=1) + "\n", "utf-8")


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A head, then a line of cells for each row."""
    return [list(_HEAD), *(_cells(row) for row in rows)]


def _cells(row: Row) -> list[str]:
    met = row.reaches(row.target)
    target = _number(row.target)
    if row.stretch is not None:
        target += f" ({_number(row.stretch)})"
    return [
        row.title,
        row.at,
        _number(row.value) or "-",
        _number(row.server),
        row.unit,
        f"{_number(row.naive)} {row.naive_name}".strip() if row.naive is not None else "",
        f"{row.ratio:.3g}x" if row.ratio else "",
        target,
        "" if met is None else _met(row) if met else "no",
    ]


def _met(row: Row) -> str:
    return "stretch" if row.reaches(row.stretch) else "yes"


def _number(x: float | None) -> str:
    """Three digits; all of them before the point."""
    if x is None or math.isnan(x):
        return ""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def text(lines: list[list[str]]) -> str:
    """Cells in aligned columns."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )


def markdown(lines: list[list[str]]) -> str:
    """Cells as a Markdown table."""
    drawn = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([drawn[0], "| --- |" + " ---: |" * (len(lines[0]) - 1), *drawn[1:]])


def remarks(rows: Iterable[Row]) -> list[str]:
    """What must be said of single rows."""
    return [f"{row.title}: {row.remark}." for row in rows if row.remark]


def write_markdown(path: Path, rows: Sequence[Row], remark: str) -> None:
    """Put the table between the two marks of a Markdown file; what stands around them is left alone.

    SpeedError when the file does not hold both marks once.
    """
    page = check_marks(path)
    before, rest = page.split(_BEGIN)
    after = rest.split(_END)[1]
    notes = "\n".join(f"- {line}" for line in remarks(rows))
    parts = [before + _BEGIN, remark, markdown(cells(rows)), *([notes] if notes else []), _END + after]
    path.write_text("\n\n".join(parts), "utf-8")


def check_marks(path: Path) -> str:
    """The text of a file that holds both marks once, in their order; SpeedError otherwise."""
    page = path.read_text("utf-8") if path.is_file() else ""
    if page.count(_BEGIN) != 1 or page.count(_END) != 1 or page.index(_BEGIN) > page.index(_END):
        raise SpeedError(f"{path} must hold these two lines, once and in this order: {_BEGIN} and {_END}")
    return page
