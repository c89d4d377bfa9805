"""What a request to be recommended something asks of it: “funny” and not “slow” of “something funny but not too slow”.

Whether an item is so is taken from its description and its reviewers; nothing else is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from whylike.agents import slots
from whylike.agents.phrases import sentences
from whylike.agents.prompting import one_line
from whylike.agents.stated import DENIED
from whylike.agents.stems import names
from whylike.records import Review

SHARE = 0.1
"""Share of an item's reviewers from which what they call it counts."""
READ = 40
"""Words of a request that are read."""

_UNWANTED = re.compile(
    r"\b(?:not|isn['’]?t|nothing|less|without|no)\s+(?:(?:too|so|very|really|as|an?|any|all|that|the)\s+)*([^\W\d_]{3,})",
    re.IGNORECASE,
)
_WANTED = (
    re.compile(r"\b(?:something|anything)\s+(?!like\b)(.+)", re.IGNORECASE),
    re.compile(
        r"\b(?:recommend|suggest|find|pick|propose|seek|show|give|want|need|looking for|any|some)\s+"
        r"(?:(?:me|us|an?|some|any|one|new|to (?:see|watch|hear|read|listen to))\s+)*(.+)",
        re.IGNORECASE,
    ),
)
_AIM = re.compile(
    r"\s*(?:[,.;:!?]|\b(?:for|to|while|when|that|which|than|under|because|i|i['’]\w+|id|you|my|me|but|if)\b).*",
    re.IGNORECASE,
)
"""Where it goes on to what it is for, which is no quality of the thing."""
_ASKED = frozenset(
    """albums bored catalogue decent else favourites games got highest idea ideas list music need new next nice patience
    pick pls quick recommendation recommendations shall similar something stories suggestion suggestions surprise top
    usually""".split()  # noqa: SIM905
)


class Wish(NamedTuple):
    """What is asked of an item."""

    wanted: tuple[str, ...]
    """Words of what it is to be."""
    unwanted: tuple[str, ...]
    """Words of what it is not to be."""

    def told(self) -> str:
        """The wish as it is said back: “is called “funny” and not “slow””."""
        parts = ["is called " + " and ".join(f"“{word}”" for word in self.wanted)] if self.wanted else []
        if self.unwanted:
            parts.append(("not " if parts else "is not called ") + " or ".join(f"“{word}”" for word in self.unwanted))
        return " and ".join(parts)

    def met(self, description: str, reviews: Sequence[Review]) -> bool:
        """Whether an item is so by its description and its reviewers.

        Args:
            description: What is known of it beside what reviews say.
            reviews: Of it.
        """
        return all(_is(description, reviews, word) for word in self.wanted) and not any(
            _is(description, reviews, word) for word in self.unwanted
        )


def read(text: str) -> Wish | None:
    """What a request asks for; None where it is content with anything."""
    line = one_line(text, READ)
    unwanted = [word for found in _UNWANTED.finditer(line) for word in _words(found[1])]
    line = _UNWANTED.sub(",", line)
    rest = next((found[1] for each in _WANTED if (found := each.search(line))), "")
    wanted = _words(_AIM.sub("", rest))
    return Wish(tuple(wanted), tuple(unwanted)) if wanted or unwanted else None


def _words(text: str) -> list[str]:
    return [word for word in slots.aspect(text).split() if word not in _ASKED and not word.isdigit()]


def _is(description: str, reviews: Sequence[Review], word: str) -> bool:
    """Whether a description, or enough of the reviews, call it so."""
    calling = [review for review in reviews if _calls(review, word)]
    return names(description, word) or (bool(calling) and len(calling) >= SHARE * len(reviews))


def _calls(review: Review, word: str) -> bool:
    if not names(f"{review.title} {review.text}", word):
        return False  # cheaper than to cut it
    said = (one for source in (review.title, review.text) for one in sentences(source))
    return any(names(one, word) and not DENIED.search(one) for one in said)
