"""Removing one review: nothing of it is left in the store's files, and the rest of its user is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conversing import Talk, say
from forgettable import NEEDLES, TEXT, WHO, Opened, keep, occasion, reason, theirs
from forgettable import talk as converse
from leftovers import left

from whylike.errors import UsageError
from whylike.graph import forgetting
from whylike.graph.forgetting import finish, remove
from whylike.graph.pair import Services, explain
from whylike.graph.profiles import profile_now
from whylike.memory.ingest import ingest
from whylike.memory.store import Store
from whylike.records import RatingScale, ReasonDecision, Review, Side, SummaryAnnotation
from whylike.settings import Settings

GONE = theirs()[0]
STAYS = GONE.model_copy(
    update={"review_id": "stays", "item_id": "tarts", "title": "", "text": "Bread that warms the heart.", "rating": 4}
)
WORDS = NEEDLES[1:-1]
"""What only the review that goes says."""


def fill(services: Services) -> None:
    """What may come to be stored of the review."""
    store = services.store
    store.add_reviews([GONE, STAYS])
    for user, item in ((WHO, "waltz"), ("ann", "ice"), ("ben", "tarts")):
        explain(services, user, item, as_of=1_900)
    profile_now(services, Side.USER, WHO)
    profile_now(services, Side.ITEM, "ice")
    keep(store, "own0", SummaryAnnotation(item_id="ice", text=TEXT, rating=2, likes=("quokkaphone solo",)))
    store.keep_reason("live", reason("The teacher heard the flimwizz."), "openai:big", occasion("ann", "r1", "own0"))
    store.add_annotations([reason("It is said to have chills zibberish all through it.")], "file.jsonl")
    decision = ReasonDecision(
        review_id="own0", user_id=WHO, item_id="ice", outcome="kept", sampler="s", reward="r", tau=0.1, tries=1
    )
    store.decide("theirs", decision.model_copy(update={"annotation": reason("Süperb, flimwizz.")}))
    store.decide("others", decision.model_copy(update={"user_id": "ann", "item_id": "waltz", "review_id": "r3"}))
    converse(services)
    store.note_learning("summarizer-abc", {WHO, "ann"})
    (store.folder / "training" / "summarizer-abc").mkdir(parents=True)
    (store.folder / "training" / "summarizer-abc" / "notes").write_text(TEXT)


def told(services: Services, said: Callable[..., Any]) -> list[Any]:
    return [
        said(explain(services, user, item, as_of=1_900))
        for user, item in (("ann", "ice"), ("ben", "tarts"), (WHO, "waltz"))
    ]


def test_nothing_is_left_of_a_review_and_the_rest_is_as_if_it_had_never_been(
    opened: Opened, tmp_path: Path, said: Callable[..., Any]
) -> None:
    here, never = tmp_path / "here", tmp_path / "never"
    with opened(at=never) as services:
        services.store.add_reviews([STAYS])
        wanted = told(services, said)
    with opened(at=here) as services:
        fill(services)
        store = services.store
        assert {needle for needle, _ in left(here, WORDS)} == set(WORDS)
        found = remove(services.settings, store, GONE)
        assert (found.review_id, found.user_id, found.item_id) == ("own0", WHO, "ice")
        assert not left(here, WORDS)
        assert store.removing() == []
        assert store.review_ids(WHO) == ["stays"]
        assert set(store.decisions()) == {"others"}
        assert told(services, said) == wanted
        assert not left(here, WORDS)


@pytest.mark.parametrize("where", ["whylike.graph.threads.forget", "whylike.graph.forgetting._purge"])
def test_a_removal_that_was_cut_off_is_finished(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def cut(*_: object) -> None:
        raise InterruptedError

    with opened(at=tmp_path / "store") as services:
        fill(services)
        with monkeypatch.context() as patched, pytest.raises(InterruptedError):
            patched.setattr(where, cut)
            remove(services.settings, services.store, GONE)
        assert left(tmp_path / "store", WORDS)
        finish(services.settings, services.store)
        assert not left(tmp_path / "store", WORDS)
        assert services.store.removing() == []


def test_a_removed_review_is_refused_from_then_on(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    file.write_text("".join(f"{json.dumps(each.model_dump())}\n" for each in (GONE, STAYS)))
    with Store.open(Settings(store=folder)) as store:
        assert ingest(store, file, scale=RatingScale()).reviews.reviews_added == 2
        remove(Settings(store=folder), store, GONE)
        report = ingest(store, file, scale=RatingScale()).reviews
        assert (report.reviews_added, report.rejected) == (0, 1)
        assert report.rejects is not None
        assert "this review was removed" in report.rejects.read_text()
        assert not left(folder, WORDS)
        with pytest.raises(UsageError, match="this review was removed"):
            store.add_reviews([GONE])
        assert store.add_reviews([GONE.model_copy(update={"review_id": "anew"})]) == 1


@pytest.mark.parametrize("asked", ["forget my review of The Long Ice", "delete my review of The Long Ice please"])
def test_a_conversation_deletes_one_review_that_it_has_shown(talk: Talk, services: Services, asked: str) -> None:
    mine = Review(review_id="mine", user_id="dee", item_id="ice", rating=2, text="A flimwizz.", timestamp=1950)
    services.store.add_reviews([mine])
    with talk("dee") as conversation:
        say(conversation, "would I like The Long Ice")
        question = say(conversation, asked)
        assert question.startswith("I would delete your review of The Long Ice of 1 January 1970, 2 of 5, “A flimwizz”")
        assert "I keep it." in say(conversation, "no")
        say(conversation, asked)
        assert say(conversation, "yes") == "The review mine of ice is deleted."
        assert [each.review_id for each in services.store.pair_reviews("dee", "ice")] == ["r7"]
        assert not left(services.store.folder, ["flimwizz"])
        assert "You gave The Long Ice 5 of 5" in say(conversation, "would I like The Long Ice")
        assert "no review of Waltz of the Clerks by you" in say(conversation, "delete my review of Waltz of the Clerks")


def test_the_latest_review_is_deleted_without_its_items_name(talk: Talk, services: Services) -> None:
    with talk("dee") as conversation:
        assert "your review of Tarts at Dawn" in say(conversation, "delete my last review")


def test_adapters_that_learned_from_its_user_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(Settings(store=folder)) as store:
        store.add_reviews([GONE])
        store.note_learning("summarizer-1", {WHO})
        store.note_learning("summarizer-2", {"ann"})
        seen: list[list[str]] = []
        monkeypatch.setattr(forgetting, "_seen", lambda _s, _t, saw: seen.append(list(saw)) or [])
        remove(Settings(store=folder), store, GONE)
        assert seen == [["summarizer-1"]]
