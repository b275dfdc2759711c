"""`alert:` and `links:`: what holds where, and that a change of them leaves the windows alone."""

from __future__ import annotations

import pytest

from exporter.config import Alert, Config, Links, Query, mask, parse

CONFIG = """\
source: {{url: http://p}}
alert: {{{outer}}}
queries:
  - {{name: own, expr: up, alert: {{{inner}}}}}
  - {{name: plain, expr: up}}
"""


def read(outer: str = "", inner: str = "") -> tuple[Alert, Alert]:
    """The alert of a query with a block of its own and of one without."""
    own, plain = parse(CONFIG.format(outer=outer, inner=inner), "f.yml", {}).queries
    return own.alert, plain.alert


def alert_of(query: str, outer: str = "") -> Alert:
    """The alert of a query with these keys."""
    text = f"source: {{url: http://p}}\nalert: {{{outer}}}\nqueries: [{{name: a, expr: up, {query}}}]\n"
    return parse(text, "f.yml", {}).queries[0].alert


def test_without_a_word_it_is_as_shipped() -> None:
    assert read() == (Alert(),) * 2
    assert Alert() == Alert(
        enabled=True, model="robust_band", lookback_s=900, for_s=0, keep_firing_for_s=0, severity="warning",
        direction="both", min_share=0.1, min_series=5, share_severity="critical", group_by=(),
    )  # fmt: skip
    assert Query("q", "up").alert == Alert()
    assert Config.__dataclass_fields__["alert"].default == Alert()


def test_every_key_is_read() -> None:
    own, plain = read(
        inner="enabled: no, model: consensus, lookback: 1h, for: 5m, keep_firing_for: 2h, severity: page,"
        " direction: above, min_share: 1, min_series: 1, share_severity: P1, group_by: [zone, _x9]"
    )
    assert own == Alert(False, "consensus", 3600, 300, 7200, "page", "above", 1.0, 1, "P1", ("zone", "_x9"))
    assert plain == Alert()


def test_a_query_has_that_of_the_file_but_for_the_keys_of_its_own() -> None:
    own, plain = read("severity: info, lookback: 30m, group_by: [zone]", "lookback: 10m, for: 9m")
    assert plain == Alert(severity="info", lookback_s=1800, group_by=("zone",))
    assert own == Alert(severity="info", lookback_s=600, for_s=540, group_by=("zone",))


@pytest.mark.parametrize(
    ("query", "model"),
    [("models: [shesd]", "shesd"), ("models: [shesd, robust_band]", "robust_band"),
     ("models: [shesd, robust_band], alert: {model: shesd}", "shesd"),
     ("models: [shesd, robust_band], alert: {model: consensus}", "consensus")],
)  # fmt: skip
def test_the_model_follows_the_query(query: str, model: str) -> None:
    assert alert_of(query).model == model


def test_the_model_of_the_file_holds_for_all_that_have_it() -> None:
    assert alert_of("models: [robust_band, shesd]", "model: shesd").model == "shesd"
    assert alert_of("models: [shesd], alert: {model: shesd}", "model: consensus").model == "shesd"


@pytest.mark.parametrize(
    ("query", "outer", "direction"),
    [("direction: above", "", "above"), ("direction: above, alert: {direction: both}", "", "above"),
     ("alert: {direction: below}", "", "below"), ("window: 7d", "direction: below", "below"),
     ("direction: above", "direction: below", "above"), ("direction: below, publish: score", "", "below"),
     ("alert: {direction: both}", "direction: above", "both")],
)  # fmt: skip
def test_the_direction_follows_the_query_and_can_be_narrowed(query: str, outer: str, direction: str) -> None:
    assert alert_of(query, outer).direction == direction


def test_blocks_are_shown_and_read_back() -> None:
    text = CONFIG.format(outer="severity: info, for: 1m", inner="model: consensus, group_by: [zone], min_share: 0.25")
    text += "  - {name: other, expr: up, models: [shesd], direction: below}\n"
    text += "links: {exporter: 'http://e/', grafana: 'https://g/x', runbooks: 'http://w/{alert}'}\n"
    config = parse(text, "f.yml", {})
    again = parse(mask(config), "f.yml", {})
    assert again == config
    assert [query.alert for query in again.queries] == [query.alert for query in config.queries]


def test_another_alert_is_the_same_query() -> None:
    # A reload keeps the windows of queries that are equal.
    plain, paged = (parse(CONFIG.format(outer="", inner=inner), "f.yml", {}) for inner in ("", "severity: page"))
    assert plain.queries == paged.queries
    assert plain.queries[0].alert != paged.queries[0].alert
    assert mask(plain) != mask(paged)


def test_links() -> None:
    text = CONFIG.format(outer="", inner="")
    assert parse(text, "f.yml", {}).links == Links("", "", "")
    links = "links: {exporter: 'http://[::1]:9899/', grafana: 'https://g.example/a/', runbooks: 'https://w/#{alert}'}\n"
    assert parse(text + links, "f.yml", {}).links == Links(
        "http://[::1]:9899", "https://g.example/a", "https://w/#{alert}"
    )
