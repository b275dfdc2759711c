"""Fixtures and hooks shared by all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# tests/support and tests/naive are imported by name from anywhere in the suite.
sys.path.insert(0, str(Path(__file__).parent))

# A run that leaves a process, a port, a thread or a file behind has failed.
from support.leftovers import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)

# What passed before a change must not fail after it by an example that nobody has met: that is what `search` is for
# (--hypothesis-profile=search). A busy machine is slow, and the first call of a kernel compiles it.
settings.register_profile(
    "search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, derandomize=False
)
settings.register_profile("same", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("same")

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary", "pytest_unconfigure"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two threads for the fits."""
    with ThreadPoolExecutor(2) as made:
        yield made
