"""English words as their stems, so that `songs` and `song` are one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

import snowballstemmer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

ANYTHING = (
    *("album", "albums", "book", "books", "cd", "film", "films", "item", "movie", "movies", "one", "ones"),
    *("product", "record", "thing", "stuff", "good", "great", "nice", "bad", "best", "better", "lot", "lots", "really"),
)
"""Words for whatever an item is, and for how good it is, which tell no item from another."""

KEPT = 2**14
"""Words whose stems are kept: people use the same ones again and again."""

_DERIVED = """angsty angst|bassy bass|comedic comedy|crunchy crunch|cruelty cruel|energetic energy|folky folk
    gimmicky gimmick|gloomy gloom|gory gore|gritty grit|hissy hiss|historical history|humour humor|jazzy jazz
    kitschy kitsch|melancholic melancholy|melodic melody|noisy noise|nostalgic nostalgia|nudity nude
    orchestral orchestra|philosophical philosophy|poetic poetry|preachy preach|psychedelic psychedelia|punky punk
    racist racism|rainy rain|religious religion|rhythmic rhythm|romantic romance|scary scare|schmaltzy schmaltz
    screechy screech|sexist sexism|sexual sex|sleazy sleaze|slimy slime|snowy snow|squeaky squeak
    symphonic symphony|tragic tragedy|trebly treble|twangy twang|violent violence|whiny whine"""
"""Words, each with what it is derived from, that the stemmer keeps apart.

They are listed, since neither spelling nor vectors tell: “story” is not of “store”, “bloody” is often not of blood, and
the vectors of “gory” and “gore” are further apart than those of “cherry” and “cher”.
"""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_IDIOMS = re.compile(r"\b(?:end(?:s|ed|ing)? up|turn(?:s|ed)? out)\b", re.IGNORECASE)
"""Words that do not mean here what they mean alone: who ended up somewhere says nothing of an ending."""


def stems(words: Iterable[str]) -> list[str]:
    """The stem of each word, which is in lower case. Safe to call from several threads."""
    return [_stem(word) for word in words]


def content(text: str) -> list[str]:
    """The words of a text, in small letters, but for function words and those for whatever an item is."""
    words = (word.lower() for word in _WORD.findall(_IDIOMS.sub(" ", text)))
    return [word for word in words if word not in ENGLISH_STOP_WORDS and word not in ANYTHING]


def telling(text: str) -> set[str]:
    """The stems of these words."""
    return set(stems(content(text)))


def families(text: str) -> set[str]:
    """The same, with derived words as what they come from: “gory” as “gore”."""
    return {_origins().get(stem, stem) for stem in telling(text)}


def names(text: str, about: str) -> bool:
    """Whether all telling words of something stand in a text, or words of their families."""
    wanted = families(about)
    return bool(wanted) and wanted <= families(text)


@cache
def _origins() -> dict[str, str]:
    """The stems of derived words, each with that of the word that it comes from."""
    pairs = (stems(pair.split()) for pair in re.split(r"\||\n", _DERIVED))
    return {derived: origin for derived, origin in pairs if derived != origin}


@lru_cache(KEPT)
def _stem(word: str) -> str:
    # A stemmer holds the word that it works on, so threads must not share one; a new one costs little.
    stem: str = snowballstemmer.stemmer("english").stemWord(word)
    return stem
