"""Every relative link and image of the documents leads somewhere, and every page is reached from the index."""

from __future__ import annotations

import re
import urllib.parse

import pytest
from support.documents import NAMES, PAGES, ROOT, anchors, blocks, links, page, prose


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_and_images_exist(name: str) -> None:
    missing = []
    for link in links(page(name)):
        target, _, anchor = link.partition("#")
        if urllib.parse.urlsplit(link).scheme:
            continue
        file = (ROOT / name).parent / urllib.parse.unquote(target) if target else ROOT / name
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_other_links_are_addresses_of_the_web(name: str) -> None:
    for link in [*links(page(name)), *re.findall(r"<(\w+:[^>\s]+)>", prose(page(name)))]:
        parts = urllib.parse.urlsplit(link)
        assert parts.scheme in ("", "https"), link
        assert not parts.scheme or "." in parts.netloc, link


def test_links_are_found() -> None:
    text = "[a](b.md#c) ![d](e.png) `[no](f)` <https://g.h>\n\n```\n[no](i)\n```\n\n    [no](j)\n"
    assert links(text) == ["b.md#c", "e.png"]
    assert [block.text for block in blocks(text)] == ["[no](i)\n", "[no](j)\n"]
    assert anchors("# `A` b, c!\n## Past: `--x`\n## d\n## d\n") == {"a-b-c", "past---x", "d", "d-1"}


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_the_index_leads_to_every_page_of_docs(index: str) -> None:
    here = (ROOT / index).parent
    reached = {(here / link.partition("#")[0]).resolve() for link in links(page(index))}
    wanted = {file.resolve() for file in (ROOT / "docs").glob("*.md")} - {(ROOT / index).resolve()}
    assert {str(file.relative_to(ROOT)) for file in wanted - reached} == set()
    assert (ROOT / "docs" / "runbooks").resolve() in reached


def test_pictures_are_shown_and_described() -> None:
    shown = {link for name in NAMES for link in links(page(name)) if link.endswith(".png")}
    assert {link.rpartition("/")[2] for link in shown} == {file.name for file in (ROOT / "docs" / "img").glob("*.png")}
    for text in map(page, NAMES):
        assert "![](" not in text


# Where things are on the machines that this was made on is nobody's business.
_LOCAL = re.compile(r"(?<![\w.])/(?:root|home/\w+|mnt|Users)/|file://")


@pytest.mark.parametrize("name", NAMES)
def test_no_page_names_local_paths(name: str) -> None:
    assert _LOCAL.findall(page(name)) == []


def test_local_paths_are_found() -> None:
    assert _LOCAL.findall("see /root/a, /home/me/x, file://y") == ["/root/", "/home/me/", "file://"]
    assert len(PAGES) > 20
