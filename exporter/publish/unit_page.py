"""What one tenant x query publishes: its part of the result page, and what it writes to remote write."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from exporter.names import LABEL_FOR, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, Family
from exporter.publish.exposition import Labels, LabelText, Page, exported_labels, render_rows
from exporter.publish.remote_write.unit_writer import NO_MODEL, Kind, Part, UnitWriter


def added_labels(query: str, tenant: str, *, vmanomaly: bool) -> dict[str, str]:
    """The labels that mark results of a query; `tenant` only where tenants are configured."""
    added = {LABEL_FOR if vmanomaly else LABEL_QUERY: query}
    if tenant:
        added[LABEL_TENANT] = tenant
    return added


class UnitPage:
    """Renders a unit's rows family by family and shows them at once.

    Text and order of rows never change while they live, so that a scraper can cache them.
    """

    def __init__(
        self,
        page: Page | None,
        key: str,
        added: Mapping[str, str],
        models: Iterable[str],
        families: Mapping[str, Family],
        writer: UnitWriter | None = None,
    ) -> None:
        """Without a page nothing is shown (the results go by remote write only), without a writer nothing written."""
        self._page = page
        self._writer = writer
        self._key = key
        self._added = dict(added)
        self._families = families
        self._models = (*models, NO_MODEL)
        self._labels = {model: LabelText() for model in self._models} if page else {}
        self._lines: dict[str, list[bytes]] = {}
        self._parts: list[Part] = []
        self._closed = False

    def admit(self, rows: Iterable[tuple[int, dict[str, str]]]) -> None:
        """Take in new rows with the labels of their series."""
        admitted = []
        for row, labels in rows:  # once in the life of a series
            admitted.append(row)
            for model in self._models:
                added = {**self._added, LABEL_MODEL: model} if model else self._added
                self._set_row(row, model, exported_labels(labels, added))
        if self._writer:
            self._writer.admit(admitted)

    def _set_row(self, row: int, model: str, labels: Labels) -> None:
        if self._page:
            self._labels[model].set_row(row, labels)
        if self._writer:
            self._writer.set_row(row, model, labels)

    def begin(self, time_s: int) -> None:
        """A cycle as of this time (unix seconds) begins."""
        if self._writer:
            self._writer.begin(time_s * 1000)

    def dismiss(self, rows: npt.NDArray[np.int64]) -> None:
        """Forget rows."""
        if self._writer:
            self._writer.dismiss(rows)
        for text in self._labels.values():
            for row in rows.tolist():  # once in the life of a series
                text.drop_row(row)

    def render(
        self,
        family: str,
        model: str,
        rows: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
        significant: int,
        times_ms: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Add one family of one model: rows (n,) ascending, values (n,), NaN left out; 0 digits mean exactly.

        ``times_ms`` (n,) are the times of the judged samples, for remote write; None is the time of the cycle. The
        arrays must not change until `show`.
        """
        if self._page:
            name = self._families[family].name.encode()
            lines = render_rows(name, self._labels[model], rows, values, significant)
            self._lines.setdefault(family, []).append(lines)
        if self._writer:
            self._parts.append(Part(family, model, rows, values, times_ms))

    def show(self) -> None:
        """Put what has been rendered since the last call on the page, in place of what was there; then write it."""
        lines, self._lines = self._lines, {}
        parts, self._parts = self._parts, []
        if self._page and not self._closed:
            self._page.replace(self._key, {family: b"".join(texts) for family, texts in lines.items()})
        if self._writer:
            self._writer.write(parts)

    def backfill(
        self,
        rows: npt.NDArray[np.int64],
        times_ms: npt.NDArray[np.int64],
        values: Mapping[Kind, npt.NDArray[np.float64]],
        stop: threading.Event,
    ) -> int:
        """Write verdicts of the past before the first cycle, as `UnitWriter.backfill` says; returns the columns."""
        return self._writer.backfill(rows, times_ms, values, stop) if self._writer else 0

    def withdraw(self) -> None:
        """Take everything of this unit off the page until the next `show`; what was written has ended."""
        self._take_off()
        if self._writer:
            self._writer.withdraw()

    def close(self) -> None:
        """Take everything off for good: a cycle that still runs can't bring it back."""
        self._closed = True
        self._take_off()
        if self._writer:
            self._writer.close()

    def _take_off(self) -> None:
        self._lines, self._parts = {}, []
        if self._page:
            self._page.drop(self._key)
