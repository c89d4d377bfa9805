"""When a teacher is asked in the student's place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.agents.router import Route
from whylike.agents.unsure import FEWEST, WIDE, Doubt, doubts, spread, unread
from whylike.explanation import Rating, Reason, Sentence
from whylike.records import Review, ReviewSummary


def rating(*shares: float, step: float = 1.0) -> Rating:
    return Rating(
        scale=[1, 1 + step * (len(shares) - 1), step],
        expectation=1,
        mode=1,
        distribution={f"{1 + step * number:g}": share for number, share in enumerate(shares)},
        interval=[1, 1],
        uncalibrated_expectation=1,
        bias_baseline=1,
    )


def reason(*supported: bool) -> Reason:
    sentences = [Sentence(text="So.", evidence=["r1"] if holds else [], supported=holds) for holds in supported]
    return Reason(text=" ".join("So." for _ in supported), sentences=sentences)


SURE = rating(0, 0, 0, 0.2, 0.8)
SPLIT = rating(0.5, 0, 0, 0, 0.5)

shares = st.lists(st.floats(0.001, 1), min_size=2, max_size=11)
reasons = st.none() | st.lists(st.booleans(), min_size=1, max_size=5).map(lambda held: reason(*held))
ratings = shares.map(lambda drawn: rating(*(share / sum(drawn) for share in drawn)))


@pytest.mark.parametrize(
    ("told", "foretold", "left_out", "found"),
    [
        (reason(True, True), SURE, 0, ()),
        (None, SURE, 0, (Doubt.NO_REASON,)),
        (reason(True, False), SURE, 0, (Doubt.UNSUPPORTED,)),
        (reason(True), SURE, 1, (Doubt.UNSUPPORTED,)),
        (reason(True), SPLIT, 0, (Doubt.WIDE,)),
        (None, SPLIT, 0, (Doubt.NO_REASON, Doubt.WIDE)),
    ],
)
def test_what_is_doubtful(told: Reason | None, foretold: Rating, left_out: int, found: tuple[Doubt, ...]):
    assert doubts(told, foretold, Route.KNOWN, left_out=left_out) == found


@given(reasons, ratings, st.sampled_from(Route), st.integers(0, 3))
def test_there_is_no_doubt_where_a_side_is_not_known_and_none_without_a_cause(
    told: Reason | None, foretold: Rating, way: Route, left_out: int
):
    found = doubts(told, foretold, way, left_out=left_out)
    assert not found or way is Route.KNOWN
    assert len(set(found)) == len(found)
    assert (Doubt.NO_REASON in found) <= (told is None)
    assert not {Doubt.NO_REASON, Doubt.UNSUPPORTED} <= set(found)
    whole = told is not None and all(one.supported for one in told.sentences) and not left_out
    if whole and spread(foretold) < WIDE:
        assert found == ()


@given(shares, st.floats(0.1, 10))
def test_the_spread_depends_on_the_shares_alone_and_turning_the_scale_round_changes_nothing(
    drawn: list[float], step: float
):
    of = [share / sum(drawn) for share in drawn]
    found = spread(rating(*of))
    assert 0 <= found <= 0.5 + 1e-9
    assert spread(rating(*of, step=round(step, 1))) == pytest.approx(found, abs=1e-3)
    assert spread(rating(*reversed(of))) == pytest.approx(found)


def test_the_spread_of_what_is_sure_and_of_what_is_not():
    assert spread(rating(0, 0, 1)) == 0
    assert spread(SPLIT) == 0.5
    assert spread(rating(*[0.2] * 5)) == pytest.approx(0.3536, abs=1e-4)


def test_a_review_that_says_something_but_has_an_empty_summary_is_unread():
    def review(number: int, words: int) -> Review:
        text = " ".join(["word"] * words)
        return Review(review_id=f"r{number}", user_id="u", item_id="i", rating=3, text=text, timestamp=1)

    def summary(number: int, *likes: str) -> ReviewSummary:
        return ReviewSummary(review_id=f"r{number}", likes=likes, preferences=("sound",), adapter_version="x")

    reviews = [review(1, FEWEST), review(2, FEWEST - 1), review(3, FEWEST), review(4, FEWEST)]
    summaries = {each.review_id: each for each in (summary(1), summary(2), summary(3, "warm"))}
    assert [each.review_id for each in unread(reviews, summaries)] == ["r1"]
