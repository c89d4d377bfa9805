"""Imported profiles that stand in for the reviews of a side of a pair that has none."""

from __future__ import annotations

from collections.abc import Mapping

from whylike.memory.importers.exp3rt import ADAPTER_VERSION as IMPORTED
from whylike.memory.store import Store
from whylike.records import History, Profile, Rated, Side


def imported(store: Store, known: History) -> dict[Side, Profile]:
    """The imported profile of each side that has one, but no reviews."""
    return {
        side: profile
        for side, subject_id, reviews, _ in known.sides
        if not reviews and (profile := store.profile(side, subject_id, IMPORTED, ""))
    }


def rated(known: History, stand_ins: Mapping[Side, Profile], count: int) -> History:
    """The history with an imported profile's average, as of `count` ratings, on a side that has no ratings."""
    changes = {}
    for side, _, _, ratings in known.sides:
        average = stand_ins[side].average if side in stand_ins else None
        if not ratings.count and average is not None:
            changes[f"{side}_rated"] = Rated(count=count, average=average)
    return known.model_copy(update=changes)
