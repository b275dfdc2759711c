"""A real Prometheus with blocks made by promtool and a head filled by remote write, so with stale markers too."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cramjam
import pytest
import requests
from naive import xor_chunks as naive


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def make_blocks(folder: Path, text: str) -> None:
    """OpenMetrics text as blocks of ``folder/data``."""
    (folder / "samples.txt").write_text(text)
    command = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "--max-block-duration=12h",
        "openmetrics",
        folder / "samples.txt",
        folder / "data",
    ]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def running(folder: Path, config: str = "global: {}\n") -> Iterator[str]:
    """The URL of a Prometheus on the data of a folder; it takes remote writes, late ones too."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.fail("prometheus and promtool are needed: apt-get install prometheus")
    (folder / "prometheus.yml").write_text(f"{config}storage: {{tsdb: {{out_of_order_time_window: 12h}}}}\n")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}", "--web.enable-remote-write-receiver", "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _wait(f"http://{address}/-/ready", process, folder / "log")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(f"prometheus did not start:\n{log.read_text()}")


def push(url: str, series: list[tuple[dict[str, str], naive.Samples]]) -> None:
    """Remote write of (milliseconds, bits of the value), so that NaN payloads survive."""
    request = b""
    for labels, samples in series:
        content = b""
        for name, value in sorted(labels.items()):
            content += _span(1, _span(1, name.encode()) + _span(2, value.encode()))
        for ms, bits in samples:  # by hand: protobuf's Python floats may lose the payload of a NaN
            content += _span(2, b"\x09" + struct.pack("<Q", bits) + b"\x10" + naive.uvarint(ms))
        request += _span(1, content)
    answer = requests.post(
        f"{url}/api/v1/write",
        data=bytes(cramjam.snappy.compress_raw(request)),
        headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                 "X-Prometheus-Remote-Write-Version": "0.1.0"},
        timeout=30,
    )  # fmt: skip
    assert answer.status_code in (200, 204), answer.text


def _span(field: int, content: bytes) -> bytes:
    return naive.uvarint(field << 3 | 2) + naive.uvarint(len(content)) + content
