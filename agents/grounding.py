"""Grounding: each sentence of a reason, tied to the review summaries that it rests on.

A sentence is supported by a review where it holds one of that review's phrases, or is near to its summary in meaning. A
sentence that states a rating is removed, and so is one that repeats the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.closeness import DIGITS
from whylike.records import Reason, ReviewSummary, Sentence, Side

NEAR = 0.6
"""Cosine from which a summary supports a sentence."""
SHARED = 0.6
"""Share of a phrase's telling words, if it has `SEVERAL` or more, that a sentence must hold to be supported by it."""
SEVERAL = 3
MOST = 3
"""Reviews named for one sentence, the nearest first."""
QUOTED = 8
"""Words in a row from which a sentence repeats the prompt."""

Nearest = Callable[[list[str]], list[list[tuple[str, float]]]]
"""For each sentence the ids of reviews and the cosine of their summaries, nearest first."""

_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][”\"')]))\s+(?=[A-Z“\"'‘¿¡]|[^\W\d_a-z])")
_SOME = r"\d+(?:[.,]\d+)?|two|three|four|five|six|seven|eight|nine|ten"
_ANY = rf"(?:one|half|{_SOME})"
_ALONE = rf"(?:{_SOME})(?=\s*(?:[.,;:!?)]|$))"
_RATING = re.compile(
    rf"\b{_ANY}\s*/\s*\d|\b{_ANY}[\s-]+out[\s-]+of[\s-]+{_ANY}\b|\b\d+\s+of\s+\d+\b"  # 4/5, four out of five, 4 of 5
    rf"|\b(?:{_ANY}|a[\s-]+half)[\s-]*stars?\b|\bstars\b|[★☆⭐🌟]|\b\d+[\s-]+points?\b"
    r"|(?<!first-)(?<!second-)(?<!third-)(?<!at any )\brat(?:e|es|ed|ings?)\b"
    rf"|\b(?:gave|gets|got|(?:giv|award|scor|earn|deserv)\w*)(?:\s+\w+){{0,3}}?\s+{_ALONE}"  # would give it a 4.
    rf"|\ban?(?:\s+\w+)?\s+{_ALONE}",  # a solid eight.
    re.IGNORECASE,
)
_QUOTE = r"“[^”]*”"
_WORD = re.compile(r"\w+")


def split_sentences(text: str, names: Collection[str] = ()) -> list[str]:
    """The sentences of a text; a full stop within quotation marks or one of the names ends none."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"“{len(held) - 1}”"

    def give_back(sentence: str) -> str:
        return re.sub(r"“(\d+)”", lambda match: held[int(match[1])], sentence).strip()

    return [sentence for part in _END.split(_others(names).sub(hold, text)) if (sentence := give_back(part))]


def states_rating(sentence: str, names: Collection[str] = ()) -> bool:
    """Whether a sentence speaks of a rating in its own words; what it quotes from a review, or names, may."""
    return bool(_RATING.search(_others(names).sub("“”", sentence)))


def repeats(sentence: str, prompt: str) -> bool:
    """Whether `QUOTED` words in a row of a sentence, outside its quotations, stand in the prompt as well."""
    told = " ".join(_words(prompt))
    words = _words(re.sub(_QUOTE, " ", sentence))
    return any(
        f" {' '.join(words[start : start + QUOTED])} " in f" {told} " for start in range(len(words) - QUOTED + 1)
    )


def ground(
    text: str,
    summaries: Sequence[ReviewSummary],
    nearest: Nearest,
    *,
    names: Mapping[str, str] | None = None,
    profiles: Mapping[str, Side] | None = None,
    prompt: str = "",
) -> Reason:
    """The reason with the reviews that each sentence rests on, strongest support first.

    Args:
        text: What the Reasoner wrote.
        summaries: The evidence that it was given.
        nearest: The summaries nearest to each of some sentences, with their cosine.
        names: For each review by this user what a reason calls its item: a sentence that names it rests on it.
        profiles: Ids among the summaries that stand for the imported profile of a side, not for a review.
        prompt: The instructions that the Reasoner was given, which no sentence may repeat.
    """
    names = names or {}
    profiles = profiles or {}
    split = split_sentences(text, names.values())
    kept = [one for one in split if not states_rating(one, names.values()) and not repeats(one, prompt)]
    sentences = []
    for sentence, near in zip(kept, nearest(kept) if kept else [], strict=True):
        support = {review_id: round(cosine, DIGITS) for review_id, cosine in near if round(cosine, DIGITS) >= NEAR}
        words = _words(sentence)
        for summary in summaries:
            phrases = (*summary.likes, *summary.dislikes)
            shared = max((_overlap(sentence, words, phrase) for phrase in phrases), default=0.0)
            if shared > 0:
                support[summary.review_id] = max(shared, support.get(summary.review_id, 0.0))
        for review_id, name in names.items():
            if _named(sentence, name):
                support[review_id] = 1.0 + support.get(review_id, 0.0)
        found = sorted(support, key=lambda review_id: -support[review_id])[:MOST]
        sentences.append(
            Sentence(
                text=sentence,
                evidence=[review_id for review_id in found if review_id not in profiles],
                profiles=[profiles[review_id] for review_id in found if review_id in profiles],
                supported=bool(found),
            )
        )
    return Reason(text=" ".join(kept), sentences=sentences)


def _others(names: Collection[str]) -> re.Pattern[str]:
    """What in a text are not its writer's own words: quotations, and the names of things."""
    return re.compile("|".join([_QUOTE, *(_whole(name) for name in sorted(names, key=len, reverse=True) if name)]))


def _whole(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _named(sentence: str, name: str) -> bool:
    """Whether a sentence names a thing; a single word with which it begins, such as `It`, is no name."""
    places = re.finditer(_whole(name), re.sub(_QUOTE, "“”", sentence)) if name else ()
    return any(place.start() > 0 or " " in name for place in places)


def _overlap(sentence: str, words: Sequence[str], phrase: str) -> float:
    """1 where the sentence holds the phrase word for word; else the share of its words, if that is enough."""
    wanted = _words(phrase)
    if _holds(words, wanted) or (not wanted and phrase and phrase in sentence):  # some say it all with emoji
        return 1.0 + len(wanted) / 100
    telling = [word for word in wanted if word not in ENGLISH_STOP_WORDS]
    share = sum(word in words for word in telling) / max(len(telling), 1)
    return share if len(telling) >= SEVERAL and share >= SHARED else 0.0


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
