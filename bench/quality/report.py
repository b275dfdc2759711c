"""The tables: plain text for a terminal, Markdown for BENCHMARKS.md, and a flat list for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bench.quality.measures import METRICS
from bench.quality.published import KPI_F1, NAB_SCOREBOARD

_BEGIN, _END = "<!-- quality: written by python -m bench.quality -->", "<!-- quality: end -->"

_KPI_SET = "kpi2018"

# Title of a column and the metric in it. NAB's are shown for NAB only, the others for every set.
_COLUMNS = (
    ("detected", "detected_default"),
    ("false/week", "false_alerts_week_default"),
    ("event F1", "event_f1_default"),
    ("detected at 1/week", "detected_at_one_false_alert_week"),
    ("F1", "f1_default"),
    ("F1 train", "f1_train_threshold"),
    ("F1 best", "f1_optimum"),
    ("AP", "average_precision"),
    ("VUS-PR", "vus_pr"),
)
_NAB_WAYS = {"onset": "one alert per episode", "row": "every row above the threshold"}
_NAB_COLUMNS = tuple(
    (f"{profile} {at}", f"{profile}_{at}")
    for at in ("default", "optimum")
    for profile in ("standard", "lowfp", "lowfn")
)


@dataclass(frozen=True, slots=True)
class Measured:
    """All measures of one detector on one set, by name; a measure that the set does not allow is absent."""

    set: str
    model: str
    values: dict[str, float]


def as_list(results: list[Measured]) -> list[dict[str, str | float]]:
    """One entry per set, model and metric."""
    return [
        {"set": one.set, "model": one.model, "metric": name, "value": one.values[name]}
        for one in results
        for name in METRICS
        if name in one.values
    ]


def write_json(path: Path, results: list[Measured]) -> None:
    """The flat list as a file."""
    path.write_text(json.dumps(as_list(results), indent=1) + "\n", "utf-8")


def table(results: list[Measured]) -> list[list[str]]:
    """Rows of cells of one set's results: a head, then one row per detector."""
    columns = _shown(results, _COLUMNS)
    head = ["", *(title for title, _ in columns)]
    return [head, *([one.model, *(_cell(one, metric) for _, metric in columns)] for one in results)]


def nab_tables(results: list[Measured]) -> list[tuple[str, list[list[str]]]]:
    """NAB's own scores, titles and tables; none for a set that is not NAB's. The published scoreboard, of detections
    per row at the optimum, stands below ours of the same kind."""
    found = []
    for way, meaning in _NAB_WAYS.items():
        columns = _shown(results, tuple((title, f"nab_{way}_{name}") for title, name in _NAB_COLUMNS))
        rows = [[one.model, *(_cell(one, metric, digits=1) for _, metric in columns)] for one in results]
        rows += _published(columns) if way == "row" else []
        if columns:
            found.append((f"NAB score, {meaning}", [["", *(title for title, _ in columns)], *rows]))
    return found


def _published(columns: list[tuple[str, str]]) -> list[list[str]]:
    rows = []
    for line in NAB_SCOREBOARD:
        known = {f"nab_row_{name}_optimum": getattr(line, name) for name in ("standard", "lowfp", "lowfn")}
        cells = (f"{known[metric]:.1f}" if metric in known else "" for _, metric in columns)
        rows.append([f"published: {line.detector}", *cells])
    return rows


def kpi_table() -> list[list[str]]:
    """Published F1 on all 29 series of the KPI data of 2018."""
    return [["published", "F1"], *([f"{line.detector} ({line.paper})", f"{line.f1:.3f}"] for line in KPI_F1)]


def text(rows: list[list[str]]) -> str:
    """Cells in aligned columns."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )


def markdown(rows: list[list[str]]) -> str:
    """Cells as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- |" + " ---: |" * (len(rows[0]) - 1), *lines[1:]])


def tables(name: str, results: list[Measured]) -> list[tuple[str, list[list[str]]]]:
    """All tables of one set with their titles, published results included."""
    published = [("published F1, delay 7", kpi_table())] if name == _KPI_SET else []
    return [(name, table(results)), *nab_tables(results), *published]


def by_set(results: list[Measured]) -> dict[str, list[Measured]]:
    """Results of each set, in the order in which they came."""
    found: dict[str, list[Measured]] = {}
    for one in results:
        found.setdefault(one.set, []).append(one)
    return found


def write_markdown(path: Path, results: list[Measured], remark: str) -> None:
    """Put the tables between the two marks of a Markdown file; what stands around them is left alone."""
    parts = [remark]
    for name, measured in by_set(results).items():
        for title, rows in tables(name, measured):
            parts += [f"### {title}" if title == name else f"{name}: {title}", markdown(rows)]
    before, rest = path.read_text("utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    path.write_text("\n\n".join([before + _BEGIN, *parts, _END + after]), "utf-8")


def _shown(results: list[Measured], columns: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(title, metric) for title, metric in columns if any(metric in one.values for one in results)]


def _cell(one: Measured, metric: str, digits: int = 3) -> str:
    value = one.values.get(metric)
    return "" if value is None else f"{value:.{2 if metric.startswith('false') else digits}f}"
