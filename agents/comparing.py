"""Whether what others say of an item may be told beside what a user said elsewhere.

Two phrases are compared as they stand, and by each of the things that they say: “very slow and very sad” is not much
like “sad sad sad”, but a part of it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whylike.agents.closeness import cosines
from whylike.agents.phrases import lacks, parts
from whylike.memory.embeddings import Embedder

MEET = 0.55
"""Cosine of two phrases from which they may be told side by side: below it, pairs of real reviews share a mood or a
word at most."""
PART = 0.65
"""The same where one of them is a part: fewer words are alike for less."""
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


class Said(NamedTuple):
    """What some phrases say: each as it stands, and those of its parts that say something."""

    phrases: int
    owner: NDArray[np.intp]
    """Of each [n] the phrase that it is of."""
    vectors: NDArray[np.float32]
    """[n, dimension]."""
    whole: NDArray[np.bool_]
    """Which [n] are phrases as they stand."""
    lacks: NDArray[np.bool_]
    """Which [n] say that something is not there."""


def said(phrases: Sequence[str], embedder: Embedder) -> Said:
    """What the phrases say."""
    pieces = [(owner, phrase) for owner, phrase in enumerate(phrases)]
    pieces += [(owner, part) for owner, phrase in enumerate(phrases) for part in parts(phrase)]
    vectors = embedder.embed([text for _, text in pieces])
    whole = np.arange(len(pieces)) < len(phrases)
    kept = whole | tell(vectors, embedder)
    return Said(
        phrases=len(phrases),
        owner=np.array([owner for owner, _ in pieces], dtype=np.intp)[kept],
        vectors=vectors[kept],
        whole=whole[kept],
        lacks=np.array([lacks(text) for _, text in pieces], dtype=np.bool_)[kept],
    )


def tell(vectors: NDArray[np.float32], embedder: Embedder) -> NDArray[np.bool_]:
    """Which of the phrases with these vectors [n, dimension] say more than that it was good or bad, as [n]."""
    said_so: NDArray[np.bool_] = cosines(vectors, embedder.embed(EMPTY)).max(axis=1, initial=NO) < GENERIC
    return said_so


def alike(theirs: Said, own: Said) -> NDArray[np.float32]:
    """How close each phrase of theirs is to each of the user's own, as [n, m]; `NO` where not enough to be told."""
    return _closest(theirs, own, np.ones((len(theirs.owner), len(own.owner)), dtype=np.bool_))


def wanting(theirs: Said, own: Said) -> NDArray[np.float32]:
    """The same of what they miss and the user's own have: “no happy ending” and “a happy ending”."""
    return _closest(theirs, own, theirs.lacks[:, None] & ~own.lacks[None, :])


def _closest(theirs: Said, own: Said, counts: NDArray[np.bool_]) -> NDArray[np.float32]:
    close = cosines(theirs.vectors, own.vectors)
    enough = close >= np.where(theirs.whole[:, None] & own.whole[None, :], MEET, PART)
    found = np.full((theirs.phrases, own.phrases), NO, dtype=np.float32)
    rows, columns = np.nonzero(counts & enough)
    np.maximum.at(found, (theirs.owner[rows], own.owner[columns]), close[rows, columns])
    return found
