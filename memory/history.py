"""The one source of evidence: what may be known of a pair before a time.

Training, reward, evaluation and serving all ask here, so that no later review and no review of the pair itself can
reach a model's input.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, bindparam, func, select

from whylike.memory.schema import NEWEST, record, records, reviews
from whylike.memory.store import Store
from whylike.records import History, Rated, Review


def history(store: Store, user_id: str, item_id: str, before: int, limit: int = 10) -> History:
    """The newest reviews and the averages of a user and an item strictly earlier than `before`.

    The user's own reviews of the item are neither among the reviews nor in the averages.

    Args:
        store: Where the reviews are.
        user_id: The user, who need not be in the store.
        item_id: The item, which need not be in the store.
        before: Seconds since 1970; a review at this very second is too late.
        limit: Most reviews of either side.

    Returns:
        Up to `limit` reviews of either side, newest first, ties in order of review id, and the count and mean of all
        earlier ratings of either side.

    Raises:
        StoreError: The database failed.
    """
    user = {"own": user_id, "other": item_id, "before": before, "limit": limit}
    item = {"own": item_id, "other": user_id, "before": before, "limit": limit}
    with store.database.read() as connection:
        return History(
            user_id=user_id,
            item_id=item_id,
            before=before,
            user_reviews=tuple(records(Review, connection.execute(_USER.newest, user).mappings())),
            item_reviews=tuple(records(Review, connection.execute(_ITEM.newest, item).mappings())),
            user_rated=record(Rated, connection.execute(_USER.rated, user).mappings().one()),
            item_rated=record(Rated, connection.execute(_ITEM.rated, item).mappings().one()),
        )


def general(store: Store, user_id: str, item_id: str, before: int) -> Rated:
    """The count and mean of all ratings strictly earlier than `before`, but for the user's own of the item.

    Raises:
        StoreError: The database failed.
    """
    rated = store.mean_rating(before)
    own = select(func.count(), func.coalesce(func.sum(reviews.c.rating), 0.0)).where(
        reviews.c.user_id == user_id, reviews.c.item_id == item_id, reviews.c.timestamp < before
    )
    with store.database.read() as connection:
        count, total = connection.execute(own).one()
    left = rated.count - count
    if rated.average is None or left <= 0:
        return Rated()
    return Rated(count=left, average=(rated.average * rated.count - total) / left)


class _Side:
    """The two questions about one side of a pair."""

    def __init__(self, own: Column[str], other: Column[str]) -> None:
        earlier = (
            own == bindparam("own"),
            other != bindparam("other"),
            reviews.c.timestamp < bindparam("before"),
        )
        self.newest = select(reviews).where(*earlier).order_by(*NEWEST).limit(bindparam("limit", type_=Integer))
        self.rated = select(func.count().label("count"), func.avg(reviews.c.rating).label("average")).where(*earlier)


_USER = _Side(reviews.c.user_id, reviews.c.item_id)
_ITEM = _Side(reviews.c.item_id, reviews.c.user_id)
