"""The encoder against protobuf's own classes: labels, values and times of any kind, to the byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive.remote_write import Written, bits_of, decode, decode_2, encode

from exporter.publish.remote_write.labels import FAULTS, LabelBytes, LabelFault, label_fields, name_field
from exporter.publish.remote_write.version2 import to_version_2
from exporter.publish.remote_write.wire import STALE_BITS, series_ends
from exporter.publish.remote_write.wire import encode as encode_rows

NAMES = st.one_of(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True), st.sampled_from(["A", "_A", "__a"]))
TEXTS = st.one_of(
    st.text(min_size=1, max_size=20), st.sampled_from(["\0", "☃" * 50, 'a"\\\n', "x" * 200, "\x7f" * 130])
)
VALUES = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, math.inf, -math.inf, 1.7976931348623157e308, math.nan]),
)
BITS = st.one_of(VALUES.map(bits_of), st.just(STALE_BITS))
TIMES = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([0, 1, -1, 127, 128, 1_700_000_000_123]))
SERIES = st.dictionaries(NAMES.filter(lambda name: name != "__name__"), TEXTS, max_size=8)
SAMPLES = st.lists(st.tuples(SERIES, BITS, TIMES), max_size=12)


def encoded(name: str, samples: list[tuple[dict[str, str], int, int]]):
    labels = LabelBytes()
    for row, (own, _, _) in enumerate(samples):
        labels.set_row(row, own.items())
    bits = np.array([each[1] for each in samples], np.uint64)
    times = np.array([each[2] for each in samples], np.int64)
    return encode_rows(name_field(name), *labels.arrays(), np.arange(len(samples)), bits, times)


def told(name: str, samples: list[tuple[dict[str, str], int, int]]) -> list[Written]:
    return [Written(tuple(sorted({**own, "__name__": name}.items())), bits, time) for own, bits, time in samples]


@given(SAMPLES)
def test_the_kernel_writes_what_protobuf_writes(samples):
    made = encoded("anomaly_score", samples)
    assert decode(made.data.tobytes()) == told("anomaly_score", samples)
    quiet = [each for each in told("anomaly_score", samples) if not math.isnan(each.value)]
    if len(quiet) == len(samples):  # protobuf's setter may quieten a signalling NaN
        assert made.data.tobytes() == encode(quiet)


@given(SAMPLES.filter(len))
def test_ends_are_where_series_end(samples):
    made = encoded("m", samples)
    starts = [0, *made.ends[:-1].tolist()]
    parts = [made.data[a:b].tobytes() for a, b in zip(starts, made.ends.tolist(), strict=True)]
    assert [decode(part) for part in parts] == [[each] for each in told("m", samples)]
    assert series_ends(made.data.tobytes(), len(samples)).tolist() == made.ends.tolist()


@given(SAMPLES)
def test_version_2_says_the_same(samples):
    assert decode_2(to_version_2(encoded("m", samples).data.tobytes())) == told("m", samples)


def test_version_2_with_many_texts_of_many_series():
    samples = [({f"n{i % 700}": f"v{i}", "job": "x"}, bits_of(i), i) for i in range(5000)]
    raw = encoded("m", samples).data.tobytes()
    assert decode_2(to_version_2(raw)) == told("m", samples)
    assert len(to_version_2(raw)) < len(raw)


def test_rows_are_picked_in_the_order_given():
    labels = LabelBytes()
    for row in range(200):
        labels.set_row(row, [("row", str(row))])
    rows = np.array([150, 3, 77])
    made = encode_rows(name_field("m"), *labels.arrays(), rows, np.zeros(3, np.uint64), np.arange(3))
    assert [dict(each.labels)["row"] for each in decode(made.data.tobytes())] == ["150", "3", "77"]


def test_the_stale_marker_keeps_its_bits():
    (sample,) = decode(encoded("m", [({"a": "b"}, STALE_BITS, 5)]).data.tobytes())
    assert sample.bits == 0x7FF0000000000002


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([("0a", "x")], "invalid_name"),
        ([("a-b", "x")], "invalid_name"),
        ([("a:b", "x")], "invalid_name"),
        ([("é", "x")], "invalid_name"),
        ([("a\n", "x")], "invalid_name"),
        ([("a\0", "x")], "invalid_name"),
        ([("a", "\ud800")], "invalid_utf8"),
        ([("a", "")], "empty_label"),
        ([("", "x")], "empty_label"),
        ([("a", "x"), ("a", "y")], "duplicate_label"),
        ([("__name__", "x")], "duplicate_label"),
    ],
)
def test_labels_that_no_receiver_should_get(labels, reason):
    assert reason in FAULTS
    with pytest.raises(LabelFault) as caught:
        label_fields(labels)
    assert caught.value.reason == reason
    kept = LabelBytes()
    kept.set_row(7, labels)
    assert kept.refused == {7: reason}
    assert kept.arrays()[1][7] < 0
    kept.set_row(7, [("a", "x")])
    assert kept.refused == {}


@pytest.mark.parametrize(("name", "reason"), [("", "empty_label"), ("a b", "invalid_name"), ("1", "invalid_name")])
def test_metric_names_that_no_receiver_should_get(name, reason):
    with pytest.raises(LabelFault, match=reason):
        name_field(name)


def test_a_metric_name_may_hold_colons():
    assert b"a:b" in name_field("a:b")


def test_memory_follows_the_rows_alive():
    labels = LabelBytes()
    for row in range(3000):
        labels.set_row(row, [("a", "x" * 100)])
    held = labels.held_bytes
    for generation in range(20):
        for row in range(3000):
            labels.set_row(row, [("a", f"{generation}" + "y" * 99)])
    assert labels.held_bytes < 4 * held
    assert b"19y" in labels.fields(2999)
    labels.drop_row(2999)
    labels.drop_row(10**6)
    assert labels.fields(2999) == labels.fields(10**6) == b""


def test_compacting_keeps_the_place_of_the_name():
    labels = LabelBytes()
    for row in range(2000):
        labels.set_row(row, [("A", "x" * 90), ("b", str(row))])
    for row in range(1999):
        labels.drop_row(row)
    labels.set_row(0, [("A", "1"), ("b", "2")])  # makes room first
    made = encode_rows(
        name_field("m"), *labels.arrays(), np.array([1999, 0]), np.ones(2, np.uint64), np.ones(2, np.int64)
    )
    first, second = decode(made.data.tobytes())
    assert first.labels == (("A", "x" * 90), ("__name__", "m"), ("b", "1999"))
    assert second.labels == (("A", "1"), ("__name__", "m"), ("b", "2"))
