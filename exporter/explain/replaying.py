"""One verdict once more: a window with a single series, brought to the cycle as a start of the exporter would.

Nothing is carried from verdict to verdict that the window does not hold, so this gives what was published, to the bit.
One thing is not in the samples: the offset by which a large level is centred follows from what was there when the
series was first met. It can be given (`offset`), and `likely_offsets` says which there may have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config import Query
from exporter.explain.recording import Recorded
from exporter.intake import Intake
from exporter.judging import FIT_EVERY_S, Judging, horizon
from exporter.models.contributions import Basis, Contributions, basis_of, contributions_of
from exporter.models.rows import RobustBandRows
from exporter.numtext import NUMBER_BYTES, write_digits
from exporter.samples import SampleBatch
from exporter.series import SeriesTable
from exporter.verdict import STATE_NAMES, Bands, apply_policy
from exporter.window import NEVER, Mask, Window, suitable_offset

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

PUBLISHED_DIGITS = 9
_ROW = 0


@dataclass(frozen=True, slots=True)
class Numbers:
    """Score and band of one sample; NaN where there is no verdict, or no edge on that side."""

    score: float
    expected: float
    lower: float
    upper: float


NOTHING = Numbers(np.nan, np.nan, np.nan, np.nan)


def published(x: float) -> float:
    """A computed number as its published text says it: 9 significant digits."""
    out = np.empty(NUMBER_BYTES, np.uint8)
    used = write_digits(out, 0, x, PUBLISHED_DIGITS)
    return float(out[:used].tobytes())


def as_published(numbers: Numbers) -> Numbers:
    """All numbers of a verdict as their published texts say them."""
    return Numbers(*(published(x) for x in (numbers.score, numbers.expected, numbers.lower, numbers.upper)))


class _CentredWindow(Window):
    """A window whose rows are centred by a given offset."""

    def __init__(self, query: Query, offset: float | None) -> None:
        super().__init__(query.window_s // query.step_s, horizon(query.step_s), query.step_s)
        self._given = offset

    def place(self, rows: I64, batch: SampleBatch, new: Mask) -> None:
        """The offset of new rows: the given one, else by the samples that came with them."""
        if self._given is None:
            super().place(rows, batch, new)
        else:
            self.offset[rows[new]] = self._given

    def double(self) -> None:
        """Give the first row a twin. Numba takes a matrix of one row for another kind than any larger one, and would
        compile the fits anew for it, ten seconds of a processor that also has cycles to run."""
        self.grow(2)
        for array in (self.ring, self.offset, self.last_ms, self.last_value, self._distances):
            array[1] = array[0]


class _Twins(SeriesTable):
    """A table whose second row is the twin of its first."""

    def stable_hash(self, row: int) -> int:
        """That of the one series."""
        return super().stable_hash(_ROW)


class Replayed:
    """The verdict of one cycle on one series. `numbers` by model are what was published, `signals` the slow ones.

    `state` is a name of verdict.STATE_NAMES, or "" where there is no series; `judged_s` and `value` are those of the
    judged sample (NaN: none); `last_s` the time of the newest sample.
    """

    def __init__(self, query: Query, recorded: Recorded, cycle_s: int, offset: float | None = None) -> None:
        self.query = query
        self.cycle_s = cycle_s
        table, self._window = _Twins(query.relabelling()), _CentredWindow(query, offset)
        intake = Intake(query, recorded, table, self._window)
        self._judging = Judging(query, table, self._window)
        intake.update(cycle_s)
        self._known = table.rows > 0
        self.hash = table.stable_hash(_ROW) if self._known else 0
        if self._known:
            self._window.double()
            self._judging.admit(np.arange(2))
            self._judging.update(cycle_s, intake.absent_after_s())

    @property
    def state(self) -> str:
        """The state of the series; "" when it has none (never seen, or gone for longer than it is remembered)."""
        return STATE_NAMES.get(int(self._judging.state[_ROW]), "") if self._known else ""

    @property
    def numbers(self) -> dict[str, Numbers]:
        """The verdicts as published, by model."""
        if not self._known:
            return dict.fromkeys(self._judging.models, NOTHING)
        return {name: _numbers(bands, _ROW) for name, bands in self._judging.bands.items()}

    @property
    def signals(self) -> dict[str, float]:
        """The scores of the slow signals."""
        return {name: float(rows.score[_ROW]) for name, rows in self._judging.signals.items()} if self._known else {}

    @property
    def value(self) -> float:
        """The judged sample."""
        return float(self._judging.value[_ROW]) if self._known else np.nan

    @property
    def judged_s(self) -> float:
        """The time of the judged sample."""
        return _seconds(self._judging.judged_ms[_ROW]) if self._known else np.nan

    @property
    def last_s(self) -> float:
        """The time of the newest sample, judged or not."""
        return _seconds(self._window.last_ms[_ROW]) if self._known else np.nan

    @property
    def offset(self) -> float:
        """By which the window is centred."""
        return float(self._window.offset[_ROW]) if self._known else 0.0

    @property
    def fit_s(self) -> int:
        """The time of the cycle at which the fit in force was due: every hour, at a minute that the labels give."""
        cycles = max(1, FIT_EVERY_S // self.query.interval_s)
        cycle = self.cycle_s // self.query.interval_s
        return (cycle - (cycle + self.hash) % cycles) * self.query.interval_s

    def of_model(self, model: str) -> Numbers:
        """What the model itself says, before the policy."""
        return _numbers(self._judged(model, self.value), 0)

    def would_be(self, model: str, value: float) -> Numbers:
        """The verdict that another value would have got in place of the judged one, under the policy."""
        return _numbers(apply_policy(self.query, np.array([value]), self._judged(model, value)), 0)

    def _judged(self, model: str, value: float) -> Bands:
        """What the model says of a value in place of the judged one."""
        got = self._judging.models[model].judge(np.array([_ROW]), np.array([value - self.offset]))
        return Bands(got.score, got.expected + self.offset, got.lower + self.offset, got.upper + self.offset)

    def contributions(self, model: str) -> Contributions | None:
        """The parts of the model's score; None for a model that has none."""
        rows = self._judging.models[model]
        return contributions_of(rows, _ROW, self.value - self.offset) if isinstance(rows, RobustBandRows) else None

    def basis(self, model: str) -> Basis | None:
        """What the model's verdict rests on; None for a model that does not tell."""
        rows = self._judging.models[model]
        return basis_of(rows, _ROW) if isinstance(rows, RobustBandRows) else None


def _numbers(bands: Bands, row: int) -> Numbers:
    return Numbers(*(float(part[row]) for part in (bands.score, bands.expected, bands.lower, bands.upper)))


def _seconds(time_ms: np.int64) -> float:
    return np.nan if time_ms == NEVER else float(time_ms) / 1000.0


def likely_offsets(recorded: Recorded) -> Iterator[float]:
    """Offsets by which the series may be centred in an exporter that met it at another time.

    An offset is the level then, rounded to a power of two above 16 ranges: some neighbours of it are all there are.
    """
    kept = recorded.grid[np.isfinite(recorded.grid)]
    if len(kept) == 0:
        return
    level = float(np.median(kept))
    spread = float(kept.max() - kept.min())
    own = suitable_offset(np.array([level]), np.array([kept.min()]), np.array([kept.max()]))[0]
    if own == 0.0 and not abs(level) > 0.0:
        return
    unit = 2.0 ** np.ceil(np.log2(16.0 * max(spread, abs(level) * 2.0**-20)))
    seen = {own}
    yield float(own)
    for scale in (1.0, 0.5, 0.25, 2.0, 0.125, 4.0):
        near = np.round(level / (unit * scale))
        for multiple in (near, near - 1, near + 1):
            offset = float(multiple * unit * scale)
            if offset not in seen:
                seen.add(offset)
                yield offset


def same(one: Mapping[str, Numbers], other: Mapping[str, Numbers]) -> bool:
    """Whether verdicts are the same in every published digit, as far as the other one says something."""
    return all(equal(as_published(one[model]), as_published(told)) for model, told in other.items() if model in one)


def equal(one: Numbers, other: Numbers) -> bool:
    """Equal numbers; what the other one does not say is not compared."""
    pairs = zip((one.score, one.expected, one.lower, one.upper),
                (other.score, other.expected, other.lower, other.upper), strict=True)  # fmt: skip
    return all(np.isnan(said) or mine == said for mine, said in pairs)
