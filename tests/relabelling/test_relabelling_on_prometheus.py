"""The same rules on the same labels, by a real Prometheus and here: equal to the last label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from support.servers import PAGE_TYPE, ask, listening, prometheus_in, wait_until

from exporter.publish.label_text import label_text
from exporter.relabelling.engine import Relabeller
from exporter.relabelling.pattern import Pattern, PatternError
from exporter.relabelling.rule import Rule

Case = tuple[tuple[Rule, ...], dict[str, str]]

POD = {"pod": "api-7d9f-x2k", "namespace": "shop", "Zone": "EU-west", "a": "1", "b": "1"}
TABLE: list[Case] = [
    ((), POD),
    ((Rule(target_label="env", replacement="prod"),), POD),
    ((Rule(source_labels=("pod",), regex="(.*)-[a-z0-9]+-[a-z0-9]+", target_label="workload"),), POD),
    ((Rule(source_labels=("pod",), regex="(?P<what>[^-]*)-.*", target_label="w", replacement="${what}_$what"),), POD),
    ((Rule(source_labels=("pod",), regex="(.*)-(.*)-(.*)", target_label="w", replacement="$3/$1x/${1}x/$9$$$"),), POD),
    ((Rule(source_labels=("namespace", "pod"), regex="shop;api.*", target_label="hit", replacement="yes"),), POD),
    ((Rule(source_labels=("namespace", "pod"), separator="/", target_label="path"),), POD),
    ((Rule(source_labels=("namespace", "missing", "pod"), separator="", target_label="path"),), POD),
    ((Rule(source_labels=("pod",), regex="api", target_label="unanchored", replacement="no"),), POD),
    ((Rule(source_labels=("pod",), regex="api|x.*", target_label="namespace", replacement=""),), POD),
    ((Rule(source_labels=("pod",), regex="api.*", target_label="namespace", replacement=""),), POD),
    ((Rule(source_labels=("pod",), regex="(api).*", target_label="${1}_pod"),), POD),
    ((Rule(source_labels=("pod",), regex="api-(7.*)", target_label="$1"),), POD),
    ((Rule(source_labels=("missing",), target_label="pod"),), POD),
    ((Rule(source_labels=("missing",), target_label="pod", replacement="x"),), POD),
    ((Rule(source_labels=("missing",), regex="", target_label="pod", replacement="empty"),), POD),
    ((Rule(source_labels=("a",), regex="1)|(2", target_label="odd", replacement="[$1$2]"),), POD),
    ((Rule("keep", source_labels=("namespace",), regex="shop"),), POD),
    ((Rule("keep", source_labels=("namespace",), regex="sho"),), POD),
    ((Rule("drop", source_labels=("namespace",), regex="s.*"),), POD),
    ((Rule("drop", source_labels=("missing",), regex=".+"),), POD),
    ((Rule("keepequal", source_labels=("a",), target_label="b"),), POD),
    ((Rule("keepequal", source_labels=("a",), target_label="pod"),), POD),
    ((Rule("dropequal", source_labels=("a",), target_label="b"),), POD),
    ((Rule("dropequal", source_labels=("missing",), target_label="absent"),), POD),
    ((Rule("hashmod", source_labels=("pod",), modulus=7, target_label="shard"),), POD),
    ((Rule("hashmod", source_labels=("pod", "namespace"), modulus=2**64 - 1, target_label="shard"),), POD),
    ((Rule("hashmod", source_labels=(), modulus=1000, target_label="shard"),), POD),
    ((Rule("labelmap", regex="(p)o(d)", replacement="${2}_$1"),), POD),
    ((Rule("labelmap", regex="a|b", replacement="same"),), POD),
    ((Rule("labelmap", regex="b", replacement="a"), Rule("labeldrop", regex="b")), POD),
    ((Rule("labeldrop", regex="pod|Zo.*|sho"),), POD),
    ((Rule("labelkeep", regex="pod|__name__"),), POD),
    ((Rule("lowercase", source_labels=("Zone",), target_label="zone"),), POD),
    ((Rule("uppercase", source_labels=("Zone",), target_label="Zone"),), POD),
    ((Rule("uppercase", source_labels=("s",), target_label="t"),), {"s": "ßŉᾳǰéжǆ ﬁ"}),
    ((Rule("lowercase", source_labels=("s",), target_label="t"),), {"s": "İΑΣ ẞǅЖÉ"}),
    ((Rule("lowercase", source_labels=("missing",), target_label="a"),), POD),
    ((Rule(source_labels=("__name__",), target_label="metric"),), POD),
    ((Rule(source_labels=("s",), regex='(.)(")(.*)', target_label="t", replacement="$3$2$1"),), {"s": 'ü"\\back'}),
    ((Rule(source_labels=("s",), regex="(?i)ÉCO(.+?)(\\d*)", target_label="t", replacement="$2|$1"),), {"s": "Écol12"}),
]  # fmt: skip

NAMES = ("a", "b", "c", "ab", "A_1", "zone_a")
_atoms = st.sampled_from(
    [
        "a",
        "b",
        "1",
        ".",
        "[ab]",
        "(a|b)",
        "(.*)",
        "(.+?)",
        "([^;]*)",
        r"\d",
        r"(\w+)",
        "é",
        "(?i:A)",
        "-",
        "(?:)",
        r"\b",
        ";",
    ]
)
_regexes = st.lists(
    st.tuples(_atoms, st.sampled_from(["", "", "", "*", "+", "?", "*?", "{1,2}", "|"])), max_size=4
).map(lambda parts: "".join(atom + more for atom, more in parts))
_regexes |= st.sampled_from(["(?P<n>.*?)(b?)", "(?P<n>a)|(?P<m>.*)", "(.*)", ""])
_values = st.text('ab1-é Aßж.;$\\"', max_size=6)
_templates = st.lists(
    st.sampled_from(["$1", "${1}", "$2", "${n}", "$n", "x", "$1x", "$$", "-", "$", "${", "${9}", "é", "${01}", "$0"]),
    max_size=3,
).map("".join)
_sources = st.lists(st.sampled_from((*NAMES, "missing")), max_size=3).map(tuple)
_targets = st.sampled_from((*NAMES, "t", "$1", "t_$1", "${n}_"))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """A rule that Prometheus takes."""
    action = draw(st.sampled_from(["replace"] * 4 + ["keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap",
                                   "labeldrop", "labelkeep", "lowercase", "uppercase"]))  # fmt: skip
    sources, name = draw(_sources), draw(st.sampled_from(NAMES))
    if action == "replace":
        return Rule(
            "replace",
            sources,
            draw(st.sampled_from([";", "", "-"])),
            draw(_regexes),
            0,
            draw(_targets),
            draw(_templates),
        )
    if action in ("keep", "drop"):
        return Rule(action, sources, regex=draw(_regexes))
    if action == "hashmod":
        return Rule(action, sources, modulus=draw(st.integers(1, 2**64 - 1)), target_label=name)
    if action == "labelmap":
        regex = draw(st.sampled_from(["(.)(.*)", "a(.*)", "[ab]", "(zone)_(.)", "c?"]))
        return Rule(action, regex=regex, replacement=draw(st.sampled_from(["m_$1", "${1}_x", "same", "b", "a$2"])))
    if action in ("labeldrop", "labelkeep"):
        return Rule(action, regex=draw(st.sampled_from(["a.*", "[^_].*", "b|c", "A_1|a", ".+_.+"])))
    return Rule(action, sources, target_label=name)


def made_cases(count: int) -> list[Case]:
    """Cases made by hypothesis, the same ones each time."""
    found: list[Case] = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(rules(), min_size=1, max_size=4), st.dictionaries(st.sampled_from(NAMES), _values))
    def collect(drawn: list[Rule], labels: dict[str, str]) -> None:
        try:
            [Pattern(rule.regex) for rule in drawn]
        except PatternError:
            assume(condition=False)
        found.append((tuple(drawn), labels))

    collect()
    return found


CASES = [*TABLE, *made_cases(250)]


def of_prometheus(rule: Rule) -> dict[str, Any]:
    """A rule as Prometheus' config has it."""
    usual = asdict(Rule())
    return {key: value for key, value in asdict(rule).items() if value != usual[key]}


class Pages(BaseHTTPRequestHandler):
    """The target of every case: a page with one series."""

    def do_GET(self) -> None:
        _, labels = CASES[int(self.path.removeprefix("/"))]
        body = f"probe{label_text(labels.items()).decode()} 1\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", PAGE_TYPE)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _job(number: int, address: str) -> dict[str, Any]:
    """The rules of a case, and two more by which its result is found, whatever they have done."""
    chosen, _ = CASES[number]
    found_by = (
        Rule(target_label="zz_case", replacement=str(number)),
        Rule(target_label="__name__", replacement="probe"),
    )
    return {
        "job_name": f"case{number}",
        "metrics_path": f"/{number}",
        "static_configs": [{"targets": [address]}],
        "metric_relabel_configs": [of_prometheus(rule) for rule in (*chosen, *found_by)],
    }


@pytest.fixture(scope="module")
def relabelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[int, dict[str, str]], str]]:
    """What a real Prometheus has made of each case that it has not dropped, and the address of the target."""
    with listening(Pages) as port:
        address = f"127.0.0.1:{port}"
        jobs = [_job(number, address) for number in range(len(CASES))]
        config = {"global": {"scrape_interval": "4s", "scrape_timeout": "4s"}, "scrape_configs": jobs}
        with prometheus_in(tmp_path_factory.mktemp("prometheus"), config) as url:
            wait_until(lambda: _scraped(url) == len(CASES), "every case is scraped")
            series = requests.get(f"{url}/api/v1/series", params={"match[]": '{zz_case!=""}'}, timeout=60).json()[
                "data"
            ]
            yield {int(labels.pop("zz_case")): labels for labels in series}, address


def _scraped(url: str) -> int:
    found = ask(url, "count(up == 1)")
    return int(found[0]["value"][1]) if found else 0


def test_every_case_has_the_labels_that_prometheus_gives_it(
    relabelled: tuple[dict[int, dict[str, str]], str],
) -> None:
    theirs, address = relabelled
    wrong = []
    for number, (chosen, labels) in enumerate(CASES):
        given_labels = {**labels, "__name__": "probe", "job": f"case{number}", "instance": address}
        ours = Relabeller(chosen).apply(given_labels)
        ours = None if ours is None else {**ours, "__name__": "probe"}
        if ours != theirs.get(number):
            wrong.append((number, chosen, labels, ours, theirs.get(number)))
    assert not wrong, json.dumps([str(case) for case in wrong[:5]], indent=1, ensure_ascii=False)


def test_the_cases_are_many_and_of_all_kinds() -> None:
    actions = {rule.action for chosen, _ in CASES for rule in chosen}
    assert len(CASES) >= 200
    assert len(actions) == 11
    dropped = sum(Relabeller(chosen).apply({"x": "y", **labels}) is None for chosen, labels in CASES)
    assert len(CASES) / 20 < dropped < len(CASES) / 1.5
