"""The router of one pair: which way a query goes, by what is known of it."""

from __future__ import annotations

from enum import StrEnum

from whylike.records import History


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


def route(history: History, *, user_profiled: bool = False, item_profiled: bool = False) -> Route:
    """The way of a pair. A profile that came ready-made counts as having been reviewed."""
    user = bool(history.user_reviews) or user_profiled
    item = bool(history.item_reviews) or item_profiled
    if user:
        return Route.KNOWN if item else Route.NEW_ITEM
    return Route.NEW_USER if item else Route.NOTHING
