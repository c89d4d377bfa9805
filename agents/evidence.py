"""What the sentences of a reason can rest on: the summaries of reviews of both sides, and imported profiles.

A sentence that tells a point (`agents.matching`) rests on that point's reviews, if what it quotes stands there. One
that was written freely is compared with the summaries part by part: what it quotes, the words that it shares with them,
and its meaning. A part that speaks of the user's taste rests on what the user wrote or said, any other on what others
say of the item; it may not have the words of the wrong side alone, nor praise what was only complained of. Either way
a sentence that lays a user's words beside those of others is supported only where the two are close.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.clauses import QUOTE, Clause, clauses, whole
from whylike.agents.closeness import DIGITS
from whylike.agents.comparing import NO, alike, missed, wanting
from whylike.agents.matching import POSITIVE, TASTED_LIKED, Kind, Point
from whylike.agents.plans import claims
from whylike.agents.reasoner import OWN_WORDS, quoted
from whylike.agents.stated import is_stated
from whylike.agents.stems import stems
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
Way = Callable[[Sequence[str], Sequence[str], Embedder], NDArray[np.float32]]
"""How close each of some phrases is to each of others (`agents.comparing`)."""

_Phrases = dict[tuple[str, str], float]
"""Phrases with the ids of their reviews, and how fully they stand in a text."""
_WORD = re.compile(r"\w+")


class Evidence:
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
        self._about = about
        stated = (summary.review_id for summary in summaries if is_stated(summary.review_id))
        self._users = {*names, *stated, *(id_ for id_, side in profiles.items() if side is Side.USER)}
        self._embedder = embedder
        self._vocabularies: dict[Side | None, set[str]] = {}
        self.titles = sorted({*names.values(), about} - {""}, key=len, reverse=True)
        """What a sentence may name, the longest first: `Alien` stands within `Alien Resurrection`."""

    def tells(self, sentence: str, point: Point) -> bool:
        """Whether a sentence tells a point: it quotes what the point quotes, and names what it names."""
        words = [f"“{quoted(phrase)}”" for phrase in (point.quality, point.taste) if phrase]
        named = point.profiled or self._names.get(point.taste_review, "") in sentence
        return re.findall(QUOTE, sentence) == words and named

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
        """The reviews that a freely written sentence rests on, the strongest support first, at most `MOST`.

        Every part of it has to rest on the side that it speaks of (`agents.clauses`).

        Args:
            sentence: The sentence.
            near: The ids of reviews and the cosine of their summaries with it.
        """
        close = {id_: cosine for id_, each in near if (cosine := round(each, DIGITS)) >= NEAR}
        support: dict[str, float] = {}
        told: dict[Side, list[str]] = {side: [] for side in Side}
        for clause in clauses(sentence, self._names.values(), self._about):
            here = self._support(clause, close)
            if here is None:
                return []
            phrases, reviews = here
            for id_, share in [*((id_, share) for (id_, _), share in phrases.items()), *reviews.items()]:
                support[id_] = max(share, support.get(id_, 0.0))
            # An item that is only named stands for all that the user said of it.
            for id_, phrase in phrases or filter(
                lambda each: self._names.get(each[0]) in clause.named, self._phrases()
            ):
                told[self._side(id_)].append(phrase)
        if all(told.values()) and not self._meet(told[Side.ITEM], told[Side.USER], alike, wanting):
            return []
        return sorted(support, key=lambda id_: -support[id_])[:MOST]

    def _support(self, clause: Clause, close: Mapping[str, float]) -> tuple[_Phrases, dict[str, float]] | None:
        """What bears out a part of a sentence: phrases, and reviews as wholes; None where it is not borne out."""
        said = self._said_in(clause)
        own = {key: share for key, share in said.items() if self._is_of(key[0], clause.side)}
        named = {id_: 1.0 for name in clause.named for id_, called in self._names.items() if called == name}
        near = {
            id_: cosine for id_, cosine in close.items() if self._is_of(id_, clause.side) and self._says_something(id_)
        }
        of_user = {id_ for id_, _ in own if self._side(id_) is Side.USER}
        refuted = (
            any(not any(_quotes(words, phrase) for _, phrase in own) for words in clause.quotations)
            or any(not self._speaks(clause, phrase) for id_, phrase in said if (id_, phrase) not in own)
            or (own and all(self._contradicts(clause, *key) for key in own))
            or (named and of_user and of_user.isdisjoint(named))  # the user wrote it, but of another item
        )
        # What says little may rest on nothing, if the rest of the sentence does on something.
        hollow = not (own or near or named) and len(_claimed(clause.rest)) >= SEVERAL
        return None if refuted or hollow else (own, near | named)

    def _said_in(self, clause: Clause) -> _Phrases:
        """The phrases of either side that stand in a part of a sentence."""
        found: _Phrases = {}
        for id_, phrase in self._phrases():
            quotes = any(_quotes(words, phrase) for words in clause.quotations)
            if (share := max(_overlap(clause.rest, phrase), float(quotes))) > 0:
                found[id_, phrase] = share
        return found

    def _speaks(self, clause: Clause, phrase: str) -> bool:
        """Whether the side that is spoken of has the words too that a part of a sentence shares with a phrase."""
        shared = set(stems(_telling(phrase))).intersection(stems(words_of(clause.text)))
        return len(shared & self._vocabulary(clause.side)) >= SHARED * len(shared)

    def _contradicts(self, clause: Clause, id_: str, phrase: str) -> bool:
        """Whether a part of a sentence clearly praises what a review complains of, or the other way round."""
        if clause.liked is None or phrase in self._listed(id_, clause.liked) or missed(phrase):
            return False
        return set(_telling(phrase)) <= set(words_of(clause.text))

    def _vocabulary(self, side: Side | None) -> set[str]:
        """The stems of all words that a side's summaries have, and of its names."""
        if side not in self._vocabularies:
            texts = [*self._names.values()] if side is Side.USER else [self._about]
            for id_, summary in self._summaries.items():
                if self._is_of(id_, side):
                    texts += [*summary.likes, *summary.dislikes, *summary.preferences]
            self._vocabularies[side] = set(stems(word for text in texts for word in words_of(text)))
        return self._vocabularies[side]

    def _side(self, id_: str) -> Side:
        return Side.USER if id_ in self._users else Side.ITEM

    def _is_of(self, id_: str, side: Side | None) -> bool:
        return side is None or self._side(id_) is side

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
        return any(len(_telling(without(self.titles, phrase))) >= FEW for phrase in phrases)

    def _meet(self, theirs: Sequence[str], own: Sequence[str], *ways: Way) -> bool:
        """Whether something that others say is close enough to something that the user says, in one of these ways."""
        return any((way(theirs, own, self._embedder) != NO).any() for way in ways)


def without(names: Collection[str], text: str) -> str:
    """A text without the names, of which the longest come first."""
    for name in names:
        text = re.sub(whole(name), "“”", text)
    return text


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def _quotes(quotation: str, phrase: str) -> bool:
    """Whether a quotation has a phrase, or a telling part of it, word for word."""
    words, wanted = words_of(quotation), words_of(quoted(phrase))
    if not words or not wanted:  # some say it all with emoji
        return quotation == quoted(phrase)
    part = any(word not in ENGLISH_STOP_WORDS for word in words) and _holds(wanted, words)
    return words == wanted or part or (len(_telling(phrase)) >= FEW and _holds(words, wanted))


def _claimed(text: str) -> set[str]:
    """The stems of the words by which a text says something, but for those of which reasons are made."""
    return claims(text).intersection(stems(_telling(text)))


def _overlap(sentence: str, phrase: str) -> float:
    """Above 1 where the sentence holds the phrase word for word; else the share of its telling words, if enough."""
    telling, words = _telling(phrase), words_of(sentence)
    if len(telling) >= FEW and _holds(words, words_of(phrase)):
        return 1.0 + len(telling) / 100
    share = sum(word in words for word in telling) / max(len(telling), 1)
    return share if len(telling) >= SEVERAL and share >= SHARED else 0.0


def _telling(phrase: str) -> list[str]:
    """The words of a phrase that are neither function words nor those of which reasons are made."""
    return [word for word in words_of(phrase) if word not in ENGLISH_STOP_WORDS and word not in OWN_WORDS]


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "
