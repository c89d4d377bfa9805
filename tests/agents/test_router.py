"""The router: four ways, and what has to be read."""

from __future__ import annotations

import pytest

from whylike.agents.router import Route, plan, route
from whylike.records import History, Review, Side

REVIEW = Review(review_id="r", user_id="a", item_id="b", rating=3, text="x", timestamp=0)


@pytest.mark.parametrize("user_by", ["nothing", "reviews", "profile", "both"])
@pytest.mark.parametrize("item_by", ["nothing", "reviews", "profile", "both"])
def test_the_way_of_a_pair(user_by: str, item_by: str):
    known = History(
        user_id="u",
        item_id="i",
        before=1,
        user_reviews=(REVIEW,) if user_by in {"reviews", "both"} else (),
        item_reviews=(REVIEW,) if item_by in {"reviews", "both"} else (),
    )
    imported = {side for side, by in ((Side.USER, user_by), (Side.ITEM, item_by)) if by in {"profile", "both"}}
    way = route(known, imported)
    assert (
        way
        is {
            (True, True): Route.KNOWN,
            (False, True): Route.NEW_USER,
            (True, False): Route.NEW_ITEM,
            (False, False): Route.NOTHING,
        }[user_by != "nothing", item_by != "nothing"]
    )


def test_what_has_no_summary_or_a_stale_one_is_read():
    reviews = [REVIEW.model_copy(update={"review_id": id_}) for id_ in ("fresh", "stale", "new")]
    known = History(user_id="u", item_id="i", before=1, user_reviews=tuple(reviews[:2]), item_reviews=(reviews[2],))
    way = plan(known, fresh={"fresh"}, summarized={"fresh", "stale"})
    assert (way.route, way.missing, way.stale) == (Route.KNOWN, ("stale", "new"), ("stale",))
    assert plan(known, fresh=(), summarized=(), with_reason=False).missing == ()
