"""Windows to test models on, and the kernels chained as the exporter chains them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from exporter.models import evidence, judgement
from exporter.models import robust_band as rb
from exporter.models.floors import summarise

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


def _daily(n: int, period: int, rng: np.random.Generator) -> F64:
    t = np.arange(n)
    return 10 + 5 * np.sin(2 * np.pi * t / period) + rng.normal(0, 0.5, n)


def _quantised(n: int, period: int, rng: np.random.Generator) -> F64:
    return rng.poisson(2 + np.sin(2 * np.pi * np.arange(n) / period), n).astype(float)


def _constant(n: int, period: int, rng: np.random.Generator) -> F64:
    return np.full(n, 7.0)


def _blip(n: int, period: int, rng: np.random.Generator) -> F64:
    x = np.full(n, 3.0)
    x[rng.integers(n)] = 9.0
    return x


def _walk(n: int, period: int, rng: np.random.Generator) -> F64:
    return np.cumsum(rng.normal(0, 1, n))


def _spiky(n: int, period: int, rng: np.random.Generator) -> F64:
    return rng.standard_cauchy(n)


def _huge(n: int, period: int, rng: np.random.Generator) -> F64:
    return rng.uniform(-1e37, 1e37, n)


def _tiny(n: int, period: int, rng: np.random.Generator) -> F64:
    return rng.normal(0, 1e-9, n)


def _positive(n: int, period: int, rng: np.random.Generator) -> F64:
    return rng.gamma(1.0, 2.0, n)


KINDS = {
    "daily": _daily,
    "quantised": _quantised,
    "constant": _constant,
    "blip": _blip,
    "walk": _walk,
    "spiky": _spiky,
    "huge": _huge,
    "tiny": _tiny,
    "positive": _positive,
}
GAPS = ("none", "5%", "30%", "90%", "day", "short", "ends", "all")
# Seed, kind, gaps: for `given`.
CASES = (st.integers(0, 2**32 - 1), st.sampled_from(sorted(KINDS)), st.sampled_from(GAPS))


def punch(x: F64, gaps: str, period: int, rng: np.random.Generator) -> F64:
    """The series with gaps of a kind."""
    x = x.copy()
    n = len(x)
    if gaps in ("5%", "30%", "90%"):
        x[rng.random(n) < float(gaps[:-1]) / 100] = np.nan
    elif gaps == "day":
        start = int(rng.integers(0, max(1, n - period)))
        x[start : start + period] = np.nan
    elif gaps == "short":  # only the newest few samples exist
        x[: n - int(rng.choice([0, 1, 23, 24, 25, period, min(n, 2 * period)]))] = np.nan
    elif gaps == "ends":
        x[: n // 7] = np.nan
        x[n - int(rng.integers(1, 60)) :] = np.nan
    elif gaps == "all":
        x[:] = np.nan
    return x


def make(kind: str, gaps: str, n: int, period: int, rng: np.random.Generator) -> F64:
    """One series of true values."""
    return punch(KINDS[kind](n, period, rng), gaps, period, rng)


def centre(true_values: F64) -> tuple[F32, float]:
    """As the window stores it: float32 beside a float64 offset (here: the first sample)."""
    kept = true_values[~np.isnan(true_values)]
    offset = float(kept[0]) if len(kept) else 0.0
    return (true_values - offset).astype(np.float32), offset


def batch_of_everything(n: int, seed: int) -> tuple[F32, F64]:
    """A row of every kind with every kind of gaps, centred, and their offsets."""
    rng = np.random.default_rng(seed)
    rows = [centre(make(kind, gaps, n, 24, rng)) for kind in KINDS for gaps in GAPS]
    return np.stack([r[0] for r in rows]), np.array([r[1] for r in rows])


class Chain:
    """Rows in a ring, judged column by column the way a cycle does it: fit now and then; open, judge, write, absorb."""

    def __init__(
        self,
        values: F32,
        offset: F64,
        step_s: int,
        end_column: int,
        *,
        horizon: int = 8,
        spare: int = 0,
        factor: float = 1.0,
    ) -> None:
        self.rows, self.n = values.shape
        self.shape = rb.Shape.of(step_s, horizon)
        self.limit = judgement.threshold(step_s) * factor
        self.offset = np.asarray(offset, float)
        self.column = end_column + 1
        self.ring = np.full((self.rows, self.n + spare), np.nan, np.float32)
        self.ring[:, self._places()] = values
        self.context = judgement.Context.empty(self.rows)
        self.all = np.arange(self.rows)
        self.fit()

    def _places(self) -> npt.NDArray[np.int64]:
        return (self.column - self.n + np.arange(self.n)) % self.ring.shape[1]

    def window(self) -> F32:
        """The last n columns, oldest first."""
        return np.ascontiguousarray(self.ring[:, self._places()])

    def fit(self) -> None:
        values = self.window()
        summary = summarise(np.sort(values, axis=1), self.offset)
        ends = np.full(self.rows, self.column - 1)
        self.fitted = rb.fit(values, self.offset, summary, ends, self.shape)

    def open(self) -> judgement.Context:
        f, c = self.fitted, self.context
        judgement.open_column(
            self.all, self.column, self.ring, self.offset, self.shape.period, self.shape.hour, self.shape.novelty,
            self.limit, f.valid, f.origin, f.first, f.tail, f.extreme, f.daily, f.future, f.holt, f.median, f.floor,
            f.spread, f.never_negative, c.centre, c.weight, c.expected, c.lower, c.upper, c.start,
        )  # fmt: skip
        return c

    def evidence(self, row: int, x: float) -> float:
        f, c = self.fitted, self.context
        return float(evidence.evidence(x, row, c.centre, c.weight, f.tail, f.extreme))

    def tails(self, row: int, x: float) -> tuple[float, float]:
        """Tail evidence that counts, and what is left out because it was told before."""
        f, c = self.fitted, self.context
        counted, told = evidence.tails(x, row, c.centre, c.weight, f.tail)
        return float(counted), float(told)

    def judge(self, x: F64) -> tuple[F64, F64, F64]:
        """Score and band of the open column for these samples."""
        f, c = self.fitted, self.context
        out = np.full((3, len(self.all)), np.nan)
        judgement.judge(
            self.all, np.asarray(x, float), self.limit, f.tail, f.extreme, c.centre, c.weight,
            c.start, c.lower, c.upper, out[0], out[1], out[2],
        )  # fmt: skip
        return out[0], out[1], out[2]

    def close(self, x: F64) -> None:
        """The open column is final: write it, absorb it, go on to the next."""
        f = self.fitted
        self.ring[:, self.column % self.ring.shape[1]] = np.asarray(x, float).astype(np.float32)
        judgement.absorb(self.all, self.column, self.ring, f.extreme, f.future, f.origin, f.holt, self.context.centre)
        self.column += 1

    def run(self, x: F64, refit_every: int = 8) -> F64:
        """Judge every column of x (rows, k); returns the scores."""
        scores = np.full(x.shape, np.nan)
        for k in range(x.shape[1]):
            if k and k % refit_every == 0:
                self.fit()
            self.open()
            scores[:, k] = self.judge(x[:, k])[0]
            self.close(x[:, k])
        return scores
