"""Numbers to text and back beside Python's own float(), repr() and decimal."""

from __future__ import annotations

import math
import struct

import numpy as np
from fuzz.choices import Choices
from naive import exposition as naive
from naive.answers import milliseconds

from exporter import numtext

_AROUND = b"19", b"98"  # digits that would change the number if they were read


def check(data: bytes) -> None:
    """One input: a float64 to write, or a text to read as a number or as a time."""
    choices = Choices(data)
    kind = choices.below(4)
    if kind == 0:
        return check_written(choices.double(), choices.below(18))
    if kind == 1:
        return check_read(_spelt(choices))
    if kind == 2:
        return check_read(choices.rest().decode("latin-1"))
    return check_time(choices)


def check_written(x: float, significant: int) -> None:
    """The shortest text that reads back; rounded where digits are asked for; never beyond its room."""
    out = np.full(numtext.NUMBER_BYTES + 8, 0xAA, np.uint8)
    end = numtext.write_digits(out, 4, x, significant) if significant else numtext.write_number(out, 4, x)
    assert set(out[:4].tolist()) | set(out[end:].tolist()) <= {0xAA}
    text = out[4:end].tobytes().decode("ascii")
    assert text == naive.number(x, significant)
    if not significant and not math.isnan(x):
        assert struct.pack("<d", float(text)) == struct.pack("<d", x)
        check_read(text)


def check_read(text: str) -> None:
    """As float() reads it, left to float(), or malformed where the grammar of a decimal says so."""
    raw = text.encode("latin-1", "replace")
    body = np.frombuffer(_AROUND[0] + raw + _AROUND[1], np.uint8)
    value, status = numtext.parse_decimal(body, 2, 2 + len(raw))
    wanted = _float(raw)
    if wanted is None:
        assert status == numtext.MALFORMED
        return
    assert status in (numtext.EXACT, numtext.SLOW)
    if status == numtext.EXACT:
        assert struct.pack("<d", value) == struct.pack("<d", wanted) or (math.isnan(value) and math.isnan(wanted))


def _float(raw: bytes) -> float | None:
    """By float(), which takes more than a decimal: blanks, underscores, digits of other scripts."""
    if any(byte not in b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+-" for byte in raw):
        return None
    try:
        return float(raw)
    except ValueError:
        return None


def _spelt(choices: Choices) -> str:
    sign = choices.pick(("", "-", "+"))
    whole, fraction = choices.word("0123456789", 24), choices.word("0123456789", 24)
    point = choices.pick((".", "." if fraction else "", ""))
    power = choices.pick(("", f"e{choices.between(-400, 400)}", f"E+{choices.below(400)}", "e", f"e{10**30}"))
    return sign + whole + (point + fraction if point else "") + power


def check_time(choices: Choices) -> None:
    """Seconds as whole milliseconds, halves away from zero."""
    from decimal import Decimal

    whole, fraction = choices.below(10 ** choices.between(1, 15)), choices.word("0123456789", 8)
    text = f"{choices.pick(('', '-'))}{whole}" + (f".{fraction}" if fraction else "")
    assert numtext.time_ms(text) == milliseconds(Decimal(text))
    raw = text.encode()
    ms, status = numtext.parse_time_ms(np.frombuffer(_AROUND[0] + raw + _AROUND[1], np.uint8), 2, 2 + len(raw))
    assert status != numtext.EXACT or ms == milliseconds(Decimal(text))
