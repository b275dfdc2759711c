"""`anomaly-exporter check`: is the config right, does the source answer, and what would be watched."""

from __future__ import annotations

from exporter.capacity.estimate import PROCESS_BYTES
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
from exporter.config import load, unreadable_files
from exporter.config.per_tenant import query_names


def check(config_file: str, say: Say) -> int:
    """Check a config against its source and print a table; 0 when every query can be watched, else 1.

    Series beyond a limit are told, and no failure: they are shed, which may be meant. Raises ConfigError for a config
    that can't be used.
    """
    config = load(config_file)
    say(f"{config_file}: config is valid, {len(query_names(config))} queries")
    for problem in unreadable_files(config):
        say(f"  warning: {problem}")
    findings = survey(config, say, deep=False)
    print_table(_table(findings), say)
    needed_bytes = PROCESS_BYTES + sum(finding.cost.memory_bytes for finding in findings)
    say(f"the process itself takes about {PROCESS_BYTES >> 20} MiB; `anomaly-exporter plan` tells the other costs")
    for remark in [*memory_remarks(needed_bytes), *receiver_remarks(config)]:
        say(f"warning: {remark}")
    print_remarks(findings, say)
    return 1 if any(finding.error for finding in findings) else 0


def _table(findings: list[Finding]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("tenant", "query", "series", "points", "memory", "")]
    for finding in findings:
        cost = finding.cost
        shed = f"{cost.shed:,} shed" if cost.shed else ""
        rows.append((
            finding.tenant or "-", finding.query.name, str(cost.series + cost.shed), f"{cost.points:,}",
            mebibytes(cost.memory_bytes), "FAILED" if finding.error else shed,
        ))  # fmt: skip
    costs = [finding.cost for finding in findings]
    rows.append((
        "total", "", str(sum(cost.series + cost.shed for cost in costs)), f"{sum(cost.points for cost in costs):,}",
        mebibytes(sum(cost.memory_bytes for cost in costs)), "",
    ))  # fmt: skip
    return rows
