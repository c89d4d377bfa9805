"""Phrases: pieces of a review, in the reviewer's words."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whylike.agents.phrases import LETTERS, LONGEST, MOST, WORDS, phrases
from whylike.agents.prompting import one_line

READ = WORDS + LONGEST

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
        assert phrase in one_line(title, READ) or phrase in one_line(text, READ), "nothing invented"
    assert found == phrases(title, text)


@given(title=reviews, text=reviews)
def test_phrases_are_in_the_order_of_the_review(title: str, text: str):
    whole = f"{one_line(title, READ)} \n {one_line(text, READ)}".lower()
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
        ("Too scary for me (compliment?)", ["Too scary for me (compliment?)"]),
        ("It is heavy (mind your feet).", ["It is heavy (mind your feet)"]),
        ("Great 👍🏽", ["Great 👍🏽"]),
        ("👍🏽👍🏽", []),
        ("👎👎👎", []),
        ("😡!!! 😡", []),
        ("❤️ 10", []),
        ("ok", ["ok"]),
        ("…", []),
        (f"Warm deep sound. {'x' * 200} {'y' * 200}.", ["Warm deep sound"]),
        ("Warm deep sound; the battery dies fast.", ["Warm deep sound", "the battery dies fast"]),
        ("Expected it to be loud; it was surprisingly quiet.", ["Expected it to be loud; it was surprisingly quiet"]),
        ("I expected it to be loud. It is surprisingly quiet.", ["It is surprisingly quiet"]),
        ("I was expecting the blades to dull. Still sharp today.", ["Still sharp today"]),
        ("I expected it to last longer than a week.", ["I expected it to last longer than a week"]),
        ("I expected it to be flimsy and it was not.", ["I expected it to be flimsy and it was not"]),
        ("Expected it to be loud, it was quiet.", ["Expected it to be loud, it was quiet"]),
        ("I expected it to be loud.", []),
        ("It is not that loud fan; the battery lasts.", ["It is not that loud fan", "the battery lasts"]),
    ],
)
def test_examples(text: str, expected: list[str]):
    assert phrases("", text) == expected


def test_the_headline_stands_for_a_text_that_says_only_what_was_expected():
    assert phrases("Great!", "I expected it to be loud.") == ["Great"]


DENIED = (
    ("It was not (never was intended to be) easy listening for the whole of the family", "easy listening", "not"),
    ("I would never, ever, in all of my long life, call this tired thing a timeless masterpiece", "timeless", "never"),
    ("It lacks, sadly, the warm sound that I loved so much on all of her earlier records", "warm sound", "lacks"),
    ("The best sounding album of that whole decade and of the one after it, this is not", "best sounding", "not"),
    ("It isn't, though many of my friends say so, a warm record for long winter evenings", "warm record", "isn't"),
    ("It is not, I have to say with some regret, a warm record for long winter evenings", "warm record", "not"),
    ("not – and I say this as a friend of the band – easy listening for long evenings", "easy listening", "not"),
    ("I would never... and I mean this quite seriously... call this a timeless masterpiece", "timeless", "never"),
    ("Unlike the first record that they made, warm sound and clever words, this one is new", "warm sound", "Unlike"),
    ("I wish it had what I loved about the first one, clever words, warm sound, a good price", "warm sound", "wish"),
    ("Instead of what I had been hoping for, clever words, a very warm sound, I got a hum", "warm sound", "Instead"),
    ("He spared us, without any success that I could hear, the endless guitar solos", "guitar solos", "without"),
    ("I hated the story of this long film, the very loud songs, the many clever twists", "clever twists", "hated"),
    ("I bought it as a gift for my father who has nothing but praise for it", "has nothing", "but praise"),
    ("It has none of the (otherwise so common and really quite welcome) battery life of the others", "life", "none"),
)


@pytest.mark.parametrize(("text", "turned", "denial"), DENIED)
def test_no_cut_turns_the_meaning_round(text: str, turned: str, denial: str):
    for phrase in phrases("", f"{text}. The strap is soft. The price is fair."):
        assert turned not in phrase or denial in phrase, phrase


CLAUSES = (
    "the warm sound",
    "a lovely voice",
    "easy listening",
    "many clever jokes",
    "call it a masterpiece",
    "in truth",
)
DENIALS = ("not", "never", "I don't like", "hardly", "it lacks", "without", "instead of", "no", "if only", "unlike")


@given(
    before=st.lists(st.sampled_from(CLAUSES), max_size=2),
    denial=st.sampled_from(DENIALS),
    after=st.lists(st.sampled_from(CLAUSES), min_size=1, max_size=5),
    marks=st.lists(
        st.sampled_from([", ", " (", ") ", " - ", "... ", ": ", " and ", " because "]), min_size=9, max_size=9
    ),
)
def test_what_a_denial_reaches_is_cut_with_it_or_left_out(
    before: list[str], denial: str, after: list[str], marks: list[str]
):
    head = "".join(f"{clause}{mark}" for clause, mark in zip(before, marks, strict=False))
    tail = "".join(f"{mark}{clause}" for clause, mark in zip(after, marks[3:], strict=False))
    for phrase in phrases("", f"{head}{denial}{tail}. The strap is soft."):
        if phrase in tail:
            assert phrase in head, "it stands before the denial as well"


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("They stand proudly on the shelf at home alongside bands I like, Kool & The Gang, The Meters", "Kool"),
        ("They stand alongside bands like Kool & The Gang, Earth Wind & Fire, and many others of that time", "Kool"),
        ("It is a warning to the voters of this country, to its politicians and Republicans who bypass them", "who"),
        ("The record came out in the spring of that year, which is lovely and also very warm", "which"),
        ("It has everything that I ever wanted from a film of theirs, the great songs include", "include"),
    ],
)
def test_what_cannot_stand_alone_is_left_out(text: str, fragment: str):
    assert not any(fragment in phrase for phrase in phrases("", f"{text}. The strap is soft."))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I do not care for the singer on these long tracks, but the guitars are warm and lovely", 2),
        ("I don't care for the singer on these long tracks, it sounds thin and very tired", 2),
        ("The guitars are warm and lovely on every track, though I do not care for the singer", 2),
        ("Well made and very soft", 1),
    ],
)
def test_what_no_denial_reaches_is_cut(text: str, expected: int):
    assert len(phrases("", text)) == expected


def test_a_sentence_is_not_read_in_part():
    before = "The strap is soft. " * ((WORDS - 4) // 4)
    whole = "The sound is warm to nobody but me"
    assert phrases("", f"{before}{whole}. {'The cover is red. ' * 9}") == ["The strap is soft", whole]
    assert phrases("", f"{before}The sound is warm to {'very ' * LONGEST}few. It ends. So.") == ["The strap is soft"]


def test_the_beginning_of_what_cannot_be_cut_is_no_phrase():
    assert phrases("", "not " + "warm sound and " * 20) == []
    assert phrases("Warm", "not " + "warm sound and " * 20) == ["Warm"]


def test_only_the_first_are_read():
    words = [f"{a}{b}" for a in ("oak", "elm", "fir", "yew", "bay") for b in ("leaf", "bark", "root", "seed", "wood")]
    assert phrases("", " ".join(f"Fine {word}." for word in words)) == [f"Fine {word}" for word in words[:MOST]]


def test_a_long_review_of_semicolons_alone_is_read():
    text = "; ".join(f"the bass sounds warm with amplifier {number}" for number in range(40))
    assert len(phrases("", text)) > 10


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
