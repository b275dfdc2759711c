"""Tenants from files and from a query: what is found, and that nothing is lost by what can't be read."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landlord import Landlord, broken, landlord, well

from exporter.config import Config, Tenant, parse
from exporter.connections import Sessions
from exporter.discovery import FILE, QUERY, Discovery, discovered

SETTLE_S = 1.0  # how old a file must be to be whole
REST = "queries: [{name: load, expr: load}]\n"


class Search:
    """A discovery with files of a folder and a clock of the test's own."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.failed: Counter[str] = Counter()
        self.now_s = 0.0
        self.discovery = Discovery(lambda mechanism: self.failed.update([mechanism]), lambda: self.now_s)
        self.adopt(text)

    def adopt(self, text: str) -> None:
        self.config = parse(text + REST, str(self.folder / "config.yml"), {})
        self.discovery.use(self.config, Sessions(self.config))

    def write(self, name: str, text: str, age_s: int = 100) -> None:
        """A file that was written some time ago; each time another one."""
        path = self.folder / name
        path.write_text(text)
        stamp = path.stat().st_mtime - age_s
        os.utime(path, (stamp, stamp))

    def look(self) -> list[str]:
        return [tenant.id for tenant in self.discovery.look()]


def of_files(*names: str, url: str = "http://127.0.0.1:9", more: str = "") -> str:
    return f"source: {{url: '{url}', timeout: 5s}}\ntenant_discovery: {{files: [{', '.join(names)}]{more}}}\n"


def of_query(url: str, query: str = "{label: user, expr: 'count by (user) (x)', tenant: ops}", more: str = "") -> str:
    return f"source: {{url: '{url}', timeout: 2s}}\ntenant_discovery: {{query: {query}, refresh: 1m{more}}}\n"


@pytest.fixture
def here() -> Iterator[Landlord]:
    with landlord() as server:
        yield server


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    search = Search(tmp_path, of_files("a.yml", "b.json"))
    search.write("a.yml", "[x, y]")
    search.write("b.json", '[{"id": "z", "interval": "5m"}, "y"]')
    assert search.look() == ["x", "y", "z"]
    assert search.look() == ["x", "y", "z"]
    search.write("a.yml", "[w]", 90)
    assert search.look() == ["w", "y", "z"]
    search.write("a.yml", "[]", 80)
    assert search.look() == ["y", "z"]
    assert search.failed == {}
    assert search.discovery.looked


@pytest.mark.parametrize("trouble", ["gone", "empty", "torn", "hostile", "huge", "folder", "binary"])
def test_a_file_that_cant_be_read_leaves_what_was_found(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    search = Search(tmp_path, of_files("a.yml"))
    search.write("a.yml", "[x, y]")
    assert search.look() == ["x", "y"]
    path = tmp_path / "a.yml"
    if trouble in ("gone", "folder"):
        path.unlink()
        if trouble == "folder":
            path.mkdir()
            os.utime(path, (1e9, 1e9))
    else:
        texts = {"empty": "", "torn": "[x, {id: ", "hostile": "- '<script>'\n", "huge": "#" * (5 << 20), "binary": "\0"}
        search.write("a.yml", texts[trouble], 90)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert search.look() == ["x", "y"]
    assert search.failed == {FILE: 3}
    assert len([one for one in caplog.records if "tenants not read, those found before stay" in one.message]) == 1
    assert len(search.discovery.wrong) == 1
    if trouble == "folder":
        path.rmdir()
    search.write("a.yml", "[y]", 80)
    assert search.look() == ["y"]
    assert search.discovery.wrong == []


def test_a_file_that_has_just_been_written_is_left_until_it_is_whole(tmp_path: Path) -> None:
    search = Search(tmp_path, of_files("a.yml"))
    search.write("a.yml", "[x, y]")
    assert search.look() == ["x", "y"]
    found = ["x"]
    while found == ["x"]:
        search.write("a.yml", "[x, y]", 50)
        assert search.look() == ["x", "y"]
        written_s = time.time()
        search.write("a.yml", "[x]", 0)  # now: as by somebody who writes line by line
        found = search.look()
        assert found == ["x", "y"] or time.time() - written_s > SETTLE_S  # a machine that takes that long shows nothing
    search.write("a.yml", "[x, y, z]", 5)
    assert search.look() == ["x", "y", "z"]


def test_no_more_than_a_number_are_taken_those_that_are_known_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = Search(tmp_path, of_files("a.yml", more=", max_tenants: 3"))
    search.write("a.yml", "[m, n, o]")
    assert search.look() == ["m", "n", "o"]
    search.write("a.yml", "[a, b, m, n, o]", 90)
    assert search.look() == ["m", "n", "o"]
    assert search.discovery.left_out == 2
    assert "2 tenants are left out, among them 'a', 'b': at most 3 can be discovered" in caplog.text
    search.write("a.yml", "[a, b, n, o]", 80)
    assert search.look() == ["a", "n", "o"]


def test_tenants_of_the_config_stay_as_they_are(tmp_path: Path) -> None:
    search = Search(tmp_path, "tenants: [{id: x, interval: 5m}]\n" + of_files("a.yml"))
    search.write("a.yml", "[x, y]")
    assert search.look() == ["y"]


def test_who_cant_be_written_to_is_left_out_where_results_are_written_to_each(tmp_path: Path) -> None:
    search = Search(tmp_path, "remote_write: [{url: 'http://h/w', per_tenant: true}]\n" + of_files("a.yml"))
    search.write("a.yml", "[x, 'y|z']")
    assert search.look() == ["x"]
    assert search.discovery.left_out == 1


def test_another_config_looks_elsewhere_and_keeps_what_it_still_looks_at(tmp_path: Path) -> None:
    search = Search(tmp_path, of_files("a.yml", "b.yml"))
    search.write("a.yml", "[x]")
    search.write("b.yml", "[y]")
    assert search.look() == ["x", "y"]
    (tmp_path / "b.yml").unlink()
    search.adopt(of_files("b.yml", "c.yml"))
    search.write("c.yml", "[z]")
    assert search.look() == ["y", "z"]
    search.adopt("source: {url: 'http://127.0.0.1:9'}\n")
    assert search.look() == []
    assert search.discovery.looked


# --- the query --------------------------------------------------------------------------------------------------------


def test_a_query_names_tenants_by_a_label(tmp_path: Path, here: Landlord) -> None:
    here.names = ["b", "a"]
    search = Search(tmp_path, of_query(here.url))
    assert search.look() == ["a", "b"]
    assert here.asked == [("ops", "count by (user) (x)")]
    here.names = ["b", "c"]
    assert search.look() == ["a", "b"]  # not due yet
    search.now_s += 61
    assert search.look() == ["b", "c"]


def test_a_reload_leaves_whoever_is_ready_ready(tmp_path: Path, here: Landlord) -> None:
    here.names = ["a"]
    search = Search(tmp_path, of_query(here.url))
    assert not search.discovery.looked
    assert search.look() == ["a"]
    search.adopt(of_query(here.url, more=", max_tenants: 7"))
    assert search.discovery.looked


def test_null_is_no_name(tmp_path: Path, here: Landlord) -> None:
    here.names = ["a"]
    search = Search(tmp_path, of_query(here.url, "{label: user}"))
    assert search.look() == ["a"]
    here.names = None  # as Go writes an empty list
    search.now_s += 61
    assert search.look() == ["a"]
    assert search.failed == {QUERY: 1}


def test_without_an_expression_all_values_of_the_label_count(tmp_path: Path, here: Landlord) -> None:
    here.names = ["b", "a"]
    search = Search(tmp_path, of_query(here.url, "{label: user}"))
    assert search.look() == ["a", "b"]
    assert here.asked[0][0] == ""


def test_a_query_that_fails_or_answers_with_nothing_leaves_what_was_found(
    tmp_path: Path, here: Landlord, caplog: pytest.LogCaptureFixture
) -> None:
    here.names = ["a", "b"]
    search = Search(tmp_path, of_query(here.url))
    assert search.look() == ["a", "b"]
    here.ways["ops"] = broken
    search.now_s += 61
    assert search.look() == ["a", "b"]
    assert "503" in caplog.text
    here.ways["ops"] = well
    here.names = []
    search.now_s += 61
    assert search.look() == ["a", "b"]
    assert "the query for tenants answers with none, those found before stay" in caplog.text
    assert search.failed == {QUERY: 2}


def test_a_partial_answer_is_none(tmp_path: Path, here: Landlord) -> None:
    here.names = ["a", "b"]
    search = Search(tmp_path, of_query(here.url))
    assert search.look() == ["a", "b"]

    def partly(connection, body: bytes) -> None:
        well(connection, body[:-1] + b',"isPartial":true}')

    here.names, here.ways["ops"] = ["a"], partly
    search.now_s += 61
    assert search.look() == ["a", "b"]
    assert search.failed == {QUERY: 1}


def test_names_that_no_tenant_can_have_are_left_out_and_told_safely(
    tmp_path: Path, here: Landlord, caplog: pytest.LogCaptureFixture
) -> None:
    here.names = ["good", "..", "a/b", "x" * 151, "new\nline", "\u202eevil", "<b>"]
    search = Search(tmp_path, of_query(here.url))
    assert search.look() == ["good"]
    assert search.discovery.left_out == 6
    assert "6 tenants are left out" in caplog.text
    assert "new\nline" not in caplog.text
    assert "\u202e" not in caplog.text


def test_accounts_in_the_path(tmp_path: Path, here: Landlord) -> None:
    here.names = ["7", "1:2", "team-a"]
    search = Search(
        tmp_path, of_query(f"{here.url}/select/{{tenant}}/prometheus", "{label: user, expr: user, tenant: 0}")
    )
    assert search.look() == ["1:2", "7"]
    assert here.asked == [("0", "user")]


def test_commands_look_once(tmp_path: Path, here: Landlord) -> None:
    here.names = ["a"]
    config = parse(of_query(here.url) + REST, str(tmp_path / "f.yml"), {})
    with Sessions(config) as sessions:
        found, wrong = discovered(config, sessions)
    assert (found.tenants, wrong) == ((Tenant("a", discovered=True),), [])
    gone: Config = parse(of_files("none.yml") + REST, str(tmp_path / "f.yml"), {})
    with Sessions(gone) as sessions:
        found, wrong = discovered(gone, sessions)
    assert found.tenants == ()
    assert "none.yml: can't read" in wrong[0]
