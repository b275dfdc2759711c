"""The page: what all units publish, in the text exposition format, as a whole or in shards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of

from exporter.names import Family
from exporter.publish.label_text import escaped_help
from exporter.publish.lines import WHOLE, Lines, Shard
from exporter.publish.packing import Packed, pack

_END_OF_OPENMETRICS = b"# EOF\n"


@dataclass(frozen=True, slots=True)
class Plain:
    """A piece of the page that is written already."""

    text: bytes

    def written(self) -> Iterator[bytes]:
        """The text."""
        yield self.text

    def packed(self) -> Packed:
        """The text, compressed."""
        return pack([self.text])


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of the page that is written, or compressed, when it is asked for."""

    lines: Lines
    shard: Shard

    def written(self) -> Iterator[bytes]:
        """The lines."""
        return self.lines.written(self.shard)

    def packed(self) -> Packed:
        """The lines, compressed; the second time from memory."""
        return self.lines.packed(self.shard)


Piece: TypeAlias = Plain | Share
Published: TypeAlias = bytes | Sequence[Lines]


class Page:
    """The board of what is published: a unit (one tenant x query) hangs up its lines, a scrape takes them all down.

    Safe between threads; the lock is held only while references are exchanged, so a scrape waits for no cycle.
    ``registry`` holds the metrics about the exporter itself, which follow the result series.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._units: dict[str, Mapping[str, Published]] = {}

    def put(self, unit_key: str, family: str, data: Published) -> None:
        """Replace the lines of one family of a unit; empty data takes them off."""
        with self._lock:
            self._units[unit_key] = _not_empty({**self._units.get(unit_key, {}), family: data})

    def replace(self, unit_key: str, lines: Mapping[str, Published]) -> None:
        """Replace all lines of a unit (family key -> lines) at once, so that no scrape sees half a cycle."""
        kept = _not_empty(lines)
        with self._lock:
            self._units[unit_key] = kept

    def drop(self, unit_key: str) -> None:
        """Take all lines of a unit off; an unknown unit is no error."""
        with self._lock:
            self._units.pop(unit_key, None)

    def pieces(self, families: Mapping[str, Family], openmetrics: bool, shard: Shard = WHOLE) -> list[Piece]:
        """The page in pieces, families in the order given and units in the order of their keys.

        A family without lines is left out. The order is the same on every scrape, which lets Prometheus keep its cache.
        Of several shards each series is on one; what is not about a single series is on the first.
        """
        with self._lock:
            units = [self._units[key] for key in sorted(self._units)]
        pieces: list[Piece] = []
        for key, family in families.items():
            lines = [piece for unit in units for piece in _pieces_of(unit.get(key, b""), shard)]
            if lines:
                pieces += [Plain(_heading(family, openmetrics=openmetrics)), *lines]
        pieces.append(Plain(self._end(shard, openmetrics=openmetrics)))
        return pieces

    def chunks(self, families: Mapping[str, Family], openmetrics: bool, shard: Shard = WHOLE) -> list[bytes]:
        """The page as text, in pieces."""
        return [text for piece in self.pieces(families, openmetrics, shard) for text in piece.written()]

    def _end(self, shard: Shard, *, openmetrics: bool) -> bytes:
        """The metrics about the exporter itself, which are on the first shard."""
        if self._registry is None or shard.index > 1:
            return _END_OF_OPENMETRICS if openmetrics else b""
        if openmetrics:
            return bytes(openmetrics_of(self._registry))  # type: ignore[no-untyped-call]  # it has no annotations
        return text_of(self._registry)


def _not_empty(lines: Mapping[str, Published]) -> dict[str, Published]:
    shown = {key: data if isinstance(data, bytes) else [one for one in data if one] for key, data in lines.items()}
    return {key: data for key, data in shown.items() if data}


def _pieces_of(data: Published, shard: Shard) -> list[Piece]:
    if isinstance(data, bytes):
        return [Plain(data)] if data and shard.index == 1 else []
    return [Share(lines, shard) for lines in data]


def _heading(family: Family, *, openmetrics: bool) -> bytes:
    """HELP and TYPE of a gauge."""
    text = escaped_help(family.help, openmetrics=openmetrics)
    return f"# HELP {family.name} {text}\n# TYPE {family.name} gauge\n".encode()
