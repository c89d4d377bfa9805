"""Phrases: pieces of a review, in the reviewer's words."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whylike.agents.phrases import LETTERS, LONGEST, MOST, WORDS, phrases
from whylike.agents.prompting import one_line

PIECES = (
    "the sound is warm",
    "Zipper broke",
    "but I loved the ending",
    "GREAT!!!",
    "and",
    "because",
    "however",
    ", ",
    ". ",
    "… ",
    " — ",
    " - ",
    "(really)",
    "\n",
    "\n\n* ",
    "¡Qué maravilla de película!",
    "音楽がとても美しかった。",
    "الموسيقى رائعة، والقصة ضعيفة.",
    "👍🏽",
    "<|im_end|>",
    "\x1b[31m",
    "''",
    "“quoted”",
)
reviews = st.lists(st.sampled_from(PIECES) | st.text(max_size=30), max_size=30).map(" ".join)


@given(title=st.text(max_size=60) | reviews, text=reviews | st.text())
@example(title="", text="")
@example(title="a\nb\x1b[2J c d e f", text="!!!")
@example(title="word " * 500, text="x" * 5000)
def test_every_phrase_is_a_piece_of_the_review(title: str, text: str):
    found = phrases(title, text)
    assert len(found) <= MOST
    assert len({phrase.lower() for phrase in found}) == len(found), "no repeats"
    for phrase in found:
        assert 0 < len(phrase.split()) <= LONGEST
        assert len(phrase) <= LETTERS
        assert phrase == one_line(phrase), "one line, no control characters"
        assert phrase in one_line(title, WORDS) or phrase in one_line(text, WORDS), "nothing invented"
    assert found == phrases(title, text)


@given(title=reviews, text=reviews)
def test_phrases_are_in_the_order_of_the_review(title: str, text: str):
    whole = f"{one_line(title, WORDS)} \n {one_line(text, WORDS)}".lower()
    place = 0
    for phrase in phrases(title, text) if len(phrases(title, text)) > 1 else []:
        place = whole.find(phrase.lower(), place)
        assert place >= 0
        place += 1


@given(reviews)
def test_a_phrase_is_cut_no_further(text: str):
    found = phrases("", text)
    for phrase in found if len(found) > 1 else []:  # one alone may be the beginning of what could not be cut
        assert phrases("", phrase) == [phrase]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The sound is warm. Battery dies fast!", ["The sound is warm", "Battery dies fast"]),
        (
            "I bought it for the long trips to my parents in the north, but the zipper broke within a week of use",
            ["I bought it for the long trips to my parents in the north", "the zipper broke within a week of use"],
        ),
        ("loved it - great acting - poor ending", ["great acting", "poor ending"]),
        ("Der Klang ist warm. Der Akku hält keine Stunde.", ["Der Klang ist warm", "Der Akku hält keine Stunde"]),
        ("Звук тёплый. Батарея быстро садится.", ["Звук тёплый", "Батарея быстро садится"]),
        ("音がとても暖かい。電池がすぐ切れる！", ["音がとても暖かい", "電池がすぐ切れる"]),
        ("声音很温暖好听，电池不到一小时就没电了。", ["声音很温暖好听，电池不到一小时就没电了"]),
        ("الصوت دافئ جدا؟ البطارية ضعيفة للغاية.", ["الصوت دافئ جدا", "البطارية ضعيفة للغاية"]),
        ("Great!", ["Great"]),
        ("👍🏽👍🏽", ["👍🏽👍🏽"]),
        ("ok", ["ok"]),
        ("…", []),
        (f"Warm deep sound. {'x' * 200} {'y' * 200}.", ["Warm deep sound"]),
    ],
)
def test_examples(text: str, expected: list[str]):
    assert phrases("", text) == expected


def test_only_the_first_are_read():
    words = [f"{a}{b}" for a in ("oak", "elm", "fir", "yew", "bay") for b in ("leaf", "bark", "root", "seed", "wood")]
    assert phrases("", " ".join(f"Fine {word}." for word in words)) == [f"Fine {word}" for word in words[:MOST]]


def test_the_headline_comes_first_and_is_not_repeated():
    assert phrases("Warm sound", "Battery life is poor. warm sound!") == ["Warm sound", "Battery life is poor"]


def test_a_headline_speaks_for_a_review_that_says_nothing():
    assert phrases("Meh", "...") == ["Meh"]


def test_a_headline_is_one_line_too():
    assert phrases("Warm\nsound\x1b[31m here", "Good battery life") == ["Warm sound [31m here", "Good battery life"]


@pytest.mark.parametrize(
    "text", ["the zipper broke again, " * 25_000, "x" * 600_000, "warm sound. " * 50_000, "(" * 600_000]
)
def test_a_review_of_a_hundred_thousand_words_is_read_fast(text: str):
    began = time.process_time()
    found = phrases(text, text)
    assert time.process_time() - began < 5
    assert all(len(phrase) <= LETTERS for phrase in found)
