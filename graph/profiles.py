"""One side on its own: the profile of a user or an item as of now, made as a pair's query makes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from pydantic import Field

from whylike.agents.stated import replacing
from whylike.errors import NotFoundError
from whylike.graph import sides
from whylike.graph.nodes import AT_ONCE
from whylike.graph.services import Services
from whylike.graph.state import Event
from whylike.memory.embeddings import Embedder
from whylike.memory.history import history
from whylike.memory.store import Store
from whylike.records import Attitude, History, Preference, Profile, Record, Review, ReviewSummary, Side


class Shown(Profile):
    """The document that `whylike profile show --json` prints."""

    said: list[Preference] = Field(default=[], description="What a user said of their own taste, newest first")
    stored: dict[str, int] | None = Field(description="How much is stored about a user in all, by what it is")


class Edited(Record):
    """The document that `whylike profile edit --json` prints."""

    user_id: str
    said: list[Preference] = Field(description="What the user said of their own taste, newest first")


NOBODY = ""
"""The other side of the pair: no user and no item has this id, so that no review is left out for its sake."""


def read_for(store: Store, profile: Profile, most: int) -> list[tuple[Review, ReviewSummary]]:
    """The newest of the reviews that a profile was drawn from, each with its summary by what drew the profile.

    Args:
        store: Where they are.
        profile: Of a user or of an item.
        most: Reviews, newest first.
    """
    _, reviews = _alone(store, profile.side, profile.subject_id, (profile.as_of or 0) + 1, most)
    found = store.summaries([review.review_id for review in reviews], profile.adapter_version)
    return [(review, found[review.review_id]) for review in reviews if review.review_id in found]


def named(store: Store, side: Side, read: list[tuple[Review, ReviewSummary]]) -> list[tuple[str, ReviewSummary]]:
    """The summaries of one side's reviews, each with what the other side of the review is called."""
    if side is Side.ITEM:
        return [(review.user_id, summary) for review, summary in read]
    items = {review.item_id: store.item(review.item_id) for review, _ in read}
    names = {item_id: item.name if item else item_id for item_id, item in items.items()}
    return [(names[review.item_id], summary) for review, summary in read]


def edit(
    store: Store, embedder: Embedder, user_id: str, new: Sequence[tuple[Attitude, str]], withdrawn: Sequence[str]
) -> Edited:
    """Note what a user says of their own taste, and take back what they said; a later one replaces one about the same.

    Args:
        store: Where the user is.
        embedder: Tells what is about the same.
        user_id: Who.
        new: How the user takes something, and what that is.
        withdrawn: Ids of what they take back.

    Raises:
        NotFoundError: There is nothing of theirs by one of the ids.
        UsageError: The user asked to be forgotten.
    """
    known = {each.preference_id for each in store.preferences(user_id)}
    for preference_id in withdrawn:
        if preference_id not in known:
            raise NotFoundError(
                f"{user_id!r} has said nothing by the id {preference_id!r}; `whylike profile show --user U` has the ids"
            )
    store.withdraw_preferences(user_id, withdrawn)
    for attitude, about in new:
        said = Preference(
            preference_id=uuid4().hex, user_id=user_id, attitude=attitude, about=about, stated_at=int(time.time())
        )
        note(store, embedder, said)
    return Edited(user_id=user_id, said=store.preferences(user_id))


def note(store: Store, embedder: Embedder, said: Preference) -> None:
    """Keep what a user said of their own taste, in place of what they said about the same thing before."""
    store.state_preference(said, [each.preference_id for each in replaced(store, embedder, said)])


def replaced(store: Store, embedder: Embedder, said: Preference) -> list[Preference]:
    """What a user said before about the same thing."""
    earlier = [each for each in store.preferences(said.user_id) if each.preference_id != said.preference_id]
    kept = replacing(earlier, [said], embedder)
    return [each for each in earlier if each not in kept]


def profile_now(
    services: Services, side: Side, subject_id: str, on_event: Callable[[Event], None] | None = None
) -> Profile | None:
    """The profile that the newest reviews by a user, or of an item, add up to; it is kept, like those of a pair.

    Args:
        services: The store and the experts.
        side: Whose profile.
        subject_id: The user or the item.
        on_event: Told how many of the reviews have been summarized that have no fresh summary yet.

    Returns:
        The profile; None where there are no reviews.

    Raises:
        StoreError: The store failed.
        EngineError: The model failed.
    """
    store = services.store
    with services.query():
        # What was written in this very second is known, too.
        known, reviews = _alone(store, side, subject_id, services.now() + 1, services.settings.history)
        if not reviews:
            return None
        found = store.summaries([review.review_id for review in reviews], services.summarizer.mark)
        missing = [review for review in reviews if review.review_id not in found]
        for done in range(0, len(missing), AT_ONCE):
            if on_event:
                on_event(Event(node="summarize", done=done, total=len(missing)))
            made = sides.summarize(services, missing[done : done + AT_ONCE])
            found |= {summary.review_id: summary for summary in made}
        profile = sides.profile_of(services, known, side, [found[review.review_id] for review in reviews], keep=True)
        services.index.sync()
        return profile


def _alone(store: Store, side: Side, subject_id: str, before: int, most: int) -> tuple[History, Sequence[Review]]:
    """What is known of one side alone before a time, and its newest reviews."""
    pair = (subject_id, NOBODY) if side is Side.USER else (NOBODY, subject_id)
    known = history(store, *pair, before, most)
    return known, known.user_reviews if side is Side.USER else known.item_reviews
