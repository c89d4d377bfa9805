"""What reviewers say of one thing: the phrases of an item's reviews that an answer to “is it slow?” may quote.

Nothing is concluded from them: a review is quoted with the rating that it gave, and where nobody speaks of it that is
the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from whylike.agents.closeness import cosines
from whylike.agents.phrases import phrases, sentences
from whylike.agents.stems import names
from whylike.memory.embeddings import Embedder
from whylike.records import Review

NEAR = 0.5
"""Cosine from which a phrase is about what was asked, where it does not name it."""
NAMED = 1.0
"""What naming it counts for beside the cosine."""
LONGEST = 30
"""Words of a phrase that is quoted at most."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Spoken(NamedTuple):
    """A review that speaks of it."""

    review: Review
    phrase: str
    named: bool
    """Whether the phrase names it; else it only comes near it."""


def spoken(reviews: Sequence[Review], about: str, embedder: Embedder) -> list[Spoken]:
    """The reviews that speak of something, each with the phrase that does so most clearly; the clearest first.

    Args:
        reviews: Of the item.
        about: A few words (“happy ending”).
        embedder: Tells what is near.
    """
    cut = [(review, phrase) for review in reviews for phrase in phrases(review.title, review.text)]
    cut += [(review, one) for review in reviews for one in _naming(review, about)]
    cut = [(review, phrase) for review, phrase in cut if len(phrase.split()) <= LONGEST]
    if not cut or not about.strip():
        return []
    asked = embedder.embed([about, f"it is {about}"])
    close = cosines(embedder.embed([phrase for _, phrase in cut]), asked).max(axis=1)
    named = np.array([names(phrase, about) for _, phrase in cut])
    score = np.where(named, NAMED + close, np.where(close >= np.float32(NEAR), close, 0.0))
    best: dict[str, tuple[float, Spoken]] = {}
    for (review, phrase), value, names_it in zip(cut, score, named, strict=True):
        if value > 0 and value > best.get(review.review_id, (0.0,))[0]:
            best[review.review_id] = float(value), Spoken(review, phrase, bool(names_it))
    ranked = sorted(best.values(), key=lambda each: (-round(each[0], 4), -each[1].review.timestamp))
    return [each for _, each in ranked]


def _naming(review: Review, about: str) -> list[str]:
    """The sentences of a review that name something, where none of its phrases does: “Slow.” is no phrase."""
    if any(names(phrase, about) for phrase in phrases(review.title, review.text)):
        return []
    return [one for source in (review.title, review.text) for one in sentences(source) if names(one, about)]


def described(description: str, about: str) -> str:
    """The sentence of a description that names something; empty where none does."""
    return next((one for one in _SENTENCE.split(description) if names(one, about)), "")
