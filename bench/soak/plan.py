"""What goes wrong in a soak, and when: drawn from a seed, in intervals of the exporter, so that it can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

STOPPED, PAUSED = "source stopped", "source paused"
ERRORS, RESETS, SLOW = "500s", "resets", "slow source"
RELOAD, BAD_RELOAD, CHANGED = "reload", "broken config", "changed query"
KILLED = "exporter killed"

SOURCE_FAULTS = (STOPPED, PAUSED, ERRORS, RESETS, SLOW)
MOMENTS = (RELOAD, BAD_RELOAD, CHANGED)  # over at once
_CALM_INTERVALS = (3.0, 8.0)
_FAULT_INTERVALS = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong for `lasts_s`, after `calm_s` without any."""

    kind: str
    calm_s: float
    lasts_s: float


def faults(seed: int, interval_s: int) -> Iterator[Fault]:
    """Faults without end. Each kind comes once, in an order of the seed's, before any comes again."""
    rng = Random(seed)
    while True:
        kinds = [*SOURCE_FAULTS, *MOMENTS]
        rng.shuffle(kinds)
        for kind in kinds:
            lasts = 0.0 if kind in MOMENTS else rng.uniform(*_FAULT_INTERVALS)
            yield Fault(kind, rng.uniform(*_CALM_INTERVALS) * interval_s, lasts * interval_s)
