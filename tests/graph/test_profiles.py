"""A profile on its own is the one that a pair's query makes, of the same reviews."""

from __future__ import annotations

import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.graph.pair import Event, Services, explain
from whylike.graph.profiles import profile_now, read_for
from whylike.records import Side


@pytest.mark.parametrize(("side", "subject"), [(Side.USER, "dee"), (Side.ITEM, "waltz")])
def test_it_is_the_profile_of_a_pair(services: Services, side: Side, subject: str) -> None:
    explain(services, "dee", "waltz")
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    of_pair, asked = services.store.latest_profile(side, subject), len(engine.history)
    assert of_pair is not None
    assert profile_now(services, side, subject) == of_pair
    assert len(engine.history) == asked, "the pair's summaries are used"


def test_it_is_made_with_progress_and_kept(services: Services) -> None:
    events: list[Event] = []
    made = profile_now(services, Side.USER, "ann", events.append)
    assert made is not None
    assert made.as_of == 1_300  # of all reviews, also those that a pair leaves out
    assert [(event.node, event.done, event.total) for event in events] == [("summarize", 0, 5), ("summarize", 4, 5)]
    assert services.store.latest_profile(Side.USER, "ann") == made
    assert services.index.count() == 6, "five summaries and the profile"


def test_what_it_was_drawn_from_is_the_newest_first(services: Services) -> None:
    made = profile_now(services, Side.USER, "ann")
    assert made is not None
    store = services.store
    read = read_for(store, made, 10)
    assert [review.timestamp for review, _ in read] == sorted((review.timestamp for review, _ in read), reverse=True)
    assert {review.user_id for review, _ in read} == {"ann"}
    assert [summary.review_id for _, summary in read] == [review.review_id for review, _ in read]
    assert len(read) == 5
    assert read_for(store, made, 2) == read[:2]
    earlier = made.model_copy(update={"as_of": read[1][0].timestamp})
    assert read_for(store, earlier, 10) == read[1:], "nothing that was written after it"
    assert read_for(store, made.model_copy(update={"adapter_version": "another"}), 10) == []
    assert read_for(store, made.model_copy(update={"as_of": None}), 10) == [], "an imported one was drawn elsewhere"


def test_without_reviews_there_is_none(services: Services) -> None:
    assert profile_now(services, Side.USER, "mute") is None
    assert profile_now(services, Side.ITEM, "unread") is None
    assert services.store.latest_profile(Side.USER, "mute") is None
