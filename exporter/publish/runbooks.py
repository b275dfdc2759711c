"""The runbooks, a page per alert, served where the alerts point to: they must be at hand when nothing else is."""

from __future__ import annotations

from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

import exporter
from exporter.names import PAGE_RUNBOOKS
from exporter.publish.style import document, section


def runbooks_dir() -> Path:
    """The directory of the runbooks: in the installed package, or beside it (a checkout)."""
    package = Path(exporter.__file__).parent
    shipped = package / "shipped" / "runbooks"
    return shipped if shipped.is_dir() else package.parent / "docs" / "runbooks"


def runbook_names() -> list[str]:
    """The alerts that have a runbook, in order."""
    return sorted(path.stem for path in runbooks_dir().glob("*.md"))


def runbooks_html() -> str:
    """The list of all runbooks."""
    entries = "".join(
        f'<li><a href="{PAGE_RUNBOOKS}/{escape(name)}">{escape(name)}</a></li>' for name in runbook_names()
    )
    return document("Runbooks - anomaly-exporter", _head("Runbooks"), section("Alerts", f"<ul>{entries}</ul>"), _foot())


def runbook_html(name: str) -> str | None:
    """The runbook of an alert; None when there is none of this name."""
    if name not in runbook_names():  # so the name is no path to anywhere else
        return None
    text = (runbooks_dir() / f"{name}.md").read_text("utf-8")
    _, _, rest = text.partition("\n")  # the title stands in the head
    made = MarkdownIt("commonmark", {"html": False}).render(rest)
    return document(f"{name} - anomaly-exporter", _head(name), f'<article class="text">{made}</article>', _foot())


def _head(title: str) -> str:
    return f'<h1>{escape(title)}</h1><nav><a href="/">Overview</a><a href="{PAGE_RUNBOOKS}">Runbooks</a></nav>'


def _foot() -> str:
    return f"anomaly-exporter {escape(exporter.__version__)}"
