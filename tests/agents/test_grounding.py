"""Grounding: sentences and the reviews that they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whylike.agents.evidence import MOST
from whylike.agents.grounding import QUOTED, Nearest, repeats, split_sentences
from whylike.agents.grounding import ground as ground_with
from whylike.agents.matching import Kind, Point
from whylike.agents.ratings import states_rating
from whylike.agents.reasoner import OWN_WORDS
from whylike.explanation import Reason
from whylike.memory.embeddings import Embedder
from whylike.records import ReviewSummary, Side

PIECES = (
    "The user",
    "“Great. Really great!”",
    "E.T",
    "Dr. Who",
    "said so",
    ".",
    "!",
    "?",
    "…",
    "“",
    "”",
    '"',
    "'",
    ")",
)
prose = st.lists(st.sampled_from((*PIECES, " ", "\n", "It", "0", "“0”")) | st.text(max_size=8), max_size=20).map(
    "".join
)
names = st.lists(st.sampled_from(["E.T", "Dr. Who", "It", "0", "a.*(b", "", "The user"]), max_size=3)


def summary(review_id: str, likes: tuple[str, ...] = (), dislikes: tuple[str, ...] = ()) -> ReviewSummary:
    return ReviewSummary(review_id=review_id, likes=likes, dislikes=dislikes, adapter_version="v")


def far(sentences: list[str]) -> list[list[tuple[str, float]]]:
    """Nothing is near in meaning."""
    return [[] for _ in sentences]


@pytest.fixture(scope="module", autouse=True)
def _embedder(embedder: Embedder) -> Iterator[None]:
    EMBEDDER.append(embedder)
    yield
    EMBEDDER.clear()


EMBEDDER: list[Embedder] = []


def ground(text: str, summaries: Sequence[ReviewSummary], nearest: Nearest, **more: Any) -> Reason:
    return ground_with(text, summaries, nearest, EMBEDDER[0], **more)


# Sentences


@given(prose, names)
@example("“1” and “", [])
@example('He said "Fine." Then he left. (Really.) Yes.', [])
def test_sentences_join_to_the_text(text: str, known: list[str]):
    split = split_sentences(text, known)
    assert "".join("".join(split).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in split)


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("It is fun. It is long.", [], ["It is fun.", "It is long."]),
        ("Why? Because! So.", [], ["Why?", "Because!", "So."]),
        ("one says “Loud. Too loud! Really?” and means it. Others do not.", [], 2),
        ("one says “Loud. Too loud”. “Fine. Good” says another.", [], 2),
        ('He said "Fine." Then he left.', [], ['He said "Fine."', "Then he left."]),
        ("It costs 3.50 at most. Or 4.", [], 2),
        ("the user enjoyed Dr. Strangelove, and so on. It helps.", ["Dr. Strangelove"], 2),
        ("what spoiled Airplane! The Sequel for the user. It helps.", ["Airplane! The Sequel", "Airplane!"], 2),
        ("the user praised it in It. It is praised.", ["It"], 2),
        ("Élan first. Élan second.", [], 2),
        ("", [], 0),
        (" \n ", [], 0),
    ],
)
def test_where_sentences_end(text: str, known: list[str], expected: int | list[str]):
    split = split_sentences(text, known)
    assert (split if isinstance(expected, list) else len(split)) == expected


# Ratings

STATED = [
    "The user would give it 4 out of 5.",
    "The user would give it four out of five!",
    "A 4/5 for this user.",
    "It deserves 4.5/5.",
    "That makes 4 of 5.",
    "Five stars from the user.",
    "This is a five-star film for the user.",
    "It is a 5-star thing.",
    "Three and a half stars.",
    "It gets only 1 star.",
    "The stars say so.",
    "The user: ★★★★☆.",
    "The user rates such things highly.",
    "The user rated the last one low.",
    "The RATING would be high.",
    "High ratings all round.",
    "The user would give it a 4.",
    "The user would give this an eight, surely.",
    "The user gave it a solid 9.",
    "It scores 8.",
    "It is a perfect ten.",
    "It would earn 8 points.",
    "It is worth 4* at least.",
    "That makes 4 from me.",
    "It gets there, a 4 for the sound.",
    "An 8 because it is short.",
    "It gets there: a four from me.",
    "So 4 and a half from me.",
    "Von mir fünf, also 5 Sterne.",
    "Mérite 5 étoiles.",
    "A warning from one reviewer reads “I give it 5 out of 5 stars for the jokes”.",
]
UNSTATED = [
    "The user enjoys first-rate acting.",
    "The acting is second-rate, at any rate.",
    "Two reviewers praise the sound.",
    "One of them praises the sound.",
    "It lasts 3 hours and begins at 9 in the morning.",
    "The user is moderate and grateful.",
    "It starts well.",
    "The user is frustrated and would get bored.",
    "It is overrated, says nobody.",
    "The film was made in 1982.",
    "It is a good one.",
    "It was made on a 4 track tape.",
    "It comes with an 8 inch disc.",
    "The user heard four from the same band.",
    "It is for anyone who needs an 808 but has the budget.",
    "They sold an additional two since.",
    "It is a 12 for the price of 10 pack.",
    "It is a 45 from 1962.",
    "She stole two from me.",
    "It got all four for free.",
    "It will give you two for that price.",
    "It is as good as the first two films.",
]


@pytest.mark.parametrize("sentence", STATED)
def test_a_sentence_that_states_a_rating_is_removed(sentence: str):
    assert states_rating(sentence)
    assert states_rating(sentence.upper())
    reason = ground(f"The sound is warm. {sentence} The end is sad.", [], far)
    assert reason.text == "The sound is warm. The end is sad."


@pytest.mark.parametrize("sentence", UNSTATED)
def test_a_sentence_that_states_none_stays(sentence: str):
    assert not states_rating(sentence)
    assert ground(sentence, [], far).text == sentence


def test_a_title_may_speak_of_stars():
    text = "The nearest thing among the user's latest reviews is The Fault in Our Stars (4/5), and it went down well."
    assert states_rating(text)
    assert ground(text, [], far, names={"r": "The Fault in Our Stars (4/5)"}).text == text
    assert ground(text, [], far, about="The Fault in Our Stars (4/5)").text == text
    assert ground(text, [], far, names={"r": "The Fault"}).text == ""


# The prompt

PROMPT = "You tell in a few plain sentences why the user would or would not enjoy something."


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("I will tell in a FEW plain sentences, why the user would like it.", True),
        ("In a few plain sentences.", False),
        ("One writes “in a few plain sentences why the user would or would not enjoy something”.", False),
    ],
)
def test_a_sentence_that_repeats_the_prompt_is_removed(sentence: str, found: bool):
    assert repeats(sentence, PROMPT) is found
    assert bool(ground(sentence, [], far, prompt=PROMPT).sentences) is not found


@given(st.integers(0, 15), st.integers(1, 16))
def test_so_many_words_in_a_row_are_a_repetition(start: int, length: int):
    words = PROMPT.split()[start : start + length]
    assert repeats(f"Well: {' '.join(words)}", PROMPT) is (len(words) >= QUOTED)


# Support


def evidence(sentence: str, *summaries: ReviewSummary, **names: str) -> list[str]:
    [made] = ground(sentence, summaries, far, names=names).sentences
    assert made.supported is bool(made.evidence)
    return made.evidence


def test_a_sentence_rests_on_the_review_that_it_quotes():
    one, other = summary("r1", likes=("the sound is warm",)), summary("r2", dislikes=("the zipper broke",))
    assert evidence("Others say “The sound is WARM”.", one, other) == ["r1"]
    assert evidence("A warning reads “the zipper broke”.", one, other) == ["r2"]
    assert evidence("It is made of wood.", one, other) == []


def test_what_a_review_is_about_supports_nothing():
    made = ReviewSummary(review_id="r", likes=("warm sound",), preferences=("music",), adapter_version="v")
    assert evidence("The music is good.", made) == []


def test_most_words_of_a_longer_phrase_are_enough():
    made = summary("r1", likes=("the warm sound of old valves", "fine"))
    assert evidence("The warm valves have a sound.", made) == ["r1"]
    assert evidence("The warm wood.", made) == []
    assert evidence("A phrase within other words: finely, refined.", made) == []


def test_one_word_in_common_is_too_little():
    assert evidence("A sound cottage.", summary("r1", likes=("the sound of it",))) == []


def test_a_phrase_of_emoji_is_found_as_well():
    assert evidence("Those who like it write “👍🏽👍🏽”.", summary("r1", likes=("👍🏽👍🏽",))) == ["r1"]
    assert evidence("Those who like it write “no”.", summary("r1", likes=("👍🏽👍🏽",))) == []


def test_a_sentence_rests_on_the_item_that_it_names():
    assert evidence("This comes close to E.T and that went well.", r1="E.T", r2="Jaws") == ["r1"]
    assert evidence("This comes close to Jaws 2.", r1="Jaws", r2="Jaws 2") == ["r2"]
    assert evidence("This comes close to Jaws 2 and to Jaws.", r1="Jaws", r2="Jaws 2") == ["r2", "r1"]
    assert evidence("This bowl is close to that.", r1="owl") == []
    assert evidence("It is praised with the words “It was fine”.", r1="It") == [], "no name, only the word"
    assert evidence("This is close to what won the user over in It.", r1="It") == ["r1"]
    assert evidence("One writes “better than Jaws”.", summary("r2", likes=("better than Jaws",)), r1="Jaws") == ["r2"]
    assert evidence("Nothing is named.", r1="") == []


def test_the_strongest_are_listed_and_no_more():
    summaries = [summary(f"r{n}", likes=("warm sound",)) for n in range(MOST + 2)]
    best = summary("r9", likes=("the warm sound of guitars",))
    assert evidence("They have the warm sound of guitars.", *summaries, best) == ["r9", "r0", "r1"]


def test_a_sentence_rests_on_what_is_near_in_meaning():
    asked: list[list[str]] = []

    def nearest(sentences: list[str]) -> list[list[tuple[str, float]]]:
        asked.append(sentences)
        return [[("r2", 0.9), ("r1", 0.61), ("r3", 0.59)], []]

    known = [summary(f"r{number}", likes=("velvety tones",)) for number in (1, 2, 3)]
    reason = ground("The sound is cosy. It is made of wood. It has 5 stars.", known, nearest)
    assert [sentence.evidence for sentence in reason.sentences] == [["r2", "r1"], []]
    assert [sentence.supported for sentence in reason.sentences] == [True, False]
    assert asked == [["The sound is cosy.", "It is made of wood."]]


def test_a_conclusion_rests_on_what_the_others_rest_on():
    known = [summary("r1", likes=("warm sound",)), summary("r2", dislikes=("weak zipper",))]
    text = "Others praise the warm sound. Some have a weak zipper. Overall, the user may enjoy it. It is blue."
    reason = ground(text, known, far)
    assert [sentence.evidence for sentence in reason.sentences] == [["r1"], ["r2"], ["r1", "r2"], []]
    [alone] = ground("Overall, the user may enjoy it.", known, far).sentences
    assert not alone.supported


def test_what_rests_on_nothing_is_left_out_where_that_is_asked():
    text = "Others praise the warm sound. It is blue. Others praise the warm sound. The user may enjoy it."
    reason = ground(text, [summary("r1", likes=("warm sound",))], far, strict=True)
    assert reason.text == "Others praise the warm sound. The user may enjoy it."
    assert all(sentence.supported for sentence in reason.sentences)


def test_the_text_is_what_is_left():
    reason = ground("One. Rated high. Two.", [], far)
    assert reason.text == " ".join(sentence.text for sentence in reason.sentences) == "One. Two."
    assert ground("", [], far).sentences == []
    assert ground("Five stars.", [], far).text == ""


def test_words_without_meaning_support_nothing():
    text = "It was a long evening and a late one."
    assert not ground(text, [summary("r", likes=("a wedding and a boat and a",))], far).sentences[0].supported
    assert ground(text, [summary("r", likes=("such a long and late evening",))], far).sentences[0].supported


@pytest.mark.parametrize(
    "phrase",
    [
        "one reviewer writes",
        "enjoy",
        "among what others like",
        "close to what the user liked about Heat",
        "the nearest thing among the user's latest reviews is Heat, and it went down well",
    ],
)
@pytest.mark.parametrize("nearness", [0.0, 1.0])
def test_the_words_of_reasons_capture_no_sentence(phrase: str, nearness: float):
    """Hostile or innocent, a review with nothing but the words of which reasons are made supports none."""
    text = f"The user would enjoy it: one reviewer writes “warm sound”. In short: {phrase}."
    captor, right = summary("x", likes=(phrase,)), summary("r", likes=("warm sound",))
    reason = ground(text, [captor, right], lambda all_: [[("x", nearness)] for _ in all_], names={"h": "Heat"})
    first, last = reason.sentences
    assert first.evidence == ["r"]
    assert "x" not in last.evidence


@given(st.lists(st.sampled_from(sorted(OWN_WORDS)), min_size=1, max_size=8).map(" ".join))
def test_no_choice_of_them_does(phrase: str):
    [made] = ground(f"The user: {phrase}.", [summary("x", likes=(phrase,))], lambda _: [[("x", 1.0)]]).sentences
    assert not made.supported


def test_what_nobody_wrote_is_not_supported():
    one = summary("r1", likes=("the sound is warm",))
    assert evidence("One says “the sound is cold”.", one) == []
    assert evidence("One says “the sound is warm” and one “the price is fair”.", one) == []
    assert evidence("One says “sound is warm”.", one) == ["r1"], "a part of it"


def test_the_item_itself_is_no_other():
    text = "All this is true of Alien Resurrection."
    assert ground(text, [], far, names={"r": "Alien"}).sentences[0].supported
    assert not ground(text, [], far, names={"r": "Alien"}, about="Alien Resurrection").sentences[0].supported


# What a sentence claims

FAR_OFF = ("the bread tasted of butter", "her singing gives me goosebumps")
CLOSE = ("slimy rubber creatures on wires", "creatures of rubber and wires")


@pytest.mark.parametrize(("phrases", "supported"), [(CLOSE, True), (FAR_OFF, False)], ids=["close", "far off"])
@pytest.mark.parametrize(
    "text",
    [
        "One reviewer writes “{0}”, and of Heat the user wrote “{1}”.",
        "What others call “{0}” is just what the user liked in Heat.",
        "Like Heat it has {0}.",
        "The user wrote “{1}” elsewhere, and here it is “{0}”.",
    ],
)
def test_a_meeting_must_hold(text: str, phrases: tuple[str, str], supported: bool):
    """Whether a grammar or a taught Reasoner wrote it: what is laid side by side is close in meaning."""
    theirs, own = phrases
    summaries = [summary("q", likes=(theirs,)), summary("h", likes=(own,))]
    point = Point(kind=Kind.DRAW, strength=0.9, quality=theirs, quality_review="q", taste_review="h", taste=own)
    for points in ((), (point,)):
        [made] = ground(text.format(*phrases), summaries, far, names={"h": "Heat"}, points=points).sentences
        assert made.supported is supported
        assert set(made.evidence) == ({"q", "h"} if supported else set())


@pytest.mark.parametrize(
    ("quality", "taste", "holds"),
    [("no happy ending", "Half a happy ending", True), ("a happy ending", "Half a happy ending", False)],
)
def test_what_is_said_to_be_missed_must_be_missed(quality: str, taste: str, holds: bool):
    text = f"One reviewer regrets “{quality}”, while in Heat the user liked “{taste}”."
    summaries = [summary("q", dislikes=(quality,)), summary("h", likes=(taste,))]
    lack = Point(kind=Kind.LACK, strength=0.9, quality=quality, quality_review="q", taste_review="h", taste=taste)
    [made] = ground(text, summaries, far, names={"h": "Heat"}, points=[lack]).sentences
    assert made.supported is holds
    turned = lack.model_copy(update={"kind": Kind.CLASH})
    [made] = ground(text, summaries, far, names={"h": "Heat"}, points=[turned]).sentences
    assert not made.supported, "the user liked it"
    [made] = ground(text, summaries, far, names={"h": "Heat"}).sentences
    assert made.supported, "written freely it may be either"


def test_what_a_point_rests_on_is_looked_up():
    text = "One reviewer writes “{}”, and of Heat the user wrote “{}”.".format(*CLOSE)
    point = Point(kind=Kind.DRAW, strength=0.9, quality=CLOSE[0], quality_review="q", taste_review="h", taste=CLOSE[1])
    said = {"q": summary("q", likes=CLOSE[:1]), "h": summary("h", likes=CLOSE[1:]), "x": summary("x", likes=CLOSE)}
    names = {"h": "Heat"}

    def cited(*summaries: ReviewSummary, told: Point = point) -> list[str]:
        return ground(text, summaries, far, names=names, points=[told]).sentences[0].evidence

    assert cited(*said.values()) == ["q", "h"], "no other review that has the same words"
    assert cited(said["q"]) == cited(said["h"]) == [], "the words are not there"
    assert cited(summary("q", dislikes=CLOSE[:1]), said["h"]) == [], "they stand on the other side"
    profiled = point.model_copy(update={"taste_review": "\x00user", "profiled": True})
    [made] = ground(
        "One reviewer writes “{}”, and the user's profile has “{}”.".format(*CLOSE),
        [said["q"], summary("\x00user", likes=CLOSE[1:])],
        far,
        points=[profiled],
        profiles={"\x00user": Side.USER},
    ).sentences
    assert (made.evidence, made.profiles, made.supported) == (["q"], [Side.USER], True)
