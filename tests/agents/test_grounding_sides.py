"""Grounding of what was written freely: it rests on the side that it speaks of."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from whylike.agents.grounding import ground
from whylike.explanation import Sentence
from whylike.memory.embeddings import Embedder
from whylike.memory.importers.teacher import aspects
from whylike.memory.outbox import readable
from whylike.records import ReviewSummary, Side

REASONS = Path(__file__).parents[2].parent / "shared" / "data" / "teacher" / "reasons.jsonl.gz"
EVERY = 20
"""Of so many real reasons one is read."""

SUMMARIES = [
    ReviewSummary(
        review_id="r1",
        likes=("a warm sound", "Redemption Song", "long slow solos", "no boring filler tracks"),
        dislikes=("the muddy bass drum",),
        preferences=("gentle melody lines",),
        adapter_version="v",
    ),
    ReviewSummary(review_id="r2", likes=("clever rhymes",), dislikes=("a cold studio sound",), adapter_version="v"),
    ReviewSummary(
        review_id="i1",
        likes=("tight horn section", "gentle melody lines"),
        dislikes=("thin plastic wrapper",),
        adapter_version="v",
    ),
]
NAMES = {"r1": "Survival", "r2": "Stakes"}

Rests = Callable[..., Sentence]


@pytest.fixture
def rests(embedder: Embedder) -> Rests:
    """What one sentence rests on, where `near` are the cosines of reviews."""

    def rest(text: str, near: Sequence[tuple[str, float]] = (), **more: Any) -> Sentence:
        given: dict[str, Any] = {"names": NAMES, "about": "Catch a Fire", **more}
        [made] = ground(text, SUMMARIES, lambda all_: [list(near) for _ in all_], embedder, **given).sentences
        assert made.supported is bool(made.evidence or made.profiles or made.stated)
        return made

    return rest


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        ("The user enjoys long slow solos.", ["r1"]),
        ("The new item has long slow solos.", []),
        ("It is praised for Redemption Song.", []),
        ("This item's “Redemption Song” is praised.", []),
        ('Reviewers praise songs such as "Redemption Song".', []),
        ("The user praised “Redemption Song”.", ["r1"]),
        ("Catch a Fire has a tight horn section.", ["i1"]),
        ("Others write of a tight horn section.", ["i1"]),
        ("The user may enjoy the tight horn section.", ["i1"]),
        ("The user enjoys a tight horn section.", []),
        ("They also value a tight horn section.", []),
        ("The user enjoys long slow solos and a tight horn section.", []),
        ("Others praise the tight horn section and long slow solos.", []),
        ("A tight horn section: the user has always loved brass.", ["i1"]),
        ("In Survival the user praised “long slow solos”.", ["r1"]),
        ("In Stakes the user praised “long slow solos”.", []),
        ("In Stakes the user praised clever rhymes.", ["r2"]),
        ("The user enjoys gentle melody lines.", []),
        ("The user enjoys gentle melody lines and long slow solos.", ["r1"]),
        ("The user enjoys gentle gardens, wild rivers and clever rhymes.", ["r2"]),
        ("Reviewers love a tight horn section, but the user prefers wide gardens, rivers and mountains.", []),
        ("Reviewers love a tight horn section, and the user likes gardens.", ["i1"]),
    ],
)
def test_each_part_rests_on_the_side_that_it_speaks_of(rests: Rests, sentence: str, evidence: list[str]):
    assert rests(sentence).evidence == evidence


def test_words_that_both_sides_have_are_nobodys_alone(rests: Rests):
    both = [*SUMMARIES, ReviewSummary(review_id="i2", likes=("warm", "sound"), adapter_version="v")]
    assert rests("Others write of a warm sound and a tight horn section.").evidence == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.SUMMARIES", both)
        assert rests("Others write of a warm sound and a tight horn section.").evidence == ["i1"]


def test_praise_does_not_rest_on_complaints(rests: Rests):
    assert rests("Others praise the thin plastic wrapper.").evidence == []
    assert rests("Others complain of a thin plastic wrapper.").evidence == ["i1"]
    assert rests("There is a thin plastic wrapper.").evidence == ["i1"]
    assert rests("The user may like the thin plastic wrapper.").evidence == ["i1"], "what others minded they may like"
    assert rests("The user loves the muddy bass drum.").evidence == []
    assert rests("The user dislikes the muddy bass drum.").evidence == ["r1"]
    assert rests("The user dislikes long slow solos.").evidence == []
    assert rests("The user dislikes boring filler tracks.").evidence == ["r1"], "they like that there are none"


def test_what_is_near_counts_for_its_side_only(rests: Rests):
    near = [("r2", 0.9), ("i1", 0.8)]
    assert rests("The user enjoys wit in verse.", near).evidence == ["r2"]
    assert rests("The brass is superb here.", near).evidence == ["i1"]
    assert rests("The user enjoys wit in verse.", [("i1", 0.9)]).evidence == []
    assert rests("The brass is superb here.", [("r2", 0.9)]).evidence == []
    both = "The user enjoys wit in verse, and the album has superb brass and choirs."
    assert rests(both, near).evidence == ["r2", "i1"]
    assert rests(both, near[:1]).evidence == []


def test_a_profile_speaks_for_its_side(rests: Rests):
    profiles = {"i1": Side.ITEM, "r1": Side.USER}
    assert rests("The user enjoys long slow solos.", names={}, profiles=profiles).profiles == [Side.USER]
    assert rests("Others write of a tight horn section.", names={}, profiles=profiles).profiles == [Side.ITEM]
    assert not rests("Others write of long slow solos.", names={}, profiles=profiles).supported


def test_the_item_may_be_named_in_quotation_marks(rests: Rests):
    assert rests("“Catch a Fire” has a tight horn section.").evidence == ["i1"]
    assert rests("“Catch a Ball” has a tight horn section.").evidence == []


# Real reasons


def histories(told: str) -> list[tuple[str, dict[str, tuple[str, ...]]]]:
    """Title and aspects of each summary in a history."""
    parts = re.split(r"^\d+\. (.*)$", told, flags=re.MULTILINE)
    return [(title.strip(), aspects(lists)) for title, lists in zip(parts[1::2], parts[2::2], strict=True)]


def supported(row: dict[str, str], user_history: str, item_history: str, embedder: Embedder) -> dict[str, bool]:
    """Whether each sentence of a real reason is supported by these histories. The user's items keep their names."""
    sides = {"u": histories(user_history), "i": histories(item_history)}
    summaries = [
        ReviewSummary(review_id=f"{side}{number}", **lists, adapter_version="v")
        for side, each in sides.items()
        for number, (_, lists) in enumerate(each)
    ]
    texts = {each.review_id: readable(each.likes, each.dislikes, each.preferences) for each in summaries}
    there = [id_ for id_, text in texts.items() if text]

    def nearest(sentences: list[str]) -> list[list[tuple[str, float]]]:
        close = embedder.embed(sentences) @ embedder.embed([texts[id_] for id_ in there]).T
        return [list(zip(there, map(float, cosines), strict=True)) for cosines in close]

    called = [title for title, _ in histories(row["user_history"])]
    names = {f"u{number}": "" for number in range(len(sides["u"]))}
    names |= {id_: title for id_, title in zip(names, called, strict=False) if title != row["title"]}
    reason = ground(row["reason"], summaries, nearest, embedder, names=names, about=row["title"])
    return {sentence.text: sentence.supported for sentence in reason.sentences}


@pytest.mark.realdata
@pytest.mark.skipif(not REASONS.exists(), reason=f"the teacher's reasons are not at {REASONS}")
def test_real_reasons_rest_on_the_right_sides(embedder: Embedder):
    """Of all 867: 52% of the sentences are supported; of these 22% with the sides swapped, 31% with another's item."""
    with gzip.open(REASONS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][::EVERY]
    right, swapped, strange = [], [], []
    for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
        user, item = row["user_history"], row["item_history"]
        found = supported(row, user, item, embedder)
        right += found.values()
        kept = [text for text, holds in found.items() if holds]
        turned = supported(row, item, user, embedder)
        swapped += [turned[text] for text in kept]
        elsewhere = supported(row, user, other["item_history"], embedder)
        strange += [elsewhere[text] for text in kept]
    assert sum(right) / len(right) > 0.45
    assert sum(swapped) / len(swapped) < 0.3
    assert sum(strange) / len(strange) < 0.4
