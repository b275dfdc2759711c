"""All measures of one detector on one set, by name."""

from __future__ import annotations

from collections.abc import Sequence

from bench.quality.corpus import F64, Set, usual_step
from bench.quality.scoring.adjusted import adjusted_measures
from bench.quality.scoring.alerts import DEFAULT_THRESHOLD
from bench.quality.scoring.events import Tally, event_measures, per_series, timeline
from bench.quality.scoring.nab import nab_measures
from bench.quality.scoring.ranking import ranking_measures

METRICS = (
    "nab_onset_standard_default",
    "nab_onset_lowfp_default",
    "nab_onset_standard_optimum",
    "nab_row_standard_optimum",
    "f1_default",
    "f1_train_threshold",
    "f1_optimum",
    "event_f1_default",
    "average_precision",
    "vus_pr",
    "detected_default",
    "false_alerts_week_default",
    "detected_at_one_false_alert_week",
)
"""The names that `--out` writes, in this order; `measure` answers some more."""


def measure(corpus: Set, scores: Sequence[F64]) -> dict[str, float]:
    """Every measure that the set allows, all finite; one that its data can't define is absent.

    `scores`: per series (n,) in file order, NaN where there was no verdict: such a row never alerts and ranks last.
    Only `test` rows are measured, but NAB's score sees whole files and applies its own probation. Raises ValueError
    where the scores don't fit the series, CorpusError where NAB's windows don't.

    Cost: about a second of CPU for a million rows.
    """
    _check(corpus, scores)
    steps_s = _steps_s(corpus)
    return {
        **(nab_measures(corpus.series, scores) if corpus.nab else {}),
        **adjusted_measures(corpus.series, scores, steps_s),
        **event_measures(timeline(corpus.series, scores, steps_s)),
        **ranking_measures(corpus.series, scores),
    }


def by_series(corpus: Set, scores: Sequence[F64], threshold: float = DEFAULT_THRESHOLD) -> list[Tally]:
    """Events, hits, episodes, false alerts and weeks of every series: to see where a set's numbers come from."""
    _check(corpus, scores)
    return per_series(timeline(corpus.series, scores, _steps_s(corpus)), threshold)


def _steps_s(corpus: Set) -> list[int]:
    return [usual_step(one.time_s) for one in corpus.series]


def _check(corpus: Set, scores: Sequence[F64]) -> None:
    if len(scores) != len(corpus.series):
        raise ValueError(f"{corpus.name}: scores of {len(scores)} series for {len(corpus.series)}")
    for one, score in zip(corpus.series, scores, strict=True):
        if score.shape != one.time_s.shape:
            raise ValueError(f"{corpus.name}: {one.name}: scores of shape {score.shape} for {len(one.time_s)} rows")
