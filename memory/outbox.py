"""What the index has to follow: changes noted by the store, and what they stand for now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from chromadb.base_types import Metadata
from sqlalchemy import Connection, delete, func, insert, literal, select

from whylike.memory.database import Database, chunks
from whylike.memory.schema import (
    ANSWERED_FROM,
    INDEX,
    Collection,
    items,
    meta,
    outbox,
    profiles,
    record,
    records,
    review_summaries,
    reviews,
)
from whylike.records import Item, Profile, ReviewSummary

_STORE = "store"
"""Name of the store's own id in the table of single values."""

_DESCRIBED = (items.c.title != "") | (items.c.description != "")
"""Items of which something is known beside what reviews say."""

Kinds = Sequence[Collection]
"""Some of what the index holds vectors of."""


@dataclass(frozen=True)
class Change:
    """One line of the outbox: a summary (review, adapter version), a profile (subject, side) or an item has changed."""

    position: int
    collection: Collection
    subject: str
    variant: str


@dataclass(frozen=True)
class Document:
    """What a change stands for now; a text that is empty means that nothing is there to be found."""

    collection: Collection
    subject: str
    variant: str
    text: str = ""
    metadata: Metadata = field(default_factory=dict)


class Outbox:
    """The index's side of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store_id(self) -> str:
        """The store's own id, made up once; it tells apart the stores that share a Chroma server."""
        chosen = self._database.insert(meta).values(name=_STORE, value=uuid4().hex).on_conflict_do_nothing()
        with self._database.write() as connection:
            connection.execute(chosen)
            return str(_value(connection, _STORE))

    def identity(self) -> dict[str, str] | None:
        """Chroma's id of each collection of the index that was last made for this store, if any was."""
        with self._database.read() as connection:
            text = _value(connection, INDEX)
        return None if text is None else {str(name): str(value) for name, value in json.loads(text).items()}

    def refill(self, identity: Mapping[str, str]) -> None:
        """Note that an empty index has been made, which has to follow everything."""
        columns = ["collection", "subject", "variant"]
        summaries = (
            literal(Collection.SUMMARIES.value),
            review_summaries.c.review_id,
            review_summaries.c.adapter_version,
        )
        subjects = literal(Collection.PROFILES.value), profiles.c.subject_id, profiles.c.side
        described = literal(Collection.ITEMS.value), items.c.item_id, literal("")
        with self._database.write() as connection:
            self._identify(connection, identity)
            connection.execute(delete(outbox))
            connection.execute(insert(outbox).from_select(columns, select(*summaries)))
            connection.execute(insert(outbox).from_select(columns, select(*subjects).distinct()))
            connection.execute(insert(outbox).from_select(columns, select(*described).where(_DESCRIBED)))

    def moved(self, identity: Mapping[str, str]) -> None:
        """Note that other collections have taken the place of the index's, with all that was in them."""
        with self._database.write() as connection:
            self._identify(connection, identity)

    def _identify(self, connection: Connection, identity: Mapping[str, str]) -> None:
        value = json.dumps(dict(identity))
        upsert = self._database.insert(meta).values(name=INDEX, value=value)
        connection.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def take(self, limit: int, kinds: Kinds = ANSWERED_FROM) -> list[Change]:
        """The oldest changes of these kinds, which stay in the outbox until they are done."""
        query = select(outbox).where(outbox.c.collection.in_(kinds)).order_by(outbox.c.position).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Change(row.position, Collection(row.collection), row.subject, row.variant) for row in rows]

    def remaining(self, kinds: Kinds = ANSWERED_FROM) -> int:
        """How many changes of these kinds there are."""
        query = select(func.count()).select_from(outbox).where(outbox.c.collection.in_(kinds))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def done(self, changes: Sequence[Change]) -> None:
        """Take changes out that the index has followed."""
        with self._database.write() as connection:
            for chunk in chunks(change.position for change in changes):
                connection.execute(delete(outbox).where(outbox.c.position.in_(chunk)))

    def documents(self, changes: Iterable[Change]) -> list[Document]:
        """What the changes stand for now, each once."""
        wanted = dict.fromkeys((change.collection, change.subject, change.variant) for change in changes)
        found: dict[tuple[Collection, str, str], Document] = {}
        with self._database.read() as connection:
            for document in (
                *_summaries(connection, {subject for kind, subject, _ in wanted if kind is Collection.SUMMARIES}),
                *_profiles(connection, {subject for kind, subject, _ in wanted if kind is Collection.PROFILES}),
                *_items(connection, {subject for kind, subject, _ in wanted if kind is Collection.ITEMS}),
            ):
                found[document.collection, document.subject, document.variant] = document
        return [found.get(key, Document(*key)) for key in wanted]


def readable(likes: Sequence[str], dislikes: Sequence[str], preferences: Sequence[str] = ()) -> str:
    """The lists as text: `Liked: a; b. Disliked: c. Cares about: d.`, without those that are empty."""
    parts = (("Liked", likes), ("Disliked", dislikes), ("Cares about", preferences))
    return " ".join(f"{name}: {'; '.join(aspects)}." for name, aspects in parts if aspects)


def _summaries(connection: Connection, review_ids: Iterable[str]) -> list[Document]:
    """All summaries of the reviews."""
    about = (reviews.c.user_id, reviews.c.item_id, reviews.c.rating, reviews.c.timestamp)
    documents = []
    for chunk in chunks(review_ids):
        query = select(review_summaries, *about).join(reviews).where(review_summaries.c.review_id.in_(chunk))
        for row in connection.execute(query).mappings():
            summary = record(ReviewSummary, row)
            text = readable(summary.likes, summary.dislikes, summary.preferences)
            metadata = {str(column.name): row[column] for column in about} | {
                "adapter_version": summary.adapter_version
            }
            documents.append(Document(Collection.SUMMARIES, summary.review_id, summary.adapter_version, text, metadata))
    return documents


def _profiles(connection: Connection, subject_ids: Iterable[str]) -> list[Document]:
    """The latest profile of each subject."""
    documents = []
    for chunk in chunks(subject_ids):
        latest = select(func.max(profiles.c.profile_id)).where(profiles.c.subject_id.in_(chunk))
        query = select(profiles).where(
            profiles.c.profile_id.in_(latest.group_by(profiles.c.side, profiles.c.subject_id))
        )
        for row in connection.execute(query).mappings():
            profile = record(Profile, row)
            side = profile.side.value
            metadata: dict[str, str | int | float] = {
                "side": side,
                f"{side}_id": profile.subject_id,
                "adapter_version": profile.adapter_version,
            }
            if profile.average is not None:
                metadata["rating"] = profile.average
            if profile.as_of is not None:
                metadata["timestamp"] = profile.as_of
            documents.append(
                Document(
                    Collection.PROFILES, profile.subject_id, side, readable(profile.likes, profile.dislikes), metadata
                )
            )
    return documents


def _items(connection: Connection, item_ids: Iterable[str]) -> list[Document]:
    """What the items are, as far as anything is known of them."""
    documents = []
    for chunk in chunks(item_ids):
        query = select(items).where(items.c.item_id.in_(chunk), _DESCRIBED)
        for item in records(Item, connection.execute(query).mappings()):
            text = ". ".join(part for part in (item.title, ", ".join(item.categories), item.description) if part)
            documents.append(Document(Collection.ITEMS, item.item_id, "", text, {"item_id": item.item_id}))
    return documents


def _value(connection: Connection, name: str) -> str | None:
    """A single value of the store."""
    return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()
