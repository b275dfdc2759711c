"""`anomaly-exporter plan`: what watching would cost the exporter and the servers, before it is tried."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from exporter.capacity.estimate import PROCESS_BYTES, Estimate
from exporter.capacity.survey import (
    Finding,
    Say,
    mebibytes,
    memory_remarks,
    print_remarks,
    print_table,
    receiver_remarks,
    survey,
)
from exporter.config import load
from exporter.config.durations import format_duration

_HEADS = ("tenant", "query", "every", "series", "points", "memory", "read/h", "touched/h", "output", "written/s",
          "CPU s/cycle", "CPU s/h", "source CPU s/h", "")  # fmt: skip
_A_CYCLE = "exporter_cpu_s_per_cycle"


def plan(config_file: str, say: Say, json_file: str = "") -> int:
    """Count what each query would bring, print what it would cost; 0 unless a query failed or is over a limit.

    `json_file` gets the same as JSON. Raises ConfigError for a config that can't be used.
    """
    config = load(config_file)
    findings = survey(config, say, deep=True)
    total = _total([finding.cost for finding in findings])
    remarks = memory_remarks(PROCESS_BYTES + total["memory_bytes"]) + receiver_remarks(config)
    _print(findings, total, remarks, say)
    fits = not any(finding.error or finding.over for finding in findings)
    written = not json_file or _write(json_file, _document(config_file, findings, total, remarks, fits=fits), say)
    return 0 if fits and written else 1


def _total(costs: list[Estimate]) -> dict[str, Any]:
    """Sums over all queries, but of what depends on how often each runs."""
    names = [field.name for field in fields(Estimate) if field.name != _A_CYCLE]
    return {name: sum(getattr(cost, name) for cost in costs) for name in names}


def _print(findings: list[Finding], total: dict[str, Any], remarks: list[str], say: Say) -> None:
    rows = [_HEADS, *(_row(finding) for finding in findings)]
    sums = _cells(total)
    print_table([*rows, ("total", "", "", *sums[:-2], "", *sums[-2:], "")], say)
    say(
        f"read/h: samples received; touched/h: samples the source reads for them; CPU: of one core, an estimate; "
        f"the process itself takes about {PROCESS_BYTES >> 20} MiB more"
    )
    say(
        f"at the start: {total['points']:,} points of windows from {total['start_touched']:,} samples, about "
        f"{total['start_exporter_cpu_s']:,.1f} CPU s here and {total['start_source_cpu_s']:,.1f} in the source"
    )
    say(f"to scrape or receive the results: about {total['output_cpu_s_per_hour']:,.1f} CPU s an hour in the servers")
    for remark in remarks:
        say(f"warning: {remark}")
    print_remarks(findings, say)


def _row(finding: Finding) -> tuple[str, ...]:
    cost = asdict(finding.cost)
    cells = _cells(cost)
    state = "FAILED" if finding.error else "OVER LIMIT" if finding.over else ""
    every = format_duration(finding.query.interval_s * 1000)
    return (
        finding.tenant or "-", finding.query.name, every, *cells[:-2], f"{cost[_A_CYCLE]:.3f}", *cells[-2:], state,
    )  # fmt: skip


def _cells(cost: dict[str, Any]) -> tuple[str, ...]:
    """The cells from `series` on, but for the CPU of a cycle."""
    return (
        f"{cost['series'] + cost['shed']:,}", f"{cost['points']:,}", mebibytes(cost["memory_bytes"]),
        f"{cost['samples_per_hour']:,}", f"{cost['touched_per_hour']:,}", f"{cost['output_series']:,}",
        f"{cost['written_per_s']:,.1f}", f"{cost['exporter_cpu_s_per_hour']:,.2f}",
        f"{cost['source_cpu_s_per_hour']:,.2f}",
    )  # fmt: skip


def _document(
    config_file: str, findings: list[Finding], total: dict[str, Any], remarks: list[str], *, fits: bool
) -> dict[str, Any]:
    queries = [
        {
            "tenant": finding.tenant,
            "query": finding.query.name,
            "interval_s": finding.query.interval_s,
            "most_series": finding.query.most_series,
            **asdict(finding.cost),
            "warnings": list(finding.warnings),
            "error": finding.error,
            "over": finding.over,
        }
        for finding in findings
    ]
    return {
        "config": config_file,
        "ok": fits,
        "queries": queries,
        "total": {**total, "process_bytes": PROCESS_BYTES},
        "warnings": remarks,
    }


def _write(json_file: str, document: dict[str, Any], say: Say) -> bool:
    text = (json.dumps(document, indent=2) + "\n").encode()
    try:
        with Path(json_file).open("wb", buffering=0) as out:
            if out.write(text) != len(text) and Path(json_file).is_file():  # it can not grow any more
                Path(json_file).unlink()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        say(f"error: can't write {json_file}: {(error.strerror or 'not writable').lower()}")
        return False
    return True
