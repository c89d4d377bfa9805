"""Forgetting a user, or one review: all of it in the store, in an order in which any crash can be made good.

First it is noted who is to be forgotten: from then on the store takes in nothing of theirs. Then goes what lies in
files and is found by the user's id (`PLACES`), then in one transaction all rows, and with them the id itself. What is
left after that is in no row any more, but in the index's and the database's files, which are written anew. A run that
was cut off is brought to its end by the next `whylike profile forget`, of whomever, and by the next command that
answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection

from pydantic import Field

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.runs import drop_spoilt, drop_trainings
from whylike.graph import threads
from whylike.memory import chroma, rejects
from whylike.memory.connection import FILE
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index, Progress
from whylike.memory.outbox import Outbox
from whylike.memory.store import Store
from whylike.records import Expert, Record, Review, Side
from whylike.settings import Settings


class Seen(Record):
    """An adapter version that learned from a user."""

    version: str
    expert: Expert
    live: bool
    was_live: bool = Field(description="Whether it has answered at any time")
    retrain: str = Field(description="The command that trains one without; `whylike adapters promote` makes it live")


class Forgetting(Record):
    """The document that `whylike profile forget --json` prints."""

    user_id: str
    removed: dict[str, int] = Field(description="What was stored about the user, by what it is")
    adapters: list[Seen] = Field(description="Versions whose weights learned from it, which cannot be undone")


def forget(settings: Settings, store: Store, user_id: str, told: Progress = lambda *_: None) -> Forgetting:
    """Remove all that is stored about a user, and refuse it from now on; doing it again brings it to its end.

    Args:
        settings: Where the index is.
        store: Where the user is.
        user_id: Who.
        told: Told how many vectors of others are in the new index, and how many there are.

    Raises:
        StoreError: A file or the database refused; the same call goes on where it was.
    """
    removed = store.held(user_id)
    store.begin_forgetting(user_id)
    finish(settings, store, told)
    return Forgetting(user_id=user_id, removed=removed, adapters=adapters_of(settings, store, user_id))


class Removing(Record):
    """The document that `whylike review remove --json` prints."""

    review_id: str
    user_id: str
    item_id: str
    adapters: list[Seen] = Field(description="Versions that learned from this user's data, perhaps from this review")


def remove(settings: Settings, store: Store, review: Review, told: Progress = lambda *_: None) -> Removing:
    """Remove one review, all that may quote it and its user's conversations, and refuse it from now on.

    Raises `StoreError` as `forget` does; the same call goes on where it was.
    """
    store.begin_removing(review.review_id)
    finish(settings, store, told)
    adapters = _seen(settings, store, store.learned_from(review.user_id))
    return Removing(review_id=review.review_id, user_id=review.user_id, item_id=review.item_id, adapters=adapters)


def told(found: Removing) -> str:
    """What was removed, and which adapters may have learned from it."""
    learned = ", ".join(f"{each.version} (`{each.retrain}` trains one without)" for each in found.adapters)
    may = f" Adapters that learned from this user cannot be made to forget it: {learned}." if learned else ""
    return f"The review {found.review_id} of {found.item_id} is deleted.{may}"


def forgotten_before(settings: Settings, store: Store, user_id: str, told: Progress = lambda *_: None) -> Forgetting:
    """The same of a user of whom no row is left: a forgetting that was cut off after that is brought to its end."""
    finish(settings, store, told)
    return Forgetting(user_id=user_id, removed={}, adapters=adapters_of(settings, store, user_id))


def finish(settings: Settings, store: Store, told: Progress = lambda *_: None) -> None:
    """Bring to its end whatever forgetting has begun; waits for another process that is at it."""
    if not store.unfinished() and not store.removing():
        return
    with store.database.exclusive("forgetting"):
        begun, removing = store.unfinished(), store.removing()
        for review in store.reviews(removing):
            threads.forget(store.folder, store.conversations(review.user_id), [review.review_id])
            drop_trainings(store, store.learned_from(review.user_id))
            store.erase_review(review)
        for each in begun:
            if each.user_id is not None:
                for erase in PLACES:
                    erase(store, each.user_id)
                store.erase(each.user_id)
        if begun or removing:
            _purge(settings, store, told)
            store.end_forgetting(each.mark for each in begun)
            store.end_removing(removing)


def adapters_of(settings: Settings, store: Store, user_id: str) -> list[Seen]:
    """The adapter versions of the store that learned from a user before they were forgotten."""
    return _seen(settings, store, store.saw(user_id))


def _seen(settings: Settings, store: Store, saw: Collection[str]) -> list[Seen]:
    """Of these versions and trainings the adapters of the store."""
    registry = Registry(settings, store)
    answered = {move.version for move in store.promotions()}
    return [
        Seen(
            version=entry.card.version,
            expert=entry.card.expert,
            live=entry.live,
            was_live=entry.live or entry.card.version in answered,
            # One that goes on from an older version would keep what that has seen.
            retrain=f"whylike train {entry.card.expert}" if entry.card.parent else entry.card.command,
        )
        for entry in registry.entries()
        if entry.card.version in saw
    ]


def _rejects(store: Store, user_id: str) -> None:
    """Rows that an ingest set aside."""
    rejects.withhold(store)


def _trainings(store: Store, user_id: str) -> None:
    """Trainings that were broken off."""
    drop_spoilt(store)


def _evaluated(store: Store, user_id: str) -> None:
    """What `whylike evaluate ratings --exp3rt` worked out of files: stores of their own, which name no user."""
    own = {(each.likes, each.dislikes) for each in store.profiles_of(Side.USER, user_id)}
    for file in (store.folder / "exp3rt").glob(f"*/{FILE}") if own else ():
        with Store.open(Settings.model_construct(store=file.parent, database_url=None)) as aside:
            theirs = any((each.likes, each.dislikes) in own for each in aside.profiles_of(Side.USER))
        if theirs:
            shutil.rmtree(file.parent)


def _conversations(store: Store, user_id: str) -> None:
    """The user's threads, and those of others in which the user's reviews are named."""
    threads.forget(store.folder, store.conversations(user_id), store.review_ids(user_id))


PLACES: tuple[Callable[[Store, str], None], ...] = (_rejects, _trainings, _evaluated, _conversations)
"""Where else something of a user is than in SQL and in the index.

Each is called while the user's rows are still there, to be found by, perhaps several times.
"""


def _purge(settings: Settings, store: Store, told: Progress) -> None:
    """Have nothing left in files of what is no row any more."""
    if settings.chroma_url or Outbox(store.database).identity() is None:
        chroma.discard(store.folder)
    if Outbox(store.database).identity() is not None:
        with Index.open(settings, store, Embedder()) as index:
            index.renew(told)
    store.database.purge()
