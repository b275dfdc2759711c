"""What the tests of the bench share: the verified scorers and the data next to the checkout, where they are there."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SHARED = Path(os.environ.get("ANOMALY_SHARED") or Path(__file__).resolve().parents[3] / "shared")


@pytest.fixture(scope="session")
def verified() -> SimpleNamespace:
    folder = SHARED / "scoring"
    if not (folder / "nab_score.py").is_file():
        pytest.skip(f"no verified scorers in {folder} (ANOMALY_SHARED names the folder that holds scoring/)")
    sys.path.insert(0, str(folder))
    try:
        names = {"nab": "nab_score", "adjust": "point_adjust", "ranking": "ranking"}
        return SimpleNamespace(**{short: importlib.import_module(name) for short, name in names.items()})
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no labelled data in {SHARED / 'data'} (ANOMALY_SHARED names the folder that holds data/)")
    return SHARED / "data"
