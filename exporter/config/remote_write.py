"""Reading Prometheus' remote_write blocks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from exporter.config.http import TENANT_HEADER, header_value, headers_by_name, read_http
from exporter.config.queries import YEAR_S
from exporter.config.reading import Block, Reader, Spot, attempt
from exporter.config.schema import MIB, Header, ProtobufMessage, QueueConfig, RemoteWrite
from exporter.config.tenants import ACCOUNT_ALLOWED, IN_PATH, account_id, is_account, one_tenant_id
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


@dataclass(frozen=True, slots=True)
class Writers:
    """The tenants that may have results to write: those of the config, and whether there may be others."""

    ids: tuple[str, ...] = ()
    listed: bool = False
    discovered: bool = False


def read_remote_writes(writers: Writers) -> Reader[tuple[RemoteWrite, ...]]:
    """The targets, each name once; one without a name is called by the host and port of its URL."""

    def read(spot: Spot) -> tuple[RemoteWrite, ...]:
        targets: list[RemoteWrite] = []
        first_lines: dict[str, int] = {}
        for index, node in enumerate(spot.listing().items):
            below = spot.item(index, node)
            target = attempt(below, lambda each: read_remote_write(each, writers))
            if target is None:
                continue
            if target.name in first_lines:
                message = f"a second target called {target.name}, the first is at line {first_lines[target.name]}"
                below.tell(below.fault(message, value="", allowed="another name for each target"))
            first_lines.setdefault(target.name, node.mark.line)
            targets.append(target)
        return tuple(targets)

    return read


def read_remote_write(spot: Spot, writers: Writers) -> RemoteWrite:
    """One target."""
    block = spot.block("remote_write")
    url = block.need("url", write_url, "")
    in_path = IN_PATH in url
    target = RemoteWrite(
        url=url,
        name=block.get("name", target_name, urlsplit(url).netloc),
        timeout_s=block.get("remote_timeout", duration_ms(100, 10 * _MINUTES_MS), 30_000) / 1000,
        headers=block.get("headers", read_plain_headers, ()),
        http=read_http(block),
        message=block.get("protobuf_message", choice(*_MESSAGES), "prometheus.WriteRequest"),
        queue=block.get("queue_config", read_queue, QueueConfig()),
        tenant=block.get("tenant", account_id if in_path else one_tenant_id, ""),
        per_tenant=block.get("per_tenant", boolean, False),
    )
    _check_tenant(block, target, writers)
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


def _check_tenant(block: Block, target: RemoteWrite, writers: Writers) -> None:
    """Whether the tenant that is written to is known, one, and told in one way."""
    in_path, key = IN_PATH in target.url, "tenant" if target.tenant else "per_tenant"
    if target.tenant and target.per_tenant:
        block.blame("per_tenant", "excludes `tenant`", allowed="one of tenant, per_tenant")
    elif target.per_tenant:
        _check_writers(block, writers, in_path=in_path)
    elif in_path and not target.tenant and block.usable("tenant", "per_tenant"):
        block.blame("url", f"has {IN_PATH}, and no tenant to put there", allowed="with tenant or per_tenant")
    for header in (*target.headers, *target.http.http_headers):
        told_twice = header.name.lower() == TENANT_HEADER.lower() and not in_path
        if told_twice and (target.tenant or target.per_tenant):
            block.blame(key, f"sets the tenant as the header {header.name} does", allowed="one of the two")


def _check_writers(block: Block, writers: Writers, *, in_path: bool) -> None:
    if not writers.listed and not writers.discovered:
        block.blame("per_tenant", "there are no tenants", allowed="with tenants or tenant_discovery")
    for tenant in writers.ids:
        if "|" in tenant:
            message = f"tenant {tenant} reads several, and nothing can be written to several"
            block.blame("per_tenant", message, allowed="tenants without `|`, or a `tenant` that takes all")
        elif in_path and not is_account(tenant):
            message = f"tenant {tenant} can't stand in the path of the url"
            block.blame("per_tenant", message, allowed=ACCOUNT_ALLOWED)


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
