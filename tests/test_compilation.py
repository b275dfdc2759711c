"""Compiling the kernels at the first start."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from exporter import compilation


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compilation, "processors", lambda: 2)
    return tmp_path


class Child:
    """A process that ends when it is told to, or at once."""

    def __init__(self, code: int | None) -> None:
        self.returncode = code

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.returncode = -15


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> dict[str, Child]:
    made = {part: Child(0) for part in compilation._PARTS}
    monkeypatch.setattr(compilation, "_spawn", lambda part: made[part])
    return made


def test_once_in_the_life_of_a_cache(folder: Path, children: dict[str, Child], monkeypatch: pytest.MonkeyPatch) -> None:
    compilation.prepare(threading.Event())
    assert (folder / "compiled").exists()
    monkeypatch.setattr(compilation, "_spawn", None)  # would raise
    compilation.prepare(threading.Event())


def test_one_processor_gains_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "processors", lambda: 1)
    monkeypatch.setattr(compilation, "_spawn", None)
    compilation.prepare(threading.Event())
    assert not (folder / "compiled").exists()


def test_a_part_that_fails_is_tried_again_at_the_next_start(folder: Path, children: dict[str, Child]) -> None:
    children["fit"].returncode = 1
    compilation.prepare(threading.Event())
    assert not (folder / "compiled").exists()


def test_the_end_of_the_program_does_not_wait(folder: Path, children: dict[str, Child]) -> None:
    children["fit"].returncode = None
    stop = threading.Event()
    thread = threading.Thread(target=compilation.prepare, args=(stop,))
    thread.start()
    time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert children["fit"].returncode == -15
    assert not (folder / "compiled").exists()


@pytest.mark.parametrize("part", compilation._PARTS)
def test_every_part_can_be_compiled(part: str) -> None:
    compilation._PARTS[part]()
