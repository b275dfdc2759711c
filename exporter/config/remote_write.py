"""Reading Prometheus' remote_write blocks."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from exporter.config.http import header_value, headers_by_name, read_http
from exporter.config.queries import YEAR_S
from exporter.config.reading import Block, Spot, attempt
from exporter.config.schema import MIB, Header, ProtobufMessage, QueueConfig, RemoteWrite
from exporter.config.values import (
    boolean,
    choice,
    duration_ms,
    integer,
    size_bytes,
    text,
    write_url,
)

_MESSAGES: tuple[ProtobufMessage, ...] = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")
_VERSION_HEADER = "x-prometheus-remote-write-version"
_TARGET_NAME = re.compile(r"[A-Za-z0-9_.:\-]{1,64}", re.ASCII)
_BYTES_ALLOWED = "a size from 1MiB to 1TiB: a number of bytes, or with KiB, MiB, GiB"
_MINUTES_MS = 60_000
_USUAL = QueueConfig()


def read_remote_writes(spot: Spot) -> tuple[RemoteWrite, ...]:
    """The targets, each name once; one without a name is called by the host and port of its URL."""
    targets: list[RemoteWrite] = []
    first_lines: dict[str, int] = {}
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        target = attempt(below, read_remote_write)
        if target is None:
            continue
        if target.name in first_lines:
            message = f"a second target called {target.name}, the first is at line {first_lines[target.name]}"
            below.tell(below.fault(message, value="", allowed="another name for each target"))
        first_lines.setdefault(target.name, node.mark.line)
        targets.append(target)
    return tuple(targets)


def read_remote_write(spot: Spot) -> RemoteWrite:
    """One target."""
    block = spot.block("remote_write")
    url = block.need("url", write_url, "")
    target = RemoteWrite(
        url=url,
        name=block.get("name", target_name, urlsplit(url).netloc),
        timeout_s=block.get("remote_timeout", duration_ms(100, 10 * _MINUTES_MS), 30_000) / 1000,
        headers=block.get("headers", read_plain_headers, ()),
        http=read_http(block),
        message=block.get("protobuf_message", choice(*_MESSAGES), "prometheus.WriteRequest"),
        queue=block.get("queue_config", read_queue, QueueConfig()),
    )
    block.get("write_relabel_configs", _no_relabelling, None)
    _check_headers(block, target)
    return target


def target_name(spot: Spot) -> str:
    """The name of a target. Never shown when it is bad: a URL with a password gets pasted here."""
    value = text(spot)
    if not _TARGET_NAME.fullmatch(value):
        raise spot.fault("not a name for a target", value="", allowed="up to 64 letters, digits and _ . : -")
    return value


def read_plain_headers(spot: Spot) -> tuple[Header, ...]:
    """Headers by name with one value each."""
    headers = headers_by_name(spot, lambda name, below: Header(name, values=(header_value(name)(below),)))
    for header in headers:
        if header.name.lower() == _VERSION_HEADER:
            below = spot.below(header.name, spot.mapping().entries[header.name].node)
            below.tell(below.fault("a header that the client sets itself", value="", allowed="other headers"))
    return headers


def _check_headers(block: Block, target: RemoteWrite) -> None:
    plain = {header.name.lower() for header in target.headers}
    for header in target.http.http_headers:
        if header.name.lower() in plain:
            message = f"{header.name} is in headers, too"
            block.note(block.spot.node.mark, "http_headers", message, allowed="each header once")


def read_queue(spot: Spot) -> QueueConfig:
    """The queue of a target."""
    block = spot.block("queue_config")
    # Defaults give way to what stands in the file.
    capacity = block.get("capacity", integer(1, 1_000_000_000), _USUAL.capacity)
    usual = min(capacity, _USUAL.max_samples_per_send)
    least_s = block.get("min_backoff", duration_ms(1, 10 * _MINUTES_MS), 0) / 1000
    most_s = block.get("max_backoff", duration_ms(1, 60 * _MINUTES_MS), 0) / 1000
    queue = QueueConfig(
        capacity=capacity,
        max_bytes=block.get("max_bytes", size_bytes(MIB, 1 << 40, _BYTES_ALLOWED), _USUAL.max_bytes),
        max_samples_per_send=block.get("max_samples_per_send", integer(1, 1_000_000), usual),
        batch_send_deadline_s=block.get("batch_send_deadline", duration_ms(0, 10 * _MINUTES_MS), 5000) / 1000,
        min_backoff_s=least_s or min(_USUAL.min_backoff_s, most_s or math.inf),
        max_backoff_s=most_s or max(_USUAL.max_backoff_s, least_s),
        retry_on_http_429=block.get("retry_on_http_429", boolean, True),
        sample_age_limit_s=block.get("sample_age_limit", duration_ms(0, YEAR_S * 1000), 0) / 1000,
    )
    for key in ("min_shards", "max_shards"):
        block.get(key, integer(1, 10_000), 1)
    _check_queue(block, queue)
    return queue


def _check_queue(block: Block, queue: QueueConfig) -> None:
    """Whether the limits of a queue go together."""
    if block.has("max_samples_per_send") and queue.capacity < queue.max_samples_per_send:
        block.blame("max_samples_per_send", "is more than capacity", allowed=f"up to {queue.capacity}")
    if block.has("max_backoff", "min_backoff") and queue.max_backoff_s < queue.min_backoff_s:
        block.blame("max_backoff", "is below min_backoff", allowed="min_backoff or longer")


def _no_relabelling(spot: Spot) -> None:
    if spot.listing().items:
        message = "write_relabel_configs are not available in this version"
        raise spot.fault(message, value="", allowed="[]; relabel in the receiver, or narrow the expr")
