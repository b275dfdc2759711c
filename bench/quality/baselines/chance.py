"""A detector that looks at nothing: what a measure gives for free."""

from __future__ import annotations

import numpy as np

from bench.quality.baselines.spans import samples
from bench.quality.corpus import F64, Grid

ONE_IN = 1000.0


def random_scores(grid: Grid) -> F64:
    """Noise (T,), log(u) / log(1/1000) of uniform u: above 1 at one column in 1000 on average; NaN at a gap.

    The seed is the grid's first column, its step, and the first sample's bits: the same series gets the same noise,
    whatever is appended to it.
    """
    x = samples(grid)
    known = x[~np.isnan(x)][:1]
    rng = np.random.default_rng([abs(grid.first_column), grid.step_s, *known.view(np.uint64).tolist()])
    noise = np.log(1.0 - rng.random(len(x))) / -np.log(ONE_IN)
    return np.where(np.isnan(x), np.nan, noise)
