"""`robust_band`, told part by part: what each view adds to the score of one sample. Read only, for people.

The same kernels as the judgement's, one row at a time, from Python. docs/models.md has the formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exporter.models import evidence
from exporter.models.order import F32, F64
from exporter.models.robust_band import (
    HIGH_UNIT,
    HIGHEST,
    LOW_UNIT,
    LOWER_GATE,
    LOWEST,
    NOVELTIES,
    TAILS,
    UPPER_GATE,
)
from exporter.models.rows import RobustBandRows
from exporter.models.views import DAY, DAY_F12, F3, F48, HW, VIEWS, XM6, X

VIEW_NAMES = {X: "x", F3: "f3", F48: "f48", DAY: "day", XM6: "xm6", DAY_F12: "day_f12", HW: "hw"}
MOST_TAIL_EVIDENCE = 8.0
TAIL_WEIGHTS = (0.1, 0.4, 0.3, 0.1, 0.1)  # of TAILS, see LP of the models' page

_NOTHING = (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class View:
    """One view of a sample: its `residual`, and its weighted evidence by tail and by novelty (of the novelties only
    the largest counts). `usual` are the residuals that are no news, `record` the least and largest that the window
    holds; NaN where the view has none. `x` and `xm6` are centred like the window."""

    name: str
    residual: float
    tail: float
    novelty: float
    usual: tuple[float, float]
    record: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Contributions:
    """All parts of one score. `parts` are in units of the score and add up to it.

    The parts: `tail <view>`; `told` (at most 0), what the level of the last hour had said before; `capped` (at most 0),
    what the tails have beyond their common limit; `novelty`, the largest of the views'; `season`, the distance from
    the season; `lifted`, what a score below 1 gains for being unusual; `cut` (at most 0), what is beyond 100.
    """

    views: tuple[View, ...]
    parts: dict[str, float]
    evidence: float
    threshold: float
    score: float


@dataclass(frozen=True, slots=True)
class Basis:
    """What the verdicts on the open column rest on, centred like the window: its median, the floor, the typical
    distance from the season; the season (NaN before a full day), how far the last hour was off it, the level of the
    last 48 columns. `record_weight` is K of the models' page, 0 while records do not count."""

    median: float
    floor: float
    spread: float
    season: float
    off_season: float
    level: float
    record_weight: float


def contributions_of(rows: RobustBandRows, row: int, value: float) -> Contributions:
    """What makes up the score of a centred value against the open column of a row with a fit. Judges it once more."""
    score = float(rows.judge(np.array([row]), np.array([value])).score[0])
    now, fit, limit = rows._context, rows._fitted, rows._limit  # the state of the sibling module, only read
    x = float(np.float32(value))  # as the window stores it
    views = tuple(_view(view, x, row, now.centre, now.weight, fit.tail, fit.extreme) for view in range(VIEWS))
    _, left_out = evidence.tails(x, row, now.centre, now.weight, fit.tail)
    found = float(evidence.evidence(x, row, now.centre, now.weight, fit.tail, fit.extreme))
    tails = sum(view.tail for view in views)
    parts = {f"tail {VIEW_NAMES[view]}": views[view].tail for view in TAILS}
    parts |= {"told": -left_out, "capped": min(0.0, MOST_TAIL_EVIDENCE - tails)}
    parts["novelty"] = float(evidence.record(x, row, now.centre, now.weight, fit.extreme))
    parts["season"] = float(evidence.distance(x, row, now.centre, now.weight))
    parts = {name: part / limit for name, part in parts.items()}
    rest = score - found / limit
    return Contributions(views, parts | {"lifted": max(0.0, rest), "cut": min(0.0, rest)}, found, limit, score)


def _view(view: int, x: float, row: int, centre: F64, weight: F64, tail: F32, extreme: F32) -> View:
    residual = float(evidence.residual(view, x, row, centre))
    found, usual = 0.0, _NOTHING
    if view in TAILS:
        place = TAILS.index(view)
        usual = float(tail[row, place, LOWER_GATE]), float(tail[row, place, UPPER_GATE])
        if view != HW or weight[row, evidence.SETTLED] > 0:
            found = TAIL_WEIGHTS[place] * float(evidence.tail_evidence(residual, row, place, tail))
    novelty, record = 0.0, _NOTHING
    if view in NOVELTIES:
        known = extreme[row, NOVELTIES.index(view)]
        record = float(known[LOWEST]), float(known[HIGHEST])
        novelty = _record_share(view, weight[row]) * _beyond(residual, known)
    return View(VIEW_NAMES[view], residual, found, novelty, usual, record)


def _record_share(view: int, weight: F64) -> float:
    """The weight of a view's novelty: halved where a record is easily broken, 0 while records do not count."""
    if weight[evidence.NOVEL] == 0.0:
        return 0.0
    share = float(weight[evidence.NOVEL_DAY] if view == DAY else weight[evidence.NOVEL])
    return 0.5 * share if view in (F3, XM6) else share


def _beyond(residual: float, extreme: F32) -> float:
    """How far a residual lies beyond all of the window, in the window's units; 0 inside."""
    if residual > extreme[HIGHEST]:
        return (residual - float(extreme[HIGHEST])) / float(extreme[HIGH_UNIT])
    if residual < extreme[LOWEST]:
        return (float(extreme[LOWEST]) - residual) / float(extreme[LOW_UNIT])
    return 0.0


def basis_of(rows: RobustBandRows, row: int) -> Basis:
    """What the verdicts on the open column of a row with a fit rest on."""
    now, fit = rows._context, rows._fitted
    centre = now.centre[row]
    return Basis(
        median=float(fit.median[row]),
        floor=float(fit.floor[row]),
        spread=float(fit.spread[row]),
        season=float(centre[DAY]),
        off_season=float(centre[DAY_F12] - centre[DAY]),
        level=float(centre[F48]),
        record_weight=float(now.weight[row, evidence.NOVEL]),
    )
