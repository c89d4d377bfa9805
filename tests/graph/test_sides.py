"""Where the two sides of a pair meet: what a reason makes of the points and the averages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.plans import Stance
from whylike.graph import sides
from whylike.graph.pair import Services
from whylike.records import Review, ReviewSummary


def meeting(services: Services, liked: bool) -> sides.Meeting:
    """Of `dee` and `ship`: both like, or both dislike, the same."""
    told = ("slimy creatures of rubber and wires",)

    def summary(review_id: str) -> ReviewSummary:
        return ReviewSummary(review_id=review_id, adapter_version="v", **{"likes" if liked else "dislikes": told})

    known = sides.recalled(services, "dee", "ship", services.now())
    return sides.meeting(services, known, [summary("unrated-user")], [summary("unrated-item")])


@pytest.mark.parametrize(
    ("liked", "rating", "way"),
    [(True, 5, Stance.FOR), (True, 1, Stance.MIXED), (False, 1, Stance.AGAINST), (False, 5, Stance.MIXED)],
)
def test_a_reason_goes_no_way_that_the_averages_are_against(
    liked: bool, rating: float, way: Stance, opened: Callable[..., AbstractContextManager[Services]]
):
    crowd = [
        Review(review_id=f"c{n}", user_id=user, item_id="ship", rating=rating, text="x", timestamp=n)
        for n, user in enumerate(f"u{n}" for n in range(40))
    ]
    with opened(ScriptedEngine(), *crowd) as services:
        met = meeting(services, liked)
    assert len(met.points) == 1
    assert (met.balance > 0) is liked
    assert met.stance is way
    assert met.item
    assert met.item.item_id == "ship"


def test_it_knows_no_average_of_later(opened: Callable[..., AbstractContextManager[Services]]):
    later = [
        Review(review_id=f"c{n}", user_id=f"u{n}", item_id="ship", rating=1, text="x", timestamp=1_900)
        for n in range(40)
    ]
    with opened(ScriptedEngine(), *later) as services:
        told = ReviewSummary(review_id="q", adapter_version="v", likes=("slimy creatures of rubber and wires",))
        own = told.model_copy(update={"review_id": "u"})
        ways = [
            sides.meeting(services, sides.recalled(services, "dee", "ship", before), [own], [told]).stance
            for before in (1_900, 1_901)
        ]
    assert ways == [Stance.FOR, Stance.MIXED]
