"""Numbers at the ends of what a float64 holds, and what is none, in one window beside ordinary series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.watched import FAMILIES, NOW, SERIES, Make, Watched, rhythm

from exporter import names

WILD = (math.nan, math.inf, -math.inf, 5e-324, -1e-310, 1e308, -1e308, 1.7976931348623157e308, 0.0, -0.0, 1e37, 3.5e38)


def mixed(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every fifth sample is of the wild ones."""
    values = rhythm(times, rng)
    odd = rng.random(len(times)) < 0.2
    values[odd] = rng.choice(WILD, odd.sum())
    return values


def only_wild(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """None but the wild ones."""
    return rng.choice(WILD, len(times))


def of_size(factor: float) -> Make:
    return lambda times, rng: factor * rhythm(times, rng)


def flipping(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From one end to the other."""
    return rng.choice((1.7e308, -1.7e308), len(times))


EXTREME = {
    "mixed": mixed, "only_wild": only_wild, "huge_rhythm": of_size(1e306), "beyond_float32": of_size(1e36),
    "denormal": of_size(1e-310), "tiny_rhythm": of_size(1e-300), "flipping": flipping,
    "never_finite": lambda times, rng: rng.choice((math.nan, math.inf, -math.inf), len(times)),
}  # fmt: skip


class AsTheyAre(Watched):
    """Samples that are no numbers are put, too: they are not the same as no sample."""

    def _put(self, after_s: float, until_s: float) -> None:
        inside = (self._times > after_s) & (self._times <= until_s)
        for kind, values in self._values.items():
            self.store.put(self.labels(kind), self._times[inside], values[inside])


@pytest.mark.parametrize("plain", [True, False])
def test_extreme_series_harm_no_other_row_and_give_numbers_or_nothing(plain: bool) -> None:
    settings = {"signals": ("shift", "stale"), "detectability": True, "plain": plain}
    alone, among = AsTheyAre(SERIES, **settings), AsTheyAre(SERIES | EXTREME, **settings)
    for start_s in (NOW, NOW + 3600):  # an hour later every row has been fitted again
        alone.run(12, start_s)
        among.run(12, start_s)
        ordinary = alone.published()
        assert set(ordinary) == set(SERIES)
        assert {kind: verdicts for kind, verdicts in among.published().items() if kind in SERIES} == ordinary
        assert_finite(among)
    assert among.unit.last.remarks["not_finite"] > 0
    assert among.unit.last.failed_rows == 0
    assert "never_finite" not in among.published()


def assert_finite(watched: Watched) -> None:
    """All that is on the page, but for the sample itself, is a finite number."""
    text = b"".join(watched.page.chunks(names.FAMILIES, False)).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert {sample.name for sample in samples} >= set(FAMILIES)
    for sample in samples:
        assert math.isfinite(sample.value), sample
        assert sample.value >= 0 or not sample.name.endswith("_score"), sample
