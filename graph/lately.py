"""A calibrator's interval as of a moment: as wide as would have held the newest ratings before it.

People come to rate more kindly or less, so an interval that was fitted once holds more or less than it claims after a
while. Every rating that comes in tells how far out of its interval it was; the newest ones' quantile stretches the next
(conformal prediction with all weight on the newest, Barber et al. 2023, "Conformal prediction beyond exchangeability").
"""

from __future__ import annotations

from whylike.agents.calibration import Calibrator, quantile, readout
from whylike.memory.history import RatedAt, general, history, newest_ratings
from whylike.memory.store import Store

WINDOW = 200
"""Newest ratings that count: of 200, 350 and 700 the one whose intervals came nearest to what they claim on earlier
tenths of two corpora."""
FEWEST = 50
"""Earlier ratings below which the interval stays as it was fitted."""
REMEMBERED = 100_000
"""Ratings whose distance is remembered."""


class Lately:
    """Follows the ratings that come in for one calibrator. Safe to use from several threads."""

    def __init__(self, store: Store, reviews: int, calibrator: Calibrator) -> None:
        """Args: where the ratings are, how many reviews of either side a history has, and what is to be stretched."""
        self._store = store
        self._reviews = reviews
        self._calibrator = calibrator
        self._known: dict[str, float] = {}

    def as_of(self, user_id: str, item_id: str, before: int) -> Calibrator:
        """The calibrator with its interval as of `before` (seconds since 1970); the pair's own ratings do not count."""
        found = newest_ratings(self._store, user_id, item_id, before, WINDOW)
        if len(found) < FEWEST:
            return self._calibrator
        stretch = quantile([self._distance(each) for each in found], self._calibrator.covered)
        ends = {"lower": self._calibrator.lower * stretch, "upper": self._calibrator.upper * stretch}
        return self._calibrator.model_copy(update=ends)

    def _distance(self, rated: RatedAt) -> float:
        """How far from the middle of its interval a rating was, as foretold just before it without the model."""
        distance = self._known.get(rated.review_id)
        if distance is None:
            pair = rated.user_id, rated.item_id, rated.timestamp
            known = history(self._store, *pair, self._reviews)
            told = readout(known, general(self._store, *pair), self._store.scale)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[rated.review_id] = distance = self._calibrator.distance(told, rated.rating)
        return distance
