"""Which verdict was in force at a time: the replay that gives what was published then.

Without anything published it is the verdict on the newest sample. But a sample may have reached the source after the
cycle that should have judged it, a scrape shows the verdict of some cycles ago, and a large level may be centred
otherwise: each of these is tried where the published numbers are other ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.config import Query
from exporter.explain.publication import Publication
from exporter.explain.recording import Recorded
from exporter.explain.replaying import Replayed, likely_offsets, same

_LATE_SAMPLES = 3  # newest samples that may have come too late for their cycle

Moment = tuple[Recorded, int]  # what had been seen, and the cycle that judged it


@dataclass(frozen=True, slots=True)
class Match:
    """The replay of the verdict in force, the state of the series at the last of the cycles, and whether the numbers
    are those published: None where nothing was."""

    replayed: Replayed
    state: str
    last_s: float
    equal: bool | None


def match(
    query: Query,
    recorded: Recorded,
    cycles: list[int],
    published: Publication,
    offset: float | None = None,
    later: Sequence[int] = (),
) -> Match:
    """The verdict in force at the last of some cycles (ascending), or the published one of any of them.

    `offset` is that of the running exporter, where it is known. `later` cycles may have published it, too, but are in
    force for nothing else.
    """
    now = Replayed(query, recorded, cycles[-1], offset)
    moments = [*_moments(query, recorded, cycles), *_moments(query, recorded, later)]
    tried: list[Moment] = []
    for cut, cycle_s in moments if published else ():
        replayed = Replayed(query, cut, cycle_s, offset)
        if math.isnan(published.value) or replayed.value == published.value:
            tried.append((cut, cycle_s))
            if same(replayed.numbers, published.numbers):
                return Match(replayed, now.state, now.last_s, equal=True)
    otherwise = _centred_otherwise(query, tried, published) if now.offset != 0.0 else None
    if otherwise is not None:
        return Match(otherwise, now.state, now.last_s, equal=True)
    own = Replayed(query, *moments[0], offset)
    return Match(own, now.state, now.last_s, equal=False if published else None)


def _centred_otherwise(query: Query, tried: list[Moment], published: Publication) -> Replayed | None:
    """The published verdict by another offset: the exporter has met the series at another time."""
    for cut, cycle_s in tried:
        for likely in likely_offsets(cut):
            replayed = Replayed(query, cut, cycle_s, likely)
            if same(replayed.numbers, published.numbers):
                return replayed
    return None


def _moments(query: Query, recorded: Recorded, cycles: Sequence[int]) -> Iterator[Moment]:
    """What may have been judged, and when; the likely ones first."""
    seen = set()
    for cycle_s in reversed(cycles):
        for cut in (recorded, *_cuts(recorded, cycle_s)):
            for at_s in (_first_cycle(query, cut, cycle_s), cycle_s):
                if (len(cut.newest_ms), at_s) not in seen:
                    seen.add((len(cut.newest_ms), at_s))
                    yield cut, at_s


def _cuts(recorded: Recorded, cycle_s: int) -> Iterator[Recorded]:
    """The same series without its very newest samples: they may have reached the source after the cycle."""
    if not recorded.plain:
        return
    times_ms = recorded.newest_ms[recorded.newest_ms <= cycle_s * 1000]
    for back in range(2, 1 + min(len(times_ms), _LATE_SAMPLES)):
        yield recorded.before(int(times_ms[-back]))


def _first_cycle(query: Query, recorded: Recorded, cycle_s: int) -> int:
    """The cycle that judged the newest sample as of a cycle: each is judged once, as soon as it is there."""
    times_ms = recorded.newest_ms[recorded.newest_ms <= cycle_s * 1000]
    if not recorded.plain or len(times_ms) == 0:
        return cycle_s
    return -(-int(times_ms[-1]) // (1000 * query.interval_s)) * query.interval_s
