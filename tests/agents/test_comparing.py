"""Comparing: whether two phrases may be told side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.agents.closeness import cosines
from whylike.agents.comparing import MEET, NO, PART, alike, said, wanting
from whylike.memory.embeddings import Embedder

PHRASES = (
    "very slow and very sad",
    "sad sad sad",
    "Such a sad film from start to finish and no happy ending",
    "Half a happy ending",
    "a bright sound, but no bass",
    "plenty of bass",
    "the strings broke",
    "Great product, sounds warm",
    "great product and a quick delivery",
)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(PHRASES), max_size=6), st.lists(st.sampled_from(PHRASES), max_size=6))
def test_phrases_are_alike_as_they_stand_or_not_by_less_than_a_part_needs(
    embedder: Embedder, theirs: list[str], own: list[str]
):
    close = alike(said(theirs, embedder), said(own, embedder))
    whole = cosines(embedder.embed(theirs), embedder.embed(own))
    assert close.shape == (len(theirs), len(own))
    assert np.array_equal(close[whole >= PART] >= whole[whole >= PART], np.ones((whole >= PART).sum(), dtype=bool))
    assert np.all((close == NO) | (close >= MEET))
    assert np.all((close == whole) | (close == NO) | (close >= PART)), "what is no whole phrase needs more"
    missed = wanting(said(theirs, embedder), said(own, embedder))
    assert np.all((missed == NO) | (missed <= close)), "what counts only in part is no closer"


def test_a_part_of_a_phrase_meets_what_the_whole_does_not(embedder: Embedder):
    theirs, own = ["very slow and very sad"], ["sad sad sad"]
    assert cosines(embedder.embed(theirs), embedder.embed(own))[0, 0] < MEET
    assert alike(said(theirs, embedder), said(own, embedder))[0, 0] >= PART


@pytest.mark.parametrize(
    ("theirs", "own", "misses"),
    [
        ("Such a sad film from start to finish and no happy ending", "Half a happy ending", True),
        ("a bright sound, but no bass", "plenty of bass", True),
        ("hardly any bass", "plenty of bass", True),
        ("Half a happy ending", "a happy ending", False),
        ("no happy ending", "there is no happy ending", False),
        ("no happy ending", "plenty of bass", False),
    ],
)
def test_what_is_missed_is_what_the_user_liked(embedder: Embedder, theirs: str, own: str, misses: bool):
    found = wanting(said([theirs], embedder), said([own], embedder))
    assert bool(found[0, 0] != NO) is misses


def test_a_part_that_says_only_good_or_bad_meets_nothing(embedder: Embedder):
    theirs, own = ["Great product, sounds warm"], ["great product and a quick delivery"]
    assert alike(said(theirs, embedder), said(own, embedder))[0, 0] in {
        NO,
        cosines(embedder.embed(theirs), embedder.embed(own))[0, 0],
    }


def test_nothing_is_alike_where_nothing_is_said(embedder: Embedder):
    assert alike(said([], embedder), said(["sad sad sad"], embedder)).shape == (0, 1)
    assert wanting(said(["sad sad sad"], embedder), said([], embedder)).shape == (1, 0)
