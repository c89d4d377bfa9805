"""The router of one pair: which way a query goes, by what is known of it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from whylike.records import History, Record, Side


class Route(StrEnum):
    """What is known of a pair."""

    KNOWN = "known"
    """Both sides have been reviewed."""
    NEW_USER = "new_user"
    """Only the item has: the answer comes from its side."""
    NEW_ITEM = "new_item"
    """Only the user has reviewed: the averages answer, and what the user knows that is near."""
    NOTHING = "nothing"
    """Neither: only the general mean is left."""


class Plan(Record):
    """The way of one query."""

    route: Route
    missing: tuple[str, ...] = ()
    """Reviews that have to be summarized: those without a summary, and those whose summary is stale."""
    stale: tuple[str, ...] = ()
    """Those of them whose summary was made by another adapter version or recipe."""


def route(history: History, imported: Collection[Side] = ()) -> Route:
    """The way of a pair. A side whose profile was imported counts as having been reviewed.

    So does a user who said something of their own taste.
    """
    user = bool(history.user_reviews) or bool(history.stated) or Side.USER in imported
    item = bool(history.item_reviews) or Side.ITEM in imported
    if user:
        return Route.KNOWN if item else Route.NEW_ITEM
    return Route.NEW_USER if item else Route.NOTHING


def plan(
    history: History,
    *,
    fresh: Collection[str],
    summarized: Collection[str],
    imported: Collection[Side] = (),
    with_reason: bool = True,
) -> Plan:
    """Which way a query goes and what it has to read.

    Args:
        history: What is known of the pair before its time.
        fresh: Ids of the reviews that the store has a summary of, by the adapter version and recipe that answer now.
        summarized: Ids of the reviews that it has a summary of, by whatever version.
        imported: Sides that have a profile instead of reviews.
        with_reason: Whether a reason is asked for; without one nothing needs to be read.
    """
    read = (*history.user_reviews, *history.item_reviews) if with_reason else ()
    missing = tuple(review.review_id for review in read if review.review_id not in fresh)
    return Plan(
        route=route(history, imported), missing=missing, stale=tuple(id_ for id_ in missing if id_ in summarized)
    )
