"""The part of the store that people wrote: items, users, reviews and ratings to evaluate against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

from sqlalchemy import Connection, RowMapping, bindparam, exists, func, insert, literal, select

from whylike.memory.arrivals import number
from whylike.memory.database import Database, chunks
from whylike.memory.forgotten import admitted
from whylike.memory.notice import notify
from whylike.memory.quoting import same_text
from whylike.memory.scales import settle
from whylike.memory.schema import (
    NEWEST,
    Collection,
    Row,
    items,
    rated_pairs,
    rating_totals,
    record,
    records,
    reviews,
    row,
    users,
)
from whylike.records import Item, Rated, RatedPair, RatingScale, Review

DAY = 86_400
"""Seconds of the days by which the ratings are totalled."""
_WHOLE_DAYS = select(func.sum(rating_totals.c["count"]), func.sum(rating_totals.c.total)).where(
    rating_totals.c.day < bindparam("day")
)
_REST = select(func.count(), func.sum(reviews.c.rating)).where(
    reviews.c.timestamp >= bindparam("midnight"), reviews.c.timestamp < bindparam("before")
)


class Reviewed:
    """What people wrote; a part of `Store`."""

    database: Database

    def add_items(self, new: Iterable[Item]) -> None:
        """Add items, or bring those that are there up to date; a field that comes empty leaves what is there."""
        upsert = self.database.insert(items)
        updates = {
            name: func.coalesce(func.nullif(upsert.excluded[name], literal(empty, items.c[name].type)), items.c[name])
            for name, empty in (("title", ""), ("description", ""), ("categories", ()))
        }
        rows = {item.item_id: row(item) for item in new}
        if rows:
            with self.database.write() as connection:
                before = _items(connection, rows)
                connection.execute(
                    upsert.on_conflict_do_update(index_elements=["item_id"], set_=updates), list(rows.values())
                )
                changed = (id_ for id_, now in _items(connection, rows).items() if now != before.get(id_))
                notify(connection, Collection.ITEMS, ((item_id, "") for item_id in changed))

    def add_reviews(
        self,
        new: Iterable[Review],
        *,
        scale: RatingScale | None = None,
        taken: Callable[[Review, Review], None] | None = None,
        left_out: Callable[[Review, str], None] | None = None,
    ) -> int:
        """Add reviews, with their users and items where these are missing; a review whose id is there is left as it is.

        Args:
            new: The reviews.
            scale: What they are rated on, which the first of all ratings settles for the store.
            taken: Told of each review whose id belongs to a different one, and of that one. What it raises undoes all.
            left_out: Told of each review that was removed or whose user asked to be forgotten, and that; such
                reviews are not added.

        Returns:
            How many were new.

        Raises:
            UsageError: The store has ratings on another scale, or one is to be left out and nobody is told.
        """
        given = list(new)
        if not given:
            return 0
        firsts: dict[str, Review] = {}
        again: list[Review] = []
        with self.database.write() as connection:
            for review in admitted(connection, given, left_out):
                if firsts.setdefault(review.review_id, review) is not review:
                    again.append(review)
            if scale is not None:
                settle(self.database, connection, scale)
            known = _known(connection, firsts, whole=taken is not None)
            added = [row(review) for review in firsts.values() if review.review_id not in known]
            if added:
                add_missing(
                    self.database, connection, (each["user_id"] for each in added), (each["item_id"] for each in added)
                )
                first = number(self.database, connection, len(added))
                connection.execute(insert(reviews), [{**each, "position": first + n} for n, each in enumerate(added)])
                _add_totals(self.database, connection, added)
            if taken is not None:
                _tell_taken(firsts, again, known, taken)
        return len(added)

    def add_rated_pairs(
        self,
        new: Iterable[RatedPair],
        *,
        scale: RatingScale | None = None,
        left_out: Callable[[RatedPair, str], None] | None = None,
    ) -> int:
        """Add ratings to evaluate against, with their users and items where these are missing; known pairs stay.

        Args:
            new: The ratings.
            scale: What they are on, which the first of all ratings settles for the store.
            left_out: As of `add_reviews`.

        Returns:
            How many were new.

        Raises:
            UsageError: The store has ratings on another scale, or one is to be left out and nobody is told.
        """
        given = list(new)
        if not given:
            return 0
        total = select(func.count()).select_from(rated_pairs)
        with self.database.write() as connection:
            if scale is not None:
                settle(self.database, connection, scale)
            rows = [row(pair) for pair in admitted(connection, given, left_out)]
            add_missing(
                self.database, connection, (each["user_id"] for each in rows), (each["item_id"] for each in rows)
            )
            before = connection.execute(total).scalar_one()
            if rows:
                connection.execute(self.database.insert(rated_pairs).on_conflict_do_nothing(), rows)
            return connection.execute(total).scalar_one() - before

    def rated_pairs(self, source: str | None = None) -> list[RatedPair]:
        """The ratings to evaluate against, of one source or of all, in order of source, user and item."""
        query = select(rated_pairs).order_by(rated_pairs.c.source, rated_pairs.c.user_id, rated_pairs.c.item_id)
        if source is not None:
            query = query.where(rated_pairs.c.source == source)
        with self.database.read() as connection:
            return records(RatedPair, connection.execute(query).mappings())

    def item(self, item_id: str) -> Item | None:
        """The item, if it is in the store."""
        with self.database.read() as connection:
            found = connection.execute(select(items).where(items.c.item_id == item_id)).mappings().first()
        return record(Item, found) if found else None

    def has_user(self, user_id: str) -> bool:
        """Whether the user is in the store."""
        with self.database.read() as connection:
            return bool(connection.execute(select(exists().where(users.c.user_id == user_id))).scalar_one())

    def reviews(self, ids: Iterable[str]) -> list[Review]:
        """The reviews with these ids, in the order of the ids; those not in the store are left out."""
        wanted = list(ids)
        found: dict[str, Review] = {}
        with self.database.read() as connection:
            for chunk in chunks(wanted):
                query = select(reviews).where(reviews.c.review_id.in_(chunk))
                found |= {each.review_id: each for each in records(Review, connection.execute(query).mappings())}
        return [found[review_id] for review_id in wanted if review_id in found]

    def review_of(self, user_id: str, item_id: str) -> Review | None:
        """The user's newest review of the item, if there is one."""
        query = select(reviews).where(reviews.c.user_id == user_id, reviews.c.item_id == item_id)
        with self.database.read() as connection:
            found = connection.execute(query.order_by(*NEWEST).limit(1)).mappings().first()
        return record(Review, found) if found else None

    def pair_reviews(self, user_id: str, item_id: str) -> list[Review]:
        """All of the user's reviews of the item, newest first."""
        query = select(reviews).where(reviews.c.user_id == user_id, reviews.c.item_id == item_id)
        with self.database.read() as connection:
            return records(Review, connection.execute(query.order_by(*NEWEST)).mappings())

    def review_ids(self, user_id: str) -> list[str]:
        """The ids of all of the user's reviews."""
        query = select(reviews.c.review_id).where(reviews.c.user_id == user_id)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def user_reviews(self, user_id: str, limit: int) -> list[Review]:
        """The user's newest reviews, newest first, ties in order of id; to show, not as evidence (`history.py`)."""
        query = select(reviews).where(reviews.c.user_id == user_id).order_by(*NEWEST).limit(limit)
        with self.database.read() as connection:
            return records(Review, connection.execute(query).mappings())

    def authors(self, texts: Iterable[str]) -> dict[str, set[str]]:
        """Who wrote each of the texts, as far as it is one of the store's reviews, by `same_text`."""
        wanted = set(map(same_text, texts))
        found: dict[str, set[str]] = defaultdict(set)
        if wanted:
            query = select(reviews.c.user_id, reviews.c.text).execution_options(yield_per=1000)
            with self.database.read() as connection:
                for user_id, text in connection.execute(query):
                    if (same := same_text(text)) in wanted:
                        found[same].add(user_id)
        return found

    def authors_of(self, ids: Iterable[str]) -> dict[str, str]:
        """Who wrote the reviews with these ids; those not in the store are left out."""
        found: dict[str, str] = {}
        with self.database.read() as connection:
            for chunk in chunks(list(ids)):
                query = select(reviews.c.review_id, reviews.c.user_id).where(reviews.c.review_id.in_(chunk))
                found |= {row.review_id: row.user_id for row in connection.execute(query)}
        return found

    def mean_rating(self, before: int) -> Rated:
        """Count and mean of all ratings strictly earlier than `before` (seconds since 1970)."""
        day = before // DAY
        asked = {"day": day, "midnight": day * DAY, "before": before}
        with self.database.read() as connection:
            parts = [connection.execute(query, asked).one() for query in (_WHOLE_DAYS, _REST)]
        count = int(sum(part[0] or 0 for part in parts))  # PostgreSQL sums whole numbers as decimals
        return Rated(count=count, average=sum(part[1] or 0.0 for part in parts) / count if count else None)


def _items(connection: Connection, ids: Iterable[str]) -> dict[str, Item]:
    """Those of the items that are there."""
    found: dict[str, Item] = {}
    for chunk in chunks(ids):
        query = select(items).where(items.c.item_id.in_(chunk))
        found |= {each.item_id: each for each in records(Item, connection.execute(query).mappings())}
    return found


def _known(connection: Connection, ids: Iterable[str], *, whole: bool) -> dict[str, RowMapping | None]:
    """Those of the ids that are there, with their rows where the `whole` is wanted, which takes longer."""
    found: dict[str, RowMapping | None] = {}
    for chunk in chunks(ids):
        if whole:
            query = select(reviews).where(reviews.c.review_id.in_(chunk))
            found |= {each["review_id"]: each for each in connection.execute(query).mappings()}
        else:
            known = select(reviews.c.review_id).where(reviews.c.review_id.in_(chunk))
            found |= dict.fromkeys(connection.execute(known).scalars())
    return found


def _tell_taken(
    firsts: Mapping[str, Review],
    again: Iterable[Review],
    known: Mapping[str, RowMapping | None],
    taken: Callable[[Review, Review], None],
) -> None:
    """Tell of reviews whose id belongs to a different one; votes and a title may change in one and the same review."""
    for review in (*(firsts[review_id] for review_id in known), *again):
        there = known.get(review.review_id) or row(firsts[review.review_id])
        if _said(row(review)) != _said(there):
            taken(review, record(Review, there))


_said = itemgetter("user_id", "item_id", "timestamp", "rating", "text")
"""By what two reviews with one id are the same."""


def add_missing(database: Database, connection: Connection, user_ids: Iterable[str], item_ids: Iterable[str]) -> None:
    """Make sure that the users and items are there."""
    for table, ids, blank in (
        (users, user_ids, {}),
        (items, item_ids, {"title": "", "description": "", "categories": ()}),
    ):
        rows = [{f"{table.name[:-1]}_id": each, **blank} for each in set(ids)]
        if rows:
            connection.execute(database.insert(table).on_conflict_do_nothing(), rows)


def _add_totals(database: Database, connection: Connection, added: Iterable[Row]) -> None:
    """Count new reviews' ratings into the totals of their days."""
    days: dict[int, list[float]] = defaultdict(list)
    for each in added:
        days[each["timestamp"] // DAY].append(each["rating"])
    totals = database.insert(rating_totals)
    increase = totals.on_conflict_do_update(
        index_elements=["day"],
        set_={name: rating_totals.c[name] + totals.excluded[name] for name in ("count", "total")},
    )
    connection.execute(increase, [{"day": d, "count": len(days[d]), "total": sum(days[d])} for d in days])
