"""Cutting a review into the phrases that it is made of, in the reviewer's own words."""

from __future__ import annotations

import re

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.prompting import one_line

WORDS = 180
"""Words of a review that are read; enough for the student (method: short prompts)."""
LONGEST = 14
"""Words of the longest phrase that still reads as a keyword list's entry."""
LETTERS = 160
"""Characters of the longest phrase: not every script puts spaces between its words, nor every reviewer."""
SHORT = 12
"""Words up to which a sentence is left whole."""
TELLING = 2
"""Words that carry meaning, in English those that are no stop words, which a phrase must have."""
FOREIGN = 5
"""Letters of scripts other than Latin that do as well: some put no spaces between words."""
MOST = 20
"""Phrases read of one review."""

_SENTENCE = re.compile(r"[.!?;:…]+(?=\s|[A-Z\"“(]|$)|[。！？；：｡؟۔।]+|—|\s+[-–*]+\s+")
_CLAUSE = re.compile(
    r",\s+|[()\[\]，、،]|\s+(?=(?:but|although|though|however|because|while|whereas|except)\b)", re.IGNORECASE
)
_JOIN = re.compile(r"\s+(?:and|with|as|which|that|so|when|where)\s+", re.IGNORECASE)
_LEAD = re.compile(
    r"^(?:and|but|or|so|because|although|though|while|which|that|however|also|well|yes|then|plus|except)\s+",
    re.IGNORECASE,
)
_EDGE = " .,;:!?…。、，\"“”'‘’()[]{}<>|*-–—_/\\~=+#&"
_WORD = re.compile(r"[^\W\d_]{3,}")
_FOREIGN = re.compile(r"[^\W\d_\u0000-\u02ff]")


def phrases(title: str, text: str) -> list[str]:
    """The phrases of a review in their order, without repeats, at most `MOST`, the headline first.

    A short sentence is one phrase; a longer one is cut at its clauses. Each has at most `LONGEST` words and `LETTERS`
    characters, and at least two words that carry meaning. A review too short to have one (“Great!”) is a phrase of its
    own.
    """
    found = [phrase for source in (title, text) for phrase in _cut(one_line(source, WORDS))]
    telling = {phrase.lower(): phrase for phrase in reversed(found) if _tells(phrase)}
    kept = [phrase for phrase in dict.fromkeys(found) if telling.get(phrase.lower()) == phrase]
    if not kept:
        kept = [whole for source in (text, title) if (whole := _trim(one_line(source, LONGEST)[:LETTERS]))][:1]
    return kept[:MOST]


def _cut(source: str) -> list[str]:
    parts: list[str] = []
    for sentence in map(_trim, _SENTENCE.split(source)):
        clauses = [sentence] if len(sentence.split()) <= SHORT else map(_trim, _CLAUSE.split(sentence))
        for clause in clauses:
            parts += [clause] if len(clause.split()) <= LONGEST else map(_trim, _JOIN.split(clause))
    return [part for part in parts if len(part.split()) <= LONGEST and len(part) <= LETTERS]


def _tells(phrase: str) -> bool:
    words = sum(word not in ENGLISH_STOP_WORDS for word in _WORD.findall(phrase.lower()))
    return words >= TELLING or len(_FOREIGN.findall(phrase)) >= FOREIGN


def _trim(piece: str) -> str:
    before = None
    while piece != before:
        before, piece = piece, _LEAD.sub("", piece.strip(_EDGE))
    return piece
