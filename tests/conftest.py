"""Fixtures and hooks shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

# tests/support and tests/naive are imported by name from anywhere in the suite.
sys.path.insert(0, str(Path(__file__).parent))

# A run that leaves a process, a port, a thread or a file behind has failed.
from support.leftovers import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary", "pytest_unconfigure"]
