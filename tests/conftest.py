"""Fixtures shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

# tests/support and tests/naive are imported by name from anywhere in the suite.
sys.path.insert(0, str(Path(__file__).parent))
