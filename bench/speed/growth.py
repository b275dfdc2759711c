"""How cost grows with size: the exponent b of cost = a * size^b."""

from __future__ import annotations

import math
from collections.abc import Mapping


def exponent(cost_by_size: Mapping[int, float]) -> float:
    """Slope of the least-squares line through (log size, log cost). 1: twice the size costs twice as much.

    ValueError for fewer than two sizes, and for sizes or costs that are not above 0.
    """
    if len(cost_by_size) < 2:
        raise ValueError(f"a slope needs two sizes at least, here are {len(cost_by_size)}")
    if not all(size > 0 and 0 < cost < math.inf for size, cost in cost_by_size.items()):
        raise ValueError(f"sizes and costs must be above 0 and finite: {dict(cost_by_size)}")
    x, y = [math.log(size) for size in cost_by_size], [math.log(cost) for cost in cost_by_size.values()]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - middle_x) ** 2 for a in x)
