"""Smaller pictures: a browser's PNG written again with a palette of 256 colours (PNG specification, clauses 9, 11)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numba import njit

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLORS = 256
_AT_ONCE = 4096


def shrink(path: Path) -> None:
    """Rewrite an 8-bit RGB or RGBA picture with 256 of its colours; each other pixel gets the nearest of them."""
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    packed = pixels.astype(np.uint32) @ np.array([65_536, 256, 1], np.uint32)
    colors, place, count = np.unique(packed.ravel(), return_inverse=True, return_counts=True)
    rgb = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1).astype(np.int32)
    kept = _chosen(rgb, count)
    indices = _nearest(rgb, rgb[kept])[place].reshape(height, width)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1)  # each row begins with "no filter"
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    palette = rgb[kept].astype(np.uint8).tobytes()
    parts = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    path.write_bytes(_SIGNATURE + b"".join(_chunk(*part) for part in parts))


def read_rgb(path: Path) -> np.ndarray:
    """The pixels (height, width, 3) of an 8-bit RGB or RGBA picture without interlacing."""
    content, at, data, header = path.read_bytes(), len(_SIGNATURE), [], b""
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        header, at = body if kind == b"IHDR" else header, at + 12 + length
        data += [body] if kind == b"IDAT" else []
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    assert (depth, interlaced) == (8, 0)
    channels = {2: 3, 6: 4}[color]
    raw = np.frombuffer(zlib.decompress(b"".join(data)), np.uint8).reshape(height, 1 + width * channels)
    return _unfiltered(raw, channels).reshape(height, width, channels)[:, :, :3]


def _chosen(colors: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The commonest colours, and those that differ most from all chosen before: a rare one may mean something."""
    kept = [int(one) for one in np.argsort(count, kind="stable")[::-1][: _COLORS // 2]]
    distance = np.full(len(colors), np.iinfo(np.int32).max)
    for one in kept:
        distance = np.minimum(distance, ((colors - colors[one]) ** 2).sum(axis=1))
    while len(kept) < min(_COLORS, len(colors)):
        kept.append(int(distance.argmax()))
        distance = np.minimum(distance, ((colors - colors[kept[-1]]) ** 2).sum(axis=1))
    return np.array(kept)


def _nearest(colors: np.ndarray, palette: np.ndarray) -> np.ndarray:
    out = np.empty(len(colors), np.uint8)
    for start in range(0, len(colors), _AT_ONCE):
        part = colors[start : start + _AT_ONCE]
        out[start : start + _AT_ONCE] = ((part[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
    return out


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@njit
def _unfiltered(raw: np.ndarray, back: int) -> np.ndarray:
    height, width = raw.shape[0], raw.shape[1] - 1
    out = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            left = np.int64(out[y, x - back]) if x >= back else 0
            up = np.int64(out[y - 1, x]) if y else 0
            corner = np.int64(out[y - 1, x - back]) if y and x >= back else 0
            guess = 0
            if raw[y, 0] == 1:
                guess = left
            elif raw[y, 0] == 2:
                guess = up
            elif raw[y, 0] == 3:
                guess = (left + up) // 2
            elif raw[y, 0] == 4:
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                guess = corner
                if to_left <= to_up and to_left <= to_corner:
                    guess = left
                elif to_up <= to_corner:
                    guess = up
            out[y, x] = (raw[y, x + 1] + guess) & 255
    return out
