"""What one tenant x query publishes: its part of the result page, and what it writes to remote write."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from exporter.names import LABEL_FOR, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, Family
from exporter.publish.exposition import Page
from exporter.publish.label_text import LabelText, Texts, escaped_label, exported_labels
from exporter.publish.lines import Lines
from exporter.publish.remote_write.unit_writer import NO_MODEL, Kind, Part, UnitWriter


def added_labels(query: str, tenant: str, *, vmanomaly: bool) -> dict[str, str]:
    """The labels that mark results of a query; `tenant` only where tenants are configured."""
    added = {LABEL_FOR if vmanomaly else LABEL_QUERY: query}
    if tenant:
        added[LABEL_TENANT] = tenant
    return added


class UnitPage:
    """Takes a unit's verdicts family by family and shows them at once.

    Text and order of rows never change while they live, so that a scraper can cache them. The labels of a series are
    kept once: those of one model are the same with the label `model` more.
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
        self._labels = LabelText(LABEL_MODEL)
        self._extra = {model: escaped_label(LABEL_MODEL, model).encode() if model else b"" for model in self._models}
        self._lines: dict[str, list[Lines]] = {}
        self._shown: tuple[npt.NDArray[np.int64], Texts] | None = None
        self._parts: list[Part] = []
        self._closed = False

    def admit(self, rows: Iterable[tuple[int, dict[str, str]]]) -> None:
        """Take in new rows with the labels of their series."""
        admitted = []
        for row, labels in rows:  # once in the life of a series
            admitted.append(row)
            self._set_row(row, labels)
        if self._writer:
            self._writer.admit(admitted)

    def _set_row(self, row: int, labels: Mapping[str, str]) -> None:
        """The labels are named alike in all families: a `model` of the series makes way where there is none of ours."""
        named = exported_labels(labels, {**self._added, LABEL_MODEL: LABEL_MODEL})
        plain = tuple(pair for pair in named if pair[0] != LABEL_MODEL)
        if self._page:
            self._labels.set_row(row, plain)
        if self._writer:
            for model in self._models:
                self._writer.set_row(row, model, (*plain, (LABEL_MODEL, model)) if model else plain)

    def begin(self, time_s: int) -> None:
        """A cycle as of this time (unix seconds) begins."""
        if self._writer:
            self._writer.begin(time_s * 1000)

    def dismiss(self, rows: npt.NDArray[np.int64]) -> None:
        """Forget rows."""
        if self._writer:
            self._writer.dismiss(rows)
        for row in rows.tolist():  # once in the life of a series
            self._labels.drop_row(row)

    def start_over(self) -> None:
        """The clock was set back: rows that come again are of a time that may have been written already."""
        if self._writer:
            self._writer.start_over()

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
        arrays must not change any more: the lines are written when somebody asks for the page.
        """
        if self._page:
            name = self._families[family].name.encode()
            lines = Lines(name, self._texts(rows), values, significant, self._extra[model])
            self._lines.setdefault(family, []).append(lines)
        if self._writer:
            self._parts.append(Part(family, model, rows, values, times_ms))

    def _texts(self, rows: npt.NDArray[np.int64]) -> Texts:
        """The label texts of rows; families of the same rows share them."""
        if self._shown is None or self._shown[0] is not rows:
            self._shown = rows, self._labels.texts(rows)
        return self._shown[1]

    def show(self) -> None:
        """Put what has been rendered since the last call on the page, in place of what was there; then write it."""
        lines, self._lines = self._lines, {}
        parts, self._parts = self._parts, []
        self._shown = None
        if self._page and not self._closed:
            self._page.replace(self._key, lines)
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

    def hold(self) -> None:
        """Show only: nothing is written until `release`, because another page of this unit writes its past first."""
        if self._writer:
            self._writer.hold()

    def release(self) -> None:
        """Write from the next `show` on."""
        if self._writer:
            self._writer.release()

    def hand_over(self) -> None:
        """Write no more and end no series: the page that is held goes on with them."""
        if self._writer:
            self._writer.hand_over()

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
        self._lines, self._parts, self._shown = {}, [], None
        if self._page:
            self._page.drop(self._key)
