"""Pairs as a store with another rating scale would know them: for an adapter that serves more stores than its own.

On another scale people use the values otherwise: what is five of five here may be seven or ten of ten there. So each
pair is retold by a map of its own, drawn at random among those that keep the order of the ratings, and its ratings are
scattered a little around it: what is left to go by is what the averages and the other ratings say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whylike.adapters.training.examples import place
from whylike.agents.dossier import Dossier
from whylike.records import Profile, Rated, RatingScale, Review, Side

SCATTER = (0.25, 0.5, 0.25)
"""Chances that a rating is one value below where the map puts it, there, and one above."""


class Retelling:
    """A map from one rating scale to another, and the chance by which ratings scatter around it."""

    def __init__(self, own: RatingScale, other: RatingScale, key: str) -> None:
        """Draw the map.

        Args:
            own: The scale of the ratings.
            other: The scale to tell them on; where it has fewer values, several ratings share one.
            key: Another one draws another map; one draws the same map always.
        """
        self._own, self._other = own, other
        self._chance = np.random.default_rng(int(place(key, -3) * 2**53))
        levels = len(other.values)
        drawn = self._chance.choice(levels, len(own.values), replace=levels < len(own.values))
        self._places = np.sort(drawn)

    def rating(self, rating: float) -> float:
        """A rating on the other scale."""
        values = self._other.values
        level = self._places[self._own.values.index(self._own.nearest(rating))] + self._chance.choice(3, p=SCATTER) - 1
        return values[min(max(int(level), 0), len(values) - 1)]

    def rated(self, known: Rated) -> Rated:
        """As many ratings, whose mean lies on the other scale where the map's line puts the mean."""
        if known.average is None:
            return known
        level = float(np.interp(known.average, self._own.values, self._places))
        return Rated(count=known.count, average=self._other.minimum + level * self._other.step)


def retold(known: Dossier, told: Retelling) -> Dossier:
    """What is known of a pair, its ratings on the other scale."""

    def each(reviews: Sequence[Review]) -> tuple[Review, ...]:
        return tuple(review.model_copy(update={"rating": told.rating(review.rating)}) for review in reviews)

    history = known.history
    changed = {
        "user_reviews": each(history.user_reviews),
        "item_reviews": each(history.item_reviews),
        "item_newest": (),
        "user_rated": told.rated(history.user_rated),
        "item_rated": told.rated(history.item_rated),
    }
    return known._replace(history=history.model_copy(update=changed))


def by_profiles(known: Dossier, profiles: Mapping[Side, Profile], count: int) -> Dossier:
    """What is known of a pair if in place of the reviews there are profiles that were imported ready-made.

    Args:
        known: Of the pair; its averages stay.
        profiles: Of the sides that have one.
        count: Ratings that an average counts as (`Settings.history`).
    """
    history = known.history
    changed = {
        "user_reviews": (),
        "item_reviews": (),
        "item_newest": (),
        **{
            f"{side}_rated": Rated(count=count, average=ratings.average)
            for side, _, _, ratings in history.sides
            if ratings.count
        },
    }
    titles = {item_id: title for item_id, title in known.titles.items() if item_id == history.item_id}
    return Dossier(history.model_copy(update=changed), titles, profiles=profiles)
