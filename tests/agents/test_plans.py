"""The plan of a reason: what meets the user's tastes first, what is commonest after it."""

from __future__ import annotations

import pytest

from whylike.agents.matching import Kind, Point
from whylike.agents.plans import BAD, CLEAR, FINE, GOOD, POOR, Plan, Stance, drawn, leaning, led, stance
from whylike.explanation import AspectLists

NOTHING = AspectLists(likes=(), dislikes=())
USER = AspectLists(likes=("slow shots", "silence", "rain", "trains"), dislikes=("shouting", "gore", "haste"))
ITEM = AspectLists(likes=("quiet scenes", "a fine score"), dislikes=("too long",))
POINTS = (
    Point(
        kind=Kind.DRAW, strength=0.8, quality="Quiet scenes", quality_review="r1", taste="silence", taste_review="u1"
    ),
    Point(
        kind=Kind.CLASH, strength=0.7, quality="much yelling", quality_review="r2", taste="Shouting", taste_review="u2"
    ),
    Point(kind=Kind.PRECEDENT_FOR, strength=0.6, taste_review="u3"),
    Point(kind=Kind.FAULT, strength=0.1, quality="five stars, not", quality_review="r4"),
)


def test_what_meets_comes_first_and_nothing_twice():
    assert drawn("Northern Lights", POINTS, Stance.MIXED, USER, ITEM) == Plan(
        title="Northern Lights",
        enjoys=("silence", "slow shots", "rain", "trains"),
        minds=("Shouting", "gore"),
        praised=("Quiet scenes", "a fine score"),
        faulted=("much yelling", "too long"),
        stance=Stance.MIXED,
    )


def test_what_is_missed_is_something_that_the_user_enjoys():
    lack = Point(
        kind=Kind.LACK, strength=0.7, quality="no silence", quality_review="r5", taste="silence", taste_review="u1"
    )
    plan = drawn("Heat", [lack], Stance.AGAINST, NOTHING, NOTHING)
    assert (plan.enjoys, plan.minds, plan.praised, plan.faulted) == (("silence",), (), (), ("no silence",))


@pytest.mark.parametrize(
    ("balance", "foretold", "way"),
    [
        (CLEAR, None, Stance.FOR),
        (-CLEAR, None, Stance.AGAINST),
        (CLEAR - 0.01, None, Stance.MIXED),
        (CLEAR, GOOD, Stance.FOR),
        (1.5, GOOD - 0.01, Stance.MIXED),
        (-CLEAR, POOR - 0.01, Stance.AGAINST),
        (-1.5, POOR, Stance.MIXED),
        (0.0, FINE, Stance.FOR),
        (CLEAR - 0.01, FINE - 0.01, Stance.MIXED),
        (0.0, BAD - 0.01, Stance.AGAINST),
        (0.0, BAD, Stance.MIXED),
    ],
)
def test_a_reason_takes_no_side_that_its_points_or_the_averages_are_against(
    balance: float, foretold: float | None, way: Stance
):
    assert stance(balance, foretold) is way


def test_points_that_all_go_one_way_take_that_side():
    draw, clash, precedent, fault = POINTS
    assert leaning(0.1, (draw, precedent)) == CLEAR
    assert leaning(0.1, (clash, fault)) == -CLEAR
    assert leaning(0.9, (draw, precedent)) == 0.9
    assert leaning(-0.9, (clash, fault)) == -0.9
    for mixed_or_few in (POINTS, (draw,), ()):
        assert leaning(0.1, mixed_or_few) == 0.1


def test_a_reason_begins_with_a_point_that_goes_its_way():
    draw, clash, precedent, fault = POINTS
    assert led(POINTS, Stance.FOR) == (POINTS, Stance.FOR)
    assert led(POINTS, Stance.MIXED) == (POINTS, Stance.MIXED)
    assert led(POINTS, Stance.AGAINST) == ((clash, draw, precedent, fault), Stance.AGAINST)
    assert led((draw, precedent), Stance.AGAINST) == ((draw, precedent), Stance.MIXED), "there is none"
    assert led((fault,), Stance.FOR) == ((fault,), Stance.MIXED)
    assert led((), Stance.FOR) == ((), Stance.MIXED)


@pytest.mark.parametrize(
    ("user", "item", "both"),
    [(USER, ITEM, True), (NOTHING, ITEM, False), (USER, NOTHING, False)],
)
def test_a_plan_needs_something_of_either_side(user: AspectLists, item: AspectLists, both: bool):
    assert drawn("", (), Stance.MIXED, user, item).both is both
