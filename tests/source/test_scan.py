from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from naive import answers as naive

from exporter.errors import SourceGarbled
from exporter.source.jsonscan import scan_json
from exporter.source.scan import Answer, scan_answer, scan_fast

# Answers as Prometheus 2.42 and 3.12, Cortex 1.21 and VictoriaMetrics 1.150 lay them out.
PROMETHEUS_MATRIX = (
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a\\"}],"},'
    b'"values":[[1700000000,"1"],[1700000060.123,"0.30000000000000004"]]},{"metric":{},"values":[[1700000000,"NaN"]]}]}}'
)
PROMETHEUS_VECTOR = (
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"\\u003cx\\u003e"},'
    b'"value":[1700000000.781,"+Inf"]},{"metric":{"job":"b"},"value":[1700000000.781,"-1e-7"]}]}}'
)
PROMETHEUS_3 = (
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"1"]}]},'
    b'"warnings":["results truncated due to limit"],"infos":["PromQL info: metric might not be a counter"]}'
)
VICTORIAMETRICS = (
    b'{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[{"metric":{"__name__":"m"},'
    b'"value":[1700000000,"179769313486231570000"]}]},"stats":{"seriesFetched": "1","executionTimeMsec":3}}'
)
EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
RECORDED = [PROMETHEUS_MATRIX, PROMETHEUS_VECTOR, PROMETHEUS_3, VICTORIAMETRICS, EMPTY]


def same(one: Answer, other: Answer) -> None:
    assert naive.flatten(one.batch) == naive.flatten(other.batch)
    assert (one.warnings, one.infos, one.partial) == (other.warnings, other.infos, other.partial)


@pytest.mark.parametrize("body", RECORDED)
def test_recorded_answers_are_read_fast_and_alike(body: bytes) -> None:
    answer = scan_answer(body)
    assert answer.fast
    same(answer, scan_json(body))
    assert naive.flatten(answer.batch) == naive.read_answer(body)


def test_what_a_batch_holds() -> None:
    batch = scan_answer(PROMETHEUS_MATRIX).batch
    assert batch.series == 2
    assert batch.label_bytes(0) == b'{"__name__":"up","job":"a\\"}],"}'
    assert batch.first.tolist() == [0, 2, 3]
    assert batch.time_ms.tolist() == [1_700_000_000_000, 1_700_000_060_123, 1_700_000_000_000]
    assert batch.value[:2].tolist() == [1.0, 0.30000000000000004]
    assert np.isnan(batch.value[2])
    assert (batch.label_hash.dtype, batch.value.dtype, batch.time_ms.dtype) == (np.uint64, np.float64, np.int64)


def test_remarks_of_the_server_are_kept() -> None:
    answer = scan_answer(PROMETHEUS_3)
    assert answer.warnings == ("results truncated due to limit",)
    assert answer.infos == ("PromQL info: metric might not be a counter",)
    assert scan_answer(VICTORIAMETRICS).partial
    assert not scan_answer(EMPTY).partial


def test_many_long_remarks_are_trimmed() -> None:
    remarks = json.dumps(["x" * 1000 + "\n\x1b[31m"] * 50).encode()
    answer = scan_answer(EMPTY[:-1] + b',"warnings":' + remarks + b"}")
    assert len(answer.warnings) == 20
    assert len(answer.warnings[0]) == 300


# --- generated answers ------------------------------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(
    FINITE.map(repr),
    FINITE.map(lambda x: f"{x:f}"),  # all 309 digits, as Cortex and VictoriaMetrics spell large numbers
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(-1, 1, allow_nan=False, places=30).map(lambda x: f"{x:f}"),
    st.floats(0, 1e6).map(lambda x: f"{x:.3f}"),
    st.sampled_from(
        ["NaN", "+Inf", "-Inf", "Inf", "0", "-0", "1e+21", "5e-324", "2.2250738585072011e-308", "9007199254740993"]
    ),
)
TIMES = st.one_of(
    st.integers(0, 2 * 10**9).map(str),
    st.integers(0, 2 * 10**12).map(lambda ms: f"{ms // 1000}.{ms % 1000:03}".rstrip("0").rstrip(".")),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,9})\.[0-9]{1,6}\Z"),
)
LABELS = st.dictionaries(st.text(max_size=6), st.text(max_size=12), max_size=4)
SAMPLES = st.lists(st.tuples(TIMES, NUMBERS), min_size=1, max_size=6)
SPELLINGS = st.sampled_from([{"ensure_ascii": True}, {"ensure_ascii": False}])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A compact answer, as Prometheus lays it out."""
    vector = draw(st.booleans())
    series = []
    for labels, samples in draw(st.lists(st.tuples(LABELS, SAMPLES), max_size=4)):
        metric = json.dumps(labels, separators=(",", ":"), **draw(SPELLINGS))
        pairs = [f'[{t},"{v}"]' for t, v in samples]
        series.append(
            f'{{"metric":{metric},' + (f'"value":{pairs[0]}}}' if vector else f'"values":[{",".join(pairs)}]}}')
        )
    kind = "vector" if vector else "matrix"
    text = f'{{"status":"success","data":{{"resultType":"{kind}","result":[{",".join(series)}]}}}}'
    return text.encode("utf-8", "replace")


@given(bodies())
def test_scanner_json_reader_and_slow_twin_agree(body: bytes) -> None:
    fast = scan_fast(body)
    assert fast is not None
    same(fast, scan_json(body))
    assert naive.flatten(fast.batch) == naive.read_answer(body)


@given(bodies())
def test_both_readers_give_a_label_set_the_hash_of_its_bytes(body: bytes) -> None:
    fast, slow = scan_answer(body), scan_json(body)
    for answer in (fast, slow):
        raw = [answer.batch.label_bytes(i) for i in range(answer.batch.series)]
        by_bytes = dict(zip(raw, answer.batch.label_hash.tolist(), strict=True))
        assert len(set(by_bytes.values())) == len(by_bytes)
        assert [by_bytes[text] for text in raw] == answer.batch.label_hash.tolist()


@given(bodies())
def test_another_layout_goes_through_the_json_reader_and_gives_the_same(body: bytes) -> None:
    parsed = json.loads(body, parse_float=str)
    spaced = json.dumps(parsed).encode("utf-8", "surrogatepass")
    assert scan_fast(spaced) is None
    same(scan_answer(spaced), scan_json(body))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer with some bytes cut out, replaced or put in."""
    body = draw(st.one_of(bodies(), st.sampled_from(RECORDED)))
    at = draw(st.integers(0, len(body)))
    new = draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"\\", b"]", b"}", b",", b"[", b"{", b"1", b".", b" "]))
    )
    return body[:at] + new + body[at + draw(st.integers(0, 5)) :]


@given(damaged())
@example(PROMETHEUS_VECTOR.replace(b'"1e', b'"1_0e'))
@example(PROMETHEUS_MATRIX[:-3])
@example(PROMETHEUS_VECTOR.replace(b"u003cx", b"ud800"))
@example(PROMETHEUS_MATRIX + b"}")
@example(b"\x00" * 8)
@example(b"")
def test_on_damaged_answers_the_readers_agree_or_refuse(body: bytes) -> None:
    fast = scan_fast(body)
    try:
        slow = scan_json(body)
    except SourceGarbled:
        return  # what the scanner makes of it can't be compared; that it ended is what counts
    if fast is not None:
        same(fast, slow)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_in_our_error(body: bytes) -> None:
    with pytest.raises(SourceGarbled):
        scan_answer(body)


@pytest.mark.parametrize("head", [
    b'{"status":"success","data":{"resultType":"matrix","result":[',
    b'{"status":"success","data":{"resultType":"vector","result":[',
])  # fmt: skip
def test_answers_cut_at_every_byte_are_refused(head: bytes) -> None:
    body = PROMETHEUS_MATRIX if b"matrix" in head else PROMETHEUS_VECTOR
    for length in range(len(head), len(body)):
        assert scan_fast(body[:length]) is None


def test_samples_that_stand_elsewhere_are_not_taken_for_the_result() -> None:
    decoy = b'{"resultType":"vector","result":[{"metric":{"a":"decoy"},"value":[1,"1"]}]}'
    body = b'{"status":"success","stats":' + decoy + b',"data":{"resultType":"vector","result":[]}}'
    assert scan_answer(body).batch.series == 0


def test_a_label_may_look_like_the_answer_itself() -> None:
    labels = {"a": '"resultType":"vector","result":[', "b": "\\", "c": '\\"', "d": ']}]},"values":[[1,"2"]]'}
    body = json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": labels, "value": [1, "2"]}]}},
        separators=(",", ":"),
    ).encode()
    answer = scan_answer(body)
    assert answer.fast
    assert naive.flatten(answer.batch) == [(labels, [(1000, naive.bits(2.0))])]


def test_more_numbers_of_the_slow_kind_than_the_scanner_keeps_still_arrive() -> None:
    hard = "0.500000000000000166533453693773481063544750213623046875"  # halfway between two floats
    samples = ",".join(f'[{i},"{hard}"]' for i in range(5000))
    head = '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":['
    batch = scan_answer(f"{head}{samples}]}}]}}}}".encode()).batch
    assert batch.value.tolist() == [float(hard)] * 5000


def test_short_samples_need_more_room_than_usual_and_get_it() -> None:
    samples = ",".join(f'[{i % 10},"{i % 7}"]' for i in range(1000))
    body = f'{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{samples}]}}]}}}}'
    answer = scan_answer(body.encode())
    assert answer.fast
    assert answer.batch.value.tolist() == [float(i % 7) for i in range(1000)]
