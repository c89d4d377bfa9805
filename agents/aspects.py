"""A review summary as a taught Summarizer writes it: what it is asked, the form of its answer, and how that is read.

The grammar holds the form, so that every answer can be read; what repeats an aspect before it is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from whylike.adapters.engines.base import Prompt, Writing
from whylike.agents.phrases import WORDS
from whylike.agents.prompting import one_line, render
from whylike.agents.ratings import states_rating
from whylike.records import Aspects, Expert, RatingScale, Review

NONE = "none"
"""How an empty list is written (method: an empty list is written as none)."""
LEADS = ("Liked: ", "\nDisliked: ", "\nCares about: ")
"""What stands before each list."""
MOST = 8
"""Aspects of a list."""
LONGEST = 14
"""Words of an aspect."""
MAX_TOKENS = 240
GRAMMAR = f"""start: {" list ".join(map(json.dumps, LEADS))} list
list: "{NONE}" | aspect ("; " aspect){{0,{MOST - 1}}}
aspect: WORD (" " WORD){{0,{LONGEST - 1}}}
WORD: /[^\\s;]{{1,24}}/
"""
_SAME = re.compile(r"\W+")


class Lists(NamedTuple):
    """What a review says of its item and of its writer."""

    likes: Aspects
    dislikes: Aspects
    preferences: Aspects


def request(review: Review, scale: RatingScale) -> Writing:
    """What the Summarizer is asked of a review; its first `WORDS` words are read."""
    prompt = about("summary", review, scale)
    return Writing(expert=Expert.SUMMARIZER, prompt=prompt, max_tokens=MAX_TOKENS, grammar=GRAMMAR)


def about(name: str, review: Review, scale: RatingScale) -> Prompt:
    """The prompt file `name`, filled with a review's rating and its first `WORDS` words."""
    return render(
        name,
        rating=f"{review.rating:g}",
        best=f"{scale.maximum:g}",
        text=shown(review),
    )


def shown(review: Review) -> str:
    """The part of a review that the Summarizer reads."""
    return one_line(f"{review.title}. {review.text}" if review.title else review.text, WORDS)


def written(lists: Lists) -> str:
    """The answer that says these lists, as far as the form lets it."""
    parts = ("; ".join(_fitting(listed)) or NONE for listed in lists)
    return "".join(lead + part for lead, part in zip(LEADS, parts, strict=True))


def read(text: str) -> Lists:
    """The lists of an answer, without repeats; of one that was cut off, those that it has."""
    lines = (text.partition(lead)[2].partition("\n")[0] for lead in LEADS)
    return Lists(*(tuple(_distinct(line.split(";"))) for line in lines))


def _fitting(aspects: Sequence[str]) -> list[str]:
    """The first aspects that the form has room for, each as it can be said there."""
    lines = (one_line(aspect.replace(";", ","), LONGEST) for aspect in aspects)
    return list(_distinct(line for line in lines if all(len(word) <= 24 for word in line.split())))[:MOST]  # noqa: PLR2004


def _distinct(parts: Iterable[str]) -> Iterable[str]:
    """Each aspect once, whatever its case and marks; none that states a rating."""
    seen = {_SAME.sub("", NONE)}
    for part in map(str.strip, parts):
        key = _SAME.sub("", part.lower())
        if key and key not in seen and not states_rating(part):
            seen.add(key)
            yield part
