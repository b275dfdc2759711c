"""How numeric kernels are compiled: one decorator, so that the choice of options stands in one place."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])

_KEPT_CACHES = 8


def _source_digest(package: Path) -> str:
    """Digest of the sources that hold kernels.

    numba checks only the file of a kernel itself; a kernel that inlines a changed one from another file would be
    loaded stale. With the digest in the cache's path a changed source always meets an empty cache.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"@kernel" in source or b"@leaf" in source:
            digest.update(source)
    return digest.hexdigest()[:16]


def _drop_old(base: Path) -> None:
    """Remove the caches of sources that are no more, but for a few: several versions may be installed."""
    folders = sorted(base.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[_KEPT_CACHES:]:
        shutil.rmtree(folder, ignore_errors=True)


def _cache_dir() -> str:
    """Where compiled kernels are kept: the user's cache, or a private temporary folder where there is no such thing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "anomaly-exporter"
    folder = base / _source_digest(Path(__file__).parent)
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            _drop_old(base)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except (OSError, RuntimeError):  # a read-only or missing home
        passing = tempfile.mkdtemp(prefix="anomaly-exporter-kernels-")
        atexit.register(shutil.rmtree, passing, ignore_errors=True)
        return passing


# Must be set before numba is imported. An operator's own choice (a container image's baked cache) wins.
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = _cache_dir()

import numba  # noqa: E402 -- see above

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": False, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {"_nrt": False}


def kernel(function: F) -> F:
    """Compile a function with numba: cached on disk, and without the interpreter lock so that threads run side by side.

    No fastmath: NaN is a gap everywhere and must survive, and replays must give the same bits.
    """
    return cast(F, numba.njit(**_OPTIONS)(function))


def leaf(function: F) -> F:
    """Compile a small function that kernels call for every value: as `kernel`, but without counting references.

    It must make no array. Counting costs each call 10 to 16 ns an array, though nothing can vanish under a function
    that is called by a kernel which holds the array. numba has no public name for the option.
    """
    return cast(F, numba.njit(**_OPTIONS, **_UNCOUNTED)(function))
