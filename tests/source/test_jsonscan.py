# ruff: noqa: E501  # a case of the table reads best on one line
from __future__ import annotations

import json

import numpy as np
import pytest
from naive import answers as naive

from exporter.errors import SourceGarbled
from exporter.source.jsonscan import scan_json
from exporter.source.scan import scan_answer


def answer(kind: object, result: object, **more: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def test_a_scalar_is_one_series_without_labels() -> None:
    batch = scan_answer(answer("scalar", [1700000000.5, "2.5"])).batch
    assert naive.flatten(batch) == [({}, [(1_700_000_000_500, naive.bits(2.5))])]


def test_histogram_samples_are_skipped_and_counted() -> None:
    histogram = {"count": "3", "sum": "4", "buckets": [[0, "1", "2", "3"]]}
    matrix = answer("matrix", [
        {"metric": {"a": "only"}, "histograms": [[1, histogram], [2, histogram]]},
        {"metric": {"a": "both"}, "values": [[3, "1"]], "histograms": [[1, histogram]]},
    ])  # fmt: skip
    batch = scan_answer(matrix).batch
    assert batch.histograms == 3
    assert naive.flatten(batch) == [({"a": "both"}, [(3000, naive.bits(1.0))])]
    vector = answer("vector", [{"metric": {"a": "b"}, "histogram": [1, histogram]}])
    assert (scan_answer(vector).batch.histograms, scan_answer(vector).batch.series) == (1, 0)


def test_labels_come_out_in_one_spelling() -> None:
    batch = scan_json(answer("vector", [{"metric": {"b": "☃", "a": "x"}, "value": [1, "1"]}])).batch
    assert batch.label_bytes(0) == '{"a":"x","b":"☃"}'.encode()


def test_the_spelling_of_prometheus_hashes_alike_in_both_readers() -> None:
    compact = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"x","b":"y"},"value":[1,"1"]}]}}'
    )
    assert scan_answer(compact).fast
    assert scan_answer(compact).batch.label_hash.tolist() == scan_json(compact).batch.label_hash.tolist()


def test_an_empty_result_has_arrays_of_the_right_kind() -> None:
    batch = scan_json(answer("matrix", [])).batch
    assert (batch.series, batch.first.tolist(), len(batch.value)) == (0, [0], 0)
    assert (batch.label_hash.dtype, batch.time_ms.dtype, batch.value.dtype) == (np.uint64, np.int64, np.float64)


def test_numbers_may_be_spelt_as_json_numbers() -> None:
    batch = scan_json(
        answer("vector", [{"metric": {}, "value": [1, 2.5]}, {"metric": {"a": "b"}, "value": [1, 3]}])
    ).batch
    assert batch.value.tolist() == [2.5, 3.0]


@pytest.mark.parametrize(("body", "message"), [
    (b"", "the server answered 200 with an empty body"),
    (b"<html><body>Login</body></html>", "the server answered 31 bytes that are not JSON (Expecting value: line 1 column 1 (char 0)); "
                                        "they start with: <html><body>Login</body></html>"),
    (b"[1,2]", "the server answered JSON that is no object; is it the API of a Prometheus-like server?"),
    (b'{"status":"error","errorType":"x","error":"it\\u001b[31m hurts"}', "the server answered 200 but not success: it [31m hurts"),
    (b'{"hello":"world"}', "the server answered 200 but not success: no status"),
    (b'{"status":"success"}', "the server answered success without data"),
    (b'{"status":"success","data":[]}', "the server answered success without data"),
    (answer("string", [1, "x"]), "the server answered a result of type string; series of numbers are needed"),
    (answer("streams", []), "the server answered a result of type streams; series of numbers are needed"),
    (answer(None, []), "the server answered a result of type None; series of numbers are needed"),
    (answer("matrix", {}), "the server answered a result of type matrix; series of numbers are needed"),
    (answer("vector", [{"value": [1, "1"]}]), "the server answered samples that can't be read: a series is {'value': [1, '1']}"),
    (answer("vector", [{"metric": {"a": 1}, "value": [1, "1"]}]), "the server answered samples that can't be read: labels are {'a': 1}"),
    (answer("vector", [{"metric": {}, "value": [1, "1_0"]}]), "the server answered samples that can't be read: a sample's value holds '_'"),
    (answer("vector", [{"metric": {}, "value": [1, "0x10"]}]), "the server answered samples that can't be read: "
                                                               "could not convert string to float: '0x10'"),
    (answer("vector", [{"metric": {}, "value": [1, ""]}]), "the server answered samples that can't be read: "
                                                           "could not convert string to float: ''"),
    (answer("vector", [{"metric": {}, "value": [None, "1"]}]), "the server answered samples that can't be read: a sample's time is None"),
    (answer("vector", [{"metric": {}, "value": [True, "1"]}]), "the server answered samples that can't be read: a sample's time is True"),
    (answer("vector", [{"metric": {}, "value": [1, "1", 2]}]), "the server answered samples that can't be read: "
                                                               "too many values to unpack (expected 2)"),
    (answer("vector", [5]), "the server answered samples that can't be read: a series is 5"),
    (answer("matrix", [5]), "the server answered samples that can't be read: a series is 5"),
])  # fmt: skip
def test_what_is_no_answer_is_refused_in_words(body: bytes, message: str) -> None:
    with pytest.raises(SourceGarbled) as caught:
        scan_answer(body, "the server")
    assert str(caught.value) == message
    assert caught.value.reason == "garbled"


def test_deep_nesting_is_refused_not_followed() -> None:
    with pytest.raises(SourceGarbled, match="not JSON"):
        scan_answer(b"[" * 100_000)
