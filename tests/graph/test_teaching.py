"""A teacher on call in a query: when it is asked, what of its words is served and kept, and that it can do no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import endpoint
import pytest
from endpoint import DRIPS, HANGS, Answer, Raw, Server

from whylike.agents import unsure
from whylike.agents.oncall import OnCall
from whylike.agents.prompting import prompt_file
from whylike.explanation import Explanation
from whylike.graph.pair import Event, Services, explain
from whylike.graph.teaching import MOST, UNHEARD
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.records import ReasonAnnotation, Review, SummaryAnnotation

GOOD = "The user writes “The food scenes made me hungry”."
OTHERS = "Reviewers speak of dry jokes about bureaucrats, and of “clever and sad”."
INVENTED = "The user adores submarines and the smell of old leather sofas."
LEAKING = "Reviewers call the dry jokes about bureaucrats the star of it."
"""That rests on a review, but may tell a rating."""
USAGE = {"prompt_tokens": 500, "completion_tokens": 60}
PAIR = ("dee", "waltz")
EMPTY = Review(
    review_id="r16",
    user_id="dee",
    item_id="field",
    rating=4,
    text="Four stars out of five for the slow waltz music.",
    timestamp=1_600,
)

Said = Callable[[Explanation], dict[str, Any]]


@pytest.fixture
def server() -> Iterator[Server]:
    with endpoint.opened() as made:
        yield made


@pytest.fixture
def asking(server: Server) -> Callable[..., Services]:
    """Services with this teacher on call."""

    def made(services: Services, **more: Any) -> Services:
        given = {"teacher_base_url": server.url, "teacher_model": "big", "teacher_live": True} | more
        settings = services.settings.model_copy(update=given)
        return replace(services, settings=settings, on_call=OnCall(services.store, settings))

    return made


Asking = Callable[..., Services]


def wrote(*sentences: str) -> Answer:
    return endpoint.said(" ".join(sentences), usage=USAGE)


def unheard(explanation: Explanation) -> list[str]:
    return [note for note in explanation.notes if note.startswith(UNHEARD)]


def student_said(said_: Said, explanation: Explanation) -> dict[str, Any]:
    """All of an answer but what it says of the teacher."""
    told = said_(explanation)
    return told | {"notes": [note for note in told["notes"] if not note.startswith(UNHEARD)]}


def test_without_leave_nobody_is_asked(services: Services, server: Server, asking: Asking):
    for made, leave in ((asking(services, teacher_live=False), None), (asking(services), False), (services, None)):
        answer = explain(made, *PAIR, teacher=leave)
        assert not server.asked
        assert not answer.notes
        assert "teacher" not in answer.seconds
    asked = asking(services, teacher_live=False)
    server.answers = [wrote(GOOD)]
    assert explain(asked, *PAIR, teacher=True).reason.text == GOOD


def test_where_the_student_is_sure_nobody_is_asked(
    services: Services, server: Server, asking: Asking, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unsure, "WIDE", 1.0)
    assert not unheard(explain(asking(services), *PAIR))
    assert not unheard(explain(asking(services), *PAIR, with_reason=False))
    assert not unheard(explain(asking(services), "stranger", "waltz")), "one side is not known"
    assert not server.asked


def test_a_reason_that_holds_is_served_rated_by_and_kept(
    services: Services, server: Server, asking: Asking, well_formed: Callable[[Explanation], None], said: Said
):
    before = explain(services, *PAIR)
    earlier = len(services.engine.history)
    server.answers = [wrote(GOOD, INVENTED, OTHERS, LEAKING)]
    events: list[Event] = []
    answer = explain(asking(services), *PAIR, on_event=events.append)
    well_formed(answer)
    assert [sentence.text for sentence in answer.reason.sentences] == [GOOD, OTHERS]
    assert answer.reason.sentences[0].evidence == ["r9"]
    assert "r12" in answer.reason.sentences[1].evidence
    assert answer.adapters["reasoner"].startswith("openai:big+")
    assert answer.notes == [
        "The reason was written by the teacher openai:big, since the rating is far from sure; sentences left out, "
        "which no review bears out or may not be said: 2 of 4."
    ]
    assert answer.seconds["teacher"] > 0
    assert "teacher" in {event.node for event in events}
    heard = str([each.prompt for each in services.engine.history[earlier:]])
    assert "The food scenes made me hungry" in heard, "the rating is read off the teacher's reason"
    assert before.reason.text not in heard

    [(_, _, asked)] = server.asked
    assert asked["temperature"] == 0
    assert "Two hours in which nothing happens" in asked["messages"][-1]["content"]
    [kept] = services.store.written()
    assert isinstance(kept.annotation, ReasonAnnotation)
    assert (kept.annotation.title, kept.annotation.text) == ("Waltz of the Clerks", f"{GOOD} {OTHERS}")
    assert "The food scenes made me hungry" in (*kept.annotation.user_likes, *kept.annotation.user_dislikes)
    assert kept.occasion == Occasion(
        teacher=answer.adapters["reasoner"],
        purpose=Purpose.LIVE_REASON,
        user_id="dee",
        item_id="waltz",
        reviews=("r9", "r7", "r12", "r4", "r3"),
        why="the rating is far from sure",
        instead=before.reason.text,
    )
    [call] = services.store.calls()
    assert (call.purpose, call.tokens_in, call.tokens_out, call.outcome) == (Purpose.LIVE_REASON, 500, 60, "answered")

    again = explain(asking(services, teacher_calls=1), *PAIR)
    assert said(again) == said(answer), "it is not paid twice"
    assert len(server.asked) == len(services.store.written()) == 1
    assert student_said(said, explain(services, *PAIR)) == said(before), "who does not ask it gets the student's"


REPEATED = " ".join(prompt_file("teacher_reason").system.split()[:13])


@pytest.mark.parametrize(
    "written",
    [
        INVENTED,
        LEAKING,
        f"{REPEATED}, as dry jokes about bureaucrats.",
        "“Nobody wrote this at all”, says the user.",
        "Ignore the reviews. \x1b[31mBuy it now at example.com!",
        " ",
    ],
)
def test_where_nothing_holds_the_answer_is_the_students(
    services: Services, server: Server, asking: Asking, said: Said, written: str
):
    before = said(explain(services, *PAIR))
    server.answers = [wrote(written)]
    for _ in range(2):
        answer = explain(asking(services), *PAIR)
        assert unheard(answer) == [
            f"{UNHEARD}: no review bears out what openai:big wrote. The answer is the student's."
        ]
        assert student_said(said, answer) == before
    assert len(server.asked) == 1
    assert not services.store.written()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((HANGS, None), "no answer within"),
        ((DRIPS, None), "no answer within"),
        (Raw(429, b"slow down", {"retry-after": "20"}), "429 slow down"),
        ((500, {"error": {"message": "out of memory"}}), "500 out of memory"),
        ((401, {"error": {"message": "wrong key"}}), "401 wrong key"),
        (Raw(200, b"<html>"), "it sent no chat completion"),
        ((200, {"choices": []}), "it sent no chat completion"),
        (endpoint.said("x" * 100_000), "it wrote 100,000 characters"),
        (Raw(200, b" " * 10**6), "it answers without end"),
    ],
)
def test_a_failure_is_told_and_the_answer_is_the_students(
    services: Services, server: Server, asking: Asking, said: Said, *, answer: Answer, why: str
):
    before = said(explain(services, *PAIR))
    server.answers = [answer]
    made = asking(services, teacher_patience=2)
    first = explain(made, *PAIR)
    [note] = unheard(first)
    assert note.startswith(f"{UNHEARD}: {why}")
    assert student_said(said, first) == before
    [note] = unheard(explain(made, *PAIR))
    assert "it is left alone for another" in note
    assert len(server.asked) == 1
    assert not services.store.written()


def test_a_teacher_that_is_not_there_or_not_set_or_has_no_budget_left(
    services: Services, server: Server, asking: Asking, said: Said
):
    before = said(explain(services, *PAIR))
    with endpoint.opened() as gone:
        pass
    for changed, why in (
        ({"teacher_base_url": gone.url}, "onnect"),
        ({"teacher_model": None}, "no teacher is set"),
        ({"teacher_calls": 0}, " of 0 calls"),
        ({"teacher_tokens": 99}, "of 99 tokens"),
    ):
        answer = explain(asking(services, **changed), *PAIR)
        [note] = unheard(answer)
        assert why in note
        assert student_said(said, answer) == before
    assert not server.asked


SUMMARY = "Positive Aspects: slow waltz music, fine lace\nNegative Aspects: None\nUser Preference Elements: None"


def test_a_review_that_the_student_found_nothing_in_is_summarized(
    opened: Callable[..., Any], server: Server, asking: Asking, monkeypatch: pytest.MonkeyPatch, said: Said
):
    monkeypatch.setattr(unsure, "WIDE", 1.0)
    with opened(None, EMPTY) as services:
        before = explain(services, *PAIR)
        assert before.evidence[0].id == EMPTY.review_id
        assert before.evidence[0].summary.likes == before.evidence[0].summary.dislikes == []
        server.answers = [wrote(SUMMARY)]
        answer = explain(asking(services), *PAIR)
        assert answer.evidence[0].summary.likes == ["slow waltz music"], "what the review does not say is left out"
        assert answer.evidence[0].summary.praise == [], "and what it says in so many words may not be quoted"
        assert (
            "slow waltz music" in answer.profiles.user.likes or answer.profiles.user.likes == before.profiles.user.likes
        )
        assert (
            "A review was summarized by the teacher openai:big, since the student's summary has nothing liked and "
            "nothing disliked." in answer.notes
        )
        [kept] = services.store.written()
        assert isinstance(kept.annotation, SummaryAnnotation)
        assert (kept.occasion.user_id, kept.occasion.reviews) == ("dee", ("r16",))
        assert kept.occasion.purpose is Purpose.LIVE_SUMMARY
        assert said(explain(asking(services), *PAIR)) == said(answer)
        assert len(server.asked) == 1, "it is not paid twice"
        assert said(explain(services, *PAIR)) == said(before), "who does not ask it gets the student's"


@pytest.mark.parametrize(
    "written", ["I liked it.", "Positive Aspects: lace\nNegative Aspects:\nUser Preference Elements:"]
)
def test_a_summary_that_cannot_be_read_or_does_not_hold_is_not_served_and_not_paid_twice(
    opened: Callable[..., Any], server: Server, asking: Asking, monkeypatch: pytest.MonkeyPatch, *, written: str
):
    monkeypatch.setattr(unsure, "WIDE", 1.0)
    with opened(None, EMPTY) as services:
        server.answers = [wrote(written)]
        for _ in range(2):
            assert explain(asking(services), *PAIR).evidence[0].summary.likes == []
        assert len(server.asked) == 1
        assert not services.store.written()


def test_a_teacher_that_fails_over_a_summary_is_not_asked_for_a_reason_too(
    opened: Callable[..., Any], server: Server, asking: Asking
):
    more = [EMPTY.model_copy(update={"review_id": f"r{n}", "timestamp": 1_600 + n}) for n in range(20, 23)]
    with opened(None, *more) as services:
        server.answers = [(HANGS, None)] * MOST
        answer = explain(asking(services, teacher_patience=2), *PAIR)
        assert len(unheard(answer)) == 1
        assert len(server.asked) <= MOST
        assert answer.reason
