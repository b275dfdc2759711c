"""The exponential tail, by which models and signals tell how improbable something is that the window has not held.

Beyond a high threshold excesses are about exponential (peaks over threshold; the shape 0 of Pickands, Annals of
Statistics 3(1), 1975). With the `size` largest of `count` values beyond the edge u, and e their mean excess,

    -log10 p(r) = log10(count / size) + (r - u) / (ln 10 e)      for r > u.

Who uses it brings its own floor for e and its own way to find the values beyond.
"""

from __future__ import annotations

import math

from exporter.kernels import kernel

TAIL_SHARE = 0.04
LEAST_TAIL = 8
LEAST_SAMPLES = 24  # fewer have no tail; a series with fewer has no verdict
MOST_EVIDENCE = 12.0
LN10 = math.log(10.0)


@kernel
def tail_size(count: int) -> int:
    """How many of `count` values make up a tail: 4 %, at least 8."""
    return max(LEAST_TAIL, int(TAIL_SHARE * count))
