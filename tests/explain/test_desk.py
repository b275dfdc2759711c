"""Explanations over HTTP: few at a time, kept for a moment, and an answer for everything that goes wrong."""

from __future__ import annotations

import json
import threading
from urllib.parse import urlencode

import pytest
from support.answering import answered

from exporter.config.secret import remember
from exporter.errors import SourceGarbled, SourceRefused, SourceUnavailable
from exporter.explain import desk
from exporter.explain.desk import Desk, read_question
from exporter.explain.question import ExplainError, Question
from exporter.publish.landing import Landing
from exporter.publish.web import Answered, Routes


class Explains:
    """Stands for an explainer: raises what it is told to, waits as long as it is told to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault or ExplainError("nothing", status=404)
        self.asked: list[Question] = []
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Semaphore(0)

    def explain(self, question: Question, now_s: float):
        self.asked.append(question)
        self.busy.release()
        assert self.go.wait(30)
        raise self.fault


def made(explains: Explains) -> Desk:
    return Desk(lambda: explains, lambda: ["q", "r"], lambda: "hash")


ASKED = urlencode({"query": "q", "series": '{a="b"}'})


def test_what_went_wrong_is_told_without_secrets() -> None:
    told = made(Explains(RuntimeError("sent Bearer s3cret-of-mine")))
    assert b"s3cret-of-mine" in told.answer(ASKED).body
    remember("s3cret-of-mine")
    assert b"s3cret-of-mine" not in told.answer(ASKED).body


@pytest.mark.parametrize(("fault", "status", "words"), [
    (ExplainError("not there", status=404), 404, "not there"),
    (SourceUnavailable("http://p: refused", reason="refused"), 502, "http://p: refused"),
    (SourceUnavailable("http://p: slow", reason="timeout"), 504, "http://p: slow"),
    (SourceRefused("http://p: bad", reason="refused"), 502, "http://p: bad"),
    (SourceGarbled("http://p: odd", reason="garbled"), 502, "http://p: odd"),
    (RuntimeError("oops"), 500, "internal error"),
])  # fmt: skip
def test_whatever_goes_wrong_has_a_page(fault: Exception, status: int, words: str) -> None:
    answered = made(Explains(fault)).answer(ASKED)
    assert answered.status == status
    assert words in answered.body.decode()
    assert "<select" in answered.body.decode()  # to ask again
    assert dict(answered.headers)["Content-Security-Policy"].startswith("default-src 'none'")
    told = made(Explains(fault)).answer(f"{ASKED}&format=json")
    assert (told.status, told.content_type) == (status, desk.JSON_TYPE)
    assert words in json.loads(told.body)["error"]


def test_candidates_are_links_and_harmless() -> None:
    hostile = {"a": '"><script>alert(1)</script>\u202e', "__name__": "m"}
    answered = made(Explains(ExplainError("which?", candidates=[hostile]))).answer(ASKED)
    page = answered.body.decode()
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "%3Cscript%3E" in page


def test_at_most_two_at_once_and_a_word_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    explains = Explains()
    explains.go.clear()
    here = made(explains)
    answers: list[Answered] = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(here.answer(f"{ASKED}&at={i}h"))) for i in range(1, 3)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert explains.busy.acquire(timeout=30)
    turned_away = here.answer(f"{ASKED}&at=3h")
    assert turned_away.status == 429
    assert dict(turned_away.headers)["Retry-After"] == "5"
    assert "try again in 5 seconds" in turned_away.body.decode()
    assert len(explains.asked) == 2
    explains.go.set()
    for thread in threads:
        thread.join(30)
    assert [answer.status for answer in answers] == [404, 404]
    assert here.answer(f"{ASKED}&at=3h").status == 404  # there is room again


def test_an_answer_is_kept_for_a_moment_and_per_config(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ["one"]
    told: list[str] = []

    def text(_told: object) -> str:
        told.append("x")
        return f'{{"n": {len(told)}}}'

    class Good(Explains):
        def explain(self, question: Question, now_s: float):
            return question

    monkeypatch.setattr(desk, "explanation_json", text)
    here = Desk(Good, list, lambda: config[0])
    first = here.answer(f"{ASKED}&format=json")
    assert here.answer(f"{ASKED}&format=json") is first
    assert here.answer(f"{ASKED}&format=json&at=1h") is not first
    config[0] = "two"
    assert here.answer(f"{ASKED}&format=json") is not first
    monkeypatch.setattr(desk, "_KEPT_S", -1.0)
    config[0] = "one"
    assert here.answer(f"{ASKED}&format=json") is not first
    assert len(here._kept) <= 16


def test_the_questions_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "explanation_json", lambda told: "{}")

    class Good(Explains):
        def explain(self, question: Question, now_s: float):
            return question

    here = Desk(Good, list, lambda: "")
    for i in range(100):
        here.answer(f"{ASKED}&format=json&at={i}s")
    assert len(here._kept) == 16


def test_without_a_question_there_is_a_form() -> None:
    answered = made(Explains()).answer("")
    assert answered.status == 200
    assert '<form action="/explain"' in answered.body.decode()


def test_parameters() -> None:
    assert read_question("query=q&series=%7B%7D&at=1h&tenant=t&model=m&format=json&more=1") == (
        Question("q", "{}", "t", "m", "1h"), True,
    )  # fmt: skip
    assert read_question("query=%FF%00")[0].query == "\N{REPLACEMENT CHARACTER}" * 2
    for text, words in (("query=a&query=b", "given 2 times"), ("format=xml", "format is not"),
                        ("&".join(f"x{i}=1" for i in range(99)), "more than 32")):  # fmt: skip
        with pytest.raises(ExplainError, match=words):
            read_question(text)


# --- the route --------------------------------------------------------------------------------------------------------


def routes(explain: Desk | None) -> Routes:
    return Routes(
        metrics=lambda openmetrics, shard: [], ready=lambda: (True, ""), reload=None, config_text=str,
        landing=lambda: Landing("1", [], [], []), explain=explain.answer if explain else None,
    )  # fmt: skip


def test_the_route_answers_or_is_off() -> None:
    status, headers, body = answered(routes(made(Explains())), "/explain", ASKED)
    assert status == "404 Not Found"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"nothing" in body
    assert answered(routes(None), "/explain", ASKED)[2] == b"Explanations are off.\n"
    assert answered(routes(made(Explains())), "/explain", ASKED, "POST")[0].startswith("405")
