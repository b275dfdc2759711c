"""Each dashboard drawn by Grafana's own panel components. Opt-in: npm installs 620 MB for it, once."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.drawing import build, draw
from support.grafana import Json
from support.pictures import draw_all, faults, picture_name
from support.png import read_rgb, shrink
from support.shop import wait_until
from support.stage import Stage, opened_stage

from exporter.dashboards.dashboard import dashboard
from exporter.dashboards.panels import fixed, target, timeseries
from exporter.dashboards.variables import datasource
from exporter.dashboards.writing import dashboards

ROOT = Path(__file__).parents[2]
drawn = pytest.mark.skipif(
    os.environ.get("DRAW_DASHBOARDS") != "1", reason="set DRAW_DASHBOARDS=1 (needs npm, which installs 620 MB)"
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    build()
    with opened_stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.mark.parametrize("uid", [one["uid"] for one in dashboards()])
def test_the_picture_in_the_documentation_is_small(uid: str) -> None:
    picture = (ROOT / "docs/img" / picture_name(uid)).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 250_000


@drawn
def test_all_panels_are_drawn_with_data(stage: Stage, tmp_path: Path) -> None:
    # a chart ends up to one of its steps ago, and this one begins with the first live cycle
    wait_until(lambda: stage.ask("anomaly_min_detectable_ratio offset 1m"), "a minute has passed")
    for one, report in zip(dashboards(), draw_all(stage, tmp_path, tmp_path).values(), strict=True):
        assert faults(report) == []
        assert report["canvases"] == sum(panel["type"] == "timeseries" for panel in one["panels"])
        shades = len(np.unique(read_indexed_rows(tmp_path / picture_name(one["uid"]))))
        assert shades > 100, "an empty page has a few"


@drawn
def test_rows_of_tables_have_a_number_in_each_column(stage: Stage, tmp_path: Path) -> None:
    """Queries of a table become one row where their labels agree; the names of the metrics would keep them apart."""
    for one in dashboards():
        tables = [panel for panel in one["panels"] if panel["type"] == "table" and "repeat" not in panel]
        now, ready = time.time(), {**one, "panels": tables}
        if tables:
            report = draw(ready, {}, stage.url, (now - 3600, now), tmp_path / "tables.png", tmp_path)
            cells = [panel["cells"] for panel in report["panels"]]
            filled = [{count for name, count in each.items() if name.startswith("Value #")} for each in cells]
            assert all(len(counts) == 1 and 0 not in counts for counts in filled), cells


@drawn
def test_no_line_crosses_a_gap(stage: Stage, tmp_path: Path) -> None:
    """Prometheus leaves out steps without a value; a drawing that does not put them back joins the ends."""
    now = time.time()
    outside = f"vector(1) and on () (vector(time()) < {now - 2400:.0f} or vector(time()) > {now - 1200:.0f})"
    picture = tmp_path / "gap.png"
    report = draw(one_line(outside), {}, stage.url, (now - 3600, now), picture, tmp_path)
    assert faults(report) == []
    pixels = read_rgb(picture).astype(int)
    red = (pixels[:, :, 0] > 180) & (pixels[:, :, 1] < 110) & (pixels[:, :, 2] < 130)
    columns = np.flatnonzero(red[: pixels.shape[0] * 2 // 3].any(axis=0))  # the legend below is red, too
    width = pixels.shape[1]
    assert columns.min() < 0.2 * width
    assert columns.max() > 0.9 * width
    assert np.diff(columns).max() > 0.25 * width


@drawn
def test_a_fault_is_told(stage: Stage, tmp_path: Path) -> None:
    now = time.time()
    for wrong in ("vector(", "no_such_metric"):
        report = draw(one_line(wrong), {}, stage.url, (now - 60, now), tmp_path / "wrong.png", tmp_path)
        assert len(faults(report)) == 1


def one_line(expr: str) -> Json:
    panel = timeseries("Line", "A line.", [target(expr, "line")], unit="none", color=fixed("red"))
    return dashboard("line", "Line", "A line.", [datasource()], [(10, [(24, panel)])])


def test_a_shrunk_picture_keeps_its_few_colours(tmp_path: Path) -> None:
    raw = np.zeros((3, 5, 3), np.uint8)
    raw[1] = (200, 10, 30)
    raw[2, 1:] = (1, 2, 3)
    path = tmp_path / "few.png"
    write_rgb(path, raw)
    assert np.array_equal(read_rgb(path), raw)
    shrink(path)
    rows = read_indexed_rows(path)
    assert rows.shape == (3, 5)
    assert len(np.unique(rows)) == 3
    assert (rows[1] == rows[1, 0]).all()


def write_rgb(path: Path, pixels: np.ndarray) -> None:
    """A PNG whose rows use all filters in turn."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).astype(int)
    out = []
    for y in range(height):
        up = rows[y - 1] if y else np.zeros_like(rows[y])
        left = np.concatenate([np.zeros(3, int), rows[y][:-3]])
        guess = (np.zeros_like(up), left, up, (left + up) // 2)[(y + 1) % 4]
        out.append(bytes([(y + 1) % 4]) + ((rows[y] - guess) % 256).astype(np.uint8).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(out))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def read_indexed_rows(path: Path) -> np.ndarray:
    """The palette's numbers of a picture that was shrunk."""
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(content[at + 4 : at + 4 + length]), np.uint8)
    return rows.reshape(height, width + 1)[:, 1:]
