"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from exporter.backtest.faults import BacktestError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` at the end; what goes wrong leaves that as it was.

    Raises BacktestError where it can't be written.
    """
    waiting = path.with_name(f".{path.name[:100]}-{os.getpid()}.part")
    try:
        try:
            with waiting.open("wb") as out:
                yield out
            waiting.replace(path)
        finally:
            waiting.unlink(missing_ok=True)
    except OSError as error:
        raise BacktestError(f"{path}: can't be written: {(error.strerror or 'unknown').lower()}") from error


def check_writable(path: str) -> None:
    """Raises BacktestError where a file can't be made: before the work, not after it."""
    target = Path(path)
    if target.is_dir():
        raise BacktestError(f"{path}: is a directory, a file is wanted")
    if not target.absolute().parent.is_dir():
        raise BacktestError(f"{path}: there is no directory {target.absolute().parent}")
    if not os.access(target.absolute().parent, os.W_OK):
        raise BacktestError(f"{path}: the directory can't be written to")
