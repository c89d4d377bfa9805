"""Clauses: of whom the parts of a sentence speak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.agents.clauses import Clause, clauses
from whylike.records import Side

OWN = ("Heat", "Up & Away: Live", "It")
ABOUT = "Alien [Remastered]"
LETTERS = {Side.USER: "U", Side.ITEM: "I", None: "-"}


def parts(sentence: str) -> list[Clause]:
    return clauses(sentence, OWN, ABOUT)


@pytest.mark.parametrize(
    "told",
    [
        "U The user enjoys warm sound.",
        "U They also value long solos.",
        "U Their love for long solos is plain.",
        "U You like warm sound.",
        "I Alien [Remastered] has warm sound.",
        "I “Alien” has warm sound.",
        'I "Alien," which is long, has warm sound.',
        "I It has warm sound.",
        "I Warm sound all the way.",
        "I Reviewers say they love the songs, and their love for the solos is great.",
        "I The album shows the band at their best, and they are loud in its solos.",
        "I The new Digital Music makes you want to dance.",
        "I This suggests that | U the user likes | I it.",
        "U The user likes this kind of music.",
        "I The user may enjoy warm sound.",
        "I They are likely to enjoy warm sound.",
        "I The long solos may spoil the evening for the user.",
        "U The user seems to enjoy long solos, | I but may be put off by the noise.",
        "U The user enjoys long solos, which align with the best of | I the album, such as its warm sound.",
        "U While they appreciate long solos, | I it lacks warm sound.",
        "U The user praised Heat because it is slow and for its pace, and | I the film is fast.",
        "I What others call dull is what | U the user's newest reviews call slow.",
        "- The warm sound is like that of | U Heat.",
        "- The warm sound is like that of | U “Up & Away”.",
        "- However, | I others find the sound cold.",
        "- As for the long solos: | U the user loves such.",
        "U As a fan of long solos, | I the user will enjoy them.",
        "I One writes “the user and their reviews”.",
    ],
)
def test_where_a_sentence_turns(told: str):
    expected = [(part[0], part[2:]) for part in told.split(" | ")]
    sentence = " ".join(text for _, text in expected)
    found = [(LETTERS[clause.side], clause.text.strip()) for clause in parts(sentence)]
    assert found == expected


def test_what_a_part_names_and_quotes():
    [clause] = parts('The user wrote “so long” and "so warm" of Heat and “Up & Away”.')
    assert clause.named == ("Heat", "Up & Away: Live")
    assert clause.quotations == ("so long", "so warm")
    assert "Heat" not in clause.rest
    assert "so" not in clause.rest
    [clause] = parts("It is loved.")
    assert clause.named == (), "the word, not the name"
    [clause] = parts('A 12" disc and a 7" one.')
    assert clause.quotations == (), "inches"


@pytest.mark.parametrize(
    ("sentence", "liked"),
    [
        ("Reviewers praise the solos.", True),
        ("The user enjoys long solos.", True),
        ("Others complain of the solos.", False),
        ("The user dislikes long solos.", False),
        ("It has solos.", None),
        ("Some praise and some criticize the solos.", None),
        ("Nobody who likes music would not praise the solos.", None),
        ("Others like the lack of solos.", None),
        ("The user may enjoy the solos.", None),
    ],
)
def test_whether_a_part_tells_praise_or_blame(sentence: str, liked: bool | None):
    [clause] = parts(sentence)
    assert clause.liked is liked


pieces = st.sampled_from(["the user", "they like", "Heat", "It", "its", "“so long”", '"', "“", "”", ",", "others"])
prose = st.lists(pieces | st.text(max_size=6), max_size=15).map(" ".join)


@given(prose, st.lists(pieces, max_size=3), pieces | st.just(""))
def test_the_parts_are_the_sentence(sentence: str, own: list[str], about: str):
    found = clauses(sentence, own, about)
    assert "".join(clause.text for clause in found) == sentence
    assert all(words in sentence for clause in found for words in clause.quotations)
    assert {name for clause in found for name in clause.named} <= set(own)
