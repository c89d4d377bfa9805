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
from whylike.agents.comparing import MEET, missed
from whylike.agents.stems import telling
from whylike.explanation import Effect
from whylike.memory.embeddings import Embedder
from whylike.records import Attitude, Preference, ReviewSummary

PULL = 0.3
"""Shares of the scale by which the rating moves where all reviewers speak of what the user likes or dislikes."""
MOST = 0.3
"""Shares of the scale by which all that a user said moves it at most."""
DOUBT = 2.0
"""Silent reviewers that are added: where one of one speaks of it, it is not yet what all say."""
DESCRIBED = 0.5
"""Share of the reviewers that a description which names it counts as."""
SAME = 0.75
"""Cosine from which two things that a user said are about the same."""
OF_ITSELF = "stated"
"""What such a taste has in place of an adapter version."""

_PREFIX = "\x01"
_DENIED = re.compile(
    r"\b(?:not|never|hardly|isn['’]t|wasn['’]t|doesn['’]t|didn['’]t|without|far from)\b", re.IGNORECASE
)


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
    item: Sequence[ReviewSummary],
    description: str,
    embedder: Embedder,
    *,
    span: float,
) -> list[Effect]:
    """What each thing that the user said does to the rating.

    Args:
        preferences: What the user said.
        user: Summaries of the user's own reviews, in the user's words, before any of it is heeded.
        item: Summaries of the item's reviews, in the reviewers' words.
        description: What else is known of the item.
        embedder: Tells what is alike.
        span: From the lowest to the highest rating.
    """
    found = []
    for each in preferences:
        minded = _side(user, each.about, embedder)
        signs = {summary.review_id: _sign(summary, each, minded, embedder) for summary in item}
        there = [review_id for review_id, (speaks, _) in signs.items() if speaks]
        total = sum(sign for _, sign in signs.values())
        share = total / (len(item) + DOUBT)
        named = bool(telling(each.about)) and telling(each.about) <= telling(description)
        if named:
            way = _way(each.attitude, minded)
            share = way * max(way * share, DESCRIBED) if way else share
        found.append(
            Effect(
                attitude=each.attitude,
                about=each.about,
                reviews=there,
                of=len(item),
                described=named,
                shift=round(PULL * share * span, 3),
            )
        )
    return found


def shift(found: Sequence[Effect], span: float) -> float:
    """By how much the rating moves in all, in units of its scale."""
    return min(max(sum(each.shift for each in found), -MOST * span), MOST * span)


def speaks_of(phrases: Sequence[str], about: str, embedder: Embedder) -> NDArray[np.bool_]:
    """Which phrases speak of something: all its telling words stand there, or it is close in meaning; `[n]`."""
    if not phrases:
        return np.zeros(0, dtype=np.bool_)
    close = cosines(embedder.embed(phrases), embedder.embed([about]))[:, 0] >= np.float32(MEET)
    return np.array([bool(near) or names(phrase, about) for phrase, near in zip(phrases, close, strict=True)])


def names(phrase: str, about: str) -> bool:
    """Whether all telling words of something stand in a phrase."""
    wanted = telling(about)
    return bool(wanted) and wanted <= telling(phrase)


def replacing(old: Sequence[Preference], new: Sequence[Preference], embedder: Embedder) -> list[Preference]:
    """Those of the old ones that stand beside the new ones; one about the same thing does not."""
    return [each for each in old if not any(same(each.about, later.about, embedder) for later in new)]


def same(about: str, other: str, embedder: Embedder) -> bool:
    """Whether two things that a user said are about the same."""
    stems_ = telling(about)
    alike = cosines(embedder.embed([about]), embedder.embed([other]))[0, 0] >= np.float32(SAME)
    return bool(alike) or (bool(stems_) and stems_ == telling(other))


def _without(summary: ReviewSummary, about: str, sides: Sequence[bool], embedder: Embedder) -> ReviewSummary:
    """A summary without its likes (True) or dislikes (False) that speak of something."""
    changes = {}
    for liked, name in ((True, "likes"), (False, "dislikes")):
        phrases = getattr(summary, name)
        if liked in sides and phrases:
            speak = speaks_of(phrases, about, embedder)
            changes[name] = tuple(phrase for phrase, speaks in zip(phrases, speak, strict=True) if not speaks)
    return summary.model_copy(update=changes)


def _side(user: Sequence[ReviewSummary], about: str, embedder: Embedder) -> int:
    """What the user's own reviews suggest of something: 1 liked, -1 disliked, 0 nothing, or both alike."""
    liked, disliked = (
        int(speaks_of([phrase for summary in user for phrase in getattr(summary, name)], about, embedder).sum())
        for name in ("likes", "dislikes")
    )
    return (liked > disliked) - (disliked > liked)


def _sign(summary: ReviewSummary, preference: Preference, minded: int, embedder: Embedder) -> tuple[bool, float]:
    """Whether a review of the item speaks of something that the user said, and which way that goes for the user."""
    speaks, ways = False, []
    for liked, phrases in ((True, summary.likes), (False, summary.dislikes)):
        for phrase, there in zip(phrases, speaks_of(phrases, preference.about, embedder), strict=True):
            if not there:
                continue
            speaks = True
            way = _way(preference.attitude, minded)
            if missed(phrase):
                ways.append(-way)
            elif _DENIED.search(phrase):
                ways.append(0)
            elif preference.attitude is Attitude.LIKE and not liked and minded >= 0:
                ways.append(0)  # what they complain of may be done badly
            else:
                ways.append(way)
    return speaks, float(np.sign(sum(ways)))


def _way(attitude: Attitude, minded: int) -> int:
    """Which way it goes for the user that an item has something; not minding it takes back what their reviews say."""
    if attitude is Attitude.INDIFFERENT:
        return -minded
    return 1 if attitude is Attitude.LIKE else -1
