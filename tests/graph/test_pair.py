"""One pair, end to end: what is asked for, what it rests on, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from whylike.adapters.engines.base import Weighing, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.router import Route
from whylike.explanation import Explanation
from whylike.graph.pair import Event, Services, compiled, explain
from whylike.graph.schema import FILE, published
from whylike.memory.history import history
from whylike.records import Profile, Review, Side

Opened = Callable[..., AbstractContextManager[Services]]
Check = Callable[[Explanation], None]
Said = Callable[[Explanation], dict[str, Any]]

PAIRS = {
    "known": ("dee", "waltz"),
    "own": ("ann", "ice"),
    "unknown user": ("zoe", "ice"),
    "unknown item": ("ann", "nowhere"),
    "user without reviews": ("mute", "ice"),
    "item without reviews": ("ann", "unread"),
    "both unknown": ("zoe", "nowhere"),
    "both without reviews": ("mute", "unread"),
}


def test_the_published_schema_is_that_of_the_record():
    assert FILE.read_text(encoding="utf-8") == published(), "run `python -m whylike.graph.schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(published()))


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
@pytest.mark.parametrize("with_reason", [True, False], ids=["reason", "no reason"])
def test_every_pair_gets_a_well_formed_answer(
    services: Services, pair: tuple[str, str], with_reason: bool, well_formed: Check
):
    explanation = explain(services, *pair, with_reason=with_reason)
    well_formed(explanation)
    assert (explanation.user_id, explanation.item_id) == pair
    assert explanation.engine == "scripted"
    assert explanation.adapters == dict.fromkeys(("summarizer", "reasoner", "predictor"), "base:scripted")
    assert set(explanation.seconds) == {"summarize", "reason", "predict"}
    if not with_reason:
        assert explanation.reason is None
        assert explanation.evidence == []
        assert explanation.rating.expectation == pytest.approx(explanation.rating.bias_baseline, abs=0.001)
        assert not services.engine.history, "the averages need no model"  # type: ignore[attr-defined]


def test_a_known_pair(services: Services):
    explanation = explain(services, "dee", "waltz")
    known = history(services.store, "dee", "waltz", explanation.as_of)
    assert explanation.as_of == 2_000
    assert [evidence.id for evidence in explanation.evidence] == ["r9", "r7", "r12", "r4", "r3"]
    assert explanation.evidence[0].model_dump() == {
        "id": "r9",
        "user_id": "dee",
        "item_id": "tarts",
        "rating": 4,
        "timestamp": 900,
        "summary": {
            name: list(getattr(services.store.summaries(["r9"], services.summarizer.mark)["r9"], name))
            for name in ("likes", "dislikes", "preferences")
        },
    }
    assert [review.review_id for review in (*known.user_reviews, *known.item_reviews)] == [
        evidence.id for evidence in explanation.evidence
    ]
    assert explanation.reason
    assert explanation.reason.sentences
    assert all(sentence.supported for sentence in explanation.reason.sentences)
    assert explanation.notes == []
    lists = (explanation.profiles.user.likes, explanation.profiles.user.dislikes, explanation.profiles.item.likes)
    assert any(lists)


def test_a_sentence_rests_on_the_item_that_it_names(services: Services):
    explanation = explain(services, "ann", "ice")
    assert explanation.reason
    [named] = [sentence for sentence in explanation.reason.sentences if "Dr. Hull's 'Deep' Ship" in sentence.text]
    assert named.text.endswith("."), "it is not cut at the full stop in the title"
    assert "r1" in named.evidence


def test_the_profiles_are_those_of_the_two_sides(services: Services):
    explanation = explain(services, "dee", "waltz")
    for side, listed, ids in (
        (Side.USER, explanation.profiles.user, ("r9", "r7")),
        (Side.ITEM, explanation.profiles.item, ("r12", "r4", "r3")),
    ):
        summaries = services.store.summaries(ids, services.summarizer.mark).values()
        assert set(listed.likes) <= {phrase for summary in summaries for phrase in summary.likes}
        assert set(listed.dislikes) <= {phrase for summary in summaries for phrase in summary.dislikes}
        kept = services.store.latest_profile(side, "dee" if side is Side.USER else "waltz")
        assert kept
        assert (list(kept.likes), list(kept.dislikes)) == (listed.likes, listed.dislikes)


def test_what_was_summarised_is_in_the_index(services: Services):
    explanation = explain(services, "dee", "waltz")
    ids = [evidence.id for evidence in explanation.evidence]
    vectors = services.embedder.embed(["Dry jokes about bureaucrats"])
    [near] = services.index.nearest_summaries(vectors, among=ids, adapter_version=services.summarizer.mark, k=9)
    assert {review_id for review_id, _ in near} == set(ids)
    profiles = services.index.nearest_profiles(vectors[0], Side.ITEM, 9)
    assert [item_id for item_id, _ in profiles] == ["waltz"]


def test_the_users_own_review_is_not_used(services: Services, opened: Opened, tmp_path: Path, said: Said):
    explanation = explain(services, "ann", "ice")
    assert explanation.as_of == 1_300, "just before the user's own review"
    assert "r13" not in {evidence.id for evidence in explanation.evidence}
    assert "r15" not in {evidence.id for evidence in explanation.evidence}
    assert "zanzibar" not in explanation.model_dump_json()
    assert any("reviewed this item" in note for note in explanation.notes)
    with opened(None, but="r13", at=tmp_path / "other") as without:
        blind = explain(without, "ann", "ice", as_of=1_300)
    assert said(explanation) | {"notes": []} == said(blind)


def test_the_users_own_review_is_not_used_later_either(services: Services, opened: Opened, tmp_path: Path, said: Said):
    seeing = explain(services, "ann", "ice", as_of=1_900)
    assert {evidence.id for evidence in seeing.evidence} >= {"r15", "r11"}
    assert "r13" not in {evidence.id for evidence in seeing.evidence}
    with opened(None, but="r13", at=tmp_path / "other") as without:
        blind = explain(without, "ann", "ice", as_of=1_900)
    assert said(seeing) == said(blind), "not even in the mean of all ratings"


@pytest.mark.parametrize("as_of", [100, 101, 500, 1_300])
def test_nothing_later_is_used(services: Services, opened: Opened, tmp_path: Path, said: Said, as_of: int):
    explanation = explain(services, "dee", "ice", as_of=as_of)
    assert explanation.as_of == as_of
    with opened(None, at=tmp_path / "other") as other:
        explain(other, "dee", "ice")  # later things are summarised and in the index
        assert said(explain(other, "dee", "ice", as_of=as_of)) == said(explanation)


def test_the_past_knows_less(services: Services):
    assert explain(services, "ann", "ice", as_of=100).reason is None
    assert [evidence.id for evidence in explain(services, "ann", "ice", as_of=201).evidence] == ["r1"]
    assert [evidence.id for evidence in explain(services, "ann", "ice", as_of=500).evidence] == ["r3", "r1"]


@pytest.mark.parametrize(
    ("pair", "way", "told"),
    [
        (("zoe", "ice"), Route.NEW_USER, ["no reviews before this time", "no user 'zoe'"]),
        (("mute", "ice"), Route.NEW_USER, ["no reviews before this time"]),
        (("ann", "nowhere"), Route.NEW_ITEM, ["Nothing is known about the item", "no item 'nowhere'"]),
        (("ann", "unread"), Route.NEW_ITEM, ["Nobody else has reviewed"]),
        (("zoe", "nowhere"), Route.NOTHING, ["no user 'zoe'", "no item 'nowhere'"]),
        (("annn", "icee"), Route.NOTHING, ["did you mean 'ann'", "did you mean 'ice' (The Long Ice)"]),
        (("dee", "waltz"), Route.KNOWN, []),
    ],
)
def test_what_is_not_known_is_told(services: Services, pair: tuple[str, str], way: Route, told: list[str]):
    explanation = explain(services, *pair)
    notes = " ".join(explanation.notes)
    assert all(part in notes for part in told)
    assert bool(notes) is bool(told)
    ids = {"zoe", "mute", "annn"}
    if explanation.reason:
        assert ("has written no reviews yet" in explanation.reason.text) is (way is Route.NEW_USER)
    if way is Route.NEW_USER:
        assert {evidence.item_id for evidence in explanation.evidence} == {"ice"}
        assert explanation.profiles.user.likes == []
    elif way is Route.NEW_ITEM:
        assert {evidence.user_id for evidence in explanation.evidence} == {"ann"}
    elif way is Route.NOTHING:
        assert explanation.reason is None
        assert explanation.evidence == []
    assert not any(services.store.has_user(user_id) for user_id in ids - {"mute"}), "asking makes nobody known"
    assert services.store.item("nowhere") is None


def test_who_wrote_of_this_item_alone_is_told_so(services: Services):
    own = Review(review_id="own", user_id="solo", item_id="ice", rating=4, text="Bright and warm.", timestamp=1_400)
    services.store.add_reviews([own])
    later = explain(services, "solo", "ice", as_of=1_900)
    assert any(note.startswith("The user has no reviews of anything else before this time") for note in later.notes)
    earlier = explain(services, "solo", "ice", as_of=1_350)
    assert any(note.startswith("The user has no reviews before this time") for note in earlier.notes)


def test_a_profile_of_the_past_is_not_the_latest(services: Services):
    past = explain(services, "ann", "ice", as_of=500)
    assert any((past.profiles.user.likes, past.profiles.user.dislikes))
    assert services.store.latest_profile(Side.USER, "ann") is None
    explain(services, "ann", "unread")
    assert services.store.latest_profile(Side.USER, "ann")


# Progress


def test_events_come_in_order_and_the_pieces_join_to_the_text(services: Services):
    events: list[Event] = []
    explanation = explain(services, "ann", "ice", on_event=events.append)
    assert [event.node for event in events] == sorted(
        (event.node for event in events), key=["summarize", "reason", "predict"].index
    )
    summarised = [(event.done, event.total) for event in events if event.node == "summarize"]
    assert [done for done, _ in summarised] == sorted({done for done, _ in summarised})
    assert summarised[-1] == (8, 8)
    assert len(summarised) > 1
    assert explanation.reason
    pieces = [event.text for event in events if event.node == "reason"]
    assert len(pieces) > 3
    assert "".join(pieces) == explanation.reason.text
    assert [(event.done, event.total) for event in events if event.node == "predict"] == [(1, 1)]
    events.clear()
    explain(services, "ann", "ice", on_event=events.append)
    assert "".join(event.text for event in events if event.node == "reason") == explanation.reason.text


def test_an_error_of_the_listener_is_not_swallowed(services: Services, well_formed: Check):
    def listen(event: Event) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        explain(services, "ann", "ice", on_event=listen)
    well_formed(explain(services, "ann", "ice"))


# State


@pytest.mark.parametrize("pair", [("ann", "ice"), ("zoe", "nowhere"), ("pro", "ice")])
def test_the_state_is_plain_json(services: Services, pair: tuple[str, str], imported: Callable[..., Profile]):
    services.store.add_profiles([imported(Side.USER)])
    saver = InMemorySaver()
    graph = compiled().builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}}
    start = {"user_id": pair[0], "item_id": pair[1], "with_reason": True}
    graph.invoke(start, config, context=services)
    values = [snapshot.values for snapshot in graph.get_state_history(config)]
    assert len(values) >= 6
    for value in values:
        assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert {"history", "summaries", "rating", "notes", "seconds"} <= set(values[0])


# Several at once


def test_several_at_once_get_the_answers_they_get_alone(opened: Opened, tmp_path: Path, said: Said):
    pairs = [*PAIRS.values(), ("ben", "tarts"), ("cam", "ship")]
    with opened(None, at=tmp_path / "alone") as made:
        alone = [said(explain(made, *pair)) for pair in pairs]
    with opened() as made, ThreadPoolExecutor(5) as pool:
        together = list(pool.map(lambda pair: said(explain(made, *pair)), pairs))
        again = list(pool.map(lambda pair: said(explain(made, *pair)), pairs * 2))
    assert together == alone
    assert again == alone * 2


def test_requests_are_of_the_kinds_that_engines_know(services: Services):
    explain(services, "ann", "ice")
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    for request in engine.history:
        assert type(request).model_validate_json(request.model_dump_json()) == request
        assert isinstance(request, Weighing | Writing)


def test_where_nothing_is_known_no_others_are_named(services: Services):
    explanation = explain(services, "stranger", "nowhere")
    assert "only the general mean is left" in explanation.notes[0]
    assert "what others say" in explain(services, "stranger", "waltz").notes[0]


def test_without_a_reason_no_evidence_is_shown_that_was_not_used(services: Services):
    explain(services, "dee", "waltz")
    assert explain(services, "dee", "waltz", with_reason=False).evidence == []


def test_time_that_passes_while_a_query_looks_things_up_does_not_make_it_one_of_the_past(services: Services):
    ticking = count(2_000)
    explain(replace(services, now=lambda: next(ticking)), "dee", "waltz")
    assert services.store.latest_profile(Side.USER, "dee"), "it is as of now, so its profile is kept"


def test_where_there_are_no_ratings_any_is_as_likely(services: Services):
    explanation = explain(services, "stranger", "nowhere", as_of=50)
    assert "any is as likely" in explanation.notes[0]
    assert len(set(explanation.rating.distribution.values())) == 1
