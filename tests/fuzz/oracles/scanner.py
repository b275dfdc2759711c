"""The byte scanner of query answers beside the JSON parser: the same samples, labels and remarks, or no answer."""

from __future__ import annotations

import json

from fuzz.choices import Choices, damaged
from naive import answers as naive

from exporter.errors import SourceGarbled
from exporter.series import SeriesTable
from exporter.source.answer import Answer
from exporter.source.jsonscan import scan_json
from exporter.source.labels import parse_labels
from exporter.source.scan import scan_answer, scan_fast

_TOKENS = (
    *(b'"', b"\\", b"]", b"}", b",", b"[", b"{", b":", b"1", b".", b" ", b"-", b"e5", b"null", b"\\u0000", b"\\ud800"),
    *(b'"values":[', b'"value":[', b'{"metric":{', b"NaN", b"+Inf", b"1_0", b"\xff", b"\xef\xbb\xbf", b"\n", b"0"),
    *(b'"histogram":', b'"resultType":"matrix","result":[', b"[[]]", b"\\x", b"\x00", b"true", b"1e999", b"9" * 20),
)
_NUMBERS = (
    "0",
    "-0",
    "1",
    "NaN",
    "+Inf",
    "-Inf",
    "Inf",
    "1e+21",
    "5e-324",
    "9007199254740993",
    "1.7976931348623159e308",
)


def check(data: bytes) -> None:
    """One input: an answer as servers write it, or spaced, or damaged, or the bytes as they are."""
    choices = Choices(data)
    kind = choices.below(8)
    if kind == 0:
        return compare(choices.rest())
    body = answer(choices)
    if kind == 1:
        body = json.dumps(json.loads(body, parse_float=str), indent=choices.below(3)).encode("utf-8", "surrogatepass")
    elif kind > 3:
        body = damaged(choices, body, _TOKENS)
    return compare(body)


def compare(body: bytes) -> None:
    """What the scanner takes the parser takes, and reads the same; what neither takes is SourceGarbled."""
    fast = scan_fast(body)
    try:
        slow = scan_json(body)
    except SourceGarbled:
        slow = None
    agree(fast, slow)
    if slow is not None:
        assert naive.flatten(scan_answer(body).batch) == naive.flatten(slow.batch)


def agree(fast: Answer | None, slow: Answer | None) -> None:
    """Compare what the scanner made of an answer with what the parser made of it; None where it was refused."""
    if slow is None:
        assert fast is None or not _all_labels_read(fast), "the scanner took what the parser refuses"
        return
    labels = _admitted(slow)
    assert all(name != "__name__" for own in labels for name in own)
    if fast is not None:
        assert naive.flatten(fast.batch) == naive.flatten(slow.batch)
        assert (fast.warnings, fast.infos, fast.partial) == (slow.warnings, slow.infos, slow.partial)
        assert slow.batch.histograms == 0
        assert _admitted(fast) == labels


def _admitted(answer: Answer) -> list[dict[str, str]]:
    """The labels of the rows that the series of an answer get, once each; a lone surrogate is spelt in two ways."""
    table = SeriesTable()
    table.admit(answer.batch, table.find(answer.batch))
    rows = (table.labels(row).items() for row in range(table.rows))
    return [{name.replace("\ufffd", "?"): value.replace("\ufffd", "?") for name, value in own} for own in rows]


def _all_labels_read(answer: Answer) -> bool:
    """Whether all label sets can be read: the scanner leaves that to whoever meets a series for the first time."""
    try:
        for index in range(answer.batch.series):
            parse_labels(answer.batch.label_bytes(index))
        _admitted(answer)
    except SourceGarbled:
        return False
    return True


def answer(choices: Choices) -> bytes:
    """A compact answer of some series."""
    vector, ascii_ = choices.flip(), choices.flip()
    series = choices.some(4, lambda: _series(choices, vector=vector, ascii_=ascii_))
    kind = "vector" if vector else "matrix"
    more = choices.pick(("", ',"warnings":["a \\u2028"]', ',"infos":["b"],"isPartial":true', ',"stats":{"result":[1]}'))
    before = choices.pick(("", '"isPartial":false,', '"x":{"resultType":"vector","result":[]},'))
    data = f'{{"resultType":"{kind}","result":[{",".join(series)}]}}'
    return f'{{"status":"success",{before}"data":{data}{more}}}'.encode("utf-8", "replace")


def _series(choices: Choices, *, vector: bool, ascii_: bool) -> str:
    labels = {choices.text(3): choices.text(6) for _ in range(choices.below(4))}
    metric = json.dumps(labels, separators=(",", ":"), ensure_ascii=ascii_)
    samples = [_sample(choices) for _ in range(1 + choices.below(4))]
    return f'{{"metric":{metric},' + (f'"value":{samples[0]}}}' if vector else f'"values":[{",".join(samples)}]}}')


def _sample(choices: Choices) -> str:
    seconds = choices.pick((1_700_000_000, 0, 1, 253_402_300_799, choices.below(2**40)))
    fraction = choices.pick(("", "", f".{choices.below(1000):03}".rstrip("0").rstrip("."), f".{choices.below(10**9)}"))
    return f'[{seconds}{fraction},"{number(choices)}"]'


def number(choices: Choices) -> str:
    """A number as one of the servers might spell it."""
    kind = choices.below(5)
    if kind == 0:
        return choices.pick(_NUMBERS)
    if kind == 1:
        return repr(choices.double()).replace("inf", "Inf").replace("nan", "NaN")
    if kind == 2:
        return str(choices.between(-(10**25), 10**25))
    if kind == 3:
        return f"{choices.below(10**6) / 1000:.3f}"
    return choices.word("0123456789.-+eE", 12) or "0"
