"""Whether what others say of an item may be told beside what a user said elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.closeness import cosines
from whylike.memory.embeddings import Embedder

MEET = 0.55
"""Cosine of two phrases from which they may be told side by side: below it, pairs of real reviews share a mood or a
word at most."""
MISSED = 0.75
"""Cosine of what one phrase misses and another has from which they are the same thing: fewer words are alike for
less."""
SHORT = 4
"""Words of what is missed at most: in more of them the thing itself is lost."""
GENERIC = 0.6
"""Cosine to an `EMPTY` phrase from which a phrase says no more than that it was good or bad."""
EMPTY = (
    "it is great",
    "I love this",
    "highly recommended",
    "one of the best",
    "simply superb",
    "a classic album",
    "their best album",
    "a great movie",
    "a great product",
    "a must have",
    "works fine",
    "it is bad",
    "I am happy with this purchase",
    "I do not like it",
    "disappointing",
    "not worth the money",
    "five stars",
)
"""Phrases that praise or blame without saying what."""
NO = -1.0
"""In place of a cosine: the two are not to be told side by side."""

_MISSES = re.compile(
    r"\b(?:no(?!\s+(?:doubt|longer|matter|more|one|way|idea|need|problems?|issues?|complaints?|wonder|less|fewer)\b)"
    r"|without(?:\s+any)?|lack(?:s|ed|ing)?(?:\s+of)?(?:\s+any)?|not\s+enough|too\s+little|too\s+few"
    r"|(?:hardly|barely|scarcely|never|not|\w+n['’]t(?:\s+(?:have|got|get|see|find))?)\s+any)"
    r"\s+(?:real\s+|actual\s+|good\s+|proper\s+)?(?P<what>[^.,;:!?()]+)",
    re.IGNORECASE,
)
"""How a phrase says that a thing is not there; what it says of how something is (“not loud”) is another matter."""
_GOES_ON = re.compile(
    r"\s+(?:and|but|or|so|at|in|on|for|to|that|which|who|when|because|though|with)\b.*", re.IGNORECASE
)
"""Where the name of the thing ends."""
_WORD = re.compile(r"[^\W\d_]{3,}")


def telling(vectors: NDArray[np.float32], embedder: Embedder) -> NDArray[np.bool_]:
    """Which of the phrases with these vectors [n, dimension] say more than that it was good or bad, as [n]."""
    tells: NDArray[np.bool_] = cosines(vectors, embedder.embed(EMPTY)).max(axis=1, initial=NO) < GENERIC
    return tells


def missed(phrase: str) -> str:
    """The thing that a phrase says is not there: “a happy ending” of “so sad, and no happy ending”; else nothing."""
    for found in _MISSES.finditer(phrase):
        thing = _GOES_ON.sub("", found["what"]).strip()
        words = _WORD.findall(thing.lower())
        if len(thing.split()) <= SHORT and any(word not in ENGLISH_STOP_WORDS for word in words):
            return thing
    return ""


def alike(theirs: Sequence[str], own: Sequence[str], embedder: Embedder) -> NDArray[np.float32]:
    """How close each phrase of theirs is to each of the user's own, as [n, m]; `NO` where not enough to be told.

    What the one misses and the other has makes them the opposite of alike: “no bass” and “too much bass”.
    """
    close = cosines(embedder.embed(theirs), embedder.embed(own))
    opposite = (wanting(theirs, own, embedder) != NO) | (wanting(own, theirs, embedder).T != NO)
    return np.where((close >= np.float32(MEET)) & ~opposite, close, np.float32(NO))


def wanting(theirs: Sequence[str], own: Sequence[str], embedder: Embedder) -> NDArray[np.float32]:
    """How close what each phrase of theirs misses is to each of the user's own, which has it, as [n, m]; else `NO`."""
    things = [missed(phrase) for phrase in theirs]
    missing = np.array([bool(thing) for thing in things], dtype=np.bool_)
    having = np.array([not missed(phrase) for phrase in own], dtype=np.bool_)
    close = cosines(embedder.embed(things), embedder.embed(own))
    return np.where(missing[:, None] & having[None, :] & (close >= np.float32(MISSED)), close, np.float32(NO))
