"""What a backtest keeps of the verdicts: the high scores, when there were any, and what charts need, all bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from exporter.backtest.runs import of_mask
from exporter.past import Slice

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MOST_KEPT_BYTES = 1 << 30
CHARTED = ("value", "expected", "lower", "upper", "score")


@dataclass(frozen=True, slots=True)
class Points:
    """Verdicts (n,) of one model that are above 1, sorted by row and column; NaN where the band has no edge, as
    that of a slow signal, which has none."""

    row: I64
    column: I64
    score: F64
    value: F64
    expected: F64
    lower: F64
    upper: F64

    def __len__(self) -> int:
        """How many there are."""
        return len(self.row)

    def part(self, chosen: Mask | I64) -> Points:
        """Some of them, in this order."""
        return Points(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Present:
    """Stretches of columns (n,), first and last included, in which a row has scores of one model."""

    row: I64
    first: I64
    last: I64


class Ledger:
    """Collects slice after slice; scores above 1 become points."""

    def __init__(self, models: Sequence[str], signals: Sequence[str] = ()) -> None:
        self._models = tuple(models)
        self._points: dict[str, list[Points]] = {name: [] for name in models}
        self._slow: dict[str, list[Points]] = {name: [] for name in signals}
        self._present: dict[str, list[Present]] = {name: [] for name in models}
        self.judged: I64 = np.empty(0, np.int64)

    def add(self, found: Slice, first: int) -> None:
        """Take a slice whose first column is `first`."""
        count = (~np.isnan(found.value)).sum(axis=1)
        self.judged = np.append(self.judged, np.zeros(len(count) - len(self.judged), np.int64)) + count
        for name in self._models:
            bands = found.bands[name]
            row, at = np.nonzero(bands.score > 1)
            columns = (each[row, at] for each in (bands.score, found.value, bands.expected, bands.lower, bands.upper))
            self._points[name].append(Points(row, at + first, *columns))
            row, begin, end = of_mask(~np.isnan(bands.score))
            self._present[name].append(Present(row, begin + first, end + first))
        for name, parts in self._slow.items():
            score = found.signals[name]
            row, at = np.nonzero(score > 1)
            none = np.full(len(row), np.nan)
            parts.append(Points(row, at + first, score[row, at], found.value[row, at], none, none, none))

    def points(self) -> dict[str, Points]:
        """The points of each model."""
        return {name: _sorted(_joined(parts)) for name, parts in self._points.items()}

    def slow(self) -> dict[str, Points]:
        """The points of each slow signal."""
        return {name: _sorted(_joined(parts)) for name, parts in self._slow.items()}

    def present(self) -> dict[str, Present]:
        """The presences of each model, in no order; a stretch may be in two pieces."""
        return {
            name: Present(*(np.concatenate([getattr(part, one) for part in parts]) for one in ("row", "first", "last")))
            for name, parts in self._present.items()
        }


def _joined(parts: Sequence[Points]) -> Points:
    return Points(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Points)))


def _sorted(points: Points) -> Points:
    return points.part(np.lexsort((points.column, points.row)))


class Kept:
    """All verdicts of one model for charts, as float32: 20 bytes each; none of them once they are too many."""

    def __init__(self, model: str, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._model = model
        self._left_bytes = most_bytes
        self._blocks: list[tuple[int, dict[str, F32]]] = []

    @property
    def whole(self) -> bool:
        """Whether there was room for all."""
        return self._left_bytes >= 0

    def add(self, found: Slice, first: int) -> None:
        """Take a slice whose first column is `first`."""
        self._left_bytes -= 4 * len(CHARTED) * found.value.size
        if not self.whole:
            self._blocks = []
            return
        bands = found.bands[self._model]
        each = (found.value, bands.expected, bands.lower, bands.upper, bands.score)
        with np.errstate(over="ignore"):  # beyond float32 a chart has a gap
            self._blocks.append(
                (first, {name: one.astype(np.float32) for name, one in zip(CHARTED, each, strict=True)})
            )

    def around(self, row: int, first: int, last: int) -> tuple[int, dict[str, F64]]:
        """(first column, verdicts (k,) by name) of a row from one column to another, as far as they are known."""
        begin = max(first, self._blocks[0][0]) if self._blocks else first
        parts: dict[str, list[F32]] = {name: [np.empty(0, np.float32)] for name in CHARTED}
        for start, block in self._blocks:
            of = slice(max(0, begin - start), max(0, last + 1 - start))
            for name, matrix in block.items():
                one = matrix[row, of] if row < len(matrix) else np.full(matrix[:1, of].shape[1], np.nan, np.float32)
                parts[name].append(one)
        return begin, {name: _finite(np.concatenate(each)) for name, each in parts.items()}


def _finite(values: F32) -> F64:
    wide = values.astype(np.float64)
    return np.where(np.isfinite(wide), wide, np.nan)
