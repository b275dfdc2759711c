"""The command as a whole on small made sets: what it prints, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.quality.__main__ import main
from bench.quality.measures import METRICS
from bench.quality.replaying import DETECTORS, OURS
from bench.quality.report import Measured, as_list, markdown, nab_tables, table, tables, text, write_markdown


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two series of four days at 5 minutes with one gross spike each, as a set with NAB's windows."""
    folder = tmp_path_factory.mktemp("data") / "made"
    folder.mkdir()
    rows, rng = 4 * 288, np.random.default_rng(1)
    time_s = 1_700_006_400 + np.arange(rows) * 300
    value = 50 + 10 * np.sin(np.arange(rows) * 2 * np.pi / 288) + rng.normal(size=(2, rows))
    value[:, 1000] += 60
    label = np.tile((np.arange(rows) >= 998) & (np.arange(rows) < 1010), 2).astype(np.int8)
    names = np.repeat(["a", "b"], rows)
    columns = {"series": names, "ts": np.tile(time_s, 2), "value": value.ravel(), "label": label}
    pq.write_table(pa.table(columns), folder / "data.parquet")
    window = [int(time_s[998]), int(time_s[1009])]
    (folder / "windows.json").write_text(json.dumps({"a": [window], "b": [window]}))
    return folder.parent


def test_the_command_measures_our_models_and_the_baselines(data, tmp_path, capsys):
    out = tmp_path / "out.json"
    models = ["robust_band", "robust_band_5m", "zscore", "random"]
    assert main(["--data", str(data), "--models", *models, "--out", str(out), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "made: 2 of 2 series" in printed.err
    assert "published: ARTime" in printed.out
    found = json.loads(out.read_text())
    assert {entry["model"] for entry in found} == set(models)
    assert {entry["metric"] for entry in found} == set(METRICS) - {"f1_train_threshold"}
    value = {(entry["model"], entry["metric"]): entry["value"] for entry in found}
    assert value["robust_band", "detected_default"] == 1.0
    assert value["robust_band", "false_alerts_week_default"] < 1
    assert value["robust_band", "nab_onset_standard_default"] > 80
    # Columns of 5 minutes are the default: on samples every 5 minutes both are one.
    assert all(value["robust_band", name] == value["robust_band_5m", name] for _, name in value)


def test_data_that_is_not_there_is_said(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_unknown_model_is_refused_with_the_known_ones(data, capsys):
    with pytest.raises(SystemExit):
        main(["--data", str(data), "--models", "prophet"])
    assert "grafana_robust" in capsys.readouterr().err


def test_all_rows_of_the_issue_are_there():
    wanted = {"zscore", "mad", "rolling_quantile", "holt_winters", "shesd_classic"}
    wanted |= {"grafana_adaptive", "grafana_robust", "random"}
    assert set(DETECTORS) == set(OURS) | wanted
    assert {"robust_band", "shesd"} <= set(OURS)


def measured(model, **values):
    return Measured("made", model, values)


def test_tables_show_only_measures_that_are_there():
    results = [measured("one", detected_default=0.5, false_alerts_week_default=1.234), measured("two", vus_pr=0.1)]
    assert table(results) == [
        ["", "detected", "false/week", "VUS-PR"],
        ["one", "0.500", "1.23", ""],
        ["two", "", "", "0.100"],
    ]
    assert nab_tables(results) == []
    assert text([["", "x"], ["long name", "1.0"]]) == "             x\nlong name  1.0"
    assert markdown([["", "x"], ["a", "1"]]) == "|  | x |\n| --- | ---: |\n| a | 1 |"


def test_published_results_stand_beside_ours():
    assert [title for title, _ in tables("made", [measured("one", vus_pr=0.1)])] == ["made"]
    (_, ours), (_, published) = tables("kpi2018", [measured("one", f1_optimum=0.1)])
    assert ours == [["", "F1 best"], ["one", "0.100"]]
    assert published[1] == ["FluxEV (Li et al., WSDM 2021)", "0.790"]
    (onset, _), (row, rows) = nab_tables([measured("one", nab_onset_standard_default=1, nab_row_lowfp_optimum=2)])
    assert "one alert per episode" in onset
    assert "every row" in row
    assert rows[:3] == [["", "lowfp optimum"], ["one", "2.0"], ["published: ARTime", "65.1"]]


def test_the_list_holds_the_named_metrics_in_their_order():
    results = [measured("one", vus_pr=0.1, f1_default=0.2, nab_row_lowfp_default=3.0)]
    assert as_list(results) == [
        {"set": "made", "model": "one", "metric": "f1_default", "value": 0.2},
        {"set": "made", "model": "one", "metric": "vus_pr", "value": 0.1},
    ]


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    begin, end = "<!-- quality: written by python -m bench.quality -->", "<!-- quality: end -->"
    page.write_text(f"before\n\n{begin}\nold\n{end}\nafter\n")
    for remark in ("first", "second"):
        write_markdown(page, [measured("one", vus_pr=0.1)], remark)
    assert page.read_text() == (
        f"before\n\n{begin}\n\nsecond\n\n### made\n\n|  | VUS-PR |\n| --- | ---: |\n| one | 0.100 |\n\n{end}\nafter\n"
    )
