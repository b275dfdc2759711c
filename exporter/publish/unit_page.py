"""What one tenant x query publishes: the label text of its rows, and its part of the result page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from exporter.names import LABEL_FOR, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, Family
from exporter.publish.exposition import LabelText, Page, exported_labels, render_rows

_NO_MODEL = ""


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
        self, page: Page, key: str, added: Mapping[str, str], models: Iterable[str], families: Mapping[str, Family]
    ) -> None:
        self._page = page
        self._key = key
        self._added = dict(added)
        self._families = families
        self._labels = {model: LabelText() for model in [*models, _NO_MODEL]}
        self._parts: dict[str, list[bytes]] = {}
        self._closed = False

    def admit(self, rows: Iterable[tuple[int, dict[str, str]]]) -> None:
        """Take in new rows with the labels of their series."""
        for row, labels in rows:  # once in the life of a series
            for model, text in self._labels.items():
                added = {**self._added, LABEL_MODEL: model} if model else self._added
                text.set_row(row, exported_labels(labels, added))

    def dismiss(self, rows: npt.NDArray[np.int64]) -> None:
        """Forget rows."""
        for text in self._labels.values():
            for row in rows.tolist():  # once in the life of a series
                text.drop_row(row)

    def render(
        self, family: str, model: str, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64], significant: int
    ) -> None:
        """Write one family of one model: rows (n,) ascending, values (n,), NaN left out; 0 digits mean exactly."""
        name = self._families[family].name.encode()
        lines = render_rows(name, self._labels[model], rows, values, significant)
        self._parts.setdefault(family, []).append(lines)

    def show(self) -> None:
        """Put what has been rendered since the last call on the page, in place of what was there."""
        parts, self._parts = self._parts, {}
        if not self._closed:
            self._page.replace(self._key, {family: b"".join(lines) for family, lines in parts.items()})

    def withdraw(self) -> None:
        """Take everything of this unit off the page until the next `show`."""
        self._parts = {}
        self._page.drop(self._key)

    def close(self) -> None:
        """Take everything off for good: a cycle that still runs can't bring it back."""
        self._closed = True
        self.withdraw()
