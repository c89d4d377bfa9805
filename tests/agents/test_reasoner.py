"""The Reasoner: its grammar lets the intended texts through and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whylike.adapters.engines.base import Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.grounding import ground, split_sentences, states_rating
from whylike.agents.matching import FOR, MOST, Kind, Point
from whylike.agents.reasoner import CLEAR, LONGEST, Reasoner, called, quoted
from whylike.errors import EngineError
from whylike.records import Expert, ReviewSummary

PRECEDENTS = {Kind.PRECEDENT_FOR, Kind.PRECEDENT_AGAINST}
MEETINGS = {Kind.DRAW, Kind.CLASH}
HOSTILE = (
    '"',
    "\\",
    "\\n",
    "\\u0041",
    '" | "anything at all',
    "“",
    "”",
    "{taste}",
    "{0}",
    "%regex { (.*) }",
    "%json {}",
    "/.*/",
    "// comment",
    "start: x",
    "\n",
    "\r\n",
    "\u2028",
    "\x00",
    "\x1b[31m",
    "<|im_start|>",
    "<|im_end|>",
    "<[128000]>",
    "$points",
    "Great. Really! No?",
    "five stars",
    "日本語。",
    "عربي",
    "👩🏽‍🚀",
    "e\u0301",
    "i",
    "...",
)
words = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=12), min_size=1, max_size=6).map(" ".join)
qualities = words.filter(quoted)
"""A phrase is never empty."""
titles = words | st.sampled_from(["Dr. Strangelove", "E.T.", "It", "The Fault in Our Stars", "", "What? Me! No."])


def point(kind: Kind, number: int, quality: str = "warm sound") -> Point:
    past = kind in MEETINGS | PRECEDENTS
    return Point(
        kind=kind,
        strength=0.5,
        quality="" if kind in PRECEDENTS else quality,
        quality_review="" if kind in PRECEDENTS else f"q{number}",
        taste_review=f"r{number}" if past else "",
    )


@st.composite
def some_points(draw: st.DrawFn, quality: st.SearchStrategy[str] = qualities) -> list[Point]:
    """As matching gives them: at most one precedent."""
    kinds = draw(st.lists(st.sampled_from(sorted(Kind)), max_size=MOST))
    kinds = [kind for n, kind in enumerate(kinds) if kind not in PRECEDENTS or not PRECEDENTS & set(kinds[:n])]
    return [point(kind, n, draw(quality)) for n, kind in enumerate(kinds)]


def request(points: Sequence[Point], balance: float = 0, titles: Sequence[str] = (), newcomer: bool = False) -> Writing:
    return Reasoner(ScriptedEngine()).request(points, balance, names_of(titles), newcomer=newcomer)


def names_of(titles: Sequence[str]) -> dict[str, str]:
    """What the items of the user's reviews are called, each reviewed a day after the one before."""
    return {f"r{n}": called(title, n * 86_400) for n, title in enumerate(titles)}


def allows(asked: Writing, text: str) -> bool:
    """Whether the grammar lets a text through."""
    try:
        ScriptedEngine({Expert.REASONER: [text]}).write([asked])
    except EngineError as error:
        assert "does not match the grammar" in str(error)
        return False
    return True


def written(asked: Writing) -> str:
    [answer] = ScriptedEngine().write([asked])
    assert answer.finish == "stop", "the limit leaves room for the longest text"
    return answer.text


@settings(max_examples=60)
@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST), st.floats(-2, 2), st.booleans())
@example([point(Kind.DRAW, n, "日" * 300) for n in range(MOST)], ["題" * 300] * MOST, 1, False)
@example([point(Kind.DRAW, 0, '"'), point(Kind.CLASH, 1, "\\")], ['" | "x', "%regex { .* }"] * 2, 0, False)
def test_whatever_is_quoted_the_sentences_keep_their_form(
    points: list[Point], named: list[str], balance: float, newcomer: bool
):
    text = written(request(points, balance, named, newcomer))
    names = names_of(named)
    shown = list(names.values())
    sentences = split_sentences(text, shown)
    assert len(sentences) == max(len(points), 1), "one sentence a point"
    assert len(text.splitlines()) == 1

    assert not points or text.partition(": ")[2][0].islower(), "the first point goes on after the lead"
    for sentence, one in zip(sentences, points, strict=False):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
        assert re.findall("“[^”]*”", sentence) == ([f"“{quoted(one.quality)}”"] if one.kind not in PRECEDENTS else [])
        if one.taste_review:
            assert names[one.taste_review] in sentence
        assert not states_rating(sentence, shown)
    # What is not quoted is the same as if harmless words stood there.
    tame = [each.model_copy(update={"quality": each.quality and "Q"}) for each in points]
    frames = every_sentence(request(tame, balance, ["[0]", "[1]", "[2]", "[3]"], newcomer))
    for number, sentence in enumerate(sentences):
        allowed = frames
        if points and (past := points[number].taste_review):
            allowed = {frame.replace(f"[{past[1:]}]", names[past]) for frame in frames}
        assert re.sub("“[^”]*”", "“Q”", sentence) in allowed


def every_sentence(asked: Writing) -> set[str]:
    """All sentences that a grammar lets through, by reading it as lists of alternatives."""
    rules = dict(line.split(": ", 1) for line in (asked.grammar or "").splitlines())
    texts = {name: re.findall(r'"((?:[^"\\]|\\.)*)"', body) for name, body in rules.items()}
    first = {lead + one for lead in texts["lead"] for one in texts.get("p0", [""])}
    return first | {one for name, listed in texts.items() if name not in {"start", "lead", "p0"} for one in listed}


@settings(max_examples=25)
@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST), st.data())
def test_no_other_text_gets_through(points: list[Point], named: list[str], data: st.DataObject):
    asked = request(points, 0, named)
    text = written(asked)
    assert allows(asked, text)
    place = data.draw(st.integers(0, len(text) - 1))
    for changed in (text[:place] + text[place + 1 :], text[:place] + "#" + text[place:], text + " More.", text[:-1]):
        # Leaving out one of two equal characters may lead to the same text or to another turn; nothing else may pass.
        assert not allows(asked, changed) or changed == text
    for wrong in ("", "Five stars.", "The user would love it.", points[0].quality if points else "x"):
        assert not allows(asked, wrong)


@settings(max_examples=40)
@given(some_points(st.just("Q")))
@example([point(Kind.DRAW, n, "Q") for n in range(MOST)])
@example([point(Kind.FAULT, n, "Q") for n in range(MOST)])
def test_no_turn_of_phrase_stands_twice(points: list[Point]):
    text = written(request(points, 0, ["T"] * MOST))
    _, _, text = text.partition(": ") if points else ("", "", text)
    turns = [sentence[0].lower() + sentence[1:] for sentence in split_sentences(text)]
    assert len(set(turns)) == len(turns)


def test_a_choice_is_left_where_one_can_be():
    asked = request([point(Kind.DRAW, 0)], 1, ["Jaws"])
    sentences = every_sentence(asked)
    assert len(sentences) >= 6, "several leads and several turns"
    assert all(allows(asked, sentence) for sentence in sentences)


@pytest.mark.parametrize("kind", [Kind.PRAISE, Kind.FAULT])
@pytest.mark.parametrize("count", range(1, MOST + 1))
def test_a_reason_does_not_begin_with_the_other_hand(kind: Kind, count: int):
    sentences = every_sentence(request([point(kind, n) for n in range(count)], 0))
    first = [sentence for sentence in sentences if ": " in sentence]
    assert first
    assert not any(": on the " in sentence for sentence in first)


@pytest.mark.parametrize(
    ("balance", "newcomer", "stance"),
    [
        (CLEAR, False, "for"),
        (1.5, False, "for"),
        (-CLEAR, False, "against"),
        (CLEAR - 0.01, False, "even"),
        (0.01 - CLEAR, False, "even"),
        (1.5, True, "newcomer"),
    ],
)
@pytest.mark.parametrize("points", [[], [point(Kind.PRAISE, 0)]], ids=["no point", "a point"])
def test_the_balance_decides_the_stance(balance: float, newcomer: bool, stance: str, points: list[Point]):
    own = every_sentence(request(points, balance, newcomer=newcomer))
    stances = {
        "for": every_sentence(request(points, 2)),
        "against": every_sentence(request(points, -2)),
        "even": every_sentence(request(points, 0)),
        "newcomer": every_sentence(request(points, 0, newcomer=True)),
    }
    assert own == stances[stance]
    assert sum(own & other != set() for other in stances.values()) == 1, "the stances share no lead"


@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST))
def test_the_prompt_holds_the_qualities_on_one_line(points: list[Point], named: list[str]):
    asked = request(points, 0, named)
    told = asked.prompt.messages[-1].content
    assert len(told.splitlines()) == 1
    listed = [quoted(one.quality) for one in points if one.kind not in PRECEDENTS]
    assert sorted(re.findall("“([^”]*)”", told)) == sorted(listed)
    assert asked.prompt.messages[:-1] == request([]).prompt.messages[:-1]


@given(words | st.text())
@example("long " * 100)
def test_what_is_quoted_has_no_quotation_marks_of_its_own(text: str):
    line = quoted(text)
    assert not set(line) & set('“”"\n\r')
    assert len(line) <= LONGEST
    assert not line.endswith((".", " "))
    assert quoted(line) == line


def test_an_item_without_a_title_is_called_by_when_it_was_reviewed():
    text = written(request([point(Kind.PRECEDENT_FOR, 0)], 1, [" \n "]))
    assert "an item reviewed on 1 January 1970" in text


@pytest.mark.parametrize(
    ("kind", "imported", "taste", "allowed"),
    [
        (Kind.DRAW, True, "", "its profile says “oak”, and something like that won the user over in Jaws."),
        (Kind.DRAW, False, "elm", "one reviewer writes “oak”, and the user's profile has “elm”."),
        (Kind.CLASH, True, "elm", "its profile warns of “oak”, and the user's has “elm”."),
        (Kind.PRAISE, True, "", "it is liked for “oak”."),
        (Kind.FAULT, True, "", "among what is disliked in it is “oak”."),
    ],
)
def test_what_an_imported_profile_says_is_no_reviewers_word(kind: Kind, imported: bool, taste: str, allowed: str):
    one = point(kind, 0, "oak").model_copy(update={"imported": imported, "taste": taste})
    sentences = every_sentence(request([one], 0, ["Jaws"]))
    assert any(sentence.endswith(f": {allowed}") for sentence in sentences), sentences
    if imported:
        assert not any("reviewer" in sentence or "them" in sentence for sentence in sentences)


@settings(max_examples=30)
@given(some_points(qualities.filter(re.compile(r"\w").search)), st.lists(titles, min_size=MOST, max_size=MOST))
def test_every_sentence_is_grounded_in_its_point(points: list[Point], named: list[str]):
    """What the grammar lets through passes the grounding whole, and rests on the reviews that the points came from."""
    text = written(request(points, 0, named))
    liked = FOR | {Kind.PRAISE}
    summaries = [
        ReviewSummary(
            review_id=one.quality_review,
            likes=(one.quality,) if one.kind in liked else (),
            dislikes=(one.quality,) if one.kind not in liked else (),
            adapter_version="v",
        )
        for one in points
        if one.quality_review
    ]
    names = {one.taste_review: names_of(named)[one.taste_review] for one in points if one.taste_review}
    asked = request(points, 0, named)
    reason = ground(
        text, summaries, lambda all_: [[] for _ in all_], names=names, prompt=asked.prompt.messages[0].content
    )
    assert reason.text == text
    for sentence, one in zip(reason.sentences, points, strict=False):
        if one.quality_review:
            assert one.quality_review in sentence.evidence or len(sentence.evidence) > 1
        if one.taste_review:
            assert sentence.supported


def test_the_text_streams_in_pieces():
    reasoner = Reasoner(ScriptedEngine())
    pieces: list[str] = []
    answer = reasoner.write(request([point(Kind.PRAISE, 0)]), pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == answer.text
    assert answer.adapter_version == reasoner.version == "base:scripted"
