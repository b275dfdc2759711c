"""Numbers to text and back, exactly, as numba kernels over byte arrays."""

from exporter.numtext.reading import EXACT, MALFORMED, SLOW, nearest, parse_decimal, parse_time_ms, time_ms
from exporter.numtext.writing import NUMBER_BYTES, write_digits, write_number

__all__ = [
    "EXACT", "MALFORMED", "NUMBER_BYTES", "SLOW", "nearest", "parse_decimal", "parse_time_ms", "time_ms",
    "write_digits", "write_number",
]  # fmt: skip
