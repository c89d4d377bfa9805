"""Imported profiles in the place of reviews."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from whylike.explanation import Explanation
from whylike.graph.pair import Services, explain
from whylike.records import Profile, Review, Side

Opened = Callable[..., AbstractContextManager[Services]]
Check = Callable[[Explanation], None]
Said = Callable[[Explanation], dict[str, Any]]


Imported = Callable[..., Profile]


def test_a_ready_made_profile_stands_in_for_reviews(services: Services, well_formed: Check, imported: Imported):
    services.store.add_profiles([imported(Side.USER), imported(Side.ITEM, 1.5)])
    by_user, by_item, both = (explain(services, *pair) for pair in (("pro", "ice"), ("ann", "pro"), ("pro", "pro")))
    for explanation in (by_user, by_item, both):
        well_formed(explanation)
        assert explanation.reason
        assert sum("ready-made" in note for note in explanation.notes) == 1
    assert by_user.profiles.user.likes == ["slimy rubber creatures on wires", "monsters built by hand"]
    assert by_item.profiles.item.dislikes == ["nothing happens for an hour"]
    assert {evidence.item_id for evidence in by_user.evidence} == {"ice"}
    assert by_user.rating.bias_baseline > explain(services, "zoe", "ice").rating.bias_baseline
    assert by_item.rating.bias_baseline < explain(services, "ann", "unread").rating.bias_baseline
    assert both.evidence == []


def test_a_sentence_that_rests_on_it_names_no_review(services: Services, imported: Imported):
    services.store.add_profiles([imported(Side.USER), imported(Side.ITEM)])
    both = explain(services, "pro", "pro").reason
    assert both
    for sentence in both.sentences:
        assert sentence.evidence == []
        assert set(sentence.profiles) <= {Side.USER, Side.ITEM}
        assert sentence.supported
    assert any(sentence.profiles for sentence in both.sentences)
    assert "reviewer" not in both.text


def test_it_gives_way_to_reviews(services: Services, imported: Imported):
    services.store.add_profiles([imported(Side.USER)])
    services.store.add_reviews(
        [Review(review_id="n", user_id="pro", item_id="tarts", rating=2, text="The oven is dull.", timestamp=1_700)]
    )
    now = explain(services, "pro", "ice")
    assert "n" in {evidence.id for evidence in now.evidence}
    assert not any("ready-made" in note for note in now.notes)
    assert "slimy rubber creatures on wires" not in now.profiles.user.likes


def test_it_is_not_used_for_the_past_since_it_may_be_later(services: Services, imported: Imported, said: Said):
    blind = explain(services, "pro", "ice", as_of=1_600)
    services.store.add_profiles([imported(Side.USER)])
    past = explain(services, "pro", "ice", as_of=1_600)
    assert past.notes[0].startswith("A profile was imported, but does not say when it was made")
    assert said(past) | {"notes": []} == said(blind) | {"notes": []}
    assert past.notes[1:] == [note.replace(_unknown(blind.notes[0]), "") for note in blind.notes]


def _unknown(note: str) -> str:
    """The part of a note that says that a user is not in the store."""
    return note[note.index(" (") : note.index(").") + 1] if " (" in note else "\x00"
