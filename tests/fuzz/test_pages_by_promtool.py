"""Pages of hostile labels and any values, as `promtool check metrics` reads them: Prometheus' own parser."""

from __future__ import annotations

import random
import subprocess

import numpy as np
from fuzz.choices import Choices
from fuzz.oracles import exposition

from exporter.publish.label_text import LabelText
from exporter.publish.lines import render_rows

FAMILIES = 400


def family(number: int, rng: random.Random) -> bytes:
    """Heading and lines of a family, its series made of random bytes."""
    labels, picked = exposition.series(Choices(rng.randbytes(300)))
    text = LabelText()
    for row, own in labels.items():
        text.set_row(row, tuple(own.items()))
    name = f"m{number}".encode()
    rows, values = np.array([row for row, _ in picked], np.int64), np.array([x for _, x in picked])
    lines = render_rows(name, text, rows, values, number % 2 * 9)
    return b"# HELP %s What it is.\n# TYPE %s gauge\n%s" % (name, name, lines) if lines else b""


def test_promtool_takes_every_page() -> None:
    rng = random.Random(6)
    page = b"".join(family(number, rng) for number in range(FAMILIES))
    assert page.count(b"\n") > 3 * FAMILIES
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    # 3: it takes the page, but knows better names for labels.
    assert done.returncode in (0, 3), (done.stdout + done.stderr).decode("utf-8", "replace")


def test_promtool_would_have_said_so() -> None:
    page = b'# HELP m x\n# TYPE m gauge\nm{a="b\n"} 1\n'
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
