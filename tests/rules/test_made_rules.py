"""Rules made from configs: each series in the scope of one rule, what can't work refused, the command."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rule_texts import input_times_ms, left_open, promtool, ranges_ms, rules_of

from exporter import names
from exporter.cli import main
from exporter.config import Config, Query, parse
from exporter.config.schema import CONSENSUS
from exporter.errors import AnomalyExporterError, ConfigError
from exporter.rules.alerts import series_groups
from exporter.rules.inhibit import inhibitions
from exporter.rules.rule import AlertRule
from exporter.rules.writing import FORMATS, Format, files, refuse, write_rules

MADE = Path(__file__).parent / "made"
CONFIG = MADE / "config.yml"
UNIT_TEST = MADE / "made.test.yml"
SOURCE = "source: {url: http://p}\n"


def made(folder: Path, *, shorter: bool = False) -> Path:
    """A folder with the rules of the config and their unit test."""
    for name, content in files(parse(CONFIG.read_text(), "c.yml", {}), "prometheus").items():
        (folder / name).write_text(left_open(content) if shorter and name.startswith("anomaly-") else content)
    shutil.copy(UNIT_TEST, folder)
    return folder / UNIT_TEST.name


@pytest.mark.parametrize("shorter", [False, True], ids=["closed", "left_open"])
def test_the_unit_tests_of_made_rules_hold(tmp_path: Path, shorter: bool) -> None:
    done = promtool("test", "rules", made(tmp_path, shorter=shorter))
    assert done.returncode == 0, done.stdout + done.stderr


def test_made_rules_are_valid_and_no_duplicates(tmp_path: Path) -> None:
    made(tmp_path)
    done = promtool("check", "rules", tmp_path / "anomaly-alerts.yml", tmp_path / "anomaly-recording.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "duplicate" not in done.stdout + done.stderr


def test_no_input_sample_lies_on_the_edge_of_a_window(tmp_path: Path) -> None:
    made(tmp_path)
    lengths_ms = {length for file in tmp_path.glob("anomaly-*.yml") for length in ranges_ms(file.read_text())}
    assert lengths_ms
    assert all(length % 1000 == 0 for length in lengths_ms)
    for test in yaml.safe_load(UNIT_TEST.read_text())["tests"]:
        assert input_times_ms(test)
        assert all(time % 1000 for time in input_times_ms(test))


# --- scopes -----------------------------------------------------------------------------------------------------------


def alert_rules(config: Config) -> dict[str, list[AlertRule]]:
    """The rules about series by the name of the alert."""
    found: dict[str, list[AlertRule]] = defaultdict(list)
    for rule in (rule for group in series_groups(config) for rule in group.rules):
        if isinstance(rule, AlertRule):
            found[rule.alert].append(rule)
    return found


def covers(expr: str, query: str, model: str) -> bool:
    """Whether each selector of an expression takes in the scores of a query by a model."""
    selectors = re.findall(r"anomaly_\w+(?::\w+)?(?:\{([^}]*)\})?", expr)
    assert selectors
    return all(_matches(selector, {"query": query, "model": model}) for selector in selectors)


def _matches(selector: str, labels: dict[str, str]) -> bool:
    for name, sign, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector):
        hit = re.fullmatch(value, labels[name]) is not None if "~" in sign else labels[name] == value
        if hit == sign.startswith("!"):
            return False
    return True


ALERT = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "model": st.sampled_from(["robust_band", "shesd", CONSENSUS]),
        "lookback": st.sampled_from(["5m", "15m", "1h"]),
        "severity": st.sampled_from(["warning", "page"]),
        "direction": st.sampled_from(["both", "above", "below"]),
        "group_by": st.sampled_from([[], ["zone"], ["zone", "app"]]),
        "keep_firing_for": st.sampled_from(["0s", "10m"]),
        "min_share": st.sampled_from([0.1, 0.5]),
    },
)
QUERY = st.fixed_dictionaries(
    {"alert": ALERT, "models": st.sampled_from([["robust_band"], ["shesd"], ["robust_band", "shesd"]])},
    optional={"direction": st.sampled_from(["above", "below"])},
)


def _config(outer: dict[str, Any], queries: list[dict[str, Any]]) -> Config | None:
    listed = [{"name": f"q{index}", "expr": "up", **query} for index, query in enumerate(queries)]
    document = {"source": {"url": "http://p"}, "alert": outer, "queries": listed}
    try:
        return parse(yaml.safe_dump(document), "f.yml", {})
    except ConfigError:
        return None  # what does not fit together is for other tests


@settings(max_examples=150, deadline=None)
@given(outer=ALERT, queries=st.lists(QUERY, min_size=1, max_size=6))
def test_every_query_is_in_the_scope_of_one_rule_with_its_own_settings(
    outer: dict[str, Any], queries: list[dict[str, Any]]
) -> None:
    config = _config(outer, queries)
    if config is None:
        return
    rules = alert_rules(config)
    for query in config.queries:
        model = query.models[0].name if query.alert.model == CONSENSUS else query.alert.model
        single = [rule for rule in rules[names.ALERT_DETECTED] if covers(rule.expr, query.name, model)]
        storm = [rule for rule in rules[names.ALERT_SHARE] if covers(rule.expr, query.name, model)]
        absent = [rule for rule in rules[names.ALERT_ABSENT] if covers(rule.expr, query.name, "")]
        assert len(single) == len(storm) == len(absent) == int(query.alert.enabled)
        if query.alert.enabled:
            _has_the_settings(query, single[0], storm[0])


def _has_the_settings(query: Query, single: AlertRule, storm: AlertRule) -> None:
    alert = query.alert
    assert (single.severity, storm.severity) == (alert.severity, alert.share_severity)
    assert f"[{alert.lookback_s // 60}m]".replace("[60m]", "[1h]") in single.expr
    assert single.keep_firing_for_s == alert.keep_firing_for_s
    assert ("without (model)" in single.expr) == (alert.model == CONSENSUS)
    narrowed = alert.direction not in ("both", query.direction)
    assert (f"series:anomaly_score:{alert.direction}" in single.expr) == narrowed
    assert f"by ({', '.join(('tenant', 'query', *alert.group_by))})" in storm.expr
    assert storm.expr.endswith(f">= {alert.min_share:g}")


@settings(max_examples=60, deadline=None)
@given(outer=ALERT, queries=st.lists(QUERY, min_size=1, max_size=6))
def test_every_storm_mutes_the_single_alerts_of_its_own_group(
    outer: dict[str, Any], queries: list[dict[str, Any]]
) -> None:
    config = _config(outer, queries)
    if config is None:
        return
    inhibiting = inhibitions(config)
    for query in config.queries:
        storm = {"alertname": names.ALERT_SHARE, "query": query.name}
        single = {"alertname": names.ALERT_DETECTED, "query": query.name}
        (rule,) = [
            each for each in inhibiting
            if all(_matches(matcher, storm) for matcher in each.source)
        ]  # fmt: skip
        assert all(_matches(matcher, single) for matcher in rule.target)
        assert rule.equal == ("tenant", "query", *query.alert.group_by)


def test_two_groups_of_queries_with_settings_of_their_own_share_a_rule_each() -> None:
    config = parse(
        SOURCE + "queries:\n"
        + "".join(f"  - {{name: s{i}, expr: up, models: [shesd]}}\n" for i in range(3))
        + "".join(f"  - {{name: p{i}, expr: up, alert: {{severity: page}}}}\n" for i in range(2)),
        "f.yml", {},
    )  # fmt: skip
    found = alert_rules(config)[names.ALERT_DETECTED]
    assert len(found) == 3
    assert 'query!~"p0|p1|s0|s1|s2"' in found[0].expr
    assert 'query=~"s0|s1|s2"' in found[1].expr
    assert (found[2].severity, found[2].query) == ("page", "{{/* p0 and 1 more */}}{{ $labels.query }}")


def test_the_default_of_the_file_is_the_general_rule() -> None:
    text = SOURCE + "alert: {severity: info, min_share: 0.3}\nqueries: [{name: a, expr: up}]\n"
    found = alert_rules(parse(text, "f.yml", {}))
    ((single,), (storm,)) = (found[alert] for alert in (names.ALERT_DETECTED, names.ALERT_SHARE))
    assert (single.severity, single.query) == ("info", "")
    assert "query" not in re.sub(r"\(tenant, query\)", "", single.expr + storm.expr)
    assert storm.expr.endswith(">= 0.3")


def test_switched_off_at_the_top_leaves_the_alerts_about_the_exporter() -> None:
    text = SOURCE + "alert: {enabled: false}\nqueries: [{name: a, expr: up}]\n"
    found = rules_of(files(parse(text, "f.yml", {}), "prometheus")["anomaly-alerts.yml"])
    assert {rule["alert"] for rule in found} == {
        names.ALERT_DOWN, names.ALERT_VERDICTS, names.ALERT_SOURCE, names.ALERT_UNWATCHABLE,
    }  # fmt: skip


# --- links ------------------------------------------------------------------------------------------------------------


def links_of(links: str) -> Iterator[dict[str, str]]:
    config = parse(SOURCE + f"links: {links}\nqueries: [{{name: a, expr: up}}]\n", "f.yml", {})
    for rule in rules_of(files(config, "prometheus")["anomaly-alerts.yml"]):
        yield {"alert": rule["alert"], **rule["annotations"]}


def test_known_addresses_need_no_lookup() -> None:
    for texts in links_of("{exporter: 'https://e.example/x/', grafana: 'https://g.example'}"):
        assert texts["runbook_url"] == f"https://e.example/x/runbooks/{texts['alert']}"
        assert "https://e.example/x" in texts["explain_url"]
        assert "https://g.example/d/anomaly-" in texts["dashboard_url"]


@pytest.mark.parametrize(
    ("runbooks", "page"),
    [("https://w.example/r/", "https://w.example/r/AnomalyStale"),
     ("https://w.example/{alert}.md", "https://w.example/AnomalyStale.md"),
     ("https://w.example/r#{alert}", "https://w.example/r#AnomalyStale")],
)  # fmt: skip
def test_runbooks_of_ones_own(runbooks: str, page: str) -> None:
    assert page in {texts["runbook_url"] for texts in links_of(f"{{runbooks: '{runbooks}'}}")}


def test_without_grafana_there_is_no_link_to_it() -> None:
    assert all("dashboard_url" not in texts for texts in links_of("{}"))


# --- refused ----------------------------------------------------------------------------------------------------------


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        refuse(parse(text, "f.yml", {}), "f.yml")
    return str(caught.value)


def test_other_metric_names_are_refused() -> None:
    assert refusal(SOURCE + "metric_names: vmanomaly\nqueries: [{name: a, expr: up}]\n") == (
        "f.yml: metric_names: no rules for these names, got `vmanomaly`;"
        " allowed: metric_names: default, whose names the rules and dashboards use"
    )


REMOTE = SOURCE + "metrics_page: self\nremote_write: [{url: http://h/w}]\n"


def test_a_lookback_that_meets_no_sample_is_refused() -> None:
    text = REMOTE + "queries:\n  - {name: a, expr: up}\n  - {name: b, expr: up, interval: 10m, step: 10m}\n"
    assert refusal(text) == (
        "f.yml: queries[1].alert.lookback: of b: shorter than two intervals (10m), and by remote write each verdict is"
        " written once, got `15m`; allowed: a lookback of at least 20m"
    )


@pytest.mark.parametrize("alert", ["{lookback: 20m}", "{enabled: false}"])
def test_a_lookback_that_is_long_enough_or_not_used_is_fine(alert: str) -> None:
    text = REMOTE + f"queries: [{{name: b, expr: up, interval: 10m, step: 10m, alert: {alert}}}]\n"
    refuse(parse(text, "f.yml", {}), "f.yml")


def test_scraped_results_are_there_in_between() -> None:
    refuse(parse(SOURCE + "queries: [{name: b, expr: up, interval: 1h, step: 1h}]\n", "f.yml", {}), "f.yml")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_the_command_writes_into_a_folder_that_it_makes(
    kind: Format, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "rules"
    assert main(["rules", f"--config.file={CONFIG}", f"--format={kind}", f"--output={folder}"]) == 0
    config = parse(CONFIG.read_text(), str(CONFIG), {})
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict(files(config, kind))
    assert capsys.readouterr().out.splitlines() == [str(folder / name) for name in files(config, kind)]


def test_printed_rules_are_one_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    said = capsys.readouterr()
    (tmp_path / "all.yml").write_text(said.out)
    done = promtool("check", "rules", tmp_path / "all.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    written = files(None, "prometheus")
    both = [*rules_of(written["anomaly-recording.yml"]), *rules_of(written["anomaly-alerts.yml"])]
    assert list(rules_of(said.out)) == both
    assert "--output" in said.err


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnomalyExporterError, match=r"can't write .*; name a folder with --output"):
        write_rules(None, "mixin", str(tmp_path / "file"), print, print)


def test_a_bad_config_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yml"
    config.write_text(SOURCE + "queries: [{name: a, expr: up, alert: {group_by: ['no label']}}]\n")
    assert main(["rules", f"--config.file={config}", f"--output={tmp_path / 'out'}"]) == 1
    assert "not a label name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
