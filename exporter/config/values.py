"""Readers of single values: each takes a spot of the file and returns a checked value or raises a Fault."""

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from exporter.config.durations import format_duration, parse_duration_ms
from exporter.config.reading import Reader, Spot, attempt
from exporter.config.secret import MASK, Secret, remember, sounds_secret

T = TypeVar("T")
N = TypeVar("N", bound=str)

_SPELLED_TAG = {"int": "a number", "float": "a number", "bool": "true or false", "timestamp": "a date"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"[-+]?(((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?)", re.ASCII)
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")
_SIZES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_HOST = re.compile(r"[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._\-]+)?\]", re.ASCII)


def text(spot: Spot) -> str:
    """A text that is not empty. What YAML takes for a number, a date or a boolean needs quotes."""
    scalar = spot.scalar()
    if scalar.tag != "str":
        message = f"must be text, but YAML takes it for {_SPELLED_TAG[scalar.tag]}"
        raise spot.fault(message, allowed="the same in quotes")
    value = spot.expanded()
    if not value.strip():
        raise spot.fault("empty", value="", allowed="a text")
    if spot.secret:
        remember(value)
    return value


def any_text(spot: Spot) -> str:
    """A text that may be empty."""
    if spot.scalar().tag == "str" and not spot.expanded():
        return ""
    return text(spot)


def line(spot: Spot) -> str:
    """A text without line breaks and control characters, as HTTP headers need it."""
    value = text(spot)
    if not value.isprintable():
        raise spot.fault("holds a line break or a control character", allowed="one line of printable text")
    return value


def secret(spot: Spot) -> Secret:
    """A secret of one line."""
    return Secret(line(spot))


def secret_text(spot: Spot) -> Secret:
    """A secret of any number of lines."""
    return Secret(text(spot))


def file_path(spot: Spot) -> str:
    """A path; a relative one starts at the directory of the config file. The file is not opened here."""
    value = line(spot)
    return os.path.join(spot.setting.directory, os.path.expanduser(value))  # noqa: PTH111, PTH118 - texts in and out


def choice(*names: N) -> Reader[N]:
    """One of these words, exactly."""

    def read(spot: Spot) -> N:
        value = spot.expanded()
        for name in names:
            if value == name:
                return name
        raise spot.fault("not a choice", allowed=alternatives(names))

    return read


def alternatives(names: tuple[str, ...]) -> str:
    """``a, b or c``."""
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def boolean(spot: Spot) -> bool:
    """True or false; YAML's other spellings (yes, on) count as well, quoted texts do not."""
    scalar = spot.scalar()
    value = spot.expanded().lower()
    if (scalar.tag == "bool" or spot.is_expanded()) and value in _TRUE + _FALSE:
        return value in _TRUE
    raise spot.fault("not true or false", allowed="true or false")


def integer(low: int, high: int) -> Reader[int]:
    """A whole number in plain decimal digits, both ends allowed."""

    def read(spot: Spot) -> int:
        allowed = f"a whole number from {low} to {high}"
        value = _unquoted(spot, "a whole number", allowed)
        if not _INTEGER.fullmatch(value):
            raise spot.fault("not a whole number", allowed=allowed)
        if not low <= int(value) <= high:
            raise spot.fault("out of range", allowed=allowed)
        return int(value)

    return read


def any_number(spot: Spot) -> float:
    """A decimal number, or ``.inf`` or ``-.inf``."""
    value = _unquoted(spot, "a number", "a decimal number such as 0.5")
    if infinite := _INFINITE.fullmatch(value):
        return -math.inf if infinite[1] == "-" else math.inf
    if not _NUMBER.fullmatch(value):
        raise spot.fault("not a number", allowed="a decimal number such as 0.5")
    return float(value)


def number(low: float, high: float, *, above_low: bool = False) -> Reader[float]:
    """A finite number from ``low`` (or just above it) to ``high``."""
    start = f"above {low:g}" if above_low else f"from {low:g}"
    allowed = f"a number {start}" + (f" to {high:g}" if math.isfinite(high) else " up")

    def read(spot: Spot) -> float:
        value = any_number(spot)
        fits = low < value <= high if above_low else low <= value <= high
        if not fits or math.isinf(value):
            raise spot.fault("out of range", allowed=allowed)
        return value

    return read


def duration_ms(low_ms: int, high_ms: int) -> Reader[int]:
    """A Prometheus duration between two lengths, in milliseconds."""
    allowed = f"a duration from {format_duration(low_ms)} to {format_duration(high_ms)}"

    def read(spot: Spot) -> int:
        value = parse_duration_ms(spot.expanded())
        if value is None:
            unit = ", it needs a unit" if re.fullmatch(r"[0-9.]+", spot.expanded()) else ""
            raise spot.fault(f"not a duration{unit}", allowed="a duration such as 30s, 5m, 1h30m, 7d")
        if not low_ms <= value <= high_ms:
            raise spot.fault("out of range", allowed=allowed)
        return value

    return read


def duration_s(low_s: int, high_s: int) -> Reader[int]:
    """A Prometheus duration of whole seconds between two lengths."""
    read_ms = duration_ms(low_s * 1000, high_s * 1000)

    def read(spot: Spot) -> int:
        value_ms = read_ms(spot)
        if value_ms % 1000:
            raise spot.fault("not in whole seconds", allowed="a duration in whole seconds")
        return value_ms // 1000

    return read


def size_bytes(low: int, high: int, allowed: str) -> Reader[int]:
    """A number of bytes, plain or with KiB, MiB, GiB; ``allowed`` words the limits."""

    def read(spot: Spot) -> int:
        found = re.fullmatch(r"([0-9]{1,15}) ?(|KiB|MiB|GiB)", spot.expanded(), re.ASCII)
        if found is None:
            raise spot.fault("not a size", allowed=allowed)
        value = int(found[1]) * _SIZES[found[2]]
        if not low <= value <= high:
            raise spot.fault("out of range", allowed=allowed)
        return value

    return read


def server_url(spot: Spot) -> str:
    """An HTTP URL without credentials, query and fragment; a trailing slash is dropped."""
    parts = _url_parts(spot)
    if "@" in parts.netloc:
        raise spot.fault("holds credentials", allowed="them under basic_auth or authorization")
    if parts.query or parts.fragment:
        raise spot.fault("has a query or a fragment", allowed="URL parameters under params")
    return parts.geturl().rstrip("/")


def token_url(spot: Spot) -> str:
    """An HTTP URL without credentials and fragment."""
    parts = _url_parts(spot)
    if "@" in parts.netloc:
        raise spot.fault("holds credentials", allowed="them as client_id and client_secret")
    if parts.fragment:
        raise spot.fault("has a fragment", allowed="a URL without `#`")
    return parts.geturl()


def write_url(spot: Spot) -> str:
    """An HTTP URL without credentials and fragment; it may have a query."""
    parts = _url_parts(spot)
    if "@" in parts.netloc:
        raise spot.fault("holds credentials", allowed="them under basic_auth or authorization")
    if parts.fragment:
        raise spot.fault("has a fragment", allowed="a URL without `#`")
    return parts.geturl()


def proxy_url(spot: Spot) -> Secret:
    """The URL of an HTTP or HTTPS proxy; may hold credentials."""
    parts = _url_parts(spot)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise spot.fault("a proxy has no path", allowed="http://host:port or http://user:password@host:port")
    return Secret(parts.geturl().rstrip("/"), whole=False)  # host and port are none


def _url_parts(spot: Spot) -> SplitResult:
    value = line(spot)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise spot.fault("not a URL", allowed="a URL such as http://prometheus:9090") from None
    if parts.scheme not in ("http", "https"):
        raise spot.fault("not an HTTP URL", allowed="http://... or https://...")
    for part in (parts.password, parts.query, *(value for _, value in parse_qsl(parts.query))):
        remember(part or "")
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{port}" if port is not None else ":")
    if not _HOST.fullmatch(host) or port == 0 or " " in value:
        raise spot.fault("not a URL", allowed="a URL such as http://prometheus:9090")
    return parts


def pem(kind: str) -> Reader[str]:
    """PEM text that holds at least one block whose title ends with ``kind``."""

    def read(spot: Spot) -> str:
        value = text(spot)
        if not re.search(rf"-----BEGIN ([A-Z0-9]+ )*{kind}-----", value):
            raise spot.fault(
                "not PEM text", value=MASK if spot.secret else "", allowed=f"text with -----BEGIN {kind}-----"
            )
        return value

    return read


def list_of(read_item: Reader[T]) -> Reader[tuple[T, ...]]:
    """A list of values; bad items are noted one by one and left out."""

    def read(spot: Spot) -> tuple[T, ...]:
        items = (attempt(spot.item(index, node), read_item) for index, node in enumerate(spot.listing().items))
        return tuple(item for item in items if item is not None)

    return read


def text_mapping(spot: Spot) -> Mapping[str, str]:
    """Texts by free names; values under a name that sounds secret are not shown in errors."""
    values: dict[str, str] = {}
    for name, entry in spot.mapping().entries.items():
        value = attempt(spot.below(name, entry.node, secret=sounds_secret(name)), any_text)
        if value is not None:
            values[name] = value
    return MappingProxyType(values)


def _unquoted(spot: Spot, what: str, allowed: str) -> str:
    scalar = spot.scalar()
    if scalar.tag == "str" and not scalar.plain:
        raise spot.fault(f"must be {what}, but quotes make it text", allowed=allowed)
    return spot.expanded()
