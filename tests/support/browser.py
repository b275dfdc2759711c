"""Chromium without a window: what a page becomes there, and how wide."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.servers import answering

# Appended to a page that is served without its policy: says what a script can see.
MEASURE = (
    "<script>addEventListener('load',()=>{const d=document.documentElement;"
    "parent.postMessage(d.scrollWidth+' '+innerWidth+' '+document.title,'*')})</script>"
)
# A window can't be as narrow as a phone, but a frame can.
FRAME = (
    '<!doctype html><body><iframe width="{width}" height="900" style="border:0" src="/page"></iframe>'
    "<script>addEventListener('message',e=>{{document.body.textContent='MEASURED '+e.data}})</script></body>"
)


def chromium() -> str:
    """The browser, or a failed test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("chromium is needed: apt-get install chromium")
    return found


def dom(url: str, folder: Path, *, width: int = 360, flags: tuple[str, ...] = ()) -> str:
    """The document after its scripts have run, as HTML."""
    return _dumped(url, folder, width, flags)[0]


def dom_and_refusals(url: str, folder: Path) -> tuple[str, list[str]]:
    """The same, and what the browser refused because of the page's policy (of its console)."""
    shown, said = _dumped(url, folder, 360, ("--enable-logging=stderr", "--v=0"))
    return shown, [line for line in said.splitlines() if "Content Security Policy" in line]


def _dumped(url: str, folder: Path, width: int, flags: tuple[str, ...]) -> tuple[str, str]:
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/chromium"]
    command += [f"--window-size={width},900", "--virtual-time-budget=5000", *flags, "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def measured(html: str, folder: Path, *, width: int = 360) -> tuple[int, int, str]:
    """Width of a page's content, width of the view, and its title, after all scripts that it may hold have run."""
    framed = {"/page": (html.replace("</body>", f"{MEASURE}</body>"), {}), "/": (FRAME.format(width=width), {})}
    with serving(framed) as url:
        match = re.search(r"MEASURED (\d+) (\d+) (.*?)</body>", dom(f"{url}/", folder, width=width), re.DOTALL)
    assert match is not None
    return int(match[1]), int(match[2]), match[3].strip()


@contextmanager
def serving(pages: Mapping[str, tuple[str, Mapping[str, str]]]) -> Iterator[str]:
    """Serve pages (path -> HTML and headers) on a loopback port; gives the address."""

    def answer(path: str) -> tuple[int, Mapping[str, str], bytes]:
        html, headers = pages.get(path, ("", {}))
        return 200 if html else 404, {"Content-Type": "text/html; charset=utf-8", **headers}, html.encode()

    with answering(answer) as port:
        yield f"http://127.0.0.1:{port}"
