"""The plan of a reason: what meets the user's tastes first, what is commonest after it."""

from __future__ import annotations

import pytest

from whylike.agents.matching import Kind, Point
from whylike.agents.plans import Plan, Stance, drawn
from whylike.records import AspectLists

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
    assert drawn("Northern Lights", POINTS, 0.0, USER, ITEM) == Plan(
        title="Northern Lights",
        enjoys=("silence", "slow shots", "rain", "trains"),
        minds=("Shouting", "gore"),
        praised=("Quiet scenes", "a fine score"),
        faulted=("much yelling", "too long"),
        stance=Stance.MIXED,
    )


@pytest.mark.parametrize(("balance", "stance"), [(0.3, Stance.FOR), (-0.3, Stance.AGAINST), (0.2, Stance.MIXED)])
def test_the_balance_decides_the_stance(balance: float, stance: Stance):
    assert drawn("", (), balance, USER, ITEM).stance is stance


@pytest.mark.parametrize(
    ("user", "item", "both"),
    [(USER, ITEM, True), (NOTHING, ITEM, False), (USER, NOTHING, False)],
)
def test_a_plan_needs_something_of_either_side(user: AspectLists, item: AspectLists, both: bool):
    assert drawn("", (), 0.0, user, item).both is both
