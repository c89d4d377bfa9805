"""A teacher's summaries of the store's reviews: which are read, what is kept, and that a run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from whylike.adapters.training.teach import examples_for
from whylike.agents.aspects import Lists
from whylike.errors import BudgetError, EngineError, UsageError
from whylike.evaluation.summaries import held_annotations
from whylike.graph import annotating
from whylike.graph.annotating import FEWEST, IN_A_ROW, TRIES
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.records import Expert, RatingScale, Review, SummaryAnnotation
from whylike.settings import Settings

REVIEWS = 100
LISTS = Lists(("bright strings",), ("cheap covers",), ("sound",))


class Reader:
    """Answers in turn what it was told to, the last of it for ever."""

    name = summary_mark = "test"

    def __init__(self, *answers: Lists | Exception | None) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def summarize(self, review: Review, scale: RatingScale, *, number: int = 0) -> Lists | None:
        assert scale == RatingScale()
        self.asked.append((review.review_id, number))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def annotate_summaries(store: Store, reader: Any, *, limit: int, seed: int = 0, **how: Any) -> annotating.Annotated:
    """Of a sample of the older reviews, as the command has it."""
    reviews = annotating.older(store, limit, seed)
    return annotating.annotate_summaries(store, reader, reviews, **{"workers": 1, **how})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Of each ten reviews one says too little."""
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        opened.add_reviews(
            Review(
                review_id=f"r{number}",
                user_id=f"u{number % 5}",
                item_id=f"i{number % 30}",
                rating=1 + number % 5,
                title="Heard it",
                text="Good." if number % 10 == 3 else f"Bright strings all through, {number}. Cheap covers tear.",
                timestamp=number,
            )
            for number in range(REVIEWS)
        )
        yield opened


def test_the_summarizer_learns_from_them_and_is_measured_by_those_of_other_items(store: Store):
    reader = Reader(LISTS)
    found = annotate_summaries(store, reader, limit=1000)
    training = split(store).training
    assert found.reviews == found.read_now == found.summarized == len(reader.asked) == len(training) * 9 // 10
    assert (found.teacher, found.empty, found.failed, found.why) == ("test", 0, 0, "")
    assert {review_id for review_id, _ in reader.asked} <= {pair.review_id for pair in training}
    made = store.annotations(SummaryAnnotation)
    [one] = [each for each in made if each.text.startswith("Bright strings all through, 41.")]
    assert (one.item_id, one.title, one.rating, one.scale) == ("i11", "Heard it", 2, RatingScale())
    assert (one.likes, one.dislikes, one.preferences) == LISTS
    assert all(len(each.text.split()) >= FEWEST for each in made)
    assert len(examples_for(Expert.SUMMARIZER, store)) == len(made)
    assert held_annotations(store, None, 0), "some are of items that no training learns from"


def test_a_larger_limit_adds_to_a_smaller_one_and_nothing_is_read_twice(store: Store):
    reader = Reader(LISTS)
    assert annotate_summaries(store, reader, limit=10).read_now == 10
    assert annotate_summaries(store, reader, limit=25).read_now == 15
    again = annotate_summaries(store, reader, limit=25)
    assert (again.read_now, again.summarized, len(reader.asked)) == (0, 25, 25)
    assert len(store.annotations(SummaryAnnotation)) == 25
    other = Reader(LISTS)
    annotate_summaries(store, other, limit=10, seed=1)
    assert other.asked != reader.asked[:10]


def test_what_another_teacher_writes_takes_the_place_of_what_one_wrote(store: Store):
    annotate_summaries(store, Reader(LISTS), limit=10)
    other = Reader(LISTS._replace(likes=("strings all through",)))
    other.name = other.summary_mark = "other"
    annotate_summaries(store, other, limit=10)
    assert {each.likes for each in store.annotations(SummaryAnnotation)} == {("strings all through",)}
    assert len(store.annotations(SummaryAnnotation)) == 10
    annotate_summaries(store, Reader(LISTS), limit=5)
    likes = [each.likes for each in store.annotations(SummaryAnnotation)]
    assert likes.count(LISTS.likes) == likes.count(("strings all through",)) == 5


def test_an_answer_that_cannot_be_read_is_asked_for_again(store: Store):
    reader = Reader(None, LISTS, *[None] * TRIES, LISTS._replace(likes=(), dislikes=()))
    found = annotate_summaries(store, reader, limit=3)
    assert (found.summarized, found.empty, found.failed) == (1, 1, 1)
    assert found.unread == [reader.asked[2][0]], "whoever runs it can look at the review"
    assert [number for _, number in reader.asked] == [0, 1, *range(TRIES), 0]
    again = Reader(LISTS)
    found = annotate_summaries(store, again, limit=3)
    assert (found.read_now, found.summarized, found.empty, found.failed) == (1, 2, 1, 0), "empty is an answer too"


def test_a_teacher_of_whose_answers_none_can_be_read_is_told_of(store: Store):
    with pytest.raises(EngineError, match=r"no answer by test has the three lists .* of 3 reviews"):
        annotate_summaries(store, Reader(None), limit=3)


def test_what_a_killed_run_has_kept_is_added_by_the_next(store: Store, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(Store, "keep_summary", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        annotate_summaries(store, Reader(LISTS), limit=1)
    assert not store.annotations(SummaryAnnotation)
    reader = Reader(LISTS)
    found = annotate_summaries(store, reader, limit=1)
    assert (found.read_now, found.summarized, reader.asked) == (0, 1, [])
    assert len(store.annotations(SummaryAnnotation)) == 1


def test_a_teacher_that_fails_now_and_then_costs_these_reviews_and_one_that_is_gone_ends_the_run(store: Store):
    tired = EngineError("it is tired")
    found = annotate_summaries(store, Reader(LISTS, tired, LISTS, tired, LISTS), limit=10)
    assert (found.summarized, found.failed, found.why) == (8, 2, "it is tired")
    with pytest.raises(EngineError, match=rf"nobody; {IN_A_ROW} in a row failed"):
        annotate_summaries(store, Reader(EngineError("nobody")), limit=40)
    with pytest.raises(EngineError, match="nobody; 2 in a row failed"):
        annotate_summaries(store, Reader(EngineError("nobody")), limit=2, seed=1)
    assert len(store.annotations(SummaryAnnotation)) == 8
    found = annotate_summaries(store, Reader(EngineError("not that one")), limit=10)
    assert (found.read_now, found.failed, found.why) == (2, 2, "not that one"), (
        "a few that always fail leave the others what they are"
    )


def test_a_run_whose_budget_is_used_up_ends_and_another_goes_on(store: Store):
    reader = Reader(LISTS, None, LISTS, LISTS, BudgetError("used up"))
    found = annotate_summaries(store, reader, limit=10)
    assert (found.stopped, found.summarized, found.failed, found.read_now, found.left) == ("used up", 3, 0, 3, 7)
    again = annotate_summaries(store, Reader(BudgetError("used up")), limit=10)
    assert (again.stopped, again.summarized, again.read_now, again.left) == ("used up", 3, 0, 7)
    rest = annotate_summaries(store, Reader(LISTS), limit=10)
    assert (rest.stopped, rest.summarized, rest.read_now, rest.left) == ("", 10, 7, 0)


def test_several_are_asked_about_at_once(store: Store):
    together = Barrier(3, timeout=60)

    class Patient(Reader):
        def summarize(self, review: Review, scale: RatingScale, *, number: int = 0) -> Lists | None:
            together.wait()
            return super().summarize(review, scale, number=number)

    assert annotate_summaries(store, Patient(LISTS), limit=9, workers=3).summarized == 9


def test_it_is_kept_who_wrote_what_of_whose_review(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whylike.memory.annotations.time.time", lambda: 1_000)
    annotate_summaries(store, Reader(LISTS), limit=1)
    monkeypatch.setattr("whylike.memory.annotations.time.time", lambda: 2_000)
    annotate_summaries(store, Reader(LISTS), limit=1)
    [made] = store.written()
    review_id = made.occasion.reviews[0]
    [review] = store.reviews([review_id])
    assert (made.source, made.at) == ("test", 1_000), "a second run does not make it younger"
    assert made.occasion == Occasion(
        teacher="test",
        purpose=Purpose.SUMMARIES,
        user_id=review.user_id,
        item_id=review.item_id,
        reviews=(review_id,),
    )
    assert made.annotation.text == review.text


def test_a_store_with_nothing_to_read_is_refused(tmp_path: Path):
    with Store.open(Settings(store=tmp_path / "none")) as empty:
        with pytest.raises(UsageError, match="ingest more"):
            annotate_summaries(empty, Reader(LISTS), limit=1)
        empty.add_reviews(
            Review(review_id=f"r{n}", user_id="u", item_id=f"i{n}", rating=3, text="Good.", timestamp=n)
            for n in range(REVIEWS)
        )
        with pytest.raises(UsageError, match="none of the older reviews"):
            annotate_summaries(empty, Reader(LISTS), limit=1)
