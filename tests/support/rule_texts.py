"""Rule files and their unit tests as data, and promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from exporter.config.durations import format_duration, parse_duration_ms

ROOT = Path(__file__).parents[2]
_RANGE = re.compile(r"\[((?:[0-9]+[dhms])+)(:[^\]]*)?\]")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it; what it says is in stdout or stderr."""
    assert shutil.which("promtool"), "promtool is not on PATH: install Debian's package prometheus"
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def rules_of(text: str) -> Iterator[dict[str, Any]]:
    """The rules of all groups of a rule file."""
    for group in yaml.load(text, yaml.CSafeLoader)["groups"]:
        yield from group["rules"]


def texts_of(rule: dict[str, Any]) -> str:
    """All places where a rule has PromQL."""
    return "\n".join([rule["expr"], *rule.get("annotations", {}).values()])


def left_open(text: str) -> str:
    """A rule file with every range a millisecond shorter.

    On a server with closed windows (2.42) that selects exactly what the full range selects on one with left-open
    windows (3.x), because samples lie on whole milliseconds.
    """
    content = yaml.load(text, yaml.CSafeLoader)
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        rule["expr"] = _shorter(rule["expr"])
        for name, words in rule.get("annotations", {}).items():
            if name != "graph":  # what it asks is for people, and compared by letter
                rule["annotations"][name] = _shorter(words)
    return yaml.safe_dump(content)


def _shorter(text: str) -> str:
    return _RANGE.sub(lambda found: f"[{format_duration(_ms(found[1]) - 1)}{found[2] or ''}]", text)


def ranges_ms(text: str) -> set[int]:
    """The lengths of all ranges, offsets and steps in a rule file."""
    found = [each for match in _RANGE.finditer(text) for each in (match[1], (match[2] or "")[1:]) if each]
    return {_ms(each) for each in [*found, *re.findall(r"\boffset (\w+)", text)]}


def input_times_ms(test: dict[str, Any]) -> set[int]:
    """When the input series of a unit test have samples."""
    interval_ms = _ms(test["interval"])
    return {
        index * interval_ms
        for series in test["input_series"]
        for index, present in enumerate(_values(series["values"]))
        if present
    }


def _values(notation: str) -> Iterator[bool]:
    """Whether there is a sample, one by one, of promtool's `_ 1x3 0+60x10 stale _x5`."""
    for word in notation.split():
        times = re.search(r"x(\d+)$", word)
        if word.startswith("_"):
            yield from [False] * (int(times[1]) if times else 1)
        else:
            yield from [True] * (int(times[1]) + 1 if times else 1)


def _ms(text: str) -> int:
    found = parse_duration_ms(text)
    assert found is not None, text
    return found
