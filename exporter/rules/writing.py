"""`anomaly-exporter rules`: the rules of a config, or the defaults, in one of the formats, to a folder or to stdout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from exporter.config import Config, load
from exporter.config.durations import format_duration
from exporter.config.per_tenant import alert_conflicts, rule_queries
from exporter.errors import ConfigError, Problem
from exporter.output_files import write_output
from exporter.rules.alerts import series_groups
from exporter.rules.formats import inhibit_rules, manifest, mixin, rule_file
from exporter.rules.health import health_group
from exporter.rules.inhibit import inhibitions
from exporter.rules.recording import recording_groups

Format = Literal["prometheus", "prometheusrule", "mixin"]
FORMATS: tuple[Format, ...] = ("prometheus", "prometheusrule", "mixin")
STDOUT = "-"

ALERT_FILE = "anomaly-alerts.yml"
RECORDING_FILE = "anomaly-recording.yml"
INHIBIT_FILE = "alertmanager-inhibit.yml"
MANIFEST_FILE = "prometheusrule.yml"
MIXIN_FILE = "mixin.libsonnet"

_ALERTS = "Alert rules of anomaly-exporter. What each alert means and what to do first: docs/runbooks/."
_RECORDING = "Recording rules of anomaly-exporter: how much is anomalous, and what the exporter sees."
_INHIBIT = "Inhibit rules for Alertmanager: copy them into its config."
_BOTH = "Recording and alert rules of anomaly-exporter. What each alert means: docs/runbooks/."


def write_rules(
    config_file: str | None, kind: Format, output: str, say: Callable[[str], None], hint: Callable[[str], None]
) -> int:
    """Write the rules to the folder ``output``, which is made where it is missing, or to stdout (``-``).

    `say` prints what was asked for, `hint` what else one should know. Raises ConfigError for a config that can't be
    used or that no rules can be made from, AnomalyExporterError when the folder can't be written.
    """
    config = load(config_file) if config_file is not None else None
    if config is not None and config_file is not None:
        refuse(config, config_file)
    if output == STDOUT:
        say(in_one(config, kind).rstrip("\n"))
        hint("the inhibit rules for Alertmanager come with --format prometheus --output DIR")
        return 0
    for name, content in files(config, kind).items():
        write_output(Path(output) / name, content)
        say(f"{Path(output) / name}")
    return 0


def files(config: Config | None, kind: Format) -> Mapping[str, str]:
    """Contents by file name."""
    alerting, recording = (*series_groups(config), health_group(config)), recording_groups(config)
    if kind == "mixin":
        return {MIXIN_FILE: mixin(alerting, recording, _header(_BOTH, config))}
    if kind == "prometheusrule":
        return {MANIFEST_FILE: manifest((*recording, *alerting), _header(_BOTH, config))}
    return {
        RECORDING_FILE: rule_file(recording, _header(_RECORDING, config)),
        ALERT_FILE: rule_file(alerting, _header(_ALERTS, config)),
        INHIBIT_FILE: inhibit_rules(inhibitions(config), _header(_INHIBIT, config)),
    }


def in_one(config: Config | None, kind: Format) -> str:
    """All rules as one text."""
    if kind != "prometheus":
        return next(iter(files(config, kind).values()))
    groups = (*recording_groups(config), *series_groups(config), health_group(config))
    return rule_file(groups, _header(_BOTH, config))


def refuse(config: Config, file: str) -> None:
    """Raise ConfigError for what no rules can be made from."""
    problems = []
    if config.metric_names != "default":
        allowed = "metric_names: default, whose names the rules and dashboards use"
        problems.append(Problem(0, "metric_names", "no rules for these names", config.metric_names, allowed))
    for index, name in alert_conflicts(config):
        message = f"{name} alerts in another way than the query of that name of another tenant"
        allowed = "the same alert and direction, or another name: rules tell queries apart by their names"
        problems.append(Problem(0, f"tenants[{index}].queries", message, "", allowed))
    if config.metrics_page == "self":
        problems += [
            _too_short(index, query.name, query.alert.lookback_s, query.interval_s)
            for index, query in enumerate(rule_queries(config, longest=True))
            if query.alert.enabled and query.alert.lookback_s < 2 * query.interval_s
        ]
    if problems:
        raise ConfigError(file, tuple(problems))


def _too_short(index: int, name: str, lookback_s: int, interval_s: int) -> Problem:
    """Without a page to scrape there is one sample per interval, so the look-back may meet none."""
    message = f"of {name}: shorter than two intervals ({format_duration(interval_s * 1000)}), and by remote write each"
    allowed = f"a lookback of at least {format_duration(2 * interval_s * 1000)}"
    path = f"queries[{index}].alert.lookback"
    return Problem(0, path, f"{message} verdict is written once", format_duration(lookback_s * 1000), allowed)


def _header(title: str, config: Config | None) -> str:
    made = "the defaults" if config is None else "a config; write them again when its queries or alerts change"
    return f"{title}\nGenerated by `anomaly-exporter rules` from {made}: edit the config, not this file."
