"""The renderer, slowly: one line at a time with Python strings, repr and decimal."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal

EXPONENT_LEAST, EXPONENT_LIMIT = -4, 16


def number(x: float, significant: int = 0) -> str:
    """The text of a value: repr without ``.0``; with ``significant`` the repr is rounded in decimal arithmetic."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "+Inf" if x > 0 else "-Inf"
    if not significant or x == 0:
        return repr(float(x)).removesuffix(".0")
    return rounded(Decimal(repr(float(x))), significant)


def rounded(x: Decimal, significant: int) -> str:
    x = x.normalize(Context(prec=significant, rounding=ROUND_HALF_EVEN))
    digits, power = "".join(map(str, x.as_tuple().digits)), int(x.as_tuple().exponent)
    exponent = len(digits) + power - 1
    if EXPONENT_LEAST <= exponent < EXPONENT_LIMIT:
        return f"{x:f}"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' if x < 0 else ''}{mantissa}e{exponent:+03d}"


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def line(name: str, labels: dict[str, str], value: float, significant: int = 0) -> str:
    inner = ",".join(f'{key}="{escaped(labels[key])}"' for key in sorted(labels))
    return f"{name}{{{inner}}} {number(value, significant)}\n" if inner else f"{name} {number(value, significant)}\n"


def rows(name: str, labels: dict[int, dict[str, str]], picked: list[tuple[int, float]], significant: int = 0) -> bytes:
    """The twin of ``render_rows``: rows that are unknown or NaN have no line."""
    known = [(row, value) for row, value in picked if row in labels and not math.isnan(value)]
    return "".join(line(name, labels[row], value, significant) for row, value in known).encode()
