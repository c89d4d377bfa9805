"""Ratings in words: what no reason may state and no summary needs to keep."""

from __future__ import annotations

import re
from collections.abc import Collection

from whylike.records import RatingScale

_SOME = r"\d+(?:[.,]\d+)?|two|three|four|five|six|seven|eight|nine|ten"
_ANY = rf"(?:one|half|{_SOME})"
_ALONE = rf"(?:{_SOME})(?=\s*(?:[.,;:!?)]|$))"
_TEN = r"(?<![\d.,])(?:10|\d(?:[.,]\d)?|two|three|four|five|six|seven|eight|nine|ten)(?![\w.,])"
_RATING = re.compile(
    rf"\b{_ANY}\s*/\s*\d|\b{_ANY}[\s-]+out[\s-]+of[\s-]+{_ANY}\b|\b\d+\s+of\s+\d+\b"  # 4/5, four out of five, 4 of 5
    rf"|\b(?:{_ANY}|a[\s-]+half)[\s-]*stars?\b|\bstars\b|[★☆⭐🌟]|\b\d+[\s-]+points?\b|(?<!\w)\d(?:[.,]\d)?\s*\*"
    rf"|\b(?:{_ANY})[\s-]*(?:Sterne?n?|[ée]toiles?|estrellas?|estrelas?|stelle|sterren|звёзды?|звезды?)\b"
    r"|(?<!first-)(?<!second-)(?<!third-)(?<!at any )\brat(?:e|es|ed|ings?)\b"
    rf"|\b(?:gave|gets|got|(?:giv|award|scor|earn|deserv)\w*)(?:\s+\w+){{0,3}}?\s+{_ALONE}"  # would give it a 4.
    rf"|\ban?(?:\s+\w+)?\s+{_ALONE}|\ban?\s+{_TEN}\s+(?:at best|because|but|for|if|overall|though)\b"  # a solid eight.
    rf"|(?:\ban?\s+{_TEN}|(?<![\w.,])\d(?:[.,]\d)?|\band\s+a\s+half)\s+from\s+me\b",  # 4 from me
    re.IGNORECASE,
)


def states_rating(text: str) -> bool:
    """Whether a text speaks of a rating, such as `4 out of 5` or `five stars`."""
    return bool(_RATING.search(text))


_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)?(?!\w)")
_WORDS = re.compile(r"\b(?:ratings?|stars?)\b", re.IGNORECASE)


def leaks(text: str, scale: RatingScale, titles: Collection[str] = ()) -> bool:
    """Whether a reason may give the true rating away: it states one, or has a number of the scale, “rating” or “star”.

    Args:
        text: A candidate for a reason.
        scale: Of the ratings.
        titles: What items are called: an item may be called “Five Stars”. In quotation marks a title gives nothing
            away; without, one that is a number or states a rating might hide one.
    """
    for title in sorted(filter(None, titles), key=len, reverse=True):
        text = re.sub(rf"[“‘\"']{re.escape(title)}[”’\"']", "“”", text)
        if not (states_rating(title) or re.fullmatch(_ANY, title, re.IGNORECASE)):
            text = re.sub(rf"(?<!\w){re.escape(title)}(?!\w)", "“”", text)
    numbers = (float(found[0].replace(",", ".")) for found in _NUMBER.finditer(text))
    return states_rating(text) or bool(_WORDS.search(text)) or any(number in scale for number in numbers)
