"""Results as OpenMetrics: families and series together and in the order of time, whatever the order of slices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.backtest.faults import BacktestError
from exporter.backtest.files import replacing
from exporter.backtest.writing import OpenMetricsFile
from exporter.config.schema import Query
from exporter.names import FAMILIES, VMANOMALY_FAMILIES
from exporter.past import Slice
from exporter.verdict import Bands

HOSTILE = {"a": 'x"y\\z\n', "model": "theirs", "query": "own", "bad-name": "v"}


def past(*labels: dict[str, str]) -> SimpleNamespace:
    return SimpleNamespace(labels=lambda row: labels[row], series=len(labels))


def slice_of(first: int, count: int, rows: int, gap: bool = False) -> Slice:
    values = (np.arange(rows)[:, None] + 1) * 1000.0 + np.arange(first, first + count)
    if gap:
        values[0, 1] = np.nan
    bands = Bands(values / 7, values, values - 1, np.full(values.shape, np.nan))
    return Slice(np.arange(first, first + count) * 60_000, values, {"shesd": bands}, {"stale": values / 3})


def parsed(path) -> dict[str, dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]]:
    """What the reference parser reads, which is strict about order."""
    found: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            series = found.setdefault(sample.name, {}).setdefault(tuple(sorted(sample.labels.items())), [])
            series.append((int(sample.timestamp.sec), sample.value))
    return found


def test_slices_become_series(tmp_path):
    path = tmp_path / "out.om"
    file = OpenMetricsFile(str(path), FAMILIES)
    sink = file.sink(Query("load", "load"), "team", vmanomaly=False)
    sink(past(HOSTILE), slice_of(100, 3, 1, gap=True))
    sink(past(HOSTILE, {"b": "2"}), slice_of(103, 2, 2))
    assert not path.exists()
    file.finish()
    file.close()
    found = parsed(path)
    assert sorted(found) == [
        "anomaly_expected",
        "anomaly_lower",
        "anomaly_score",
        "anomaly_stale_score",
        "anomaly_value",
    ]
    theirs = {"a": 'x"y\\z\n', "exported_model": "theirs", "exported_query": "own", "bad_name": "v", "query": "load",
              "tenant": "team"}  # fmt: skip
    key = tuple(sorted((theirs | {"model": "shesd"}).items()))
    assert found["anomaly_value"][key] == [(t * 60, 1000.0 + t) for t in (100, 102, 103, 104)]
    assert found["anomaly_score"][key] == [(t * 60, (1000.0 + t) / 7) for t in (100, 102, 103, 104)]
    assert [t for t, _ in found["anomaly_stale_score"][tuple(sorted(theirs.items()))]] == [6000, 6120, 6180, 6240]
    assert len(found["anomaly_value"]) == 2
    assert file.samples == 4 * 4 + 4 * 2 + 4 + 2
    assert [each.name for each in tmp_path.iterdir()] == ["out.om"]


def test_names_of_vmanomaly_and_what_is_published(tmp_path):
    file = OpenMetricsFile(str(tmp_path / "out.om"), VMANOMALY_FAMILIES)
    file.sink(Query("load", "load", publish="score"), "", vmanomaly=True)(past({"b": "2"}), slice_of(1, 2, 1))
    file.finish()
    assert set(parsed(tmp_path / "out.om")) == {"anomaly_score", "anomaly_stale_score"}
    assert 'anomaly_score{b="2",for="load",model="shesd"} ' in (tmp_path / "out.om").read_text()


def test_a_file_that_is_not_finished_is_not_there(tmp_path):
    (tmp_path / "out.om").write_text("old")
    file = OpenMetricsFile(str(tmp_path / "out.om"), FAMILIES)
    file.sink(Query("load", "load"), "", vmanomaly=False)(past({"b": "2"}), slice_of(1, 2, 1))
    file.close()
    assert (tmp_path / "out.om").read_text() == "old"
    with pytest.raises(TypeError), replacing(tmp_path / "out.om") as out:
        out.writelines([b"new", None])
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.om", "old")]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BacktestError, match="can't write there: no such file"):
        OpenMetricsFile(str(tmp_path / "none" / "out.om"), FAMILIES)
    with pytest.raises(BacktestError, match="can't be written: no such file"), replacing(tmp_path / "none" / "x"):
        pass
