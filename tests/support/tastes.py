"""Pairs of which the summaries are given, as matching gets them."""

from __future__ import annotations

from whylike.agents.matching import Sides
from whylike.records import History, Rated, RatingScale, Review, ReviewSummary

SCALE = RatingScale()


def review(review_id: str, user_id: str, item_id: str, rating: float = 3) -> Review:
    return Review(review_id=review_id, user_id=user_id, item_id=item_id, rating=rating, text="x", timestamp=1)


def summary(review_id: str, likes: tuple[str, ...] = (), dislikes: tuple[str, ...] = ()) -> ReviewSummary:
    return ReviewSummary(review_id=review_id, likes=likes, dislikes=dislikes, adapter_version="v")


def sides(
    user: list[ReviewSummary],
    item: list[ReviewSummary],
    texts: dict[str, str] | None = None,
    ratings: dict[str, float] | None = None,
    usual: float = 3.0,
) -> Sides:
    """A pair in which the user's review `rN` is of the item `iN`."""
    given_ratings = ratings or {}
    return Sides(
        History(
            user_id="u",
            item_id="target",
            before=9,
            user_reviews=tuple(
                review(made.review_id, "u", f"i{made.review_id[1:]}", given_ratings.get(made.review_id, 3))
                for made in user
            ),
            item_reviews=tuple(
                review(made.review_id, f"v{made.review_id}", "target", given_ratings.get(made.review_id, 3))
                for made in item
            ),
            user_rated=Rated(count=len(user), average=usual if user else None),
        ),
        user,
        item,
        texts or {},
        SCALE,
    )
