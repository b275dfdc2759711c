"""How numeric kernels are compiled: one decorator, so that the choice of options stands in one place."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])

COMPILED = "compiled"  # the file in a cache that says that all kernels of a first verdict are there
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
    with contextlib.suppress(OSError):  # another process may be at it, too; tidying is no reason not to start
        folders = sorted(base.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[_KEPT_CACHES:]:
            shutil.rmtree(folder, ignore_errors=True)


def _usable(folder: Path) -> bool:
    """Whether files can be made there."""
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)  # what lies here is run
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _of_the_user() -> Path | None:
    """A folder in the user's cache, where there is such a thing."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "anomaly-exporter"
    except RuntimeError:  # no home
        return None
    folder = base / _source_digest(Path(__file__).parent)
    if not folder.exists() and _usable(folder):
        _drop_old(base)
    return folder if _usable(folder) else None


def _passing(baked: Path | None) -> Path | None:
    """A private folder that ends with the process, with what has been compiled beforehand; None on a read-only disk."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="anomaly-exporter-kernels-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if baked is not None and (baked / COMPILED).exists():
        with contextlib.suppress(OSError):  # shutil.Error is one: then they are compiled anew
            shutil.copytree(baked, folder, dirs_exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)  # not as read-only as where they come from
    return folder


def _cache_dir() -> Path | None:
    """Where compiled kernels are kept; None where nothing can be written: then each start compiles them in memory."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")  # an operator's own choice (a container image's baked cache) wins
    if chosen:
        return Path(chosen) if _usable(Path(chosen)) else _passing(Path(chosen))
    return _of_the_user() or _passing(None)


# Must be set before numba is imported.
_CACHE_DIR = _cache_dir()
os.environ["NUMBA_CACHE_DIR"] = str(_CACHE_DIR or os.devnull)

import numba  # noqa: E402 -- see above

_OPTIONS: dict[str, Any] = {"cache": _CACHE_DIR is not None, "nogil": True, "fastmath": False, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {"_nrt": False}


def _forgiving(dispatcher: Any) -> Any:  # numba ships no types
    """A disk that is full, or damaged files on it, cost the cache, not the call. numba has no option for that."""
    cache = dispatcher._cache
    load, save = cache.load_overload, cache.save_overload

    def load_if_possible(*what: object) -> object:
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            return load(*what)
        return None  # compile it

    def save_if_possible(*what: object) -> None:
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            save(*what)

    cache.load_overload, cache.save_overload = load_if_possible, save_if_possible
    return dispatcher


def kernel(function: F) -> F:
    """Compile a function with numba: cached on disk, and without the interpreter lock so that threads run side by side.

    No fastmath: NaN is a gap everywhere and must survive, and replays must give the same bits.
    """
    return cast(F, _forgiving(numba.njit(**_OPTIONS)(function)))


def leaf(function: F) -> F:
    """Compile a small function that kernels call for every value: as `kernel`, but without counting references.

    It must make no array. Counting costs each call 10 to 16 ns an array, though nothing can vanish under a function
    that is called by a kernel which holds the array. numba has no public name for the option.
    """
    return cast(F, _forgiving(numba.njit(**_OPTIONS, **_UNCOUNTED)(function)))
