"""One query of one tenant, walked from the first column to the last: what its verdicts were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exporter.backtest.alerting import models_of
from exporter.backtest.cycles import EveryCycle
from exporter.backtest.points import Kept, Ledger, Points, Present
from exporter.backtest.runs import united
from exporter.backtest.span import Grid
from exporter.config.schema import DAY_S, Query
from exporter.intake import Reads
from exporter.past import Past, Slice
from exporter.source.answer import Answer

I64 = npt.NDArray[np.int64]

_MOST_WORDS = 5

Sink = Callable[[Past, Slice], None]
Told = Callable[[float], None]


@dataclass(slots=True)
class Watched:
    """A reader that notes what it has read: times of the oldest and newest sample, numbers, and the server's words."""

    reader: Reads
    oldest_ms: int | None = None
    newest_ms: int | None = None
    samples: int = 0
    not_finite: int = 0
    partial: bool = False
    words: dict[str, None] = field(default_factory=dict)  # in order, each once
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        self.plain = self.reader.plain

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """As the reader does. Closing it closes the reader's."""
        for answer in self.reader.range(start_s, end_s, series_hint):
            self._note(answer)
            yield answer

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """As the reader does."""
        return self.reader.newest(time_s, lookback_s)

    def repeats(self, time_s: int, since_s: int) -> bool:
        """As the reader does."""
        return self.reader.repeats(time_s, since_s)

    def join(self, other: Watched) -> None:
        """Note what another one has noted."""
        self.oldest_ms = min([each for each in (self.oldest_ms, other.oldest_ms) if each is not None], default=None)
        self.newest_ms = max([each for each in (self.newest_ms, other.newest_ms) if each is not None], default=None)
        self.samples += other.samples
        self.not_finite += other.not_finite
        self.partial |= other.partial
        self.words |= other.words

    def _note(self, answer: Answer) -> None:
        batch = answer.batch
        self.partial |= answer.partial
        self.words |= dict.fromkeys((*answer.warnings, *answer.infos)[: _MOST_WORDS - len(self.words)])
        finite = np.isfinite(batch.value)
        self.samples += int(finite.sum())
        self.not_finite += int((~finite).sum())
        if finite.any():
            oldest, newest = int(batch.time_ms[finite].min()), int(batch.time_ms[finite].max())
            self.oldest_ms = oldest if self.oldest_ms is None else min(self.oldest_ms, oldest)
            self.newest_ms = newest if self.newest_ms is None else max(self.newest_ms, newest)


@dataclass(frozen=True, slots=True)
class Readers:
    """How a query is read: its window, at its step, and what is judged at each of its cycles, at its interval."""

    window: Reads
    cycles: Reads


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: `labels` of the series by row, `judged` (rows,) how many samples of each, by model its points
    and presences, the verdicts for charts, and by slow signal its points."""

    tenant: str
    query: Query
    grid: Grid
    labels: tuple[dict[str, str], ...]
    judged: I64
    points: dict[str, Points]
    present: dict[str, Present]
    kept: Kept
    seen: Watched
    slow: dict[str, Points] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Tenant and query as one text."""
        return f"{self.tenant}/{self.query.name}" if self.tenant else self.query.name

    @property
    def primary(self) -> str:
        """The model whose value and band tell of an alert."""
        return models_of(self.query)[0]

    @property
    def series_weeks(self) -> float:
        """Judged time of all series together: each verdict stands for the step that it ends."""
        present, grid = self.present[self.primary], self.grid
        before = self.query.step_s // grid.step_s
        watched = united(present.row, present.first - before, present.last)
        return float((watched.end - watched.start).sum()) * grid.step_s / (7 * DAY_S)


@dataclass(frozen=True, slots=True)
class Walker:
    """What all walks of a backtest share."""

    pool: Executor
    stop: threading.Event

    def walk(
        self, tenant: str, query: Query, grid: Grid, readers: Readers, told: Told, sinks: Sequence[Sink] = ()
    ) -> Walk:
        """Judge a grid; `told` hears which share of it is done, each of `sinks` gets every slice.

        Raises SourceError, PastTooLarge, past.Stopped. Memory: as Past, `points.MOST_KEPT_BYTES` for charts, and 56
        bytes for each score above 1.
        """
        seen, fine = Watched(readers.window), Watched(readers.cycles)
        coarse = grid.step_s == query.step_s
        past = Past(query, self.pool, self.stop) if coarse else EveryCycle(query, fine, self.pool, self.stop)
        models = models_of(query)
        ledger, kept = Ledger(models, query.signals), Kept(models[0])
        past.load(seen, grid.first_column, grid.last_column * query.step_s)
        first = grid.first
        while past.next_column <= grid.last_column:
            done = past.next_column - grid.first_column
            found = past.advance(seen, grid.last_column, _shares(told, done, grid.last_column - grid.first_column + 1))
            ledger.add(found, first)
            kept.add(found, first)
            for sink in sinks:
                sink(past, found)
            first += found.value.shape[1]
        seen.join(fine)
        labels = tuple(past.labels(row) for row in range(past.series))
        return Walk(
            tenant, query, grid, labels, ledger.judged, ledger.points(), ledger.present(), kept, seen, ledger.slow()
        )


def _shares(told: Told, done: int, columns: int) -> Told:
    """Tells which share of all columns is done when so many of a slice are, which begins after `done`."""
    return lambda judged: told((done + judged) / columns)
