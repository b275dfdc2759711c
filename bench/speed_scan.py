"""CPU seconds to read query answers: the byte scanner beside the standard library's json. Prints a table.

Run: .venv/bin/python bench/speed_scan.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from exporter.source.labels import PROCESS_SEED, hash_spans
from exporter.source.scan import scan_fast

REPEATS = 5
START_S = 1_700_000_000


def main() -> None:
    """Measure both bodies and print a row for each reader."""
    print(f"{'answer':34} {'MB':>6} {'reader':>22} {'CPU s':>8}")
    bodies = [
        ("matrix 1000 x 2016, 10 digits", matrix_body(7)),
        ("matrix 1000 x 2016, 17 digits", matrix_body(17)),
        ("vector, 100k series", vector_body()),
    ]
    for name, body in bodies:
        batch = check(body)
        readers: list[tuple[str, Callable[[], object]]] = [
            ("byte scanner", lambda body=body: scan_fast(body)),
            ("of it, hashing", lambda b=batch: hash_spans(b.body, b.label_start, b.label_end, PROCESS_SEED)),
            ("json.loads", lambda body=body: json.loads(body)),
            ("json.loads and arrays", lambda body=body: read_json(body)),
        ]
        for reader, read in readers:
            print(f"{name:34} {len(body) / 1e6:6.1f} {reader:>22} {cpu_seconds(read):8.4f}")


def matrix_body(decimals: int) -> bytes:
    """A range answer on a 5-minute grid."""
    rng = np.random.default_rng(1)
    result = []
    for series in range(1000):
        values = rng.normal(100, 15, 2016).round(decimals)
        samples = ",".join(f'[{START_S + 300 * i},"{value!r}"]' for i, value in enumerate(values.tolist()))
        labels = f'{{"__name__":"requests","instance":"10.0.0.{series}:9100","job":"node"}}'
        result.append(f'{{"metric":{labels},"values":[{samples}]}}')
    return envelope("matrix", result)


def vector_body() -> bytes:
    """An instant answer: 100,000 series with about 300 bytes of labels each."""
    rng = np.random.default_rng(2)
    filler = ",".join(f'"label_{i}":"value-{i}-of-a-usual-length"' for i in range(5))
    result = []
    for series, value in enumerate(rng.normal(100, 15, 100_000).tolist()):
        labels = f'{{"__name__":"http_requests","instance":"10.0.0.1:9100",{filler},"pod":"web-{series:08}"}}'
        result.append(f'{{"metric":{labels},"value":[{START_S}.123,"{value!r}"]}}')
    return envelope("vector", result)


def envelope(kind: str, result: list[str]) -> bytes:
    """Prometheus' JSON around the series."""
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":[{",".join(result)}]}}}}'.encode()


def read_json(body: bytes) -> list[np.ndarray]:
    """What a reader without the scanner would do: parse, then one array per series."""
    result = json.loads(body)["data"]["result"]
    samples = (series.get("values") or [series["value"]] for series in result)
    return [np.array([float(text) for _, text in values]) for values in samples]


def check(body: bytes):
    """Both readers must agree before they are timed; also compiles the kernels."""
    answer = scan_fast(body)
    assert answer is not None
    assert np.array_equal(np.concatenate(read_json(body)), answer.batch.value)
    return answer.batch


def cpu_seconds(read: Callable[[], object]) -> float:
    """Median CPU time of some runs."""
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        read()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
