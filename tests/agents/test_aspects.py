"""Aspects: what a taught Summarizer is asked, the form of its answer, and how that is read."""

from __future__ import annotations

import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.agents.aspects import GRAMMAR, LEADS, LONGEST, MOST, NONE, Lists, read, request, written
from whylike.agents.ratings import states_rating
from whylike.records import RatingScale, Review

ASPECTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["warm sound", "Warm sound!", "a; b", "none", "None.", "five stars", "long " * 20, "x" * 30, "…"]
        ),
        st.text(max_size=30),
    ),
    max_size=12,
).map(tuple)


def fits(text: str) -> bool:
    """Whether the grammar lets a whole text through."""
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(GRAMMAR))
    taken = matcher.consume_tokens(tokenizer.tokenize_str(text))
    return bool(taken) and matcher.is_accepting()


@given(ASPECTS, ASPECTS, ASPECTS)
def test_what_is_taught_has_the_form_and_can_be_read(likes, dislikes, preferences):
    text = written(Lists(likes, dislikes, preferences))
    assert fits(text)
    again = read(text)
    assert written(again) == text
    for listed, given_ in zip(again, (likes, dislikes, preferences), strict=True):
        assert len(listed) <= MOST
        assert len({aspect.lower() for aspect in listed}) == len(listed)
        assert not any(states_rating(aspect) or len(aspect.split()) > LONGEST for aspect in listed)
        assert len(listed) <= len(given_)


@given(st.text(max_size=200))
def test_anything_can_be_read(text: str):
    assert all(";" not in aspect and aspect.strip() == aspect != "" for listed in read(text) for aspect in listed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Liked: warm; soft\nDisliked: none\nCares about: sound", Lists(("warm", "soft"), (), ("sound",))),
        ("Liked: Fun; fun; FUN!\nDisliked: none\nCares about: none", Lists(("Fun",), (), ())),
        ("Liked: warm; four of five stars\nDisliked: dull", Lists(("warm",), ("dull",), ())),
        ("Liked: warm; so\nDisl", Lists(("warm", "so"), (), ())),
        ("", Lists((), (), ())),
    ],
)
def test_examples(text: str, expected: Lists):
    assert read(text) == expected


def test_an_empty_list_is_said_to_be_none():
    assert written(Lists((), (), ())) == "".join(lead + NONE for lead in LEADS)
    assert not fits("Liked: \nDisliked: none\nCares about: none")


def test_the_rating_and_the_beginning_of_the_review_are_shown():
    review = Review(
        review_id="r",
        user_id="u",
        item_id="i",
        rating=2,
        title="Dull",
        text="It is $best. " + "word " * 500,
        timestamp=1,
    )
    asked = request(review, RatingScale(minimum=1, maximum=10))
    shown = asked.prompt.messages[-1].content
    assert shown.startswith("Rating 2 of 10. Dull. It is $best. word")
    assert len(shown.split()) < 200
    assert asked.grammar == GRAMMAR
