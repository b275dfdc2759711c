"""The explanation in words that whoever is woken by an alert understands; the same for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable

from exporter.explain.explainer import Edge, Explanation
from exporter.explain.formats import duration, factor, moment, number, percent
from exporter.explain.publication import CONFIG_INFO
from exporter.judging import warming_s
from exporter.models.tails import LEAST_SAMPLES

PARTS = {
    "tail f3": ("jump", "against the median of the 3 samples before"),
    "tail xm6": ("level", "the median of the last 6 samples, beside all such medians of the window"),
    "tail x": ("value", "the value itself, beside all values of the window"),
    "tail day_f12": ("time of day", "against the same time on the 7 days before, less how far the last hour was off"),
    "tail hw": ("forecast", "against a forecast of level, trend and season (Holt-Winters)"),
    "novelty": ("record", "further out than anything in the window"),
    "season": ("season", "distance from the window's usual value at this time of day"),
    "told": ("said before", "what the level of the last hour has said already does not count again"),
    "capped": ("limit", "the views together count up to a limit"),
    "lifted": ("rarity", "rare for this time of day or this level, though not enough for an alert"),
    "cut": ("limit", "a score is at most 100"),
}
RECORDS = {
    "x": "the value itself",
    "f3": "the jump from the 3 samples before",
    "f48": "the distance from the last 48 samples",
    "day": "the distance from this time of day on the 7 days before",
    "xm6": "the level of the last 6 samples",
}
_SHOWN_SHARE = 0.005  # of a score: smaller parts are not shown


def unit_of(told: Explanation) -> float:
    """What differences matter in the numbers of this verdict: the width of the band, or the distance from expected."""
    verdict = told.verdict
    sizes = [verdict.upper - verdict.lower, abs(told.value - verdict.expected), abs(verdict.upper - verdict.expected),
             abs(verdict.expected - verdict.lower)]  # fmt: skip
    return min((size for size in sizes if size > 0 and math.isfinite(size)), default=math.nan)


# --- sentences --------------------------------------------------------------------------------------------------------


def headline(told: Explanation) -> str:
    """The verdict in a few words."""
    score = told.verdict.score
    if math.isnan(score) or told.state not in ("ok", "constant"):
        return f"No verdict: {state_word(told)}"
    return f"{'Anomalous' if score > 1 else 'Normal'}: score {number(score, max(score, 0.1))}"


def judged(told: Explanation) -> str:
    """By which model and when; without a verdict, as of when there is none."""
    if math.isnan(told.verdict.score):
        return f"not judged by {told.model} as of {moment(told.cycle_s)}"
    return f"judged by {told.model} at {moment(told.judged_s)}"


def state_word(told: Explanation) -> str:
    """The state, or what there is in its place."""
    return "not watched" if told.shed else told.state or "gone"


def sentences(told: Explanation) -> list[str]:
    """What was seen and what was expected, how unusual that is, since when, and what would have been needed."""
    if math.isnan(told.verdict.score):
        return reasons(told)
    parts = (seen(told), far(told), since(told), mostly(told), needed(told))
    return [*reasons(told), *(text for text in parts if text)]


def reasons(told: Explanation) -> list[str]:
    """Why there is no verdict, or a special one, and until when; nothing for a series that is simply judged."""
    say = _shed if told.shed else _REASONS.get(told.state, _gone)
    return [text] if (text := say(told)) else []


def seen(told: Explanation) -> str:
    """Value, expected value and band."""
    verdict, unit = told.verdict, unit_of(told)
    above, below = number(told.value - verdict.upper, unit), number(verdict.lower - told.value, unit)
    text = f"At {moment(told.judged_s)} the value was {number(told.value, unit)}."
    text += f" Expected was {number(verdict.expected, unit)}, the band {band(told)}"
    if told.value > verdict.upper:
        return f"{text}: the value is {_off(told)} above expected, {above} above the band."
    if told.value < verdict.lower:
        return f"{text}: the value is {_off(told)} below expected, {below} below the band."
    return f"{text}: the value is inside."


def band(told: Explanation) -> str:
    """Both edges; an open side is said to be open."""
    verdict, unit = told.verdict, unit_of(told)
    if math.isnan(verdict.lower) and math.isnan(verdict.upper):
        return "open on both sides"
    if math.isnan(verdict.lower):
        return f"up to {number(verdict.upper, unit)}"
    if math.isnan(verdict.upper):
        return f"from {number(verdict.lower, unit)} on"
    return f"{number(verdict.lower, unit)} to {number(verdict.upper, unit)}"


def _off(told: Explanation) -> str:
    distance = abs(told.value - told.verdict.expected)
    size = abs(told.verdict.expected)
    if size > 0 and distance / size < 1000:
        return percent(distance / size).lstrip("+")
    return number(distance, distance)


def far(told: Explanation) -> str:
    """How unusual the distance from expected is beside the days before."""
    farness = told.farness
    if farness is None or farness.days < 1 or not farness.distance > 0:
        return ""
    days = f"the {farness.days} days before" if farness.days > 1 else "the day before"
    if farness.further:
        on = f"{farness.further} of {days}" if farness.days > 1 else days
        return f"At this time of day, half an hour to either side, it was further from expected on {on}."
    if not farness.most_here > 0:
        return f"At this time of day it was never off what was expected in {days}."
    text = f"That is {factor(farness.distance / farness.most_here)} times further from expected than anything in {days}"
    text += " at this time of day (half an hour to either side)"
    if farness.distance > farness.most:
        return f"{text}, and {factor(farness.distance / farness.most)} times further than anything at any time."
    return f"{text}; at other times it has been further off."


def since(told: Explanation) -> str:
    """Since when the score is above 1."""
    if math.isnan(told.since_s):
        return ""
    lasting = told.judged_s - told.since_s
    if lasting < told.query.step_s:
        step = duration(told.query.step_s)
        return f"The score came above 1 within {step} before it, after at least 15 minutes without a score above 1."
    return f"The score has been above 1 again and again since {moment(told.since_s)} ({duration(lasting)})."


def mostly(told: Explanation) -> str:
    """The parts of the score that matter most."""
    if told.contributions is None:
        return ""
    parts = sorted(told.contributions.parts.items(), key=lambda part: -part[1])
    large = [(name, share) for name, share in parts[:2] if share > 0.2 * max(told.of_model.score, 0.05)]
    if not large:
        return ""
    words = [f"{share:.3g} by {_part_word(told, name)}" for name, share in large]
    return f"The score of {told.of_model.score:.3g} comes mostly from: {'; '.join(words)}."


def _part_word(told: Explanation, name: str) -> str:
    word, meaning = PARTS[name]
    return f"the {word} ({record_words(told) if name == 'novelty' else meaning})"


def record_words(told: Explanation) -> str:
    """Which view has gone furthest beyond the window."""
    if told.contributions is None:
        return PARTS["novelty"][1]
    view = max(told.contributions.views, key=lambda view: view.novelty)
    return f"{RECORDS.get(view.name, view.name)} is {PARTS['novelty'][1]}"


def shares(told: Explanation) -> list[tuple[str, str, float]]:
    """(name, meaning, share of the score) of the parts that can be seen, largest first, negative ones last."""
    if told.contributions is None:
        return []
    parts = told.contributions.parts.items()
    seen_parts = [(name, share) for name, share in parts if abs(share) > _SHOWN_SHARE * max(1.0, told.of_model.score)]
    seen_parts.sort(key=lambda part: -part[1])
    return [(PARTS[name][0], record_words(told) if name == "novelty" else PARTS[name][1], share)
            for name, share in seen_parts]  # fmt: skip


def needed(told: Explanation) -> str:
    """Which values would have scored above 1."""
    unit = unit_of(told)
    parts = [_side("above", told.above, unit), _side("below", told.below, unit)]
    words = [part for part in parts if part]
    if not words:
        return "No value would have scored above 1 now."
    text = f"To score above 1 the value had to be {' or '.join(words)}."
    if told.query.direction != "below" and math.isnan(told.above.value):
        text += " No value above would have."
    if told.query.direction != "above" and math.isnan(told.below.value):
        text += " No drop would have, not even to 0." if told.verdict.lower == 0 else " No value below would have."
    return text


def _side(word: str, edge: Edge, unit: float) -> str:
    if math.isnan(edge.value):
        return ""
    sign = 1 if word == "above" else -1
    ratio = "" if math.isnan(edge.ratio) else f" ({percent(sign * edge.ratio)})"
    return f"{word} {number(edge.value, unit)}{ratio}"


# --- the rest ---------------------------------------------------------------------------------------------------------


def policy(told: Explanation) -> list[str]:
    """The policy that applies to the query, and what it did to this verdict."""
    query, lines = told.query, []
    if query.direction != "both":
        lines.append(f"direction: {query.direction}; deviations to the other side score 0")
    if query.min_deviation:
        lines.append(f"min_deviation: {query.min_deviation:g}; smaller ones never count")
    if query.min_relative_deviation:
        lines.append(f"min_relative_deviation: {query.min_relative_deviation:g} of the expected value")
    if any(math.isfinite(edge) for edge in query.data_range):
        low, high = query.data_range
        lines.append(f"data_range: {low:g} to {high:g}; a value outside is an anomaly")
    if query.min_history_s:
        lines.append(f"min_history: {duration(query.min_history_s)}")
    before, after = told.of_model.score, told.verdict.score
    if not math.isnan(after) and before != after:
        lines.append(f"it made a score of {after:.3g} out of the model's {before:.3g}")
    return lines or ["none: both directions, no least deviation, any value"]


def threshold(told: Explanation) -> str:
    """What a score of 1 takes."""
    sensitivity = f"sensitivity {told.query.sensitivity:g}"
    if told.contributions is None:
        return f"a score of 1 is the edge of the band ({sensitivity})"
    found, limit = told.contributions.evidence, told.contributions.threshold
    return f"evidence {found:.3g}, {limit:.3g} is a score of 1 ({sensitivity})"


def basis(told: Explanation) -> list[tuple[str, str]]:
    """(name, text) of the numbers that the verdict rests on."""
    unit = unit_of(told)
    rows = [("fit", f"of {moment(told.fit_s)}, {told.valid:,} samples since {moment(told.first_s)}")]
    if told.basis is not None:
        base, offset = told.basis, told.offset
        rows += [
            ("season", f"{number(base.season + offset, unit)}: the median at this time of day on the 7 days before"),
            ("today", f"{number(base.off_season, unit)}: how far the last hour was off the season"),
            ("level", f"{number(base.level + offset, unit)}: the median of the last 48 samples;"
                      f" {number(base.median + offset, unit)}: of the window"),
            ("floor", f"{number(base.floor, base.floor)}: deviations smaller than this are never large"),
        ]  # fmt: skip
        if base.record_weight == 0:
            rows.append(("records", "do not count on the first day of a series"))
    rows.append(("threshold", threshold(told)))
    return rows


def agreement(told: Explanation) -> str:
    """Whether the replay gives what was published, and if not, why that may be."""
    if told.reproduced is None:
        return "The source has no published verdict of that time to compare with."
    if told.reproduced:
        return f"Equal in every digit to what {told.published.where} published as of {moment(told.published.time_s)}."
    return f"Not what {told.published.where} published as of {moment(told.published.time_s)}: {_difference(told)}."


def _difference(told: Explanation) -> str:
    published = told.published.numbers.get(told.model)
    if told.other_hashes and told.config_hash not in told.other_hashes:
        return "it runs with another config"
    if published is None:
        return f"there is nothing of the model {told.model}"
    if not math.isnan(told.published.value) and told.published.value != told.value:
        return (f"it judged the value {told.published.value!r}, the newest sample here is {told.value!r}; samples have"
                " come to the source later, or the verdict is an older one")  # fmt: skip
    numbers = f"score {published.score:.9g} there, {told.verdict.score:.9g} here"
    if told.offset and abs(published.expected - told.verdict.expected) < 1e-5 * abs(told.value - told.offset) + 1e-9:
        return f"{numbers}; it stores this large level around another offset, which rounds the last digits otherwise"
    return f"{numbers}; samples of the window have come or gone since, or it runs with another config"


def hashes(told: Explanation) -> str:
    """The config of this explanation beside that of the running exporter."""
    if not told.other_hashes:
        return f"config {told.config_hash}; that of the exporter is not known: the source has no {CONFIG_INFO}"
    if told.config_hash in told.other_hashes:
        return f"config {told.config_hash}, the same as the running exporter's"
    return f"config {told.config_hash}, but the exporter runs with {', '.join(told.other_hashes)}"


# --- no verdict -------------------------------------------------------------------------------------------------------


def _shed(told: Explanation) -> str:
    return (
        "The series is not watched: the query has more series than its limit (limits.max_series, max_points). It will"
        " be when another one has gone; or raise the limit, or narrow the expr."
    )


def _nothing_special(told: Explanation) -> str:
    return ""


def _constant(told: Explanation) -> str:
    return "All samples in the window have the same value: any other one is an anomaly."


def _warming(told: Explanation) -> str:
    needed_s = warming_s(told.query)
    return (
        f"The series is new: its first sample in the window is of {moment(told.first_s)}. It is judged after"
        f" {duration(needed_s)} of history, from {moment(told.first_s + needed_s)} on."
    )


def _sparse(told: Explanation) -> str:
    return (
        f"The window holds {told.valid} samples on its grid, and {LEAST_SAMPLES} are the least for a verdict: it needs"
        f" {LEAST_SAMPLES - told.valid} more. A series sampled more rarely than every {duration(told.query.step_s)}"
        " wants a longer step, or an expr such as last_over_time(m[1h])."
    )


def _absent(told: Explanation) -> str:
    return (
        f"The series sends no samples any more: the last one is of {moment(told.last_s)}. It is called absent until"
        f" {moment(told.last_s + told.query.absent_for_s)} (absent_for), then it is forgotten."
    )


def _failed(told: Explanation) -> str:
    return (
        "No model could judge the series although it has enough samples: a mistake in the exporter, whose log says"
        " which. Other series are not affected."
    )


def _gone(told: Explanation) -> str:
    return (
        f"The series is not there at this time: its last sample is of {moment(told.last_s)}. That is longer ago than"
        f" absent_for ({duration(told.query.absent_for_s)}), or it went missing before it could be judged."
    )


_REASONS: dict[str, Callable[[Explanation], str]] = {
    "ok": _nothing_special,
    "constant": _constant,
    "warming": _warming,
    "sparse": _sparse,
    "absent": _absent,
    "failed": _failed,
}
