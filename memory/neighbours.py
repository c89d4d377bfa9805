"""The users most like one user among those who rated an item: adjusted cosine of what both rated before a time.

Each user's ratings are taken as a vector over the items, less the user's mean, in which a missing rating is zero; so a
product runs over the items that both rated, and somebody who shares few of many is not near. `history.py` asks.
"""

from __future__ import annotations

import math

from sqlalchemy import Connection, Integer, bindparam, func, select

from whylike.memory.schema import reviews

MOST = 3
"""Neighbours, as in the papers."""
RATERS = 500
"""Of those who rated the item, the newest so many are looked at, so that a hot item stays quick."""
DIGITS = 9
"""Digits that count: the last ones depend on the order of adding up."""


def nearest_raters(connection: Connection, user_id: str, item_id: str, before: int) -> list[str]:
    """The users most similar to one among those who rated an item, the most similar first.

    Args:
        connection: To the store.
        user_id: The user; the user's own ratings of the item count for nothing.
        item_id: The item.
        before: Seconds since 1970; only ratings strictly earlier count, in the similarities too.

    Returns:
        At most `MOST` users, each of a similarity above 0; of alike ones the first by id.
    """
    asked = {"user": user_id, "item": item_id, "before": before, "raters": RATERS}
    mean = connection.execute(_MEAN, asked).scalar_one()
    if mean is None:
        return []
    close = []
    for each in connection.execute(_SUMS, asked):
        own = each.total / each.rated
        product = round(each.products - mean * each.theirs - own * each.ours + each.both * mean * own, DIGITS)
        square = round(each.squares - each.total * own, DIGITS)
        if product > 0 and square > 0:
            close.append((-round(product / math.sqrt(square), DIGITS), each.user_id))
    return [name for _, name in sorted(close)[:MOST]]


_EARLIER = reviews.c.timestamp < bindparam("before")
# One rating of each item: the mean where somebody rated it more than once.
_OURS = (
    select(reviews.c.item_id, func.avg(reviews.c.rating).label("rating"))
    .where(reviews.c.user_id == bindparam("user"), reviews.c.item_id != bindparam("item"), _EARLIER)
    .group_by(reviews.c.item_id)
    .cte("ours")
)
_MEAN = select(func.avg(_OURS.c.rating))
_NEWEST = (
    select(reviews.c.user_id)
    .where(reviews.c.item_id == bindparam("item"), reviews.c.user_id != bindparam("user"), _EARLIER)
    .order_by(reviews.c.timestamp.desc(), reviews.c.user_id)
    .limit(bindparam("raters", type_=Integer))
    .subquery()
)
_THEIRS = (
    select(reviews.c.user_id, reviews.c.item_id, func.avg(reviews.c.rating).label("rating"))
    .where(reviews.c.user_id.in_(select(_NEWEST.c.user_id)), _EARLIER)
    .group_by(reviews.c.user_id, reviews.c.item_id)
    .cte("theirs")
)
_SHARED = func.count(_OURS.c.rating)
# The length of the user's own vector is the same for all, so it does not matter who is nearest.
_SUMS = (
    select(
        _THEIRS.c.user_id,
        func.count().label("rated"),
        func.sum(_THEIRS.c.rating).label("total"),
        func.sum(_THEIRS.c.rating * _THEIRS.c.rating).label("squares"),
        _SHARED.label("both"),
        func.sum(_OURS.c.rating).label("ours"),
        func.sum(_THEIRS.c.rating).filter(_OURS.c.rating.is_not(None)).label("theirs"),
        func.sum(_OURS.c.rating * _THEIRS.c.rating).label("products"),
    )
    .select_from(_THEIRS.outerjoin(_OURS, _OURS.c.item_id == _THEIRS.c.item_id))
    .group_by(_THEIRS.c.user_id)
    .having(_SHARED > 0)
)
