"""What reaches the terminal: harmless whatever was in the data, and readable at any width."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from whylike.card import BASE, card, demo_card, ingest_card, profile_card
from whylike.explanation import Evidence, Explanation, ItemAspects, Profiles, Rating, Reason, Sentence, SummaryLists
from whylike.memory.ingest import FileReport, IngestReport
from whylike.memory.store import Counts
from whylike.records import Item, Profile, RatingScale, ReviewSummary, Side
from whylike.terminal import fail, log, plain

ATTACKS = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1bPq\x1b\\",
    "\x9b31m",
    "\x90 string \x9c",
    "\x1b",
    "\x1b[",
    "\x1b]unfinished",
    "\u202eright to left",
    "\u2066isolate\u2069",
    "zero\u200bwidth",
    "\ud800",
    "back\x08\x08space",
    "\r\nlines\u2028more\x85",
    "[red]markup[/red]",
    "[/]",
    ":smile:",
    "[link=http://example.org]x[/link]",
    "\\[x]",
]
anything = st.one_of(st.text(), st.sampled_from(ATTACKS), st.lists(st.sampled_from(ATTACKS)).map("".join))
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def explanation(text: str = "text", **changes: Any) -> Explanation:
    lists = SummaryLists(likes=[text, "slow"], dislikes=[text], preferences=[text])
    sentences = [
        Sentence(text=text, evidence=["r2", "r1"], supported=True),
        Sentence(text="Perhaps.", evidence=[], supported=False),
        Sentence(text="So it says.", evidence=[], profiles=[Side.USER], supported=True),
    ]
    both = ItemAspects(likes=[text], dislikes=[])
    whole: dict[str, Any] = {
        "user_id": text,
        "item_id": "i1",
        "as_of": 1_700_000_000,
        "rating": Rating(
            scale=[1, 5],
            expectation=4.21,
            mode=5,
            distribution={"1": 0.02, "2": 0.03, "3": 0.1, "4": 0.25, "5": 0.6},
            interval=[3, 5],
            uncalibrated_expectation=4.4,
            bias_baseline=4.1,
        ),
        "reason": Reason(text=text, sentences=sentences),
        "profiles": Profiles(user=both, item=both),
        "evidence": [
            Evidence(id=f"r{n}", user_id=text, item_id=f"i{n}", rating=4, timestamp=1_600_000_000, summary=lists)
            for n in range(4)
        ],
        "adapters": {"summarizer": f"{BASE}{text}", "reasoner": text, "predictor": f"{BASE}{text}"},
        "engine": text,
        "seconds": {"summarize": 1.5, "reason": 0.25, "predict": 0.0},
        "notes": [text],
    }
    return Explanation(**whole | changes)


def shown(content: RenderableType, width: int = 80, **how: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, markup=False, emoji=False, highlight=False, **how)
    console.print(content)
    return file.getvalue()


def is_harmless(text: str) -> bool:
    return all(character == "\n" or _is_visible(character) for character in text)


def _is_visible(character: str) -> bool:
    return character in "\u200c\u200d" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


# --- one function


@given(anything)
def test_plain_is_harmless_on_one_line_and_stays_as_it_is(text: str) -> None:
    clean = plain(text)
    assert is_harmless(clean)
    assert "\n" not in clean
    assert plain(clean) == clean
    assert is_harmless(plain(text, lines=True))


@given(st.text(st.characters(categories=["L", "N", "P", "S", "M"])))
def test_plain_leaves_what_people_write(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize("text", ["Amélie 👩‍👩‍👧 سلام 日本 [1] <3", "می\u200cخواهم", "nothing to clean"])
def test_plain_leaves_scripts_and_emoji(text: str) -> None:
    assert plain(text) == text


def test_plain_removes_whole_sequences() -> None:
    assert plain("a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\te\u202e") == "abcd e"
    assert plain("a\r\nb", lines=True) == "a\nb"
    assert plain("a\r\nb") == "a b"


def test_messages_go_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    fail(f"no item {ATTACKS[0]}x")
    log(1)
    logging.getLogger("whylike.somewhere").info("read %s", f"{ATTACKS[1]}y")
    logging.getLogger("whylike.somewhere").debug("not this")
    assert not logging.getLogger("bitsandbytes.backends").isEnabledFor(logging.WARNING), "it advises in vain"
    assert capsys.readouterr() == ("", "whylike: no item x\nwhylike: read y\n")


# --- the card


@given(anything)
def test_no_data_can_command_the_terminal(text: str) -> None:
    item = Item(item_id="i1", title=text)
    cards = [
        card(explanation(text), {"i1": item}.get, text),
        profile_card(Profile(side=Side.ITEM, subject_id=text, likes=(text,), adapter_version=text), text),
        demo_card({text: 1.0}, Path(text.replace("\0", "") or ".")),
    ]
    for content in cards:
        assert is_harmless(shown(content))
        coloured = shown(content, force_terminal=True, color_system="truecolor", legacy_windows=False)
        assert is_harmless(COLOURS.sub("", coloured))


def test_markup_is_text() -> None:
    assert "[red]markup[/red]" in shown(card(explanation("[red]markup[/red]"), {}.get))


@pytest.mark.parametrize("width", [30, 40, 80, 100, 200])
def test_it_fits(width: int) -> None:
    lines = shown(card(explanation("many words to read " * 9), {}.get), width).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    assert all(line == line.rstrip() for line in lines)


def test_a_terminal_without_unicode_gets_ascii_bars(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii", errors="replace") as file:
        Console(file=file, width=80).print(card(explanation(), {}.get))
    text = (tmp_path / "out").read_text()
    assert "5 ####" in text
    assert "| i1" in text


def test_no_colours_without_a_terminal() -> None:
    assert "\x1b" not in shown(card(explanation(), {}.get))


def test_what_it_says() -> None:
    text = shown(
        card(explanation(), {"i1": Item(item_id="i1", title="Alien"), "i2": Item(item_id="i2", title="Up")}.get)
    )
    for said in (
        "Alien",
        "for text, as of 14 November 2023",
        "Expected rating 4.2 on a scale of 1 to 5",
        "Most likely 5; with at least 80% probability between 3 and 5",
        "text [1][2] Perhaps. [no evidence] So it says. [user's profile]",
        "[1] text on Up: 4 of 5, 13 September 2020",
        "liked “text”, “slow”; disliked “text”; cares about text",
        "[2] text on this item",
        "Read too: 2 more reviews",
        "base model text with few-shot prompts, no adapter",
        "summarize 1.5, reason 0.2, predict 0.0",
        "- text",
    ):
        assert said in text, said
    assert re.search(r" 5 █+\S* +60%\n", text)


@pytest.mark.parametrize("with_reason", [True, False])
def test_what_the_reader_should_know_comes_before_the_rating(with_reason: bool) -> None:
    note = "no item 'i' in the store; did you mean 'i1'?"
    text = shown(card(explanation(notes=[note]), {}.get, with_reason=with_reason))
    assert text.index("as of") < text.index(f"- {note}") < text.index("Expected rating")
    assert text.count(note) == 1


def test_only_a_reviewers_own_words_stand_in_quotation_marks() -> None:
    told = SummaryLists(
        likes=["Good cast", "Warmth"],
        dislikes=["Length"],
        preferences=[],
        praise=["the whole cast shines"],
        blame=["two hours too long"],
    )
    said = explanation()
    said = said.model_copy(
        update={
            "reason": Reason(text="One complains “two hours too long”.", sentences=[]),
            "evidence": [each.model_copy(update={"summary": told}) for each in said.evidence],
        }
    )
    text = " ".join(shown(card(said, {}.get)).split())
    assert "liked “the whole cast shines”; disliked “two hours too long”" in text
    assert "Good cast" not in text
    doubtful = told.model_copy(update={"praise": [], "blame": []})
    said = said.model_copy(
        update={"evidence": [each.model_copy(update={"summary": doubtful}) for each in said.evidence]}
    )
    text = " ".join(shown(card(said, {}.get)).split())
    assert "no phrase of it clearly praises or blames" in text, "though the adapter lists what was liked"


def test_experts_that_differ_are_listed() -> None:
    text = shown(card(explanation("v1"), {}.get))
    assert "summarizer  base model v1" in text
    assert "reasoner    adapter v1" in text
    same = dict.fromkeys(("summarizer", "reasoner", "predictor"), "base:tiny")
    assert "experts  base model tiny" in shown(card(explanation(adapters=same), {}.get))


def test_a_teacher_that_wrote_the_reason_is_named_in_the_experts_place() -> None:
    by = {"summarizer": "base:tiny", "reasoner": "openai:b\x1b[31mig+0123", "predictor": "base:tiny"}
    text = shown(card(explanation(adapters=by), {}.get))
    assert "reasoner    teacher big, not the student's own Reasoner" in text


def test_without_a_reason_or_evidence() -> None:
    text = shown(card(explanation(reason=None, evidence=[]), {}.get))
    assert "Nothing is known that a reason could rest on." in text
    assert "The model alone would say 4.4, the averages 4.1." in text, "one that was taught speaks without a reason"
    silent = explanation().rating.model_copy(update={"uncalibrated_expectation": 4.1})
    assert "It rests on the averages alone." in shown(card(explanation(rating=silent, reason=None), {}.get))
    assert "No review was read for this answer." in text
    assert "Made by" not in text, "no expert was asked"
    short = shown(card(explanation(reason=None, evidence=[]), {}.get, with_reason=False))
    assert "Why" not in short
    assert "Evidence" not in short


def test_where_all_ratings_are_as_likely_none_is_called_the_likeliest() -> None:
    flat = explanation().rating.model_copy(update={"distribution": dict.fromkeys("12345", 0.2)})
    assert "No rating is likelier than another" in shown(card(explanation(rating=flat), {}.get))


def test_scales_in_steps() -> None:
    scale = RatingScale(minimum=0.5, maximum=5, step=0.5)
    rating = Rating(
        scale=[0.5, 5, 0.5],
        expectation=3.3,
        mode=3.5,
        distribution={f"{value:g}": 0.1 for value in scale.values},
        interval=[1, 5],
        uncalibrated_expectation=3.0,
        bias_baseline=3.0,
    )
    text = shown(card(explanation(rating=rating), {}.get))
    assert "on a scale of 0.5 to 5 in steps of 0.5" in text
    assert "4.5 █" in text


def test_an_ingest() -> None:
    file = FileReport(
        file=Path("a\x1b[31m.csv"),
        format="csv",
        seen="CSV",
        rows=3,
        rejected=1,
        rejects=Path("r.jsonl"),
        reviews=2,
        reviews_added=1,
    )
    counts = Counts(users=1, items=1, reviews=1, summaries=0, profiles=0)
    text = shown(ingest_card(IngestReport(scale=RatingScale(), reviews=file), counts, 1.0), 100)
    assert text.splitlines() == [
        "a.csv: CSV",
        "  3 rows, 2 reviews",
        "  1 new, 1 there already",
        "  1 rejected, with the reasons in r.jsonl",
        "The store has 1 review by 1 user of 1 item, on the scale 1:5 (3 rows a second).",
    ]


@pytest.mark.parametrize(("side", "whose"), [(Side.USER, "in the user's words:"), (Side.ITEM, "in reviewers' words:")])
def test_a_profile_shows_what_its_reviews_say(side: Side, whose: str) -> None:
    profile = Profile(side=side, subject_id="ann", likes=("Dread",), adapter_version="summarizer-01234567+recipe")
    told = ReviewSummary(review_id="r", praise=("slow dread",), blame=("too [red]loud\x07",), adapter_version="v")
    empty = told.model_copy(update={"praise": (), "blame": ()})
    written = told.model_copy(update={"praise": None, "blame": None, "likes": ("dread",)})

    def shown(*said: tuple[str, ReviewSummary]) -> str:
        file = io.StringIO()
        Console(file=file, width=120).print(profile_card(profile, "ann", said))
        return file.getvalue()

    rows = f"  {whose}\n  Alien: liked “slow dread”; disliked “too [red]loud”\n"
    assert rows in shown(("Alien", told), ("Jaws", empty))
    assert whose not in shown(("Jaws", empty)) + shown(("Jaws", written)) + shown()


def test_a_profile_says_from_which_reviews_it_is_and_who_wrote_it() -> None:
    profile = Profile(side=Side.USER, subject_id="ann", adapter_version="base:tiny+recipe", as_of=1_601_510_400)
    file = io.StringIO()
    Console(file=file, width=120).print(profile_card(profile, "ann"))
    said = " ".join(file.getvalue().split())
    written = "from reviews up to 1 October 2020 by base model tiny with few-shot prompts, no adapter."
    assert said.endswith(f"Written {written}")
