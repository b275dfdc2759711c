"""A real Prometheus for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.shop import RunningPrometheus, running_prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("shop")) as server:
        yield server
