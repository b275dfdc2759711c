"""One gzip stream from parts that were compressed apart."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.publish.packing import Packed, gzip_stream, joined_crc, pack

texts = st.lists(st.binary(max_size=300) | st.binary(max_size=20).map(lambda text: 500 * text), max_size=6)


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_checksum_of_two_texts_follows_from_theirs(one: bytes, other: bytes) -> None:
    assert joined_crc(zlib.crc32(one), zlib.crc32(other), len(other)) == zlib.crc32(one + other)


def test_the_checksum_of_a_long_text() -> None:
    one, other = b"a" * 70_000, b"bc" * 1_500_001
    assert joined_crc(zlib.crc32(one), zlib.crc32(other), len(other)) == zlib.crc32(one + other)


@settings(deadline=None)
@given(st.lists(texts, max_size=5))
def test_a_single_member_with_the_texts_in_their_order(parts: list[list[bytes]]) -> None:
    stream = b"".join(gzip_stream(pack(part) for part in parts))
    wanted = b"".join(text for part in parts for text in part)
    assert gzip.decompress(stream) == wanted
    plain = zlib.decompressobj(31)
    assert plain.decompress(stream) == wanted
    assert plain.eof
    assert plain.unused_data == b""


def test_a_part_serves_many_streams() -> None:
    texts = [b"lines\n" * 1000, b"more\n"]
    packed = [pack([text]) for text in texts]
    for order in ([0, 1], [1, 0], [0, 0]):
        assert gzip.decompress(b"".join(gzip_stream(packed[k] for k in order))) == b"".join(texts[k] for k in order)


def test_it_is_compressed() -> None:
    packed = pack([b'anomaly_score{a="b"} 1\n' * 1000] * 3)
    assert isinstance(packed, Packed)
    assert packed.text_bytes == 69_000
    assert len(packed.data) < 2000
