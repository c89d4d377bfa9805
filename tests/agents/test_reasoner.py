"""The Reasoner: its grammar lets the intended texts through and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whylike.adapters.engines.base import Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents import comparing, matching, plans, ratings
from whylike.agents.grounding import ground, split_sentences
from whylike.agents.matching import MOST, POSITIVE, TASTED_LIKED, Kind, Point
from whylike.agents.plans import Stance
from whylike.agents.ratings import states_rating
from whylike.agents.reasoner import LONGEST, Reasoner, called, quoted, reopened
from whylike.errors import EngineError
from whylike.memory.embeddings import Embedder
from whylike.records import Expert, ReviewSummary

PRECEDENTS = {Kind.PRECEDENT_FOR, Kind.PRECEDENT_AGAINST}
MEETINGS = {Kind.DRAW, Kind.CLASH, Kind.LACK}
CONTRARY = re.compile("on the (?:other|bright)|to its credit", re.IGNORECASE)
TASTE = "an “old” sound {quality}"
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
qualities = words.filter(lambda text: quoted(text) and not states_rating(text))
"""A phrase is never empty, and matching leaves out those that state a rating."""
titles = words | st.sampled_from(["Dr. Strangelove", "E.T.", "It", "The Fault in Our Stars", "", "What? Me! No."])


def point(kind: Kind, number: int, quality: str = "warm sound") -> Point:
    past = kind in MEETINGS | PRECEDENTS
    return Point(
        kind=kind,
        strength=0.5,
        quality="" if kind in PRECEDENTS else quality,
        quality_review="" if kind in PRECEDENTS else f"q{number}",
        taste_review=f"r{number}" if past else "",
        taste=TASTE if past else "",
    )


@st.composite
def some_points(draw: st.DrawFn, quality: st.SearchStrategy[str] = qualities) -> list[Point]:
    """As matching gives them: at most one precedent."""
    kinds = draw(st.lists(st.sampled_from(sorted(Kind)), max_size=MOST))
    kinds = [kind for n, kind in enumerate(kinds) if kind not in PRECEDENTS or not PRECEDENTS & set(kinds[:n])]
    return [point(kind, n, draw(quality)) for n, kind in enumerate(kinds)]


def request(
    points: Sequence[Point], way: Stance = Stance.MIXED, titles: Sequence[str] = (), newcomer: bool = False
) -> Writing:
    return Reasoner(ScriptedEngine()).request(points, way, names_of(titles), newcomer=newcomer)


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
@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST), st.sampled_from(Stance), st.booleans())
@example([point(Kind.DRAW, n, "日" * 300) for n in range(MOST)], ["題" * 300] * MOST, Stance.FOR, False)
@example([point(Kind.DRAW, 0, '"'), point(Kind.CLASH, 1, "\\")], ['" | "x', "%regex { .* }"] * 2, Stance.MIXED, False)
def test_whatever_is_quoted_the_sentences_keep_their_form(
    points: list[Point], named: list[str], way: Stance, newcomer: bool
):
    text = written(request(points, way, named, newcomer))
    names = names_of(named)
    shown = list(names.values())
    sentences = split_sentences(text, shown)
    assert len(sentences) == max(len(points), 1), "one sentence a point"
    assert len(text.splitlines()) == 1

    assert not points or text.partition(": ")[2][0].islower(), "the first point goes on after the lead"
    for sentence, one in zip(sentences, points, strict=False):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
        told = [f"“{quoted(phrase)}”" for phrase in (one.quality, one.taste) if phrase]
        assert re.findall("“[^”]*”", sentence) == told, "both sides of a meeting are there to be judged"
        if one.taste_review:
            assert names[one.taste_review] in sentence
        assert not states_rating(sentence.replace(names.get(one.taste_review) or "\n", ""))
    # What is not quoted is the same as if harmless words stood there.
    tame = [each.model_copy(update={"quality": each.quality and "Q"}) for each in points]
    frames = every_sentence(request(tame, way, ["[0]", "[1]", "[2]", "[3]"], newcomer))
    for number, sentence in enumerate(sentences):
        allowed = frames
        if points and (past := points[number].taste_review):
            allowed = {frame.replace(f"[{past[1:]}]", names[past]) for frame in frames}
        assert re.sub("“[^”]*”", "“Q”", sentence) in {re.sub("“[^”]*”", "“Q”", frame) for frame in allowed}


def every_sentence(asked: Writing) -> set[str]:
    """All sentences that a grammar lets through, by reading it as lists of alternatives."""
    rules = dict(line.split(": ", 1) for line in (asked.grammar or "").splitlines())
    texts = {name: re.findall(r'"((?:[^"\\]|\\.)*)"', body) for name, body in rules.items()}
    first = {lead + one for lead in texts["lead"] for one in texts.get("p0", [""])}
    return first | {one for name, listed in texts.items() if name not in {"start", "lead", "p0"} for one in listed}


@settings(max_examples=25)
@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST), st.data())
def test_no_other_text_gets_through(points: list[Point], named: list[str], data: st.DataObject):
    asked = request(points, titles=named)
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
    text = written(request(points, titles=["T"] * MOST))
    _, _, text = text.partition(": ") if points else ("", "", text)
    turns = [sentence[0].lower() + sentence[1:] for sentence in split_sentences(text)]
    assert len(set(turns)) == len(turns)


def test_a_choice_is_left_where_one_can_be():
    asked = request([point(Kind.DRAW, 0)], Stance.FOR, ["Jaws"])
    sentences = every_sentence(asked)
    assert len(sentences) >= 6, "several leads and several turns"
    assert all(allows(asked, sentence) for sentence in sentences)


@pytest.mark.parametrize("kind", [Kind.PRAISE, Kind.FAULT])
@pytest.mark.parametrize("count", range(1, MOST + 1))
def test_a_reason_does_not_begin_with_the_other_hand(kind: Kind, count: int):
    sentences = every_sentence(request([point(kind, n) for n in range(count)]))
    assert len(sentences) > count
    assert not any(CONTRARY.search(sentence) for sentence in sentences)


@pytest.mark.parametrize(
    ("kinds", "contrary"),
    [
        ((Kind.PRAISE, Kind.FAULT), {1}),
        ((Kind.FAULT, Kind.PRAISE), {1}),
        ((Kind.DRAW, Kind.FAULT), {1}),
        ((Kind.CLASH, Kind.PRAISE), {1}),
        ((Kind.PRECEDENT_AGAINST, Kind.FAULT), set()),
        ((Kind.FAULT, Kind.FAULT, Kind.PRAISE, Kind.PRAISE), {2}),
        ((Kind.PRAISE, Kind.FAULT, Kind.PRAISE, Kind.FAULT), {1, 2, 3}),
    ],
)
def test_only_what_goes_against_the_sentence_before_is_on_the_other_hand(kinds: tuple[Kind, ...], contrary: set[int]):
    points = [point(kind, number, f"quality {number}") for number, kind in enumerate(kinds)]
    sentences = every_sentence(request(points, titles=["Jaws"] * len(points)))
    told = {int(found[1]) for one in sentences if CONTRARY.search(one) and (found := re.search(r"quality (\d)", one))}
    one_turn = {number for number in contrary if number > 1 and kinds[number] is Kind.FAULT}
    assert told == contrary - one_turn, "there is but one such turn for faults, and no turn stands twice"


def test_a_reason_that_has_nothing_of_the_users_own_says_so():
    praise, draw = point(Kind.PRAISE, 0), point(Kind.DRAW, 1)
    alone = {way: every_sentence(request([praise], way, ["Jaws"])) for way in Stance}
    for way in (Stance.FOR, Stance.AGAINST):
        assert all(re.match("(Going|To go) by others alone, th", one) for one in alone[way])
    assert all(one.startswith("Nothing that the user wrote was found to come close") for one in alone[Stance.MIXED])
    met = request([praise, draw], Stance.FOR, ["Jaws", "Jaws"])
    assert not any("others alone" in one for one in every_sentence(met))


@pytest.mark.parametrize("points", [[], [point(Kind.PRAISE, 0)], [point(Kind.DRAW, 0)]], ids=["none", "others", "met"])
def test_the_ways_that_a_reason_goes_share_no_beginning(points: list[Point]):
    ways = [every_sentence(request(points, way, ["Jaws"])) for way in Stance]
    ways.append(every_sentence(request(points, Stance.FOR, ["Jaws"], newcomer=True)))
    assert all(ways)
    assert sum(map(len, ways)) == len(set[str]().union(*ways))


@pytest.mark.parametrize("points", [[], [point(Kind.PRAISE, 0)], [point(Kind.DRAW, 0)]], ids=["none", "others", "met"])
def test_a_reason_can_be_made_to_begin_as_if_it_went_another_way(points: list[Point]):
    for before in Stance:
        for after in Stance:
            told, wanted = (every_sentence(request(points, way, ["Jaws"])) for way in (before, after))
            changed = {reopened(text, after) for text in told}
            assert changed <= wanted
            assert before is not after or changed == told, "it is left as it is"
    assert reopened("The user likes it.", Stance.AGAINST) == "The user likes it."


@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST))
def test_the_prompt_holds_the_qualities_on_one_line(points: list[Point], named: list[str]):
    asked = request(points, titles=named)
    told = asked.prompt.messages[-1].content
    assert len(told.splitlines()) == 1
    listed = [quoted(one.quality) for one in points if one.kind not in PRECEDENTS]
    assert sorted(re.findall("“([^”]*)”", told)) == sorted(listed)
    assert asked.prompt.messages[:-1] == request([]).prompt.messages[:-1]


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        (
            "integrity-possessed) hip hop, both lyrically and sonically",
            "(integrity-possessed) hip hop, both lyrically and sonically",
        ),
        ("A tour de force (4 sides", "A tour de force (4 sides)"),
        ('Stan floats and soars in "Desafinado', "Stan floats and soars in 'Desafinado'"),
        ('The Beat" has a catchy organ riff', "'The Beat' has a catchy organ riff"),
        ("The sad thing about 'Pet Sounds", "The sad thing about 'Pet Sounds'"),
        ("the Beatles' last, a fan since '97, rock 'n' roll", "the Beatles' last, a fan since '97, rock 'n' roll"),
        ("it made me smile :) all day :(", "it made me smile :) all day :("),
        ("Free Solo (2018)", "Free Solo (2018)"),
        ("cool 8) as ever :-)", "cool 8) as ever :-)"),
        ('a “warm” sound (really) of "brass"', "a 'warm' sound (really) of 'brass'"),
    ],
)
def test_what_is_quoted_gets_the_marks_back_that_a_cut_took(cut: str, whole: str):
    assert quoted(cut) == whole


@given(words | st.text())
@example("long " * 100)
def test_what_is_quoted_has_no_quotation_marks_of_its_own(text: str):
    line = quoted(text)
    assert not set(line) & set('“”"\n\r')
    assert len(line) <= LONGEST
    assert not line.endswith((".", " "))
    assert quoted(line) == line


def test_an_item_without_a_title_is_called_by_when_it_was_reviewed():
    text = written(request([point(Kind.PRECEDENT_FOR, 0)], Stance.FOR, [" \n "]))
    assert "an item reviewed on 1 January 1970" in text


@pytest.mark.parametrize(
    ("kind", "imported", "profiled", "allowed"),
    [
        (Kind.DRAW, True, False, "its profile says “oak”, and of Jaws the user wrote “elm”."),
        (Kind.DRAW, False, True, "one reviewer writes “oak”, and the user's profile has “elm”."),
        (Kind.CLASH, True, True, "its profile warns of “oak”, and the user's has “elm”."),
        (Kind.LACK, True, False, "its profile warns of “oak”, and in Jaws the user liked “elm”."),
        (Kind.LACK, False, True, "somebody complains “oak”, and the user's profile praises “elm”."),
        (Kind.PRAISE, True, False, "it is liked for “oak”."),
        (Kind.FAULT, True, False, "among what is disliked in it is “oak”."),
    ],
)
def test_what_an_imported_profile_says_is_no_reviewers_word(kind: Kind, imported: bool, profiled: bool, allowed: str):
    taste = "elm" if kind in MEETINGS else ""
    one = point(kind, 0, "oak").model_copy(update={"imported": imported, "profiled": profiled, "taste": taste})
    sentences = every_sentence(request([one], titles=["Jaws"]))
    assert any(sentence.endswith(f": {allowed}") for sentence in sentences), sentences
    if imported:
        assert not any("reviewer" in sentence or "body" in sentence for sentence in sentences)


def test_a_fault_in_a_kind_review_is_no_complaint():
    conceded = [point(Kind.FAULT, number).model_copy(update={"conceded": True}) for number in range(MOST)]
    sentences = every_sentence(request(conceded))
    assert sentences
    assert not any(word in sentence for sentence in sentences for word in ("complain", "warning", "dislike", "put one"))
    said = every_sentence(request([point(Kind.FAULT, number) for number in range(MOST)]))
    assert sentences.isdisjoint(said)


@pytest.mark.parametrize("kind", Kind)
def test_no_sentence_speaks_of_more_than_was_found(kind: Kind):
    """One review is not “those who”, the last ten are not all, and what is near is not the same."""
    for sentence in every_sentence(request([point(kind, n) for n in range(1 if kind in PRECEDENTS else MOST)])):
        for more in ("same", "all that", "those who", "happy", "others write", "others say", "others speak"):
            assert more not in sentence.lower()


@settings(max_examples=30)
@given(some_points(), st.lists(titles, min_size=MOST, max_size=MOST), st.data())
def test_every_sentence_rests_on_its_points_reviews(
    embedder: Embedder, points: list[Point], named: list[str], data: st.DataObject
):
    """What the grammar lets through passes the grounding whole, and rests on the reviews that its point came from,
    whatever other reviews say; not where the review does not have the words."""
    points = [
        each.model_copy(
            update={"quality": "no happy ending", "taste": "a happy ending"}
            if each.kind is Kind.LACK
            else {"taste": each.taste and (each.quality or each.taste)}
        )
        for each in points
    ]
    asked = request(points, titles=named)
    text = written(asked)
    wrong = data.draw(st.sampled_from(["", *(each.quality_review for each in points if each.quality_review)]))
    summaries = [
        ReviewSummary(
            review_id=id_,
            likes=(phrase,) if liked and id_ != wrong else (),
            dislikes=(phrase,) if not liked and id_ != wrong else (),
            adapter_version="v",
        )
        for each in points
        for id_, phrase, liked in (
            (each.quality_review, each.quality, each.kind in POSITIVE),
            (each.taste_review, each.taste, each.kind in TASTED_LIKED),
        )
        if id_
    ]
    others = [
        ReviewSummary(review_id=f"x{number}", likes=(frame,), dislikes=(frame,), adapter_version="v")
        for number, frame in enumerate(
            (*split_sentences(text), *(each.quality for each in points), "one reviewer writes")
        )
    ]
    names = {each.taste_review: names_of(named)[each.taste_review] for each in points if each.taste_review}
    reason = ground(
        text,
        [*others, *summaries],
        lambda all_: [[("x0", 1.0)] for _ in all_],
        embedder,
        points=points,
        names=names,
        prompt=asked.prompt.messages[0].content,
    )
    assert reason.text == text
    for sentence, each in zip(reason.sentences, points, strict=False):
        rests_on = [id_ for id_ in (each.quality_review, each.taste_review) if id_]
        assert sentence.evidence == ([] if wrong and wrong == each.quality_review else rests_on)
        assert sentence.supported is bool(sentence.evidence)


@pytest.mark.parametrize("kind", sorted(PRECEDENTS))
def test_a_precedent_is_of_the_latest_reviews(kind: Kind):
    """The history has the last reviews only."""
    sentences = every_sentence(request([point(kind, 0)], Stance.FOR, ["Jaws"]))
    assert all("lately" in sentence or "latest reviews" in sentence for sentence in sentences)


def test_the_text_streams_in_pieces():
    reasoner = Reasoner(ScriptedEngine())
    pieces: list[str] = []
    answer = reasoner.write(request([point(Kind.PRAISE, 0)]), pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == answer.text
    assert answer.adapter_version == reasoner.version == "base:scripted"


@pytest.mark.parametrize("module", [comparing, matching, plans, ratings], ids=lambda module: module.__name__)
def test_a_reason_by_other_rules_is_stale(module: ModuleType, monkeypatch: pytest.MonkeyPatch):
    reasoner = Reasoner(ScriptedEngine())
    before = reasoner.mark
    monkeypatch.setattr(module, "ANOTHER", 1, raising=False)
    assert reasoner.mark != before
