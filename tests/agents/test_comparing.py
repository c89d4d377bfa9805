"""Comparing: whether two phrases may be told side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.agents.closeness import cosines
from whylike.agents.comparing import MEET, MISSED, NO, SHORT, alike, missed, telling, wanting
from whylike.memory.embeddings import Embedder

PHRASES = (
    "sad sad sad",
    "so sad",
    "Such a sad film from start to finish and no happy ending",
    "Half a happy ending",
    "a bright sound, but no bass",
    "no bass",
    "plenty of bass",
    "the strings broke",
)
phrases = st.lists(st.sampled_from(PHRASES), max_size=6)


@settings(max_examples=40)
@given(phrases, phrases)
def test_what_is_alike_is_close_and_no_opposite(embedder: Embedder, theirs: list[str], own: list[str]):
    found, close = alike(theirs, own, embedder), cosines(embedder.embed(theirs), embedder.embed(own))
    opposite = (wanting(theirs, own, embedder) != NO) | (wanting(own, theirs, embedder).T != NO)
    assert found.shape == (len(theirs), len(own))
    assert np.array_equal(found != NO, (close >= np.float32(MEET)) & ~opposite)
    assert np.all((found == NO) | (found == close))
    assert np.array_equal(found, alike(own, theirs, embedder).T), "it is the same from either side"


@pytest.mark.parametrize(
    ("phrase", "thing"),
    [
        ("Such a sad film from start to finish and no happy ending", "happy ending"),
        ("a bright sound, but no bass", "bass"),
        ("hardly any story, nice views though", "story"),
        ("lacks any real bass", "bass"),
        ("it doesn't have any character development", "character development"),
        ("not enough storage for the pieces", "storage"),
        ("no lyrics to speak of", "lyrics"),
        ("too much bass", ""),
        ("Too much bass, not for me", ""),
        ("the rules are not complicated enough", ""),
        ("the lid doesn't close", ""),
        ("I wouldn't trust even a beater guitar on this stand", ""),
        ("no doubt overpriced", ""),
        ("no longer sharp", ""),
        ("nothing short of perfect", ""),
        ("can't wait to cook again", ""),
        ("no one of us who laughed more than once at it", ""),
        ("no " + "very " * SHORT + "good ending", ""),
        ("no it", ""),
        ("no", ""),
        ("", ""),
    ],
)
def test_what_a_phrase_misses(phrase: str, thing: str):
    assert missed(phrase) == thing
    assert missed(phrase.upper()) == thing.upper()


@given(st.text())
def test_what_is_missed_stands_in_the_phrase(phrase: str):
    assert missed(phrase) in phrase
    assert len(missed(phrase).split()) <= SHORT


@pytest.mark.parametrize(
    ("theirs", "own", "misses"),
    [
        ("Such a sad film from start to finish and no happy ending", "Half a happy ending", True),
        ("a bright sound, but no bass", "plenty of bass", True),
        ("hardly any bass", "plenty of bass", True),
        ("Half a happy ending", "a happy ending", False),
        ("no happy ending", "there is no happy ending", False),
        ("no happy ending", "plenty of bass", False),
        ("no room for mistakes in this strategy game", "strategy game", False),
        ("endless guitar solos, hardly any singing", "long guitar solos", False),
        ("Too much bass, not for me", "plenty of bass", False),
    ],
)
def test_what_is_missed_is_what_the_user_liked(embedder: Embedder, theirs: str, own: str, misses: bool):
    assert bool(wanting([theirs], [own], embedder)[0, 0] >= MISSED) is misses


@pytest.mark.parametrize(
    ("one", "other"),
    [("no bass", "plenty of bass"), ("no violence", "a lot of violence")],
)
def test_what_one_misses_and_another_has_is_not_alike(embedder: Embedder, one: str, other: str):
    assert cosines(embedder.embed([one]), embedder.embed([other]))[0, 0] >= MEET
    assert alike([one], [other], embedder)[0, 0] == alike([other], [one], embedder)[0, 0] == NO
    assert alike([one], [one], embedder)[0, 0] != NO


def test_nothing_is_alike_where_nothing_is_said(embedder: Embedder):
    assert alike([], ["sad sad sad"], embedder).shape == wanting([], ["sad sad sad"], embedder).shape == (0, 1)
    assert wanting(["no bass"], [], embedder).shape == (1, 0)
    assert telling(embedder.embed([]), embedder).shape == (0,)
