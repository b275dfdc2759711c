"""Replicas of one unit on one store: what each has written, sample by sample, and how they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from naive.remote_write import Written, decode
from support.store import Store

from exporter import names
from exporter.config import Query
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.remote_write.wire import STALE_BITS, Encoded
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Unit

Key = tuple[tuple[tuple[str, str], ...], int]


def by_key(samples: Iterable[Written]) -> dict[Key, set[int]]:
    """(labels, time) -> the bits of all values written for it; ends of series and ages at a cycle are left out."""
    found: dict[Key, set[int]] = {}
    for sample in samples:
        name = dict(sample.labels)["__name__"]
        if sample.bits != STALE_BITS and name != names.FAMILIES[names.ABSENT].name:
            found.setdefault((sample.labels, sample.time_ms), set()).add(sample.bits)
    return found


def differing(one: Mapping[Key, set[int]], other: Mapping[Key, set[int]], label: str) -> Counter[str]:
    """How many of the samples that both have are not the same to the bit, by a label of theirs."""
    unequal = [key for key in one.keys() & other.keys() if one[key] != other[key] or len(one[key]) > 1]
    return Counter(dict(labels).get(label, "") for labels, _ in unequal)


class Tape:
    """Takes what a unit writes, in place of an outlet."""

    def __init__(self) -> None:
        self.samples: list[Written] = []

    def put(self, unit: str, cycle_ms: int, encoded: Encoded, tenant: str = "") -> None:
        self.samples += decode(encoded.data.tobytes())

    def floors(self, unit: str) -> Mapping[bytes, int]:
        return {}

    def drop(self, reason: str, samples: int, tenant: str = "") -> None:
        pass


class Replica:
    """A unit of its own on a store that others read, too."""

    def __init__(self, query: Query, store: Store) -> None:
        self.tape = Tape()
        models = [model.name for model in query.models]
        writer = UnitWriter(self.tape, query.name, names.FAMILIES, models)
        page = UnitPage(None, query.name, added_labels(query.name, "", vmanomaly=False), models, names.FAMILIES, writer)
        self._unit = Unit("", query, store, page)

    def run_cycle(self, time_s: int) -> None:
        """Run a cycle, which must go well."""
        receipt = self._unit.run_cycle(time_s)
        assert not receipt.error, receipt.error


class Observant(Store):
    """A store that knows when values only repeat because an expression looks back."""

    def repeats(self, time_s: int, since_s: int) -> bool:
        newest_ms = max(max(samples, default=0) for samples in self.series.values())
        return newest_ms <= since_s * 1000
