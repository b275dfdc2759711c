"""HTML as a browser takes it apart: what stands there, and that everything that is opened is closed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr", "line", "rect", "circle", "input"}  # closed without an end tag


class Markup(HTMLParser):
    """Tags, attributes, and the text that is shown; fails on markup that does not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", list[str](), list[str]()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data
