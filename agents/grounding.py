"""Grounding: each sentence of a reason, tied to the review summaries that it rests on.

A sentence that tells a point (`agents.matching`) rests on that point's reviews, if what it quotes stands there. Any
other is compared with all summaries: what it quotes, the words that it shares with them, and its meaning. Either way a
sentence that lays a user's words beside those of others is supported only where the two are close. A sentence that
claims nothing of its own, such as a conclusion, rests on what the others rest on. A sentence that states a rating is
removed, and so is one that repeats the prompt or an earlier sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.closeness import DIGITS
from whylike.agents.comparing import NO, alike, wanting
from whylike.agents.matching import POSITIVE, TASTED_LIKED, Kind, Point
from whylike.agents.plans import claims
from whylike.agents.ratings import states_rating
from whylike.agents.reasoner import OWN_WORDS, quoted
from whylike.agents.stated import is_stated
from whylike.explanation import Reason, Sentence
from whylike.memory.embeddings import Embedder
from whylike.records import ReviewSummary, Side

NEAR = 0.6
"""Cosine from which a summary supports a sentence."""
SHARED = 0.6
"""Share of a phrase's telling words, if it has `SEVERAL` or more, that a sentence must hold to be supported by it."""
SEVERAL = 3
FEW = 2
"""Telling words from which a phrase is found in a sentence word for word, or a summary can be near to one."""
MOST = 3
"""Reviews named for one sentence, the nearest first."""
QUOTED = 8
"""Words in a row from which a sentence repeats the prompt."""

Nearest = Callable[[list[str]], list[list[tuple[str, float]]]]
"""For each sentence the ids of reviews and the cosine of their summaries, nearest first."""
Way = Callable[[Sequence[str], Sequence[str], Embedder], NDArray[np.float32]]
"""How close each of some phrases is to each of others (`agents.comparing`)."""

_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][”\"')]))\s+(?=[A-Z“\"'‘¿¡]|[^\W\d_a-z])")
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
    known = _Known(summaries, names or {}, about, profiles, embedder)
    kept = [
        one
        for one in dict.fromkeys(split_sentences(text, known.titles))
        if not states_rating(_without(known.titles, one)) and not repeats(one, prompt)
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
    found = [ids or ([] if claims(_without(known.titles, one)) else rest) for one, ids in zip(kept, found, strict=True)]
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


class _Known:
    """What a sentence can rest on."""

    def __init__(
        self,
        summaries: Sequence[ReviewSummary],
        names: Mapping[str, str],
        about: str,
        profiles: Mapping[str, Side],
        embedder: Embedder,
    ) -> None:
        self._summaries = {summary.review_id: summary for summary in summaries}
        self._names = names
        stated = (summary.review_id for summary in summaries if is_stated(summary.review_id))
        self._users = {*names, *stated, *(id_ for id_, side in profiles.items() if side is Side.USER)}
        self._embedder = embedder
        self.titles = sorted({*names.values(), about} - {""}, key=len, reverse=True)
        """What a sentence may name, the longest first: `Alien` stands within `Alien Resurrection`."""

    def tells(self, sentence: str, point: Point) -> bool:
        """Whether a sentence tells a point: it quotes what the point quotes, and names what it names."""
        words = [f"“{quoted(phrase)}”" for phrase in (point.quality, point.taste) if phrase]
        named = point.profiled or self._names.get(point.taste_review, "") in sentence
        return re.findall(_QUOTE, sentence) == words and named

    def of_point(self, point: Point) -> list[str]:
        """The reviews that a point is from, if they say what it says."""
        told = [
            (point.quality_review, point.quality, point.kind in POSITIVE),
            (point.taste_review, point.taste, point.kind in TASTED_LIKED),
        ]
        listed = all(phrase in self._listed(id_, liked) for id_, phrase, liked in told if phrase)
        known = all(id_ in self._summaries or id_ in self._names for id_, _, _ in told if id_)
        way = wanting if point.kind is Kind.LACK else alike
        met = not (point.quality and point.taste) or self._meet([point.quality], [point.taste], way)
        return [id_ for id_, _, _ in told if id_] if listed and known and met else []

    def of_text(self, sentence: str, near: Sequence[tuple[str, float]]) -> list[str]:
        """The reviews that a freely written sentence rests on, the strongest support first, at most `MOST`."""
        rest = re.sub(_QUOTE, "“”", sentence)
        support: dict[str, float] = {}
        for title in self.titles:
            rest, times = _blank(title, rest)
            support |= {id_: 1.0 for id_, name in self._names.items() if times and name == title}
        named = set(support)
        matched: list[tuple[str, str]] = []
        for quotation in re.findall(_QUOTE, sentence):
            holding = [(id_, phrase) for id_, phrase in self._phrases() if _quotes(quotation[1:-1], phrase)]
            if not holding:
                return []  # nobody wrote it
            matched += holding
            support |= {id_: support.get(id_, 0.0) + 1.0 for id_, _ in holding}
        for id_, phrase in self._phrases():
            if (shared := _overlap(rest, phrase)) > 0:
                matched.append((id_, phrase))
                support[id_] = max(shared, support.get(id_, 0.0))
        for id_, cosine in near:
            if round(cosine, DIGITS) >= NEAR and self._says_something(id_):
                support[id_] = max(round(cosine, DIGITS), support.get(id_, 0.0))
        theirs = [phrase for id_, phrase in matched if id_ not in self._users]
        own = [phrase for id_, phrase in matched if id_ in self._users]
        own = own or [phrase for id_, phrase in self._phrases() if id_ in named]
        if theirs and (own or named) and not self._meet(theirs, own, alike, wanting):
            return []
        return sorted(support, key=lambda id_: -support[id_])[:MOST]

    def _listed(self, id_: str, liked: bool) -> tuple[str, ...]:
        summary = self._summaries.get(id_)
        return (summary.likes if liked else summary.dislikes) if summary else ()

    def _phrases(self) -> list[tuple[str, str]]:
        return [
            (id_, phrase) for id_ in self._summaries for liked in (True, False) for phrase in self._listed(id_, liked)
        ]

    def _says_something(self, id_: str) -> bool:
        """Whether a review has a phrase that is more than the words of which reasons are made and names."""
        phrases = (phrase for other, phrase in self._phrases() if other == id_)
        return any(len(_telling(_without(self.titles, phrase))) >= FEW for phrase in phrases)

    def _meet(self, theirs: Sequence[str], own: Sequence[str], *ways: Way) -> bool:
        """Whether something that others say is close enough to something that the user says, in one of these ways."""
        return any((way(theirs, own, self._embedder) != NO).any() for way in ways)


def _others(names: Collection[str]) -> re.Pattern[str]:
    """What in a text are not its writer's own words: quotations, and the names of things."""
    return re.compile("|".join([_QUOTE, *(_whole(name) for name in sorted(names, key=len, reverse=True) if name)]))


def _whole(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _without(names: Collection[str], text: str) -> str:
    """A text without the names, of which the longest come first."""
    for name in names:
        text = re.sub(_whole(name), "“”", text)
    return text


def _blank(name: str, text: str) -> tuple[str, int]:
    """A text without a name, and how often that stood there; a single word at the beginning, as `It`, is none."""
    pattern = _whole(name) if " " in name else rf"(?<!^){_whole(name)}"
    return re.subn(pattern, "“”", text)


def _quotes(quotation: str, phrase: str) -> bool:
    """Whether a quotation has a phrase, or a telling part of it, word for word."""
    words, wanted = _words(quotation), _words(quoted(phrase))
    if not words or not wanted:  # some say it all with emoji
        return quotation == quoted(phrase)
    part = any(word not in ENGLISH_STOP_WORDS for word in words) and _holds(wanted, words)
    return words == wanted or part or (len(_telling(phrase)) >= FEW and _holds(words, wanted))


def _overlap(sentence: str, phrase: str) -> float:
    """Above 1 where the sentence holds the phrase word for word; else the share of its telling words, if enough."""
    telling, words = _telling(phrase), _words(sentence)
    if len(telling) >= FEW and _holds(words, _words(phrase)):
        return 1.0 + len(telling) / 100
    share = sum(word in words for word in telling) / max(len(telling), 1)
    return share if len(telling) >= SEVERAL and share >= SHARED else 0.0


def _telling(phrase: str) -> list[str]:
    """The words of a phrase that are neither function words nor those of which reasons are made."""
    return [word for word in _words(phrase) if word not in ENGLISH_STOP_WORDS and word not in OWN_WORDS]


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
