"""Where the two sides of a pair meet: what a reason makes of the points and the averages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.matching import Kind
from whylike.agents.plans import CLEAR, Stance
from whylike.graph import sides
from whylike.graph.pair import Services
from whylike.records import Review, ReviewSummary
from whylike.settings import Settings

RUBBER = "slimy creatures of rubber and wires"


def summary(review_id: str, likes: tuple[str, ...] = (), dislikes: tuple[str, ...] = ()) -> ReviewSummary:
    return ReviewSummary(review_id=review_id, adapter_version="v", likes=likes, dislikes=dislikes)


def meeting(
    services: Services, user: ReviewSummary, item: list[ReviewSummary], before: int | None = None
) -> sides.Meeting:
    """Of `dee` and `ship`; the reviews are none of the history's."""
    known = sides.recalled(services, "dee", "ship", before or services.now())
    return sides.meeting(services, known, [user], item)


def crowd(rating: float, timestamp: int = 1) -> list[Review]:
    return [
        Review(review_id=f"c{n}", user_id=f"u{n}", item_id="ship", rating=rating, text="x", timestamp=timestamp)
        for n in range(40)
    ]


@pytest.mark.parametrize(
    ("liked", "rating", "way"),
    [(True, 5, Stance.FOR), (True, 1, Stance.MIXED), (False, 1, Stance.AGAINST), (False, 5, Stance.MIXED)],
)
def test_a_reason_goes_no_way_that_the_averages_are_against(
    liked: bool, rating: float, way: Stance, opened: Callable[..., AbstractContextManager[Services]]
):
    """Both like, or both dislike, the same."""
    said = {"likes" if liked else "dislikes": (RUBBER,)}
    with opened(ScriptedEngine(), *crowd(rating)) as services:
        met = meeting(services, summary("u", **said), [summary("i", **said)])
    assert len(met.points) == 1
    assert (met.balance > 0) is liked
    assert met.stance is way
    assert met.item
    assert met.item.item_id == "ship"


@pytest.mark.parametrize(("rating", "way"), [(5, Stance.FOR), (3, Stance.MIXED), (1, Stance.AGAINST)])
def test_where_the_points_take_no_side_the_averages_do_and_a_point_of_theirs_comes_first(
    rating: float, way: Stance, opened: Callable[..., AbstractContextManager[Services]]
):
    praise, fault = ("the sea looks cold and endless",), ("the dialogue is hard to hear",)
    with opened(ScriptedEngine(), *crowd(rating)) as services:
        met = meeting(services, summary("u"), [summary("i", praise), summary("j", (), fault)])
    assert abs(met.balance) < CLEAR
    assert met.stance is way
    assert len(met.points) == 2
    if way is not Stance.MIXED:
        assert met.points[0].kind is (Kind.PRAISE if way is Stance.FOR else Kind.FAULT)


def test_it_knows_no_average_of_later(opened: Callable[..., AbstractContextManager[Services]]):
    with opened(ScriptedEngine(), *crowd(1, 1_900)) as services:
        ways = [
            meeting(services, summary("u", (RUBBER,)), [summary("i", (RUBBER,))], before).stance
            for before in (1_900, 1_901)
        ]
    assert ways == [Stance.FOR, Stance.MIXED]


def test_where_nothing_was_rated_the_points_alone_decide(folder: Path):
    with Services.open(Settings(store=folder, engine="scripted"), engine=ScriptedEngine()) as services:
        known = sides.recalled(services, "a", "b", 9)
        ways = [
            sides.meeting(services, known, [summary("u", **said)], [summary("i", **said)])
            for said in ({"likes": (RUBBER,)}, {"dislikes": (RUBBER,)})
        ]
    assert [met.stance for met in ways] == [Stance.FOR, Stance.AGAINST]
