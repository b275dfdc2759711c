"""exporter.numtext against Python's own float(), repr() and decimal, on whatever hypothesis and random bits find."""

from __future__ import annotations

import json
import math
import struct
from decimal import ROUND_HALF_UP, Context, Decimal
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import exposition as naive

from exporter import numtext
from exporter.kernels import kernel

GUARD = 0xAA
MANY = settings(max_examples=2000, deadline=None)
SOME = settings(max_examples=500, deadline=None)

bit_patterns = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
finite_bits = bit_patterns.filter(math.isfinite)
subnormals = st.integers(1, 2**52 - 1).map(lambda bits: bits * 5e-324)
digits = st.text("0123456789", min_size=0, max_size=40)


def bits_of(x: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def same(a: float, b: float) -> bool:
    return bits_of(a) == bits_of(b) or (math.isnan(a) and math.isnan(b))


def parse(text: str) -> tuple[float, int]:
    """Parse the text inside a longer buffer whose neighbours would change the number if they were read."""
    body = b"19" + text.encode() + b"98"
    value, status = numtext.parse_decimal(np.frombuffer(body, np.uint8), 2, len(body) - 2)
    return float(value), int(status)


def parse_time(text: str) -> tuple[int, int]:
    body = b"19" + text.encode() + b"98"
    value, status = numtext.parse_time_ms(np.frombuffer(body, np.uint8), 2, len(body) - 2)
    return int(value), int(status)


def written(x: float, significant: int = 0) -> str:
    """The written text; asserts that nothing outside NUMBER_BYTES was touched."""
    out = np.full(4 + numtext.NUMBER_BYTES + 4, GUARD, np.uint8)
    end = numtext.write_digits(out, 4, x, significant) if significant else numtext.write_number(out, 4, x)
    assert end - 4 <= numtext.NUMBER_BYTES
    assert set(out[:4]) | set(out[4 + numtext.NUMBER_BYTES :]) == {GUARD}
    return out[4:end].tobytes().decode("ascii")


def expected_text(x: float) -> str:
    return naive.number(x)


def assert_reads_as_float(text: str, *, allow_slow: bool = True) -> None:
    value, status = parse(text)
    assert status in ((numtext.EXACT, numtext.SLOW) if allow_slow else (numtext.EXACT,))
    if status == numtext.EXACT:
        assert same(value, float(text)), text


# --- parse_decimal ------------------------------------------------------------------------------------------------


@MANY
@given(bit_patterns)
def test_repr_of_any_bit_pattern_is_read_back(x: float) -> None:
    text = expected_text(x)
    value, status = parse(text)
    assert status == numtext.EXACT
    assert same(value, x)


@MANY
@given(subnormals, st.booleans())
def test_subnormals_are_read_back(x: float, negative: bool) -> None:
    assert_reads_as_float(repr(-x if negative else x), allow_slow=False)


@MANY
@given(st.integers(0, 10**19 - 1), st.integers(-400, 400))
@example(0, 400)
@example(1, -324)
@example(9007199254740993, 0)
@example(22250738585072011, -324)
@example(9999999999999999999, 308)
@example(17976931348623159, 292)
@example(2470328229206232720, -342)
@example(2470328229206232721, -342)
def test_nineteen_digits_never_need_the_slow_path(w: int, power: int) -> None:
    assert_reads_as_float(f"{w}e{power}", allow_slow=False)


@MANY
@given(st.sampled_from(["", "-", "+"]), digits, st.none() | digits, st.none() | st.integers(-360, 360))
def test_any_decimal_reads_as_float_does(sign: str, whole: str, fraction: str | None, power: int | None) -> None:
    text = sign + whole + ("" if fraction is None else "." + fraction) + ("" if power is None else f"e{power}")
    if whole or fraction:
        assert_reads_as_float(text)
    else:
        assert parse(text)[1] == numtext.MALFORMED


@MANY
@given(finite_bits.map(abs).filter(lambda x: x < 1.7e308), st.integers(-1, 1))
def test_halfway_cases_round_to_even_or_ask_for_help(x: float, nudge: int) -> None:
    """The exact decimal between two neighbours, and the same with its last digit moved by one."""
    wide = Context(prec=1200)
    halfway = wide.divide(wide.add(Decimal(x), Decimal(math.nextafter(x, math.inf))), Decimal(2))
    _, number, power = halfway.as_tuple()
    assert_reads_as_float(f"{int(''.join(map(str, number))) + nudge}e{power}")


@pytest.mark.parametrize("power", range(23))
def test_short_ties_of_large_numbers_are_exact(power: int) -> None:
    """w * 10**power whose odd factor w * 5**power has 54 bits lies exactly between two float64."""
    random = Random(power)
    for _ in range(300):
        w = random.randrange(2**53 // 5**power + 1, 2**54 // 5**power) | 1
        for near in (w - 1, w, w + 1):
            assert_reads_as_float(f"{near}e{power}", allow_slow=False)


@pytest.mark.parametrize("power", range(1, 5))
def test_short_ties_of_fractions_are_exact(power: int) -> None:
    random = Random(power)
    for _ in range(300):
        w = random.randrange(2**53 + 1, min(2**54, 10**19 // 5**power), 2) * 5**power
        for near in (w - 1, w, w + 1):
            assert_reads_as_float(f"{near}e-{power}", allow_slow=False)


@MANY
@given(st.text("0123456789", min_size=20, max_size=800), st.integers(0, 800), st.integers(-700, 400))
def test_huge_digit_strings(text: str, point: int, power: int) -> None:
    spelled = f"{text[:point]}.{text[point:]}e{power}"
    assert_reads_as_float(spelled)


@SOME
@given(st.floats(min_value=1e300, max_value=1.7976931348623157e308))
@example(1.7976931348623157e308)
def test_spellings_of_309_digits(x: float) -> None:
    """VictoriaMetrics and Cortex spell large numbers out."""
    text = str(int(x))
    assert 300 < len(text) < 310
    assert_reads_as_float(text)
    assert_reads_as_float("-" + text + ".0")


def test_long_spellings_are_mostly_exact() -> None:
    """The slow path must stay rare: 19 digits decide nearly always."""
    random = Random(5)
    slow = sum(parse(f"{random.random():.40f}")[1] == numtext.SLOW for _ in range(2000))
    assert slow < 20


UNUSUAL = [
    *("0." + "0" * 400 + "1", "0" * 400 + "1.5", "1" + "0" * 800, "0." + "0" * 300 + "123456789012345678901234567890"),
    *("1e-99999999999999999999", "1e99999999999999999999", "-1e400", "0e99999999999999999999", "-0", "-0.0e5"),
    *("1e+5", "1E5", "1E-05", ".5", "5.", "-.5e1", "+7", "00012", "1e0000000000000000000005"),
]

MALFORMED = [
    *("", "-", "+", ".", "-.", "e5", ".e5", "1e", "1e+", "1e-", "1.2.3", "1-2", "--1", "+-1", "1 ", " 1", "1_000"),
    *("1,5", "0x10", "0x1p-2", "1e5.0", "1e5e5", "nann", "+nan", "-nan", "in", "infinit", "infinityy", "++inf"),
    *("\u0661", "1\x00", "\x0e\x01\x0e", "1\u00a0", "/", ":", "1:", "1/", "NaN ", "i", "n", "1f", "0b1", "'1'", '"1"'),
    *("\x10", "1e\x15"),
]


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_spellings(text: str) -> None:
    assert_reads_as_float(text, allow_slow=False)


@pytest.mark.parametrize("text", ["nan", "NaN", "NAN", "inf", "Inf", "+Inf", "-INF", "-inf", "Infinity", "-iNfInItY"])
def test_words_are_read_in_any_case(text: str) -> None:
    value, status = parse(text)
    assert status == numtext.EXACT
    assert same(value, float(text))


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_texts_are_refused(text: str) -> None:
    assert parse(text)[1] == numtext.MALFORMED


@MANY
@given(st.text("0123456789+-.eE_ xnaiftyINF", max_size=12))
def test_accepts_what_float_accepts_and_no_more(text: str) -> None:
    value, status = parse(text)
    try:
        wanted = float(text)
    except ValueError:
        assert status == numtext.MALFORMED
        return
    tolerated = "_" in text or text != text.strip() or (math.isnan(wanted) and text[0] in "+-")
    assert (status == numtext.MALFORMED) == tolerated
    assert status != numtext.EXACT or same(value, wanted)


@SOME
@given(st.binary(max_size=12))
def test_any_bytes_are_survived(raw: bytes) -> None:
    _, status = numtext.parse_decimal(np.frombuffer(raw + b"9", np.uint8), 0, len(raw))
    try:
        float(raw.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        assert status == numtext.MALFORMED


def test_a_million_random_bit_patterns_survive_the_round_trip() -> None:
    """Read(write(x)) for bits drawn at random, whole in compiled code so that it can be many."""
    patterns = np.random.default_rng(20260101).integers(0, 2**64, 1_000_000, np.uint64, endpoint=False)
    assert round_trip_failures(patterns.view(np.float64), np.zeros(64, np.uint8)) == 0


@kernel
def round_trip_failures(values: np.ndarray, out: np.ndarray) -> int:
    failures = 0
    for x in values:
        end = numtext.write_number(out, 0, x)
        back, status = numtext.parse_decimal(out, 0, end)
        equal = back == x and np.signbit(back) == np.signbit(x)
        failures += status != 0 or not (equal or (np.isnan(x) and np.isnan(back)))
    return failures


# --- parse_time_ms ------------------------------------------------------------------------------------------------


@MANY
@given(st.booleans(), st.integers(0, 10**18 - 1), st.integers(0, 3))
def test_times_with_up_to_three_decimals(negative: bool, ms: int, decimals: int) -> None:
    ms -= ms % 10 ** (3 - decimals)
    fraction = f".{ms % 1000:03d}"[: decimals + 1] if decimals else ""
    text = f"{'-' if negative else ''}{ms // 1000}{fraction}"
    assert parse_time(text) == (-ms if negative else ms, numtext.EXACT)


@MANY
@given(st.booleans(), st.integers(0, 10**15 - 1), st.text("0123456789", min_size=1, max_size=30))
@example(False, 1, "0005")
@example(False, 1, "00049999999")
@example(True, 1, "9995")
def test_further_decimals_are_rounded_half_away_from_zero(negative: bool, seconds: int, fraction: str) -> None:
    text = f"{'-' if negative else ''}{seconds}.{fraction}"
    exact = int(Decimal(text).scaleb(3, Context(prec=60)).to_integral_value(ROUND_HALF_UP))
    assert parse_time(text) == (exact, numtext.EXACT)
    assert numtext.time_ms(text) == exact


@pytest.mark.parametrize(("text", "ms"), [("1.7e9", 1_700_000_000_000), ("1e-3", 1), ("5E-4", 1), ("4.9e-4", 0)])
def test_exponents_go_the_slow_path(text: str, ms: int) -> None:
    assert parse_time(text)[1] == numtext.SLOW
    assert numtext.time_ms(text) == ms


@pytest.mark.parametrize("text", ["9223372036854775.807", "-9223372036854775.807", "1000000000000000"])
def test_times_of_many_digits_go_the_slow_path(text: str) -> None:
    assert parse_time(text)[1] == numtext.SLOW
    assert numtext.time_ms(text) == int(Decimal(text) * 1000)


@pytest.mark.parametrize("text", ["9223372036854775.808", "1e400", "nan", "inf", "", "x", "1e999999999", "9" * 700])
def test_times_beyond_64_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        numtext.time_ms(text)


@pytest.mark.parametrize("text", ["1e-999999999", "0e999999", "-0", "0.0"])
def test_tiny_times_are_zero(text: str) -> None:
    assert numtext.time_ms(text) == 0


@MANY
@given(st.text("0123456789+-.eE ", max_size=9))
def test_times_follow_the_grammar_of_json(text: str) -> None:
    ms, status = parse_time(text)
    try:
        well_formed = text == text.strip() and isinstance(json.loads(text), int | float)
    except json.JSONDecodeError:
        well_formed = False
    assert (status != numtext.MALFORMED) == well_formed
    if status == numtext.EXACT:
        assert ms == numtext.time_ms(text)


# --- write_number -------------------------------------------------------------------------------------------------


@MANY
@given(bit_patterns | st.floats())
@example(0.0)
@example(-0.0)
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(9007199254740992.0)
@example(9007199254740993.0)
@example(1e15)
@example(1e16)
@example(1e21)
@example(1e22)
@example(1e23)
@example(0.0001)
@example(0.00001)
@example(-1.5e-7)
@example(float("nan"))
@example(float("inf"))
@example(float("-inf"))
def test_writes_what_repr_writes(x: float) -> None:
    assert written(x) == expected_text(x)


@MANY
@given(subnormals)
def test_writes_subnormals_as_repr_does(x: float) -> None:
    assert written(-x) == expected_text(-x)


def test_powers_of_two_and_ten_and_their_neighbours() -> None:
    """The interval around a power of two is lopsided; powers of ten are where the exponent form changes."""
    powers = [math.ldexp(1.0, exponent) for exponent in range(-1074, 1024)]
    powers += [float(f"1e{exponent}") for exponent in range(-323, 309)]
    for x in powers:
        for y in (math.nextafter(x, 0), x, math.nextafter(x, math.inf)):
            assert written(y) == expected_text(y)
            assert parse(repr(y)) == (y, numtext.EXACT)


@MANY
@given(st.integers(-(2**63), 2**63))
def test_integers_are_written_as_integers(n: int) -> None:
    x = float(n)
    text = written(x)
    assert text == expected_text(x)
    assert abs(x) >= 1e16 or text == str(int(x))


@SOME
@given(st.floats(width=32))
def test_float32_values_are_written_exactly(x: float) -> None:
    assert written(np.float32(x)) == expected_text(float(x))


# --- write_digits -------------------------------------------------------------------------------------------------


@MANY
@given(bit_patterns | st.floats(), st.integers(1, 17))
@example(0.5, 1)
@example(9.5, 1)
@example(8.5, 1)
@example(999999999.5, 9)
@example(9.999999999e15, 9)
@example(9.9999999999e-5, 9)
@example(1.7976931348623157e308, 5)
@example(1234567.125, 9)
@example(0.1 + 0.2, 9)
@example(-2e-9, 9)
def test_digits_are_rounded_as_in_decimal_arithmetic(x: float, significant: int) -> None:
    assert written(x, significant) == naive.number(x, significant)


@MANY
@given(st.floats(-1e9, 1e9) | st.floats(width=32))
def test_nine_digits_are_within_half_a_unit_of_the_ninth(x: float) -> None:
    text = written(x, 9)
    if math.isfinite(x) and abs(x) > 1e-300:
        assert abs(Decimal(text) - Decimal(x)) <= abs(Decimal(x)) * Decimal("5.0000001e-9")
        mantissa = text.lstrip("-").split("e")[0]
        assert len(mantissa.replace(".", "").strip("0")) <= 9
        assert "." not in mantissa or not mantissa.endswith("0")


@pytest.mark.parametrize(("x", "text"), [(0.30000000000000004, "0.3"), (100.0, "100"), (2 / 3, "0.666666667")])
def test_trailing_zeros_are_dropped(x: float, text: str) -> None:
    assert written(x, 9) == text


def test_more_digits_than_needed_change_nothing() -> None:
    assert written(1 / 3, 40) == repr(1 / 3)
