"""Items in the order of their ratings, for where a user asks for the best of them."""

from __future__ import annotations

from sqlalchemy import func, select

from whylike.memory.schema import reviews
from whylike.memory.store import Store

DAMPING = 5.0
"""Ratings at the general mean that stand beside the real ones in a damped mean (lenskit's default is 5)."""


def best_rated(store: Store, user_id: str, before: int, n: int) -> list[str]:
    """The items with the highest damped means of which the user has written no review.

    Args:
        store: Where the ratings are.
        user_id: Who need not be known.
        before: Seconds since 1970; only earlier ratings count.
        n: Most items.

    Returns:
        Ids, the highest mean first, ties in order of id.

    Raises:
        StoreError: The database failed.
    """
    mean = store.mean_rating(before).average or 0.0
    own = select(reviews.c.item_id).where(reviews.c.user_id == user_id)
    damped = (func.sum(reviews.c.rating) + DAMPING * mean) / (func.count() + DAMPING)
    query = (
        select(reviews.c.item_id)
        .where(reviews.c.timestamp < before, reviews.c.item_id.not_in(own))
        .group_by(reviews.c.item_id)
        .order_by(damped.desc(), reviews.c.item_id)
        .limit(n)
    )
    with store.database.read() as connection:
        return list(connection.execute(query).scalars())
