"""What a user said of their own taste, laid over what their reviews suggest.

It outweighs that: whatever the user's reviews or a complaint of others say to the contrary is not told to this user. A
liking or dislike is matched with the item as a taste is, and moves the rating by how many of the item's reviewers speak
of it. By how much is set, not learned: no data has both what people say of their taste and the ratings that they give.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whylike.agents.closeness import cosines
from whylike.agents.comparing import missed
from whylike.agents.matching import MIDDLING
from whylike.agents.phrases import phrases
from whylike.agents.stems import families, names
from whylike.explanation import Effect
from whylike.memory.embeddings import Embedder
from whylike.records import Attitude, Preference, RatingScale, Review, ReviewSummary

PULL = 0.3
"""Shares of the scale by which the rating moves where all reviewers speak of what the user likes or dislikes."""
MOST = 0.3
"""Shares of the scale by which all that a user said moves it at most."""
DOUBT = 2.0
"""Silent reviewers that are added: where one of one speaks of it, it is not yet what all say."""
DESCRIBED = 0.5
"""Share of the reviewers that a description which names it counts as."""
CLOSE = 0.7
"""Cosine to it from which a phrase speaks of something that it does not name; lower, opposites are alike (“sad films”
and “happiest film I own” have 0.6)."""
SAME = 0.75
"""Cosine from which two things that a user said are about the same."""
OF_ITSELF = "stated"
"""What such a taste has in place of an adapter version."""

_PREFIX = "\x01"
DENIED = re.compile(r"\b(?:not|never|hardly|isn['’]t|wasn['’]t|doesn['’]t|didn['’]t|without|far from)\b", re.IGNORECASE)


def stated_id(preference: Preference) -> str:
    """The id that it goes by among those of reviews, which have no control characters."""
    return f"{_PREFIX}{preference.preference_id}"


def is_stated(review_id: str) -> bool:
    """Whether an id is that of something the user said, and not of a review."""
    return review_id.startswith(_PREFIX)


def tastes(preferences: Sequence[Preference]) -> list[ReviewSummary]:
    """Likings and dislikes as summaries of reviews that were never written."""
    return [
        ReviewSummary(
            review_id=stated_id(each),
            likes=(each.about,) if each.attitude is Attitude.LIKE else (),
            dislikes=(each.about,) if each.attitude is Attitude.DISLIKE else (),
            adapter_version=OF_ITSELF,
        )
        for each in preferences
        if each.attitude is not Attitude.INDIFFERENT
    ]


def heeded(
    summaries: Sequence[ReviewSummary], preferences: Sequence[Preference], embedder: Embedder, *, own: bool
) -> list[ReviewSummary]:
    """The summaries without phrases that the user has contradicted.

    Args:
        summaries: Of the user's own reviews, or of others' of the item.
        preferences: What the user said.
        embedder: Tells what is alike.
        own: Whether they are the user's own: of these, likings that the user has taken back go too.
    """
    kept = list(summaries)
    for each in preferences:
        unlike = {Attitude.LIKE: (False,), Attitude.INDIFFERENT: (True, False) if own else (False,)}
        dropped = unlike.get(each.attitude, (True,) if own else ())
        kept = [_without(summary, each.about, dropped, embedder) for summary in kept]
    return kept


def effects(
    preferences: Sequence[Preference],
    user: Sequence[ReviewSummary],
    item: Sequence[Review],
    description: str,
    *,
    scale: RatingScale,
    embedder: Embedder | None,
) -> list[Effect]:
    """What each thing that the user said does to the rating.

    Args:
        preferences: What the user said.
        user: Summaries of the user's own reviews, in the user's words, before any of it is heeded.
        item: Reviews of the item.
        description: What else is known of the item.
        scale: The store's rating scale.
        embedder: Tells what is alike; without one only what has the same words counts, which is fast.
    """
    cut = {review.review_id: phrases(review.title, review.text) for review in item}
    found = []
    for each in preferences:
        minded = _side(user, each.about, embedder)
        way = _way(each.attitude, minded)
        signs = {}
        for review in item:
            said = cut[review.review_id]
            there = [
                phrase for phrase, speaks in zip(said, speaks_of(said, each.about, embedder), strict=True) if speaks
            ]
            if there:
                doubtful = each.attitude is Attitude.LIKE and minded >= 0 and scale.place(review.rating) < MIDDLING
                signs[review.review_id] = _sign(there, each.about, way, doubtful=doubtful)
        share = sum(signs.values()) / (len(item) + DOUBT)
        named = names(description, each.about)
        if named:
            share = way * max(way * share, DESCRIBED) if way else share
        found.append(
            Effect(
                attitude=each.attitude,
                about=each.about,
                reviews=list(signs),
                of=len(item),
                described=named,
                shift=round(PULL * share * (scale.maximum - scale.minimum), 3),
            )
        )
    return found


def shift(found: Sequence[Effect], scale: RatingScale) -> float:
    """By how much the rating moves in all, in units of its scale."""
    most = MOST * (scale.maximum - scale.minimum)
    return min(max(sum(each.shift for each in found), -most), most)


def speaks_of(said: Sequence[str], about: str, embedder: Embedder | None) -> NDArray[np.bool_]:
    """Which phrases speak of something: all its telling words stand there, or it is close in meaning; `[n]`."""
    named = np.array([names(phrase, about) for phrase in said], dtype=np.bool_)
    if embedder is None or named.all():
        return named
    close: NDArray[np.bool_] = cosines(embedder.embed(said), embedder.embed([about]))[:, 0] >= np.float32(CLOSE)
    return named | close


def replacing(old: Sequence[Preference], new: Sequence[Preference], embedder: Embedder) -> list[Preference]:
    """Those of the old ones that stand beside the new ones; one about the same thing does not."""
    return [each for each in old if not any(same(each.about, later.about, embedder) for later in new)]


def same(about: str, other: str, embedder: Embedder) -> bool:
    """Whether two things that a user said are about the same."""
    words = families(about)
    alike = cosines(embedder.embed([about]), embedder.embed([other]))[0, 0] >= np.float32(SAME)
    return bool(alike) or (bool(words) and words == families(other))


def _without(summary: ReviewSummary, about: str, sides: Sequence[bool], embedder: Embedder) -> ReviewSummary:
    """A summary without its likes (True) or dislikes (False) that speak of something."""
    changes = {}
    for liked, name in ((True, "likes"), (False, "dislikes")):
        said = getattr(summary, name)
        if liked in sides and said:
            speak = speaks_of(said, about, embedder)
            changes[name] = tuple(phrase for phrase, speaks in zip(said, speak, strict=True) if not speaks)
    return summary.model_copy(update=changes)


def _side(user: Sequence[ReviewSummary], about: str, embedder: Embedder | None) -> int:
    """What the user's own reviews suggest of something: 1 liked, -1 disliked, 0 nothing, or both alike."""
    liked, disliked = (
        int(speaks_of([phrase for summary in user for phrase in getattr(summary, name)], about, embedder).sum())
        for name in ("likes", "dislikes")
    )
    return (liked > disliked) - (disliked > liked)


def _sign(there: Sequence[str], about: str, way: int, *, doubtful: bool) -> int:
    """Which way a review goes for the user that speaks of something: 1 for, -1 against, 0 neither.

    Args:
        there: Its phrases that speak of it.
        about: What that is.
        way: Which way it goes for the user that an item has it.
        doubtful: Whether the reviewer's having it may be no cause: what others complain of may be done badly.
    """
    found = []
    for phrase in there:
        if names(missed(phrase), about):
            found.append(-way)
        elif not doubtful and not DENIED.search(phrase):
            found.append(way)
    return (sum(found) > 0) - (sum(found) < 0)


def _way(attitude: Attitude, minded: int) -> int:
    """Which way it goes for the user that an item has something; not minding it takes back what their reviews say."""
    if attitude is Attitude.INDIFFERENT:
        return -minded
    return 1 if attitude is Attitude.LIKE else -1
