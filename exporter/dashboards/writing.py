"""`anomaly-exporter dashboards`: the dashboards as files for Grafana's provisioning or its import page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from exporter.dashboards.health import health
from exporter.dashboards.incident import incident
from exporter.dashboards.overview import overview
from exporter.dashboards.panels import Json
from exporter.dashboards.single import single
from exporter.errors import AnomalyExporterError
from exporter.output_files import write_output

_LONGEST_NAME: Final = 200
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f$\"\\]")
_UNFIT_IN_URL: Final = re.compile(r"[^!-~]|[\"'\\<>${}]")


def write_dashboards(output: str, datasource: str, exporter_url: str, say: Callable[[str], None]) -> int:
    """Write a file for each dashboard to the folder ``output``, which is made where it is missing.

    ``datasource``: name or uid of the data source that is chosen at first; ``exporter_url``: where people reach the
    exporter. Both may be empty. Raises AnomalyExporterError for those that can't be used, and a folder that can't be
    written.
    """
    written = files(_checked_name(datasource), _checked_url(exporter_url))
    for name, content in written.items():
        write_output(Path(output) / name, content)
        say(f"{Path(output) / name}")
    return 0


def files(datasource: str = "", exporter_url: str = "") -> Mapping[str, str]:
    """Contents by file name; the same for the same arguments."""
    return {f"{each['uid']}.json": _text(each) for each in dashboards(datasource, exporter_url)}


def dashboards(datasource: str = "", exporter_url: str = "") -> tuple[Json, ...]:
    """All dashboards as data."""
    return overview(datasource), single(datasource, exporter_url), incident(datasource), health(datasource)


def _text(dashboard: Json) -> str:
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _checked_name(name: str) -> str:
    """A name is shown and compared, nothing else; a `$` would be taken for a variable."""
    if len(name) > _LONGEST_NAME or _UNFIT.search(name):
        raise AnomalyExporterError(
            "--datasource is not the name or uid of a data source: up to 200 characters without quotes, $ and controls"
        )
    return name


def _checked_url(url: str) -> str:
    """An address for links, without a slash at its end."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        usable = False
    if not usable or "@" in url or "?" in url or "#" in url or _UNFIT_IN_URL.search(url):
        raise AnomalyExporterError(
            "--exporter is not an address to link to: http:// or https://, host, port and path, no password, no query"
        )
    return url.rstrip("/")
