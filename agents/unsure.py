"""When the student is unsure, so that a teacher may be asked: by what it wrote, and by how sure its rating is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from whylike.agents.distributions import moments
from whylike.agents.router import Route
from whylike.explanation import Rating, Reason
from whylike.records import Review, ReviewSummary

WIDE = 0.28
"""Standard deviation of a rating's distribution, in shares of the scale, from which it is far from sure. So wide were
8% of 250 of the newest ratings of Digital Music, and off by 0.98 on the average, the others by 0.54."""
FEWEST = 5
"""Words of a review that has something to summarize, at least."""


class Doubt(StrEnum):
    """Why the student is unsure, in words that follow "since"."""

    NO_REASON = "the student found no reason, though both sides are known"
    UNSUPPORTED = "no review bears out all that the student's reason said"
    WIDE = "the rating is far from sure"
    EMPTY = "the student's summary has nothing liked and nothing disliked"


def doubts(reason: Reason | None, rating: Rating, way: Route, *, left_out: int = 0) -> tuple[Doubt, ...]:
    """What is doubtful of an answer, the gravest first; nothing where one side is not known, which no teacher mends.

    Args:
        reason: The student's, if it found one.
        rating: What it foretells.
        way: What is known of the pair.
        left_out: Sentences of the reason that were taken out, since no review bears them out or they may not be said.
    """
    if way is not Route.KNOWN:
        return ()
    found = {
        Doubt.NO_REASON: reason is None,
        Doubt.UNSUPPORTED: reason is not None and (left_out > 0 or not all(one.supported for one in reason.sentences)),
        Doubt.WIDE: spread(rating) >= WIDE,
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def spread(rating: Rating) -> float:
    """The standard deviation of a rating's distribution in shares of its scale: 0 is sure, 0.5 all at both ends."""
    low, high = rating.scale[:2]
    places = [(float(value) - low) / (high - low) for value in rating.distribution]
    total = sum(rating.distribution.values())  # the shares are rounded
    return moments(places, [share / total for share in rating.distribution.values()])[1]


def unread(reviews: Iterable[Review], summaries: Mapping[str, ReviewSummary]) -> list[Review]:
    """The reviews that say something, but in which the student found nothing liked and nothing disliked."""
    return [
        review
        for review in reviews
        if (summary := summaries.get(review.review_id)) is not None
        and not (summary.likes or summary.dislikes)
        and len(review.text.split()) >= FEWEST
    ]
