"""Where the verdicts of a backtest go beside its report: OpenMetrics, as `promtool tsdb create-blocks-from openmetrics`
takes it, or the remote write targets of the config."""

from __future__ import annotations

import mmap
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry

from exporter.backfill import by_kind
from exporter.backtest.faults import BacktestError
from exporter.backtest.files import replacing
from exporter.config.per_tenant import targets_of
from exporter.config.schema import Config, Query
from exporter.connections import open_target
from exporter.names import FAMILIES, LABEL_MODEL, SELF_PREFIX, VMANOMALY_FAMILIES, Family
from exporter.past import Past, Slice, Stopped
from exporter.publish.label_text import escaped_help, exported_labels, label_text
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.unit_page import UnitPage, added_labels

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_PATIENCE_S = 300.0  # for the receivers to take what is left at the end
_COUNTERS = ("samples_total", "samples_failed_total", "samples_dropped_total")


def families_of(config: Config) -> Mapping[str, Family]:
    """The names of the results."""
    return VMANOMALY_FAMILIES if config.metric_names == "vmanomaly" else FAMILIES


# -- OpenMetrics -------------------------------------------------------------------------------------------------------


class OpenMetricsFile:
    """Writes results as OpenMetrics, family by family and series by series in the order of time, as the format wants.

    Slices come in the order of time, so their lines wait in temporary files beside the target, one per family, and are
    put together at the end: disk is taken twice. The target appears when all of it is there.
    """

    def __init__(self, path: str, families: Mapping[str, Family]) -> None:
        """Raises BacktestError where nothing can be written."""
        self._path = Path(path)
        self._families = families
        self._spools = {family: _Spool(self._path.absolute().parent) for family in families}
        self.samples = 0

    @property
    def path(self) -> Path:
        """The target."""
        return self._path

    def close(self) -> None:
        """Give the disk of what waits back."""
        for spool in self._spools.values():
            spool.close()

    def sink(self, query: Query, tenant: str, *, vmanomaly: bool) -> _OpenMetricsSink:
        """Takes the slices of one query."""
        return _OpenMetricsSink(self, query, added_labels(query.name, tenant, vmanomaly=vmanomaly))

    def add(self, family: str, key: tuple[str, ...], lines: bytes) -> None:
        """Lines of one series, later than all before."""
        self._spools[family].add(key, lines)

    def name(self, family: str) -> str:
        """The public name of a family."""
        return self._families[family].name

    def finish(self) -> None:
        """Put the file together. Raises BacktestError."""
        with replacing(self._path) as out:
            for family, spool in self._spools.items():
                if not spool.empty:
                    named = self._families[family]
                    out.write(f"# TYPE {named.name} gauge\n".encode())
                    out.write(f"# HELP {named.name} {escaped_help(named.help, openmetrics=True)}\n".encode())
                    out.writelines(spool.blocks())
            out.write(b"# EOF\n")


class _OpenMetricsSink:
    """The slices of one query as lines."""

    def __init__(self, file: OpenMetricsFile, query: Query, added: Mapping[str, str]) -> None:
        self._file = file
        self._query = query
        self._added = dict(added)

    def __call__(self, past: Past, found: Slice) -> None:
        times = [f" {time_ms // 1000}\n" for time_ms in found.times_ms.tolist()]
        for (family, model), values in by_kind(found, self._query).items():
            known = ~np.isnan(values)
            for row in np.flatnonzero(known.any(axis=1)).tolist():  # text is made series by series
                # As it is published: a `model` of the series makes way in all families alike.
                named = exported_labels(past.labels(row), {**self._added, LABEL_MODEL: LABEL_MODEL})
                shown = ((name, model if name == LABEL_MODEL else text) for name, text in named)
                series = f"{self._file.name(family)}{label_text(pair for pair in shown if pair[1]).decode()}".rstrip(
                    " "
                )
                at = np.flatnonzero(known[row]).tolist()
                own = values[row].tolist()
                lines = "".join([f"{series} {own[i]!r}{times[i]}" for i in at])
                self._file.add(family, (series,), lines.encode("utf-8", "replace"))
                self._file.samples += len(at)


class _Spool:
    """Blocks of lines on disk, many of them per series, given back series by series."""

    def __init__(self, folder: Path) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- closed with its owner
        except OSError as error:
            raise BacktestError(f"{folder}: can't write there: {(error.strerror or 'unknown').lower()}") from error
        self._places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        self._end = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return self._end == 0

    def add(self, key: tuple[str, ...], lines: bytes) -> None:
        """Keep a block."""
        try:
            self._file.write(lines)
        except OSError as error:
            raise BacktestError(f"--write: {(error.strerror or 'unknown').lower()}") from error
        self._places.setdefault(key, []).append((self._end, self._end + len(lines)))
        self._end += len(lines)

    def blocks(self) -> Iterator[bytes]:
        """All blocks, series by series in the order in which they were first met."""
        self._file.flush()
        with mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ) as text:
            for places in self._places.values():
                for start, end in places:
                    yield text[start:end]

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


# -- remote write ------------------------------------------------------------------------------------------------------


class RemoteTargets:
    """Writes results to all remote write targets of a config, in the order of time."""

    def __init__(self, config: Config, stop: threading.Event) -> None:
        """Raises BacktestError where the config has no target."""
        if not config.remote_write:
            raise BacktestError(
                "--write remote: the config has no remote_write: add a target, or --write openmetrics:FILE"
            )
        self._config = config
        self._stop = stop
        self._registry = CollectorRegistry()
        self._outlet = Outlet(WriteMetrics(self._registry))
        self._outlet.adopt(targets_of(config), open_target)

    def sink(self, query: Query, tenant: str) -> RemoteSink:
        """Takes the slices of one query."""
        if not self._outlet.takes(tenant):
            raise BacktestError("--write remote: the targets are per tenant, and there is none: name one by --tenant")
        models = [model.name for model in query.models]
        families = families_of(self._config)
        added = added_labels(query.name, tenant, vmanomaly=self._config.metric_names == "vmanomaly")
        key = f"{tenant}/{query.name}"
        writer = UnitWriter(self._outlet, key, families, models, self._config.external_labels, tenant)
        page = UnitPage(None, key, added, models, families, writer)
        return RemoteSink(page, query, self._stop)

    def finish(self, patience_s: float = _PATIENCE_S) -> tuple[int, int]:
        """Deliver what is left; returns how many samples were delivered, and how many were refused, dropped or left."""
        self._outlet.finish(patience_s)
        left = self._outlet.wait()
        sent, failed, dropped = (self._counted(name) for name in _COUNTERS)
        return sent, left + failed + dropped

    def abandon(self) -> None:
        """Stop at once."""
        self._outlet.finish(0.0)
        self._outlet.wait()

    def _counted(self, name: str) -> int:
        wanted = f"{SELF_PREFIX}_remote_write_{name}"
        found: Sequence[float] = [
            sample.value for metric in self._registry.collect() for sample in metric.samples if sample.name == wanted
        ]
        return round(sum(found))


class RemoteSink:
    """The slices of one query for the targets; waits where a queue is half full."""

    def __init__(self, page: UnitPage, query: Query, stop: threading.Event) -> None:
        self._page = page
        self._query = query
        self._stop = stop
        self._admitted = 0

    def __call__(self, past: Past, found: Slice) -> None:
        """Queue a slice. Raises past.Stopped."""
        self._page.admit((row, past.labels(row)) for row in range(self._admitted, past.series))
        self._admitted = past.series
        rows = np.arange(len(found.value))
        columns = self._page.backfill(rows, found.times_ms, by_kind(found, self._query), self._stop)
        if columns < len(found.times_ms):
            raise Stopped
