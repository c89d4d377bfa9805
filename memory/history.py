"""The one source of evidence: what may be known of a pair before a time.

Training, reward, evaluation and serving all ask here, so that no later review and no review of the pair itself can
reach a model's input.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Integer, Select, bindparam, func, or_, select

from whylike.memory.conversed import NEWEST_STATED
from whylike.memory.neighbours import nearest_raters
from whylike.memory.schema import NEWEST, Row, record, records, reviews, stated_preferences
from whylike.memory.store import Store
from whylike.records import History, ItemProfile, Preference, Rated, Record, Review


def history(
    store: Store,
    user_id: str,
    item_id: str,
    before: int,
    limit: int = 10,
    *,
    item_profile: ItemProfile = ItemProfile.ALL,
) -> History:
    """The newest reviews and the averages of a user and an item strictly earlier than `before`.

    The user's own reviews of the item are neither among the reviews nor in the averages. Votes that a review is helpful
    are those that the store knows: nobody says when they were cast.

    Args:
        store: Where the reviews are.
        user_id: The user, who need not be in the store.
        item_id: The item, which need not be in the store.
        before: Seconds since 1970; a review at this very second is too late.
        limit: Most reviews of either side.
        item_profile: Which reviews of the item are wanted; where no neighbours are known it is the newest ones.

    Returns:
        Up to `limit` reviews of either side, newest first, ties in order of review id, the count and mean of all
        earlier ratings of either side, and what the user had said of their own taste. Helpful reviews of an item stand
        in order of their votes, those of neighbours in that of their similarity.

    Raises:
        StoreError: The database failed.
    """
    user = {"own": user_id, "other": item_id, "before": before, "limit": limit}
    item = {"own": item_id, "other": user_id, "before": before, "limit": limit}
    with store.database.read() as connection:
        chosen = _reviews(connection, _ITEM.newest, item)
        newest = tuple(review.rating for review in chosen)
        if item_profile is ItemProfile.HELPFUL:
            chosen = _reviews(connection, _HELPFUL, item)
        elif item_profile is ItemProfile.NEIGHBOURS:
            near = _by_neighbours(connection, item)
            chosen, item_profile = (near, item_profile) if near else (chosen, ItemProfile.ALL)
        return History(
            user_id=user_id,
            item_id=item_id,
            before=before,
            user_reviews=_reviews(connection, _USER.newest, user),
            item_reviews=chosen,
            item_profile=item_profile,
            item_newest=newest,
            user_rated=record(Rated, connection.execute(_USER.rated, user).mappings().one()),
            item_rated=record(Rated, connection.execute(_ITEM.rated, item).mappings().one()),
            stated=tuple(records(Preference, connection.execute(_STATED, user).mappings())),
        )


def general(store: Store, user_id: str, item_id: str, before: int) -> Rated:
    """The count and mean of all ratings strictly earlier than `before`, but for the user's own of the item.

    Raises:
        StoreError: The database failed.
    """
    rated = store.mean_rating(before)
    with store.database.read() as connection:
        count, total = connection.execute(_OWN, {"user": user_id, "item": item_id, "before": before}).one()
    left = rated.count - count
    if rated.average is None or left <= 0:
        return Rated()
    return Rated(count=left, average=(rated.average * rated.count - total) / left)


class RatedAt(Record):
    """A rating that was given, and when."""

    review_id: str
    user_id: str
    item_id: str
    rating: float
    timestamp: int


def newest_ratings(store: Store, user_id: str, item_id: str, before: int, limit: int) -> list[RatedAt]:
    """The newest ratings of all strictly earlier than `before`, newest first, but for the user's own of the item.

    Raises:
        StoreError: The database failed.
    """
    query = (
        select(*(reviews.c[name] for name in RatedAt.model_fields))
        .where(reviews.c.timestamp < before, or_(reviews.c.user_id != user_id, reviews.c.item_id != item_id))
        .order_by(*NEWEST)
        .limit(limit)
    )
    with store.database.read() as connection:
        return records(RatedAt, connection.execute(query).mappings())


class _Side:
    """The two questions about one side of a pair."""

    def __init__(self, own: Column[str], other: Column[str]) -> None:
        earlier = (
            own == bindparam("own"),
            other != bindparam("other"),
            reviews.c.timestamp < bindparam("before"),
        )
        self.earlier = select(reviews).where(*earlier).limit(bindparam("limit", type_=Integer))
        self.newest = self.earlier.order_by(*NEWEST)
        self.rated = select(func.count().label("count"), func.avg(reviews.c.rating).label("average")).where(*earlier)


_USER = _Side(reviews.c.user_id, reviews.c.item_id)
_ITEM = _Side(reviews.c.item_id, reviews.c.user_id)
_OWN = select(func.count(), func.coalesce(func.sum(reviews.c.rating), 0.0)).where(
    reviews.c.user_id == bindparam("user"),
    reviews.c.item_id == bindparam("item"),
    reviews.c.timestamp < bindparam("before"),
)
_STATED = (
    select(stated_preferences)
    .where(stated_preferences.c.user_id == bindparam("own"), stated_preferences.c.stated_at < bindparam("before"))
    .order_by(*NEWEST_STATED)
)
_HELPFUL = _ITEM.earlier.order_by(reviews.c.helpful.desc(), *NEWEST)
_OF_SOME = _ITEM.newest.where(reviews.c.user_id.in_(bindparam("users", expanding=True)))


def _reviews(connection: Connection, query: Select[Any], asked: Row) -> tuple[Review, ...]:
    return tuple(records(Review, connection.execute(query, asked).mappings()))


def _by_neighbours(connection: Connection, asked: Row) -> tuple[Review, ...]:
    """The reviews of the item by the users most like the other side, the most similar first."""
    near = nearest_raters(connection, asked["other"], asked["own"], asked["before"])
    found = _reviews(connection, _OF_SOME, asked | {"users": near}) if near else ()
    return tuple(sorted(found, key=lambda review: near.index(review.user_id)))
