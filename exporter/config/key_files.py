"""Certificates and keys as OpenSSL's loader wants them: as files, also where they stand in the config itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def as_file(text: str, path: str) -> Iterator[str]:
    """The path, or one to the text: OpenSSL's loader wants one. In memory where the system can, as the disk may be
    read-only."""
    if path:
        yield path
    elif hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # readable by its owner only
            file.write(text)
            file.flush()
            yield file.name


def no_password() -> NoReturn:
    """The password of a private key: there is none. Without this OpenSSL would ask on the terminal, and wait."""
    raise ValueError("the private key is encrypted")


def file_stamp(path: str) -> tuple[int, ...]:
    """What changes when a file is written, replaced or made readable; empty when it is not there."""
    try:
        found = os.stat(path) if path else None  # noqa: PTH116 - one call per request
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino) if found else ()
