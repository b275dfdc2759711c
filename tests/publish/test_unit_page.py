"""A unit's part of the page: which labels are added, what is shown and when."""

from __future__ import annotations

import threading

import numpy as np

from exporter import names
from exporter.names import ABSENT, SCORE, VALUE
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels


def text(page: Page, families=names.FAMILIES) -> list[str]:
    lines = b"".join(page.chunks(families, False)).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def unit_page(page: Page, key: str = "q", tenant: str = "", *, vmanomaly: bool = False) -> UnitPage:
    families = names.VMANOMALY_FAMILIES if vmanomaly else names.FAMILIES
    added = added_labels("q", tenant, vmanomaly=vmanomaly)
    made = UnitPage(page, key, added, ["robust_band"], families)
    made.admit([(0, {"a": "x"}), (1, {"tenant": "own", "for": "ever"})])
    return made


ROWS = np.array([0, 1])


def test_labels_of_the_series_and_ours():
    page = Page(None)
    unit = unit_page(page)
    unit.render(SCORE, "robust_band", ROWS, np.array([1.5, 0.0]), 9)
    unit.render(ABSENT, "", ROWS[:1], np.array([60.0]), 9)
    unit.show()
    assert text(page) == [
        'anomaly_score{a="x",model="robust_band",query="q"} 1.5',
        'anomaly_score{for="ever",model="robust_band",query="q",tenant="own"} 0',
        'anomaly_absent_seconds{a="x",query="q"} 60',
    ]


def test_a_configured_tenant_takes_the_label():
    page = Page(None)
    unit = unit_page(page, tenant="team-a")
    unit.render(SCORE, "robust_band", ROWS[1:], np.array([0.5]), 9)
    unit.show()
    assert text(page) == [
        'anomaly_score{exported_tenant="own",for="ever",model="robust_band",query="q",tenant="team-a"} 0.5'
    ]


def test_the_names_of_vmanomaly():
    page = Page(None)
    unit = unit_page(page, vmanomaly=True)
    unit.render(SCORE, "robust_band", ROWS, np.array([1.5, 0.0]), 9)
    unit.render(VALUE, "robust_band", ROWS[:1], np.array([7.0]), 0)
    unit.show()
    assert text(page, names.VMANOMALY_FAMILIES) == [
        'anomaly_score{a="x",for="q",model="robust_band"} 1.5',
        'anomaly_score{exported_for="ever",for="q",model="robust_band",tenant="own"} 0',
        'y{a="x",for="q",model="robust_band"} 7',
    ]


def test_nothing_is_shown_before_show_and_a_show_replaces_all():
    page = Page(None)
    unit = unit_page(page)
    unit.render(SCORE, "robust_band", ROWS, np.array([1.0, 2.0]), 9)
    assert text(page) == []
    unit.show()
    unit.render(VALUE, "robust_band", ROWS, np.array([1.0, np.nan]), 0)
    unit.show()
    assert text(page) == ['anomaly_value{a="x",model="robust_band",query="q"} 1']


def test_dismissed_rows_have_no_labels_for_the_next_owner():
    page = Page(None)
    unit = unit_page(page)
    unit.dismiss(ROWS[:1])
    unit.admit([(0, {"b": "y"})])
    unit.render(SCORE, "robust_band", ROWS[:1], np.array([1.0]), 9)
    unit.show()
    assert text(page) == ['anomaly_score{b="y",model="robust_band",query="q"} 1']


def test_withdrawn_comes_back_closed_does_not():
    page = Page(None)
    unit = unit_page(page)
    for end, left in ((unit.withdraw, 1), (unit.close, 0)):
        end()
        assert text(page) == []
        unit.render(SCORE, "robust_band", ROWS[:1], np.array([1.0]), 9)
        unit.show()
        assert len(text(page)) == left


def test_without_a_page_nothing_is_shown_and_without_a_writer_nothing_is_written():
    unit = UnitPage(None, "q", {"query": "q"}, ["robust_band"], names.FAMILIES)
    unit.begin(60)
    unit.admit([(0, {"a": "x"})])
    unit.render(SCORE, "robust_band", ROWS[:1], np.array([1.5]), 9, np.array([55_000]))
    unit.show()
    unit.withdraw()
    assert unit.backfill(ROWS[:1], np.array([1000]), {}, threading.Event()) == 0
    unit.dismiss(ROWS[:1])
    unit.close()
