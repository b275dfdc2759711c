"""The page beside its slow twin and the parsers of others: what we write is read back equal."""

from __future__ import annotations

import math
import re

import numpy as np
from fuzz.choices import Choices
from naive import exposition as naive
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.publish.label_text import LabelText, escaped_label, exported_labels
from exporter.publish.lines import Lines, Shard, render_rows
from exporter.publish.packing import gzip_stream

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ADDED = ({"query": "q"}, {"query": "q", "tenant": "team-a"}, {"query": 'q"\\', "model": "shesd"})

Labels = dict[str, str]
Picked = list[tuple[int, float]]


def check(data: bytes) -> None:
    """One input: series with labels of any kind, published; then read by each parser, and in shards."""
    choices = Choices(data)
    labels, picked = series(choices)
    text = LabelText("model")
    for row, own in labels.items():
        text.set_row(row, tuple(own.items()))
    digits = choices.pick((0, 9))
    rows, values = np.array([row for row, _ in picked], np.int64), np.array([x for _, x in picked])
    written = render_rows(b"m", text, rows, values, digits)
    assert written == naive.rows("m", labels, picked, digits)
    _read_back(written.decode(), labels, picked, digits)
    _in_shards(text, rows, values, labels, choices)


def series(choices: Choices) -> tuple[dict[int, Labels], Picked]:
    """Rows with the labels they are published with, and values for them."""
    labels: dict[int, Labels] = {}
    for row in range(1 + choices.below(5)):
        source = {
            choices.text(4) if choices.flip() else _name(choices): choices.text(8) for _ in range(choices.below(4))
        }
        added = choices.pick(_ADDED)
        published = dict(exported_labels(source, added))
        _check_published(source, added, published)
        if published not in labels.values():
            labels[row] = published
    return labels, [(row, _value(choices)) for row in labels]


def _name(choices: Choices) -> str:
    return choices.pick(("job", "query", "model", "exported_query", "le", "A", "__name__", "a.b", "a_b"))


def _value(choices: Choices) -> float:
    return choices.pick((choices.double(), float(choices.below(10**6)), 0.0, -0.0, math.inf, -math.inf, math.nan))


def _check_published(source: Labels, added: Labels, published: Labels) -> None:
    """No value is lost, every name is one, ours stay ours."""
    assert all(_NAME.fullmatch(name) for name in published)
    wanted = [value for name, value in source.items() if value and name != "__name__"]
    assert sorted(published.values()) == sorted([*wanted, *added.values()])
    assert added.items() <= published.items()


def _read_back(text: str, labels: dict[int, Labels], picked: Picked, digits: int) -> None:
    if any(name.startswith("__") for own in labels.values() for name in own):
        return  # Prometheus takes such names of others, the parsers of its client do not
    wanted = [(labels[row], float(naive.number(x, digits))) for row, x in picked if not math.isnan(x)]
    for parse, page in ((parse_text, text), (parse_openmetrics, f"# TYPE m gauge\n{text}# EOF\n")):
        found = [sample for family in parse(page) for sample in family.samples]
        assert [(sample.labels, sample.value) for sample in found] == wanted


def _in_shards(
    text: LabelText, rows: np.ndarray, values: np.ndarray, labels: dict[int, Labels], choices: Choices
) -> None:
    """With one more label, and divided: each line once, and the gzip of it is gzip."""
    import gzip

    extra = escaped_label("model", "shesd").encode()
    lines = Lines(b"m", text.texts(rows), values, 0, extra)
    whole = b"".join(lines.written())
    of = 1 + choices.below(4)
    shards = [b"".join(lines.written(Shard(index, of))) for index in range(1, of + 1)]
    assert sorted(b"".join(shards).splitlines()) == sorted(whole.splitlines())
    assert gzip.decompress(b"".join(gzip_stream([lines.packed(Shard(1, of))]))) == shards[0]
    if all("model" not in own for own in labels.values()):
        with_model = {row: {**own, "model": "shesd"} for row, own in labels.items()}
        assert whole == naive.rows("m", with_model, list(zip(rows.tolist(), values.tolist(), strict=True)))
