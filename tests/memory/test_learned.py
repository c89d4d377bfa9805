"""What came in since a run, what none learns from, and the runs themselves, on both databases."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from whylike.memory.annotations import Occasion
from whylike.memory.learned import BEGINNING, Arrived, LearningRun, learned_ranges
from whylike.memory.schema import reviews
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.records import Expert, ReasonAnnotation, Review, SummaryAnnotation
from whylike.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path) -> Iterator[Store]:
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else None
    with Store.open(Settings(store=tmp_path / "store", database_url=url)) as opened:
        yield opened


def review(name: str, *, user: str = "u", timestamp: int = 100) -> Review:
    return Review(review_id=name, user_id=user, item_id="i", rating=4, text=f"{name} is good", timestamp=timestamp)


def test_what_came_in_is_known_by_when_it_came_and_not_by_its_time(store: Store) -> None:
    store.add_reviews([review("late", timestamp=900), review("b")])
    seen = store.arrivals()
    assert [each.key for each in store.arrived_reviews()] == ["b", "late"]
    store.add_reviews([review("late", timestamp=900), review("old", timestamp=1)])
    assert [(each.key, each.position) for each in store.arrived_reviews(seen)] == [("old", seen + 1)]
    assert [each.key for each in store.arrived_reviews(BEGINNING, seen)] == ["b", "late"]
    assert [*store.arrived_reviews(store.arrivals())] == []


def test_of_many_that_came_in_few_are_in_memory_at_once(store: Store) -> None:
    store.add_reviews(review(f"{number}") for number in range(10_000))

    def peak(reading: Callable[[Iterator[Arrived]], Any]) -> int:
        tracemalloc.start()
        try:
            assert reading(store.arrived_reviews())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(any)  # what is made at the first reading and kept
    assert peak(lambda some: sum(1 for _ in some)) < peak(list) / 2


def test_a_number_is_never_given_twice(store: Store) -> None:
    store.add_reviews([review("a"), review("theirs", user="gone")])
    seen = store.arrivals()
    store.begin_forgetting("gone")
    store.erase("gone")
    store.add_reviews([review("new")])
    assert [each.key for each in store.arrived_reviews(seen)] == ["new"]


def test_reviews_from_before_they_were_numbered_are_no_news_but_to_the_first_run(store: Store) -> None:
    store.add_reviews([review("a")])
    with store.database.write() as connection:
        connection.execute(reviews.update().values(position=None))
    assert [*store.arrived_reviews(0)] == []
    assert [(each.key, each.position) for each in store.arrived_reviews(BEGINNING)] == [("a", 0)]


def test_an_annotation_that_says_something_new_is_news_and_one_that_says_the_same_is_not(store: Store) -> None:
    store.add_reviews([review("a"), review("b")])

    def said(name: str, *likes: str) -> SummaryAnnotation:
        return SummaryAnnotation(item_id="i", text=f"{name} is good", rating=4, likes=likes)

    def keep(name: str, *likes: str) -> None:
        occasion = Occasion(teacher="t", purpose=Purpose.SUMMARIES, user_id="u", item_id="i", reviews=(name,))
        store.keep_summary(name, said(name, *likes), "teacher", occasion)

    keep("a", "sound")
    store.add_annotations([said("x", "tone")], "file")
    seen = store.arrivals()
    assert len(store.arrived_summaries()) == 2
    keep("a", "sound")
    store.add_annotations([said("x", "tone")], "file")
    assert store.arrived_summaries(seen) == {}
    keep("a", "voice")
    assert [each.likes for each in store.arrived_summaries(seen).values()] == [("voice",)]


def test_what_is_frozen_stays_and_goes_only_with_its_user(store: Store) -> None:
    store.add_reviews([review("a"), review("b", user="gone")])
    store.freeze(Expert.PREDICTOR, {"a": "u", "b": "gone"})
    store.freeze(Expert.PREDICTOR, {"c": "u"})
    assert store.frozen(Expert.PREDICTOR) == ["a", "b"]
    assert store.frozen(Expert.SUMMARIZER) == []
    assert store.held("gone")["examples to judge by"] == 1
    store.begin_forgetting("gone")
    store.erase("gone")
    assert store.frozen(Expert.PREDICTOR) == ["a"]


def test_a_run_is_noted_from_its_beginning_to_its_end(store: Store) -> None:
    run = store.begin_learning(Expert.PREDICTOR, since=3, until=9, parent="predictor-1")
    other = store.begin_learning(Expert.SUMMARIZER, since=0, until=9, parent=None)
    assert store.learning_runs() == [run, other]
    assert (run.outcome, run.ended_at) == ("under way", None)
    run = store.go_on_learning(run, "promoting", version="predictor-2", report="{}")
    assert store.learning_runs(Expert.PREDICTOR) == [run]
    assert run.ended_at is None
    run = store.go_on_learning(run, "promoted", version="predictor-2", report="{}")
    assert run.ended_at is not None
    assert store.learning_runs(Expert.PREDICTOR) == [run]


def test_old_examples_are_of_before_the_first_run_and_of_runs_that_were_promoted() -> None:
    def run(since: int, until: int, outcome: str) -> LearningRun:
        values = {"run_id": until, "expert": Expert.PREDICTOR, "began_at": 0, "since": since, "until": until}
        return LearningRun.model_validate({**values, "outcome": outcome})

    runs = [run(5, 9, "failed"), run(5, 20, "promoted"), run(20, 30, "kept"), run(30, 40, "promoted")]
    assert learned_ranges(runs) == [(BEGINNING, 5), (5, 20), (30, 40)]
    assert learned_ranges([]) == []


def test_an_annotation_that_goes_with_who_wrote_the_text_is_not_judged_by_any_more(store: Store) -> None:
    store.add_reviews([review("a"), review("b", user="gone").model_copy(update={"text": "a is good"})])
    for name, user in (("a", "u"), ("b", "gone")):
        occasion = Occasion(teacher="t", purpose=Purpose.SUMMARIES, user_id=user, item_id="i", reviews=(name,))
        said = SummaryAnnotation(item_id="i", text="a is good", rating=4, likes=("sound",))
        store.keep_summary(name, said, "teacher", occasion)
    first, second = store.arrived_summaries()
    store.freeze(Expert.SUMMARIZER, {first: "", second: ""})  # of a text that two wrote it is not known whose it is
    store.begin_forgetting("gone")
    store.erase("gone")
    assert list(store.arrived_summaries()) == store.frozen(Expert.SUMMARIZER) == [first]


def test_what_no_teacher_has_read_is_known_by_its_text(store: Store) -> None:
    store.add_reviews([review("a"), review("short").model_copy(update={"text": "Good."})])
    seen = store.arrivals()
    store.add_reviews([review("b"), review("again", user="v").model_copy(update={"text": "b is good"})])
    assert [each.key for each in store.worded_reviews(3)] == ["again", "b", "a"]
    assert [each.key for each in store.worded_reviews(3, seen)] == ["again", "b"]
    store.add_annotations([SummaryAnnotation(item_id="i", text="b is good", rating=4, likes=("sound",))], "file")
    assert [each.key for each in store.unread_reviews(3)] == ["a"]
    assert [*store.unread_reviews(3, seen)] == []
    assert [each.key for each in store.unread_reviews(1)] == ["short", "a"]


def test_a_teachers_reason_is_known_by_whom_it_was_told_or_by_its_items_title(store: Store) -> None:
    told = ReasonAnnotation(title="Harvest", text="The user likes it.")
    occasion = Occasion(teacher="t", purpose=Purpose.LIVE_REASON, user_id="u", item_id="i", reviews=())
    store.keep_reason("asked", told, "teacher", occasion)
    seen = store.arrivals()
    store.add_annotations([told], "file")
    here, file = store.arrived_reasons()
    assert (here.user_id, here.item_id) == ("u", "i")
    assert (file.user_id, file.item_id) == ("", "Harvest")
    assert store.arrived_reasons(seen) == [file]
    assert store.told_reasons({here.key}) == [(told, occasion)]
    assert store.told_reasons() == [(told, occasion), (told, None)]
