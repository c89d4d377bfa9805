"""Grounding: each sentence of a reason, tied to the review summaries that it rests on (`agents.evidence`).

A sentence that claims nothing of its own, such as a conclusion, rests on what the others rest on. A sentence that
states a rating is removed, and so is one that repeats the prompt or an earlier sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from whylike.agents.clauses import QUOTE, whole
from whylike.agents.evidence import Evidence, without, words_of
from whylike.agents.matching import Point
from whylike.agents.plans import claims
from whylike.agents.ratings import states_rating
from whylike.agents.stated import is_stated
from whylike.explanation import Reason, Sentence
from whylike.memory.embeddings import Embedder
from whylike.records import ReviewSummary, Side

QUOTED = 8
"""Words in a row from which a sentence repeats the prompt."""

Nearest = Callable[[list[str]], list[list[tuple[str, float]]]]
"""For each sentence the ids of reviews and the cosine of their summaries, nearest first."""

_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][”\"')]))\s+(?=[A-Z“\"'‘¿¡]|[^\W\d_a-z])")


def split_sentences(text: str, names: Collection[str] = ()) -> list[str]:
    """The sentences of a text; a full stop within quotation marks or one of the names ends none."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"“{len(held) - 1}”"

    def give_back(sentence: str) -> str:
        return re.sub(r"“(\d+)”", lambda match: held[int(match[1])], sentence).strip()

    return [sentence for part in _END.split(_others(names).sub(hold, text)) if (sentence := give_back(part))]


def repeats(sentence: str, prompt: str) -> bool:
    """Whether `QUOTED` words in a row of a sentence, outside its quotations, stand in the prompt as well."""
    told = " ".join(words_of(prompt))
    words = words_of(re.sub(QUOTE, " ", sentence))
    return any(
        f" {' '.join(words[start : start + QUOTED])} " in f" {told} " for start in range(len(words) - QUOTED + 1)
    )


def ground(
    text: str,
    summaries: Sequence[ReviewSummary],
    nearest: Nearest,
    embedder: Embedder,
    *,
    points: Sequence[Point] = (),
    names: Mapping[str, str] | None = None,
    about: str = "",
    profiles: Mapping[str, Side] | None = None,
    prompt: str = "",
    strict: bool = False,
) -> Reason:
    """The reason with the reviews that each sentence rests on, strongest support first.

    Args:
        text: What the Reasoner wrote.
        summaries: The evidence that it was given.
        nearest: The summaries nearest to each of some sentences, with their cosine.
        embedder: Tells how close a user's words are to those of others.
        points: What the text was held to by a grammar; nothing where it was written freely.
        names: For each review by this user what a reason calls its item: a sentence that names it rests on it.
        about: What the item itself is called.
        profiles: Ids among the summaries that stand for the imported profile of a side, not for a review.
        prompt: The instructions that the Reasoner was given, which no sentence may repeat.
        strict: Whether sentences that rest on nothing are removed too.
    """
    profiles = profiles or {}
    known = Evidence(summaries, names or {}, about, profiles, embedder)
    kept = [
        one
        for one in dict.fromkeys(split_sentences(text, known.titles))
        if not states_rating(without(known.titles, one)) and not repeats(one, prompt)
    ]
    told: list[Point | None] = []
    for one in kept:
        told.append(next((point for point in points if point not in told and known.tells(one, point)), None))
    free = [one for one, point in zip(kept, told, strict=True) if point is None]
    near = dict(zip(free, nearest(free) if free else [], strict=True))
    found = [
        known.of_point(point) if point else known.of_text(one, near[one]) for one, point in zip(kept, told, strict=True)
    ]
    rest = list(dict.fromkeys(id_ for ids in found for id_ in ids))
    found = [ids or ([] if claims(without(known.titles, one)) else rest) for one, ids in zip(kept, found, strict=True)]
    sentences = [
        Sentence(
            text=sentence,
            evidence=[review_id for review_id in ids if review_id not in profiles and not is_stated(review_id)],
            stated=[review_id[1:] for review_id in ids if is_stated(review_id)],
            profiles=[profiles[review_id] for review_id in ids if review_id in profiles],
            supported=bool(ids),
        )
        for sentence, ids in zip(kept, found, strict=True)
        if ids or not strict
    ]
    return Reason(text=" ".join(sentence.text for sentence in sentences), sentences=sentences)


def _others(names: Collection[str]) -> re.Pattern[str]:
    """What in a text are not its writer's own words: quotations, and the names of things."""
    return re.compile("|".join([QUOTE, *(whole(name) for name in sorted(names, key=len, reverse=True) if name)]))
