"""The router: four ways."""

from __future__ import annotations

import pytest

from whylike.agents.router import Route, route
from whylike.records import History, Review

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
    way = route(known, user_profiled=user_by in {"profile", "both"}, item_profiled=item_by in {"profile", "both"})
    assert (
        way
        is {
            (True, True): Route.KNOWN,
            (False, True): Route.NEW_USER,
            (True, False): Route.NEW_ITEM,
            (False, False): Route.NOTHING,
        }[user_by != "nothing", item_by != "nothing"]
    )
