"""What the user may have meant: users and items of the store whose id or title is like a text."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz, process, utils
from rapidfuzz.distance import OSA
from sqlalchemy import Column, and_, func, select

from whylike.errors import NotFoundError
from whylike.memory.schema import items, reviews, users
from whylike.memory.store import Store
from whylike.records import Item, Side

PAGE = 10_000
"""Rows that are compared at once: memory stays constant however large the store is."""

ALIKE = 70.0
"""Least likeness, of 100, to be offered at all."""

SHORT = range(2, 7)
"""Lengths of text of which one slip of the finger leaves too little alike: what is one slip away is offered as well."""


def nearest_users(store: Store, text: str, n: int = 3) -> list[str]:
    """The ids most like the text, most alike first; at most `n`, none where nothing is alike."""
    return [user_id for user_id, _ in _nearest(store, text, n, users.c.user_id)]


def nearest_items(store: Store, text: str, n: int = 3) -> list[Item]:
    """The items whose id or title is most like the text, most alike first; at most `n`, none where nothing is alike."""
    found = (store.item(item_id) for item_id, _ in _nearest(store, text, n, items.c.item_id, items.c.title))
    return [item for item in found if item is not None]


def titles(store: Store) -> Iterator[list[tuple[str, str]]]:
    """The ids and titles of all items that have one, in pages."""
    for page in _pages(store, items.c.item_id, items.c.title):
        yield [(item_id, title) for item_id, title in page if title]


def spoken_of(store: Store, words: Sequence[str], n: int) -> dict[str, float]:
    """Of the items of which most reviews have all of these words, in small letters, the share that has; at most `n`."""
    if not words:
        return {}
    has = and_(*(func.lower(reviews.c.text).contains(word, autoescape=True) for word in words))
    hits = select(reviews.c.item_id, func.count().label("hits")).where(has).group_by(reviews.c.item_id)
    most = hits.order_by(func.count().desc(), reviews.c.item_id).limit(n).subquery()
    query = (
        select(most.c.item_id, most.c.hits, func.count())
        .join(reviews, reviews.c.item_id == most.c.item_id)
        .group_by(most.c.item_id, most.c.hits)
    )
    with store.database.read() as connection:
        return {item_id: found / of for item_id, found, of in connection.execute(query)}


def not_found(store: Store, side: Side, text: str, n: int = 3) -> NotFoundError:
    """The error for a user or an item that the store does not have, with what may have been meant."""
    near = alike(store, side, text, n)
    if not near:
        return NotFoundError(f"no {side} {text!r} in the store and none like it; add reviews with `whylike ingest`")
    return NotFoundError(f"no {side} {text!r} in the store; did you mean {near}?")


def alike(store: Store, side: Side, text: str, n: int = 3) -> str:
    """The ids of users, or of items with their titles, that are most like a text, listed; empty where none is."""
    if side is Side.USER:
        near = [repr(user_id) for user_id in nearest_users(store, text, n)]
    else:
        near = [
            f"{item.item_id!r} ({item.title})" if item.title else repr(item.item_id)
            for item in nearest_items(store, text, n)
        ]
    *others, last = near or [""]
    return f"{', '.join(others)} or {last}" if others else last


def _nearest(store: Store, text: str, n: int, key: Column[str], *more: Column[str]) -> list[tuple[str, float]]:
    """Keys and likenesses of the rows most like the text in the key or another column, most alike first."""
    best: dict[str, float] = {}
    for page in _pages(store, key, *more):
        for column in range(1 + len(more)):
            texts = {row[0]: row[column] for row in page if row[column]}
            for _, likeness, found in process.extract(
                text, texts, scorer=fuzz.WRatio, processor=utils.default_process, limit=n, score_cutoff=ALIKE
            ):
                best[found] = max(likeness, best.get(found, 0.0))
            if len(utils.default_process(text)) in SHORT:
                # A letter too many, too few, another, or two that changed places.
                for _, slips, found in process.extract(
                    text, texts, scorer=OSA.distance, processor=utils.default_process, limit=n, score_cutoff=1
                ):
                    best[found] = max(100.0 * (1 - slips / len(text)), best.get(found, 0.0))
        best = dict(heapq.nsmallest(n, best.items(), key=_most_alike))
    return sorted(best.items(), key=_most_alike)


def _most_alike(found: tuple[str, float]) -> tuple[float, str]:
    """Order by likeness, then by key."""
    key, likeness = found
    return -likeness, key


def _pages(store: Store, key: Column[str], *more: Column[str]) -> Iterator[list[tuple[str, ...]]]:
    """All rows in pages, each read in its own short transaction."""
    query = select(key, *more).order_by(key).limit(PAGE)
    page_query = query
    while True:
        with store.database.read() as connection:
            page = [tuple(row) for row in connection.execute(page_query)]
        if not page:
            return
        yield page
        page_query = query.where(key > page[-1][0])
