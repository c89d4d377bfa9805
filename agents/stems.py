"""English words as their stems, so that `songs` and `song` are one."""

from __future__ import annotations

from collections.abc import Sequence

import snowballstemmer


def stems(words: Sequence[str]) -> list[str]:
    """The stem of each word, which is in lower case. Safe to call from several threads."""
    # A stemmer holds the word that it works on, so threads must not share one; a new one costs nothing.
    found: list[str] = snowballstemmer.stemmer("english").stemWords(words)
    return found
