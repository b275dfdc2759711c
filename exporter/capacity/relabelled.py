"""How many series of a query are left after relabelling: what `check` and `plan` can know of it beforehand."""

from __future__ import annotations

from exporter.config import Query
from exporter.errors import SourceError
from exporter.intake import LOOKBACK_S, Reads
from exporter.names import COLLISION, RELABELLED_AWAY
from exporter.series import REJECTED, SeriesTable, refused_for, rivals

MOST_READ = 100_000  # series: a second of a processor here, and an answer of 30 MB


def after_relabelling(reader: Reads, query: Query, series: int, now_s: int) -> tuple[int, tuple[str, ...]]:
    """The series of a query that would be watched if there were no limit on how many, and what to say about the others.

    `series` are those that the source has; where they are too many to look at, or can't be read, all of them count.
    """
    relabelling = query.relabelling()
    if not relabelling.changes or series == 0:
        return series, ()
    if series > MOST_READ:
        return series, (f"relabelling is not tried on more than {MOST_READ:,} series; it may leave fewer",)
    table = SeriesTable(relabelling)
    try:
        batch = reader.newest(now_s, int(LOOKBACK_S)).batch
    except SourceError as error:
        return series, (f"relabelling could not be tried: {error}",)
    rows = table.find(batch)
    table.admit(batch, rows)
    refused = refused_for(rows)
    refused[COLLISION] = int(((rows == REJECTED) | rivals(rows)).sum())
    return table.live, tuple(_words(reason, count, batch.series) for reason, count in refused.items() if count)


def _words(reason: str, count: int, series: int) -> str:
    if reason == RELABELLED_AWAY:
        return f"relabel_configs drop {count:,} of {series:,} series"
    if reason == COLLISION:
        return f"{count:,} of {series:,} series would not be watched: relabelling leaves them the labels of others"
    return f"{count:,} of {series:,} series would not be watched: they are over limits.{reason}"
