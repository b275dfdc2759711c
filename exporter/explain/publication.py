"""What was published of a series, as the source has it: it usually holds what it scrapes of the exporter, too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from exporter.errors import SourceError
from exporter.explain.replaying import Numbers
from exporter.names import EXPECTED, LABEL_MODEL, LOWER, SCORE, UPPER, VALUE, Family
from exporter.publish.explain_link import quoted
from exporter.publish.label_text import exported_labels
from exporter.source.client import Client

_KEYS = (SCORE, EXPECTED, LOWER, UPPER, VALUE)
_BACK_S = 300  # as far as Prometheus itself takes a sample for the present
_MOST_SERIES = 200
_ADDED_BY_SCRAPE = frozenset(["job", "instance"])
CONFIG_INFO = "anomaly_exporter_config_info"

Samples = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Publication:
    """The newest published numbers as of a time, by model, and the published value; `time_s` is when they were scraped.

    Empty where the source has none. `where` says whose numbers these are.
    """

    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    value: float = math.nan
    time_s: float = math.nan
    where: str = "the source"

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.numbers)


def published_at(
    client: Client,
    families: Mapping[str, Family],
    added: Mapping[str, str],
    labels: Mapping[str, str],
    time_s: float,
    external: frozenset[str] = frozenset(),
) -> Publication:
    """What the source has of it at a time; empty, too, when it can't be asked: this only compares.

    `labels` as relabelling leaves them; `external` are names of labels that remote write may have added.
    """
    names = "|".join(families[key].name for key in _KEYS)
    wanted = exported_labels(labels, {**added, LABEL_MODEL: LABEL_MODEL})
    plain = {name: value for name, value in wanted if name != LABEL_MODEL}
    matchers = [f'__name__=~"{names}"', *(f"{name}={quoted(value)}" for name, value in plain.items())]
    try:
        body = client.query(f"{{{','.join(matchers)}}}[{_BACK_S}s]", time_s)
        found = list(_series(body))
    except (SourceError, ValueError, KeyError, TypeError):
        return Publication()
    keys = {families[key].name: key for key in _KEYS}
    return _newest([(keys[name], own, samples) for name, own, samples in found
                    if name in keys and _fits(own, plain, external)])  # fmt: skip


def _series(body: bytearray) -> Iterator[tuple[str, dict[str, str], Samples]]:
    """(name, labels, samples) of each series of a matrix."""
    for each in json.loads(body)["data"]["result"][:_MOST_SERIES]:
        labels = dict(each["metric"])
        samples = [(float(time), float(value)) for time, value in each["values"]]
        yield labels.pop("__name__", ""), labels, samples


def _fits(own: Mapping[str, str], wanted: Mapping[str, str], external: frozenset[str]) -> bool:
    """Whether a published series has these labels and no more, but what a scrape or remote write adds."""
    return set(own) - set(wanted) - {LABEL_MODEL} <= _ADDED_BY_SCRAPE | external


def _newest(found: list[tuple[str, dict[str, str], Samples]]) -> Publication:
    """The numbers of the newest scrape; the others of the same scrape have the same time."""
    scores = [samples[-1][0] for key, _, samples in found if key == SCORE and samples]
    if not scores:
        return Publication()
    time_s = max(scores)
    numbers: dict[str, dict[str, float]] = {}
    value = math.nan
    for key, own, samples in found:
        at = dict(samples).get(time_s, math.nan)
        if key == VALUE:
            value = at if not math.isnan(at) else value
        elif not math.isnan(at):
            numbers.setdefault(own.get(LABEL_MODEL, ""), {})[key] = at
    told = {model: Numbers(*(parts.get(key, math.nan) for key in (SCORE, EXPECTED, LOWER, UPPER)))
            for model, parts in numbers.items()}  # fmt: skip
    return Publication(told, value, time_s)


def config_hashes(client: Client, time_s: float) -> list[str]:
    """The hashes of the configs of the exporters whose metrics the source has; none, too, when it can't be asked."""
    try:
        body = client.query(CONFIG_INFO, time_s)
        return sorted({str(each["metric"]["hash"]) for each in json.loads(body)["data"]["result"][:_MOST_SERIES]})
    except (SourceError, ValueError, KeyError, TypeError):
        return []
