"""`anomaly-exporter dashboards`: what is committed is what it writes; what it is told is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.dashboards.writing import dashboards, files, write_dashboards
from exporter.errors import AnomalyExporterError

ROOT = Path(__file__).parents[2]


def variable(dashboard: dict, name: str) -> dict:
    (found,) = [one for one in dashboard["templating"]["list"] if one["name"] == name]
    return found


def explain_link(exporter_url: str) -> str:
    series = dashboards("", exporter_url)[1]
    (link,) = [one for one in series["links"] if one["title"] == "Explain"]
    return link["url"]


def test_what_is_committed_is_what_the_command_writes() -> None:
    committed = {path.name: path.read_text() for path in (ROOT / "grafana").glob("*.json")}
    assert committed == files(), "run: anomaly-exporter dashboards --output grafana"


def test_it_writes_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("one", "two"):
        assert main(["dashboards", "--output", str(tmp_path / folder)]) == 0
    said = capsys.readouterr().out.split()
    assert len(said) == 8
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert json.loads(path.read_text())["uid"] == path.stem


def test_dashboards_share_nothing_that_one_could_change() -> None:
    first, second = dashboards()[0], dashboards()[0]
    first["panels"][0]["datasource"]["uid"] = "other"
    first["templating"]["list"][1]["current"]["text"] = "other"
    assert second == dashboards()[0]


def test_the_data_source_is_chosen_at_first() -> None:
    for one in dashboards("Mimir (prod)"):
        assert variable(one, "datasource")["current"]["value"] == "Mimir (prod)"
    for one in dashboards():
        assert variable(one, "datasource")["current"] == {}


def test_without_an_address_the_exporter_is_where_prometheus_scrapes_it() -> None:
    assert explain_link("").startswith("http://${exporter}/explain?query=")
    assert variable(dashboards()[1], "exporter")["hide"] == 2


def test_with_an_address_links_lead_there(tmp_path: Path) -> None:
    write_dashboards(str(tmp_path), "", "https://ops.example.org/anomaly/", lambda line: None)
    series = (tmp_path / "anomaly-series.json").read_text()
    assert '"url": "https://ops.example.org/anomaly/explain?query=' in series
    assert "${exporter}" not in series


@pytest.mark.parametrize(
    "url",
    ["ops.example.org", "ftp://ops", "https://", "javascript:alert(1)", "http://user:secret@ops", "http://ops:x",
     "http://ops:99999", "http://ops/?a=b", "http://ops/#x", 'http://ops/"><script>', "http://${x}", "http://o ps",
     "http://[::1", "http://ops/\n"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dashboards", "--output", str(tmp_path / "new"), f"--exporter={url}"]) == 1
    told = capsys.readouterr().err
    assert "--exporter is not an address to link to: http:// or https://" in told
    assert "secret" not in told
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["$x", "a" * 201, 'a"b', "a\nb", "\x1b[31m"])
def test_a_data_source_that_can_be_none_is_refused(name: str) -> None:
    with pytest.raises(AnomalyExporterError, match="--datasource is not the name or uid of a data source"):
        write_dashboards("unused", name, "", lambda line: None)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "--output", str(tmp_path / "file")]) == 1
    assert "name a folder with --output" in capsys.readouterr().err
