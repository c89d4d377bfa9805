"""Stems, also where several threads ask at once, as the nodes that summarize do."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import snowballstemmer

from whylike.agents.stems import names, stems

WORDS = ["beautiful", "running", "guitars", "performances", "emotional", "generosity", "nationality"]


def test_forms_of_a_word_have_one_stem():
    assert stems(["song", "songs", "warm", "warmest", "singing"]) == ["song", "song", "warm", "warmest", "sing"]
    assert stems([]) == []


def test_threads_at_once_get_their_own_stems():
    """Of words that nobody asked about before, by threads that take turns within a word."""
    words = [
        f"{chr(first)}{chr(second)}{word}" for first in range(97, 123) for second in range(97, 123) for word in WORDS
    ]
    expected = snowballstemmer.stemmer("english").stemWords(words)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda word: stems([word])[0], words)) == expected
    finally:
        sys.setswitchinterval(before)


def test_a_word_that_comes_again_is_not_worked_on_again(monkeypatch: pytest.MonkeyPatch):
    known = stems(["guitarists"])
    monkeypatch.delattr(snowballstemmer, "stemmer")
    assert stems(["guitarists"]) == known


def test_words_of_an_idiom_do_not_tell_what_they_tell_alone() -> None:
    assert not names("I ended up miserable", "ending")
    assert not names("As it turned out, it was closed", "turn")
    assert names("The ending left me miserable", "ending")


def test_a_word_names_what_it_is_derived_from_and_no_word_that_only_looks_like_it() -> None:
    for one, other in [("gory", "gore"), ("scary", "scares"), ("violent", "violence"), ("noisy", "noise")]:
        assert names(one, other)
        assert names(other, one)
    for one, other in [("story", "store"), ("cape", "cap"), ("bloody", "blood"), ("stare", "star"), ("party", "part")]:
        assert not names(one, other)
        assert not names(other, one)
