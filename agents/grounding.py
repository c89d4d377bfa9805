"""Grounding: each sentence of a reason, tied to the review summaries that it rests on.

A sentence is supported by a review where it holds one of that review's phrases, or is near to its summary in meaning. A
sentence that states a rating is removed, and so is one that repeats the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from whylike.records import Reason, ReviewSummary, Sentence

NEAR = 0.6
"""Cosine from which a summary supports a sentence."""
SHARED = 0.6
"""Share of a phrase's words, if it has three or more, that a sentence must hold to be supported by it."""
MOST = 3
"""Reviews named for one sentence, the nearest first."""
QUOTED = 8
"""Words in a row from which a sentence repeats the prompt."""

Nearest = Callable[[list[str]], list[list[tuple[str, float]]]]
"""For each sentence the ids of reviews and the cosine of their summaries, nearest first."""

_END = re.compile(r"(?<=[.!?])[”\"')]*\s+(?=[A-Z“\"'‘¿¡]|[^\W\d_a-z])")
_RATING = re.compile(
    r"\b(?:\d+(?:[.,]\d+)?\s*(?:/|out of|of)\s*\d+|\d+(?:[.,]\d+)?[\s-]*stars?|(?:one|two|three|four|five|half)[\s-]+stars?"
    r"|rat(?:e|es|ed|ing|ings)|stars)\b",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"“[^”]*”")
_WORD = re.compile(r"\w+")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; a full stop within quotation marks ends none."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"“{len(held) - 1}”"

    def give_back(sentence: str) -> str:
        return re.sub(r"“(\d+)”", lambda match: held[int(match[1])], sentence).strip()

    return [sentence for part in _END.split(_QUOTE.sub(hold, text)) if (sentence := give_back(part))]


def states_rating(sentence: str) -> bool:
    """Whether a sentence speaks of a rating in its own words; what it quotes from a review may."""
    return bool(_RATING.search(_QUOTE.sub("", sentence)))


def repeats(sentence: str, prompt: str) -> bool:
    """Whether `QUOTED` words in a row of a sentence, outside its quotations, stand in the prompt as well."""
    told = " ".join(_WORD.findall(prompt.lower()))
    words = _WORD.findall(_QUOTE.sub(" ", sentence).lower())
    return any(
        f" {' '.join(words[start : start + QUOTED])} " in f" {told} " for start in range(len(words) - QUOTED + 1)
    )


def ground(
    text: str,
    summaries: Sequence[ReviewSummary],
    nearest: Nearest,
    *,
    names: Mapping[str, str] | None = None,
    prompt: str = "",
) -> Reason:
    """The reason with the reviews that each sentence rests on, strongest support first.

    Args:
        text: What the Reasoner wrote.
        summaries: The evidence that it was given.
        nearest: The summaries nearest to each of some sentences, with their cosine.
        names: For each review by this user the title of what it is about: a sentence that names it rests on it.
        prompt: The instructions that the Reasoner was given, which no sentence may repeat.
    """
    kept = [one for one in split_sentences(text) if not states_rating(one) and not repeats(one, prompt)]
    sentences = []
    for sentence, near in zip(kept, nearest(kept) if kept else [], strict=True):
        support = {review_id: cosine for review_id, cosine in near if cosine >= NEAR}
        words = _words(sentence)
        for summary in summaries:
            phrases = (*summary.likes, *summary.dislikes, *summary.preferences)
            shared = max((_overlap(words, phrase) for phrase in phrases), default=0.0)
            if shared > 0:
                support[summary.review_id] = max(shared, support.get(summary.review_id, 0.0))
        for review_id, name in (names or {}).items():
            if name and _holds(words, _words(name)):
                support[review_id] = 1.0 + support.get(review_id, 0.0)
        evidence = sorted(support, key=lambda review_id: -support[review_id])[:MOST]
        sentences.append(Sentence(text=sentence, evidence=evidence, supported=bool(evidence)))
    return Reason(text=" ".join(kept), sentences=sentences)


def _overlap(words: Sequence[str], phrase: str) -> float:
    """1 where the sentence holds the phrase word for word; else the share of its words, if that is enough."""
    wanted = _words(phrase)
    if _holds(words, wanted):
        return 1.0 + len(wanted) / 100
    share = sum(word in words for word in wanted) / max(len(wanted), 1)
    return share if len(wanted) >= 3 and share >= SHARED else 0.0


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
