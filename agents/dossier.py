"""What a taught Predictor is asked: all that is known of a pair, each side's ratings newest first, and the reason.

The reward expert is asked the same, with the user's own review where the reason stands (method: reward-filtered
reasons). Training and serving fill one prompt (`prompts/taught_rating.yaml`) by the same functions, from what
`memory.history` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from whylike.adapters.engines.base import Weighing
from whylike.agents.aspects import NONE
from whylike.agents.grounding import split_sentences
from whylike.agents.prompting import one_line, render
from whylike.agents.ratings import states_rating
from whylike.memory.store import Store
from whylike.records import Expert, History, Profile, Rated, RatingScale, Review, ReviewSummary, Side

PROMPT = "taught_rating"
NAMED = 5
"""Words of an item's title."""
SAID = 8
"""Words of a review that has no summary."""
LISTED = 2
"""Aspects of a list of a summary."""
POINTS = 5
"""Likes, and dislikes, of an imported profile."""
BRIEF = 5
"""Words of an aspect of a summary."""
POINTED = 10
"""Words of a point of a profile."""
REASONED = 100
"""Words of the reason, or of the review in its place."""
LONGEST = 60
"""Characters of any of these parts but the reason, for texts that have no spaces."""
REASONED_CHARS = 800
UNKNOWN = "?"
"""Stands for an average that is not known, and for an item without a title."""


class Dossier(NamedTuple):
    """What is known of a pair before a time."""

    history: History
    titles: Mapping[str, str] = MappingProxyType({})
    """By item id; of the item and of those that the user reviewed."""
    summaries: Mapping[str, ReviewSummary] = MappingProxyType({})
    """By review id; a review without one is shown by its first words."""
    profiles: Mapping[Side, Profile] = MappingProxyType({})
    """Imported profiles that stand in for the reviews of a side."""

    @property
    def empty(self) -> bool:
        """Whether nothing is known of either side."""
        known = self.history
        return not (known.user_rated.count or known.item_rated.count or self.profiles)


def dossier(store: Store, known: History, mark: str, profiles: Mapping[Side, Profile] | None = None) -> Dossier:
    """The dossier of a pair.

    Args:
        store: Has the titles and the summaries.
        known: Of `memory.history`.
        mark: Whose summaries are shown (`Summarizer.mark`); nobody's where it is empty.
        profiles: Imported profiles that stand in for reviews.
    """
    items = dict.fromkeys([known.item_id, *(review.item_id for review in known.user_reviews)])
    ids = [review.review_id for review in (*known.user_reviews, *known.item_reviews)] if mark else []
    return Dossier(
        history=known,
        titles={item_id: item.title for item_id in items if (item := store.item(item_id)) and item.title},
        summaries=store.summaries(ids, mark) if ids else {},
        profiles=profiles or {},
    )


def request(expert: Expert, known: Dossier, scale: RatingScale, reason: str | None) -> Weighing:
    """What the Predictor or the reward expert is asked.

    Args:
        expert: Which of them.
        known: What is known of the pair.
        scale: The store's rating scale.
        reason: The reason, or what stands in its place; None asks without.
    """
    history = known.history
    title = known.titles.get(history.item_id, "")
    prompt = render(
        PROMPT,
        low=scale.labels[0],
        high=scale.labels[-1],
        gives=_average(history.user_rated, scale),
        user=_side(known, Side.USER, history.user_reviews, scale),
        title=_cut(title, NAMED * 2) or UNKNOWN,
        gets=_average(history.item_rated, scale),
        item=_side(known, Side.ITEM, history.item_reviews, scale),
        reason=one_line(reason or "", REASONED)[:REASONED_CHARS] or NONE,
    )
    return Weighing(expert=expert, prompt=prompt, labels=scale.labels)


def reviewed(review: Review) -> str | None:
    """A review as the reward expert reads it: without sentences that state the rating, as no reason does either."""
    said = [part for text in (review.title, review.text) for part in split_sentences(one_line(text))]
    return " ".join(part for part in said if not states_rating(part)) or None


def label(rating: float, scale: RatingScale) -> str:
    """The label of the value nearest to a rating."""
    return scale.labels[scale.values.index(scale.nearest(rating))]


def _average(rated: Rated, scale: RatingScale) -> str:
    """A mean and of how many; between labels that are digits with one decimal."""
    if rated.average is None:
        return f"{UNKNOWN} on average of 0"
    first = scale.labels[0]
    steps = (rated.average - scale.minimum) / scale.step
    mean = f"{int(first) + steps:.1f}" if first.isdigit() else label(rated.average, scale)
    return f"{mean} on average of {rated.count}"


def _side(known: Dossier, side: Side, reviews: Sequence[Review], scale: RatingScale) -> str:
    """The ratings of a side, newest first, or the imported profile in their place."""
    if profile := known.profiles.get(side):
        return _lists(profile.likes, profile.dislikes, POINTS, POINTED) or NONE
    return " | ".join(_entry(known, side, review, scale) for review in reviews) or NONE


def _entry(known: Dossier, side: Side, review: Review, scale: RatingScale) -> str:
    """One rating: what was rated, if that is not the item itself, and what was said of it."""
    title = _cut(known.titles.get(review.item_id, ""), NAMED) if side is Side.USER else ""
    summary = known.summaries.get(review.review_id)
    said = (
        _lists(summary.likes, summary.dislikes, LISTED, BRIEF)
        if summary
        else _cut(f"{review.title} {review.text}", SAID)
    )
    return " ".join(filter(None, (label(review.rating, scale), title and f"{title}:", said)))


def _lists(likes: Sequence[str], dislikes: Sequence[str], most: int, words: int) -> str:
    """`+ a; b - c`: what is liked and what is not."""
    told = (
        (mark, "; ".join(_cut(each.replace(";", ","), words) for each in listed[:most]))
        for mark, listed in (("+", likes), ("-", dislikes))
    )
    return " ".join(f"{mark} {listed}" for mark, listed in told if listed)


def _cut(text: str, words: int) -> str:
    """The first words of a text, which cannot begin an entry of its own."""
    return one_line(text.replace("|", "/"), words)[:LONGEST].strip()
