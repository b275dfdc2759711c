"""Remote write of both protocols beside protobuf's own classes, and snappy around it."""

from __future__ import annotations

import cramjam
import numpy as np
from fuzz.choices import Choices
from naive.remote_write import Written, decode, decode_2

from exporter.publish.remote_write.labels import FAULTS, LabelBytes, LabelFault, label_fields, name_field
from exporter.publish.remote_write.version2 import to_version_2
from exporter.publish.remote_write.wire import STALE_BITS, encode, series_ends

_NAMES = ("a", "A", "job", "__a", "_A", "model", "le", "x9", "zz")

Sample = tuple[dict[str, str], int, int]


def check(data: bytes) -> None:
    """One input: samples of labels that may be sent or not, any bits, any times."""
    choices = Choices(data)
    labels, samples = LabelBytes(), list[Sample]()
    for row in range(choices.below(9)):
        own = {_name(choices): choices.text(8) for _ in range(choices.below(5))}
        if _fault(labels, row, own) is None:
            samples.append((own, *_point(choices)))
            continue
    rows = np.array([row for row in range(row_count(labels)) if row not in labels.refused], np.int64)[: len(samples)]
    made = encode(
        name_field("anomaly_score"), *labels.arrays(), rows,
        np.array([bits for _, bits, _ in samples], np.uint64), np.array([ms for *_, ms in samples], np.int64),
    )  # fmt: skip
    _compare(made.data.tobytes(), made.ends.tolist(), samples)


def row_count(labels: LabelBytes) -> int:
    """Rows that have been set, refused ones among them."""
    start = labels.arrays()[1]
    return int(max([row + 1 for row in range(len(start)) if start[row] != -1], default=0))


def _fault(labels: LabelBytes, row: int, own: dict[str, str]) -> str | None:
    """Set a row; the reason why it can't be sent, the same from both ways in."""
    labels.set_row(row, own.items())
    try:
        label_fields(own.items())
        reason = None
    except LabelFault as fault:
        reason = fault.reason
    assert labels.refused.get(row) == reason
    assert reason is None or reason in FAULTS
    return reason


def _compare(raw: bytes, ends: list[int], samples: list[Sample]) -> None:
    told = [Written(tuple(sorted({**own, "__name__": "anomaly_score"}.items())), bits, ms) for own, bits, ms in samples]
    assert decode(raw) == told
    assert series_ends(raw, len(samples)).tolist() == ends
    second = to_version_2(raw)
    assert decode_2(second) == told
    for body in (raw, second):
        assert bytes(cramjam.snappy.decompress_raw(cramjam.snappy.compress_raw(body))) == body


def _name(choices: Choices) -> str:
    return choices.text(3) if choices.rarely() else choices.pick(_NAMES)


def _point(choices: Choices) -> tuple[int, int]:
    bits = choices.pick((int.from_bytes(choices.raw(8), "little"), STALE_BITS, 0, 1 << 63))
    time_ms = choices.pick(
        (1_700_000_000_000 + choices.below(10**6), 0, 127, 128, choices.between(-(1 << 63), (1 << 63) - 1))
    )
    return bits, time_ms
