"""Whether a review supports an aspect, and whether an aspect is said again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lettered import Letters

from whylike.agents.aspects import Lists
from whylike.agents.support import Source, clauses, distinct, quotes, sound, telling
from whylike.memory.embeddings import Embedder


class Apart(Embedder):
    """Nothing means the same as anything else, so that only words count."""

    def _encode(self, texts):
        return Letters()._encode([chr(index) for index, _ in enumerate(texts)]) * 0


@pytest.mark.parametrize(
    ("aspect", "supported"),
    [
        ("warm sounds", True),  # stems
        ("the warmest of sounds", False),  # one of two is not more than half
        ("warm, deep sound", True),  # two of three
        ("sounding of covers", True),
        ("boring lyrics", False),
        ("it is", False),  # no telling words: all of them have to do
        ("und", False),  # no part of a word
    ],
)
def test_more_than_half_of_the_telling_words_stand_in_the_review(aspect: str, supported: bool):
    assert Source("A warm sound; deeper than most. The cover tore.", Apart()).supports([aspect]) == [supported]


def test_a_clause_of_the_same_meaning_supports_too():
    review = Source("Warm sound, but the cover tore. Zither!", Letters())
    assert review.supports(["waves of tone", "zest", "boring lyrics"]) == [True, True, False]
    assert review.supports([]) == []


def test_a_review_without_words_supports_nothing():
    assert Source("", Apart()).supports(["warm sound"]) == [False]


def test_clauses_are_sentences_and_their_parts():
    found = clauses("Warm sound, but thin paper. Warm sound\nA-side: fine")
    assert found == ["Warm sound", "thin paper.", "Warm sound, but thin paper.", "A-side", "fine", "A-side: fine"]


def test_the_telling_words_are_stems_without_stop_words():
    assert telling("The Songs of the singers") == ["song", "singer"]
    assert telling("not all of it") == ["not", "all", "of", "it"]


@pytest.mark.parametrize(
    ("aspects", "new"),
    [
        (["Fun", "fun!", "FUN"], [True, False, False]),
        (["great songs", "song greatness", "the great song"], [True, False, False]),
        (["warm", "zest", "waves"], [True, True, False]),  # of the same meaning
        (["bright", "cold", "deep"], [True] * 3),
        ([], []),
    ],
)
def test_an_aspect_repeats_what_came_before_it(aspects: list[str], new: list[bool]):
    assert distinct(aspects, Letters()) == new


def test_what_the_review_does_not_say_or_was_said_is_left_out():
    lists = Lists(
        ("warm sound", "gold leaf", "warmest sounds"), ("torn cover", "sound, warm"), ("the cover", "covers", "joy")
    )
    assert sound(lists, "A warm sound; the cover tore, torn.", Apart()) == Lists(
        ("warm sound",), ("torn cover",), ("the cover",)
    )
    assert sound(Lists((), (), ()), "", Apart()) == Lists((), (), ())


def test_what_somebody_cares_about_is_near_to_what_is_supported():
    lists = Lists(("warm sound", "gold leaf"), ("thin paper",), ("waves", "tales", "glory", "zest"))
    assert sound(lists, "A warm sound, but thin paper.", Letters()) == Lists(
        ("warm sound",), ("thin paper",), ("waves", "tales")
    )


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["warm sound", "sound, warm", "bright", "loud", "lovely", "?"]), max_size=8))
def test_as_many_are_new_as_there_are_different_ones(aspects):
    new = distinct(aspects, Letters())
    assert any(new) == bool(aspects)
    assert sum(new) <= len(set(aspects))
    assert distinct([*aspects, *aspects], Letters()) == [*new, *[False] * len(aspects)]


def test_an_aspect_is_quoted_by_the_phrase_that_says_it():
    phrases = ["the sound is warm", "nobody sings along", "zithers everywhere"]
    assert quotes(["Warm sound", "sing-along singing", "gold leaf"], phrases, Apart()) == [*phrases[:2], ""]
    assert quotes(["zest"], phrases, Letters()) == ["zithers everywhere"], "of the same meaning"
    assert quotes(["warm sound tone", "warm sounds", "warm tone"], phrases, Apart()) == ["", "the sound is warm", ""]
    assert quotes([], phrases, Apart()) == []
    assert quotes(["warm"], [], Apart()) == [""]


@settings(max_examples=30)
@given(*[st.lists(st.sampled_from(["warm sound", "a loud sound", "bright", "lovely"]), max_size=5)] * 2)
def test_quotes_are_phrases_and_none_stands_for_two_aspects(aspects, phrases):
    phrases = list(dict.fromkeys(phrases))
    found = quotes(aspects, phrases, Letters())
    assert len(found) == len(aspects)
    told = [quote for quote in found if quote]
    assert set(told) <= set(phrases)
    assert len(set(told)) == len(told)
    assert bool(told) is any(quotes([aspect], [phrase], Letters())[0] for aspect in aspects for phrase in phrases)
