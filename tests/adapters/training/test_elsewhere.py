"""Pairs told as another store would have them: the order of ratings stays, and nothing is told that was not known."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.adapters.training.elsewhere import SCATTER, Retelling, by_profiles, retold
from whylike.agents.dossier import Dossier
from whylike.records import History, Profile, Rated, RatingScale, Review, ReviewSummary, Side

FIVE, TEN = RatingScale.parse("1:5"), RatingScale.parse("1:10")
SCALES = [FIVE, TEN, RatingScale.parse("0.5:5:0.5"), RatingScale.parse("0:1"), RatingScale.parse("-2:2")]


def known(average: float = 4.5) -> Dossier:
    reviews = tuple(
        Review(review_id=f"r{n}", user_id="u", item_id=f"i{n}", rating=1 + n % 5, text=f"Word{n}.", timestamp=n)
        for n in range(10)
    )
    history = History(
        user_id="u",
        item_id="i",
        before=99,
        user_reviews=reviews[:6],
        item_reviews=reviews[6:],
        item_newest=(5, 4),
        user_rated=Rated(count=6, average=average),
        item_rated=Rated(),
    )
    summary = ReviewSummary(review_id="r1", likes=("warm",), adapter_version="x")
    titles = {f"i{n}": f"Item {n}" for n in range(10)} | {"i": "Heat"}
    return Dossier(history, titles, {"r1": summary})


@given(st.sampled_from(SCALES), st.sampled_from(SCALES), st.text(), st.data())
def test_any_scale_is_told_on_any_other_and_always_in_the_same_way(
    own: RatingScale, other: RatingScale, key: str, data: st.DataObject
):
    rating = data.draw(st.sampled_from(own.values))
    assert Retelling(own, other, key).rating(rating) == Retelling(own, other, key).rating(rating)
    assert Retelling(own, other, key).rating(rating) in other
    lower, upper = sorted(data.draw(st.lists(st.floats(own.minimum, own.maximum), min_size=2, max_size=2)))
    told = Retelling(own, other, key)
    averages = [told.rated(Rated(count=3, average=each)).average for each in (lower, upper)]
    assert None not in averages
    assert other.minimum <= averages[0] <= averages[1] <= other.maximum
    assert told.rated(Rated()) == Rated()


def test_the_map_keeps_the_order_of_ratings_and_what_scatters_lies_around_it():
    far = {rating: Counter[float]() for rating in FIVE.values}
    for number in range(200):
        told = Retelling(FIVE, TEN, f"r{number}")
        middles = [told.rated(Rated(count=1, average=rating)).average for rating in FIVE.values]
        assert middles == sorted(set(middles))
        for rating, middle in zip(FIVE.values, middles, strict=True):
            far[rating][told.rating(rating) - middle] += 1
    for offsets in far.values():
        assert set(offsets) == {-1, 0, 1}
    assert far[3][0] == pytest.approx(200 * SCATTER[1], abs=30)
    assert min(far[3][-1], far[3][1]) > 25


def test_only_ratings_are_told_otherwise():
    before = known()
    after = retold(before, Retelling(FIVE, TEN, "r"))
    assert (after.titles, after.summaries) == (before.titles, before.summaries)
    for side in ("user_reviews", "item_reviews"):
        own, other = getattr(before.history, side), getattr(after.history, side)
        assert [review.model_copy(update={"rating": 0}) for review in own] == [
            review.model_copy(update={"rating": 0}) for review in other
        ]
        assert all(review.rating in TEN for review in other)
    assert after.history.user_rated.count == 6
    assert after.history.item_rated == Rated()
    assert after.history.item_newest == (), "none is left on the scale that it was on"


def test_with_profiles_no_review_is_left_and_averages_count_as_they_are_served():
    liked = Profile(side=Side.USER, subject_id="u", likes=("warm sound",), adapter_version="x", average=1.0)
    told = by_profiles(known(), {Side.USER: liked}, 10)
    assert told.history.user_reviews == told.history.item_reviews == ()
    assert (told.summaries, told.titles) == ({}, {"i": "Heat"})
    assert told.history.user_rated == Rated(count=10, average=4.5), "its own average was known before the retelling"
    assert told.history.item_rated == Rated()
    assert told.profiles == {Side.USER: liked}
