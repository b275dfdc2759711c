"""How often the values that would have been normal form no interval, on labelled data.

    python -m bench.quality.intervals --data DIR [--sets nab ...] [--series 5]

For verdicts of `robust_band` (each series' first `--hours` judged after two weeks), the evidence of 400 values between
the edges of the band and one width beyond them on either side. Prints the share of verdicts without any normal value to
start from, of those with abnormal values inside the band, and of those with normal ones outside.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from bench.quality.corpus import F64, CorpusError, Set, on_grid, read_sets
from exporter.config.schema import DAY_S, Query
from exporter.models.evidence import evidence
from exporter.models.judgement import threshold
from exporter.models.rows import RobustBandRows
from exporter.models.settings import RobustBandSettings
from exporter.replay import History, Replay, Replayed

I64 = npt.NDArray[np.int64]

_TRIED = 400


@njit(nogil=True)  # not cached: the cache knows nothing of changes in the kernels that it calls
def _tally(
    rows: I64, limit: float, tried: int, start: F64, lower: F64, upper: F64, centre: F64, weight: F64,
    least: F64, tail: npt.NDArray[np.float32], extreme: npt.NDArray[np.float32], out: I64,
) -> None:  # fmt: skip
    """out: verdicts, without a start, abnormal inside, normal outside."""
    for r in rows:
        out[0] += 1
        if np.isnan(start[r]) or not np.isfinite(upper[r] - lower[r]):
            out[1] += np.isnan(start[r])
            continue
        width = upper[r] - lower[r]
        inside = outside = False
        for k in range(tried):
            # The 2 % next to the edges are left out: there rounding decides.
            x = lower[r] + width * (0.02 + 0.96 * k / (tried - 1))
            inside |= evidence(x, r, centre, weight, tail, extreme) > limit
            x = upper[r] + width * (0.02 + 0.98 * k / (tried - 1))
            outside |= evidence(x, r, centre, weight, tail, extreme) <= limit
            x = lower[r] - width * (0.02 + 0.98 * k / (tried - 1))
            outside |= x > least[r] and evidence(x, r, centre, weight, tail, extreme) <= limit
        out[2] += inside
        out[3] += outside


class Tallied(Replay):
    """A replay that counts what the bands are like."""

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self.counts = np.zeros(4, np.int64)
        self._limit = threshold(query.step_s) * query.sensitivity

    def _judge(self, rows: I64, value: F64, offset: F64, at: tuple[I64, I64], found: Replayed) -> None:
        model = self._models["robust_band"]
        assert isinstance(model, RobustBandRows)
        fit, now = model._fitted, model._context
        least = np.full(len(fit.valid), -np.inf)
        least[rows] = np.where(fit.never_negative[rows], -offset, -np.inf)  # bands end there
        judged = rows[~np.isnan(now.lower[rows])]
        _tally(judged, self._limit, _TRIED, now.start, now.lower, now.upper, now.centre, now.weight, least,
               fit.tail, fit.extreme, self.counts)  # fmt: skip
        super()._judge(rows, value, offset, at, found)


def tally(corpus: Set, most: int, hours: int) -> I64:
    """Counts over some series of a set."""
    counts = np.zeros(4, np.int64)
    for series in corpus.series[:most]:
        grid = on_grid(series)
        end = (14 * DAY_S + hours * 3600) // grid.step_s
        query = Query("bench", "bench", models=(RobustBandSettings(),), interval_s=grid.step_s, step_s=grid.step_s)
        replay = Tallied(query)
        replay.run(History(grid.value[:end], grid.first_column))
        counts += replay.counts
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality.intervals", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[])
    parser.add_argument("--series", type=int, default=40, help="series of each set")
    parser.add_argument("--hours", type=int, default=48, help="judged after two weeks")
    flags = parser.parse_args(arguments)
    try:
        print(f"{'set':12}{'verdicts':>10}{'no start':>10}{'abnormal inside':>17}{'normal outside':>16}")
        for corpus in read_sets(flags.data, tuple(flags.sets)):
            total, *found = tally(corpus, flags.series, flags.hours).tolist()
            print(
                f"{corpus.name:12}{total:10}"
                + "".join(f"{100 * n / total:{w}.2f} %" for n, w in zip(found, (8, 15, 14), strict=True))
            )
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
