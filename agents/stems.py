"""English words as their stems, so that `songs` and `song` are one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import snowballstemmer

KEPT = 2**14
"""Words whose stems are kept: people use the same ones again and again."""


def stems(words: Iterable[str]) -> list[str]:
    """The stem of each word, which is in lower case. Safe to call from several threads."""
    return [_stem(word) for word in words]


@lru_cache(KEPT)
def _stem(word: str) -> str:
    # A stemmer holds the word that it works on, so threads must not share one; a new one costs little.
    stem: str = snowballstemmer.stemmer("english").stemWord(word)
    return stem
