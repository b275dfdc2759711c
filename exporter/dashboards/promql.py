"""Selectors of the dashboards: plain PromQL with the dashboards' variables in it.

A tenant may be there or not, so it is always matched by a regular expression: `.*`, which All becomes, takes series
without the label, too.
"""

from __future__ import annotations

from exporter.names import FAMILIES, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, SELF_PREFIX

TENANT = f'{LABEL_TENANT}=~"$tenant"'
# The exporter's own metrics have an empty tenant where none are configured, though the series may carry such a label.
OWN_TENANT = f'{LABEL_TENANT}=~"$tenant|"'
QUERY = f'{LABEL_QUERY}=~"$query"'
MODEL = f'{LABEL_MODEL}=~"$model"'
FILTER = "${filter:raw}"  # matchers as somebody typed them, often none: a comma before nothing is valid PromQL
SERIES = "${series:raw}"  # the labels of one series, as matchers
LOOKBACK = "15m"  # as the alerts have it: the score marks the onset, so a single moment would miss most


def published(kind: str, *matchers: str) -> str:
    """A selector of one of `names.FAMILIES` by the chosen tenant and query, and more matchers."""
    return f"{FAMILIES[kind].name}{{{','.join((TENANT, QUERY, *matchers))}}}"


def own(name: str, *matchers: str) -> str:
    """A selector of one of the exporter's own metrics by the chosen tenant and query, and more matchers."""
    return f"{SELF_PREFIX}_{name}{{{','.join((OWN_TENANT, QUERY, *matchers))}}}"


def recent(selector: str) -> str:
    """The highest of the last 15 minutes."""
    return f"max_over_time({selector}[{LOOKBACK}])"


def drawn(selector: str) -> str:
    """The highest of each interval of a chart; where samples are rarer than that, the last one.

    The sum has no metric name, like the maximum: with one it would be a series of its own.
    """
    return f"max_over_time({selector}[$__rate_interval]) or {selector} + 0"


def in_range(selector: str) -> str:
    """The highest of the whole time range, the same at each point of a chart."""
    return f"max_over_time({selector}[$__range] @ end())"
