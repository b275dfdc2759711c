"""What is measured at which scale, and what the targets are there."""

from __future__ import annotations

from dataclasses import dataclass

SCALES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
_MOST_SERVED = 100_000  # series that the real server holds here
_MOST_READ = 1000  # series of a week in the server: two million samples
_LEAST_COLD = 1000  # series from which on the minute of a cold start is spent
_PACES = ((1000, 1), (20_000, 3), (_MOST_SERVED, 20))  # up to so many series, seconds between scrapes
_LEAST_JUDGED = 1000
_USUAL_INTERVAL_S, _SLOW_INTERVAL_S = 60, 300  # the latter where the full scale is among the sizes
_SLOW_CYCLES, _FULL_CYCLES = 12, 3  # an hour of the slow ones; of the full scale
_PROPER = 100_000  # the targets are for so many series


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repetitions. `series`: asked for; `served`: of them with a real server; `read`: with a week in it;
    `growth`: the sizes that run without a server, with a cycle every `alone_interval_s`, so that all do the same."""

    series: int
    served: int
    read: int
    repeats: int
    cycles: int
    scrape_interval_s: int
    growth: tuple[int, ...]
    alone_interval_s: int
    cold: bool

    @staticmethod
    def of(series: int) -> Plan:
        """The plan for so many series. Growth is taken over the decades up to there, 10k to 1M at the full scale."""
        served = min(series, _MOST_SERVED)
        least = 10_000 if series > _MOST_SERVED else max(1, series // 10)
        middle = round((least * series) ** 0.5)
        return Plan(
            series=series,
            served=served,
            read=min(series, _MOST_READ),
            repeats=5,
            cycles=10,  # two columns: one cycle of five opens a new one
            scrape_interval_s=next(pace for most, pace in _PACES if served <= most),
            growth=tuple(sorted({least, middle, series})),
            alone_interval_s=_SLOW_INTERVAL_S if series > _MOST_SERVED else _USUAL_INTERVAL_S,
            cold=series >= _LEAST_COLD,
        )

    def alone_cycles(self, series: int) -> int:
        """How many cycles a size runs without a server."""
        if self.alone_interval_s == _USUAL_INTERVAL_S:
            return self.cycles
        return _SLOW_CYCLES if series <= _MOST_SERVED else _FULL_CYCLES

    def share(self, target: float, of: int = _PROPER, series: int | None = None) -> float | None:
        """A target for `of` series, in proportion to `series`, or else those served here; None in toy runs, where
        fixed costs are all there is."""
        return target * (series or self.served) / of if self.series >= _LEAST_JUDGED else None


def parse_scale(text: str) -> int:
    """10k, 100k, 1m or a plain number of series. ValueError for anything else."""
    series = SCALES.get(text.lower()) or int(text)
    if series < 1:
        raise ValueError(text)
    return series


def size_text(series: int) -> str:
    """A number of series as people write it: 10k, 1m."""
    for unit, size in (("m", 1_000_000), ("k", 1000)):
        if series >= size and series % size == 0:
            return f"{series // size}{unit}"
    return str(series)
