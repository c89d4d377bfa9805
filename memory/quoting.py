"""Which of many texts have somebody's own words, where nothing else says whose they are from.

Own words are those of the user's reviews that no other review and no item's description has: a run of four words, or
one word that few of the texts have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from whylike.records import ReasonAnnotation

RUN = 4
"""Words in a row that are somebody's own, if nobody else has them."""
FEW = 0.01
"""Share of the texts up to which a word is no common one."""
FEWEST = 5
"""Texts that are few in any case."""
_WORD = re.compile(r"\w+")


class Quoting:
    """The texts that may quote somebody, and what is found out about that."""

    def __init__(self, own: Iterable[str], reasons: Mapping[str, ReasonAnnotation]) -> None:
        """Find what the texts share with somebody's own.

        Args:
            own: What the user wrote.
            reasons: The texts, by key.
        """
        said = set().union(*map(_said, own))
        shared = {key: _said_by(reason) & said for key, reason in reasons.items()}
        words = (term for terms in shared.values() for term in terms if len(term) == 1)
        common: Counter[tuple[str, ...]] = Counter(words)
        most = max(FEWEST, FEW * len(reasons))
        self._shared = {
            key: left for key, terms in shared.items() if (left := {term for term in terms if common[term] <= most})
        }
        self.suspected: set[tuple[str, ...]] = set().union(*self._shared.values())
        """What would be the user's own if nobody else had it."""

    def discount(self, text: str) -> None:
        """Take into account that somebody else wrote this, too."""
        self.suspected -= _said(text)

    def found(self) -> list[str]:
        """The keys of the texts that have the user's own words."""
        return [key for key, terms in self._shared.items() if terms & self.suspected]


def same_text(text: str) -> str:
    """What two copies of a text have in common, whatever became of its spaces and its capitals on the way."""
    return " ".join(text.split()).casefold()


def _said_by(reason: ReasonAnnotation) -> set[tuple[str, ...]]:
    lists = (
        reason.user_likes,
        reason.user_dislikes,
        reason.user_preferences,
        reason.item_likes,
        reason.item_dislikes,
        (reason.text,),
    )
    return set().union(*(_said(text) for texts in lists for text in texts))


def _said(text: str) -> set[tuple[str, ...]]:
    """The words of a text, and its runs of words."""
    words = _WORD.findall(text.casefold())
    runs = zip(*(words[start:] for start in range(RUN)), strict=False)
    return {(word,) for word in words} | set(runs)
