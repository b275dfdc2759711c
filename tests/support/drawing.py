"""Pictures of dashboards: a page with Grafana's panel components, served with the dashboard and a way to Prometheus.

The page is made from tests/dashboards/render by npm (`make`, see docs/dashboards.md); nothing here installs it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support.browser import chromium
from support.grafana import Choice, Json, prepared
from support.servers import listening

RENDER = Path(__file__).parents[1] / "dashboards" / "render"
WIDTH = 1400
_KINDS = {"js": "text/javascript", "css": "text/css", "html": "text/html; charset=utf-8"}
_LOADS_MS = 40_000


def build() -> None:
    """Install what is missing and make the page; npm takes a minute or two and 620 MB the first time."""
    npm = shutil.which("npm")
    assert npm, "npm is needed to draw dashboards: install Node.js 20 or later"
    if not (RENDER / "node_modules").is_dir():
        subprocess.run([npm, "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=RENDER, check=True)
    subprocess.run([npm, "run", "--silent", "build"], cwd=RENDER, check=True)


def draw(
    dashboard: Json, choice: Choice, prometheus: str, span_s: tuple[float, float], picture: Path, folder: Path
) -> Json:
    """Draw a dashboard over a time range; the page's report: its height, and the errors and series of each panel."""
    with _serving(prepared(dashboard, choice), prometheus) as url:
        address = f"{url}/?from={span_s[0]:.0f}&to={span_s[1]:.0f}&width={WIDTH}"
        document = _chromium(folder, 1000, "--dump-dom", address)
        match = re.search(r'<script type="application/json" id="report">(.*?)</script>', document, re.DOTALL)
        assert match, document[-2000:]
        report: Json = json.loads(match[1])
        _chromium(folder, report["height"], f"--screenshot={picture}", address)
    return report


def _chromium(folder: Path, height: int, *words: str) -> str:
    command = [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder}/chromium", "--hide-scrollbars", f"--window-size={WIDTH},{height}"]
    command += [f"--virtual-time-budget={_LOADS_MS}", *words]
    done = subprocess.run(command, capture_output=True, timeout=180, check=True)
    return done.stdout.decode("utf-8", "replace")


@contextmanager
def _serving(dashboard: Json, prometheus: str) -> Iterator[str]:
    """The page, the dashboard, and Prometheus behind /prometheus: one origin, as a browser wants it."""
    with listening(_handler(json.dumps(dashboard).encode(), prometheus)) as port:
        yield f"http://127.0.0.1:{port}"


def _handler(dashboard: bytes, prometheus: str) -> type[BaseHTTPRequestHandler]:
    pages = {"/": RENDER / "page.html", "/page.js": RENDER / "build/page.js", "/page.css": RENDER / "build/page.css"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/dashboard.json":
                self._send(200, "application/json", dashboard)
            elif path in pages:
                self._send(200, _KINDS[pages[path].suffix[1:]], pages[path].read_bytes())
            else:
                self._send(404, "text/plain", b"")

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(*_asked(prometheus + self.path.removeprefix("/prometheus"), form))

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def _asked(url: str, form: bytes) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(url, form, timeout=60) as answer:  # noqa: S310  # the test's own Prometheus
            return answer.status, "application/json", answer.read()
    except urllib.error.HTTPError as error:
        return error.code, "application/json", error.read()
