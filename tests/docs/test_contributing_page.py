"""The table of rooms in CONTRIBUTING.md names what is in exporter/, all of it and nothing else."""

from __future__ import annotations

import re

from support.documents import ROOT, page, rows, section

ROOMS = [cells for cells in rows(section(page("CONTRIBUTING.md"), "## Where things are")) if len(cells) == 2]


def named() -> list[str]:
    """What the rooms of exporter/ are called: later ones of a row stand without the folder."""
    own = [cells[0] for cells in ROOMS if cells[0].startswith("`exporter/")]
    return [word.removeprefix("exporter/") for cell in own for word in re.findall(r"`([^`]+)`", cell)]


def there() -> list[str]:
    package = ROOT / "exporter"
    modules = [file.name for file in package.glob("*.py") if file.name != "__init__.py"]
    return modules + [f"{file.parent.name}/" for file in package.glob("*/__init__.py")]


def test_every_package_and_module_has_a_room() -> None:
    assert sorted(named()) == sorted(there())


def test_other_folders_exist() -> None:
    others = [word for cells in ROOMS[1:] for word in re.findall(r"`([^`]+/)`", cells[0])]
    missing = [word for word in others if not (ROOT / word).is_dir() and not (ROOT / "exporter" / word).is_dir()]
    assert missing == []


def test_files_that_it_names_exist() -> None:
    text = page("CONTRIBUTING.md")
    for name in re.findall(r"`((?:exporter|tests|docs|rules|bench)/[\w./-]+\.\w+)`", text):
        assert (ROOT / name).is_file(), name
