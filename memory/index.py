"""The index: review summaries and profiles as vectors in Chroma, derived from the store and never the truth.

The store notes in its outbox, in the transaction that writes a summary or a profile, that the index has to follow.
`sync` carries the newest state over and only then empties the outbox, so that a crash between the two heals at the next
start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import chromadb
import numpy as np
from chromadb.api.client import Client
from chromadb.errors import NotFoundError

from whylike.errors import StoreError
from whylike.memory.chroma import Chroma, Damaged, Embedded, Server
from whylike.memory.database import chunks
from whylike.memory.embeddings import Embedder, Vectors
from whylike.memory.outbox import Change, Document, Kinds, Outbox
from whylike.memory.schema import ANSWERED_FROM, Collection
from whylike.memory.store import Store
from whylike.records import Side
from whylike.settings import Settings

BATCH = 256
"""Changes that are carried over at once: a second or two of embedding, for which other processes' syncs wait."""

MOVED = 1000
"""Vectors that are moved at once."""

Progress = Callable[[int, int], None]
"""Told after each batch how many changes are carried over, and how many there are."""

Collections = dict[Collection, chromadb.Collection]
"""The index's collections, opened."""

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Index:
    """Nearest summaries and profiles of a store; use it as a context manager, from as many threads as you like.

    What the store has noted is found once `sync` has carried it over, by whichever process; while the index is being
    rebuilt, that is a part only. Every method raises `StoreError` where neither the index nor its rebuilding works.
    """

    def __init__(self, store: Store, embedder: Embedder, chroma: Chroma) -> None:
        self._store = store
        self._embedder = embedder
        self._chroma = chroma
        self._outbox = Outbox(store.database)
        self._store_id = self._outbox.store_id()
        self._opened: tuple[Client, dict[str, str], Collections] | None = None

    @classmethod
    def open(
        cls,
        settings: Settings,
        store: Store,
        embedder: Embedder,
        progress: Progress | None = None,
        *,
        anew: bool = False,
    ) -> Self:
        """Open the store's index and bring it up to date; it is made or rebuilt where it is missing or damaged.

        Args:
            settings: Where Chroma's server is, if there is one.
            store: What the index follows.
            embedder: Makes the vectors.
            progress: Told of the changes that are carried over.
            anew: Whether to throw the index away first and make it again from the store.

        Raises:
            StoreError: The index cannot be made, or the Chroma server does not answer.
            UsageError: `chroma_url` is not a URL.
        """
        index = cls(store, embedder, Server(settings.chroma_url) if settings.chroma_url else Embedded.of(store.folder))
        try:
            if anew:
                index.rebuild(progress)
            else:
                index.sync(progress)
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Close the index."""
        self._chroma.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sync(self, progress: Progress | None = None, kinds: Kinds = ANSWERED_FROM) -> int:
        """Carry over what the store has noted; several processes may do so at once and share the work.

        Args:
            progress: Told of the changes that are carried over.
            kinds: What is to be up to date.

        Returns:
            How many changes this call carried over.
        """
        made = self._outbox.identity()
        try:
            with self._chroma.reading() as client:
                self._collections(client)
        except Damaged as damage:
            self._mend(made, damage)
        return self._drain(progress, kinds)

    def rebuild(self, progress: Progress | None = None) -> int:
        """Throw the index away and make it anew from the store.

        Returns:
            How many changes this call carried over.
        """
        with self._store.database.exclusive("index"):
            self._replace()
        return self._drain(progress, tuple(Collection))

    def renew(self, progress: Progress | None = None) -> None:
        """Move what is found to new files, so that the old ones go with all that was ever taken out.

        Chroma only marks a vector as gone, and keeps the text in its log and its search tables. A server's files are
        its own business.

        Args:
            progress: Told how many vectors are moved, and how many there are.
        """
        self.sync()
        try:
            with self._store.database.exclusive("index"):
                self._move(progress)
        except Damaged:
            self.rebuild(progress)

    def _move(self, progress: Progress | None) -> None:
        identity = {}
        with self._chroma.renewing() as clients:
            if clients is None:
                return
            handles = self._collections(clients[0])
            total, done = sum(each.count() for each in handles.values()), 0
            for collection, old in handles.items():
                new = self._make(clients[1], collection)
                identity[collection.value] = str(new.id)
                for start in range(0, old.count(), MOVED):
                    held = old.get(limit=MOVED, offset=start, include=["embeddings", "documents", "metadatas"])
                    new.add(
                        ids=held["ids"],
                        embeddings=np.asarray(held["embeddings"], dtype=np.float32),
                        documents=held["documents"],
                        metadatas=held["metadatas"],
                    )
                    done += len(held["ids"])
                    if progress is not None:
                        progress(done, total)
        self._outbox.moved(identity)

    def count(self) -> int:
        """How many vectors the index holds."""
        return self._read(lambda collections: sum(each.count() for each in collections.values()))

    def nearest_summaries(
        self, vectors: Vectors, *, among: Sequence[str], adapter_version: str, k: int
    ) -> list[list[tuple[str, float]]]:
        """The summaries closest to each vector, of the given reviews only.

        The cosine is taken of every one of them: Chroma's own search within ids is approximate, slower for the tens or
        hundreds of ids asked for here, and fails on an id that it does not have.

        Args:
            vectors: `[n, dimension]`, each of unit length.
            among: Ids of the reviews; those without a summary of the adapter version are passed over.
            adapter_version: Whose summaries.
            k: Most summaries per vector.

        Returns:
            For each vector the review ids and cosine similarities, closest first.
        """
        by_key = {key_of(review_id, adapter_version): review_id for review_id in among}

        def look_up(collections: Collections) -> dict[str, Vectors]:
            found: dict[str, Vectors] = {}
            for chunk in chunks(by_key):
                answer = collections[Collection.SUMMARIES].get(ids=list(chunk), include=["embeddings"])
                found |= dict(zip(answer["ids"], np.asarray(answer["embeddings"], dtype=np.float32), strict=True))
            return found

        found = self._read(look_up)
        ids = [by_key[key] for key in by_key if key in found]
        if not ids:
            return [[] for _ in vectors]
        matrix = np.stack([found[key] for key in by_key if key in found])
        similarities = np.asarray(vectors, dtype=np.float32) @ matrix.T
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return [[(ids[n], float(row[n])) for n in best] for row, best in zip(similarities, order, strict=True)]

    def nearest_profiles(self, vector: Vectors, side: Side, k: int) -> list[tuple[str, float]]:
        """The users or items whose latest profile is closest to a vector.

        Args:
            vector: `[dimension]`, of unit length.
            side: Whose profiles.
            k: Most profiles.

        Returns:
            Ids of users or items and cosine similarities, closest first; found by Chroma's approximate search.
        """

        def look_up(collections: Collections) -> list[tuple[str, float]]:
            answer = collections[Collection.PROFILES].query(
                query_embeddings=np.asarray([vector], dtype=np.float32),
                n_results=k,
                where={"side": side.value},
                include=["metadatas", "distances"],
            )
            metadatas, distances = answer["metadatas"], answer["distances"]
            assert metadatas is not None
            assert distances is not None
            pairs = zip(metadatas[0], distances[0], strict=True)
            return [(str(metadata[f"{side}_id"]), 1.0 - distance) for metadata, distance in pairs]

        return self._read(look_up)

    def _read(self, look_up: Callable[[Collections], T]) -> T:
        """Look something up; where the index turns out to be missing or damaged, rebuild it and look again."""

        def attempt() -> T:
            with self._chroma.reading() as client:
                return look_up(self._collections(client))

        made = self._outbox.identity()
        try:
            return attempt()
        except Damaged as damage:
            self._mend(made, damage)
        self._drain(None)
        try:
            return attempt()
        except Damaged as damage:
            raise self._hopeless(damage) from damage

    def nearest_items(self, vector: Vectors, k: int) -> list[tuple[str, float]]:
        """The items whose title, categories and description are closest to a vector `[dimension]`, of unit length.

        Returns:
            At most `k` ids and cosine similarities, closest first; only of items carried over by `sync`.
        """

        def look_up(collections: Collections) -> list[tuple[str, float]]:
            answer = collections[Collection.ITEMS].query(
                query_embeddings=np.asarray([vector], dtype=np.float32), n_results=k, include=["metadatas", "distances"]
            )
            metadatas, distances = answer["metadatas"], answer["distances"]
            assert metadatas is not None
            assert distances is not None
            pairs = zip(metadatas[0], distances[0], strict=True)
            return [(str(metadata["item_id"]), 1.0 - distance) for metadata, distance in pairs]

        return self._read(look_up)

    def _drain(self, progress: Progress | None, kinds: Kinds = ANSWERED_FROM) -> int:
        """Carry over all that is in the outbox of these kinds."""
        done = 0
        mended = False
        while True:
            made = self._outbox.identity()
            try:
                with self._store.database.exclusive("index"):
                    changes = self._outbox.take(BATCH, kinds)
                    if not changes:
                        return done
                    self._carry(changes)
            except Damaged as damage:
                if mended:
                    raise self._hopeless(damage) from damage
                self._mend(made, damage)
                mended = True
                continue
            mended = False
            done += len(changes)
            if progress is not None:
                progress(done, done + self._outbox.remaining(kinds))

    def _carry(self, changes: Sequence[Change]) -> None:
        """Carry changes over: the newest state of each into Chroma, and then out of the outbox."""
        documents = self._outbox.documents(changes)
        there = [n for n, document in enumerate(documents) if document.text]
        vectors = dict(zip(there, self._embedder.embed([documents[n].text for n in there]), strict=True))
        with self._chroma.writing() as client:
            for collection, handle in self._collections(client).items():
                mine = [n for n, document in enumerate(documents) if document.collection is collection]
                new = [n for n in mine if documents[n].text]
                gone = [_key(documents[n]) for n in mine if not documents[n].text]
                if new:
                    handle.upsert(
                        ids=[_key(documents[n]) for n in new],
                        embeddings=np.stack([vectors[n] for n in new]),
                        documents=[documents[n].text for n in new],
                        metadatas=[documents[n].metadata for n in new],
                    )
                if gone:
                    handle.delete(ids=gone)
        self._outbox.done(changes)

    def _mend(self, made: dict[str, str] | None, damage: Damaged) -> None:
        """Replace the index, unless another process has since made it anew."""
        with self._store.database.exclusive("index"):
            if self._outbox.identity() != made:
                return
            if made is not None:
                _logger.warning("the index of %s is rebuilt from the store: %s", self._store.database.name, damage)
            self._replace()

    def _replace(self) -> None:
        """Make empty collections in place of whatever is there, and note that they have to follow everything."""
        try:
            with self._chroma.replacing() as client:
                identity = {}
                for collection in Collection:
                    name = self._name(collection)
                    with suppress(NotFoundError):
                        client.delete_collection(name)
                    identity[collection.value] = str(self._make(client, collection).id)
                self._outbox.refill(identity)
        except Damaged as damage:
            raise self._hopeless(damage) from damage

    def _make(self, client: Client, collection: Collection) -> chromadb.Collection:
        """An empty collection."""
        return client.create_collection(
            self._name(collection), embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    def _collections(self, client: Client) -> Collections:
        """The index's collections, if they are those that were made for this store."""
        identity = self._outbox.identity()
        if identity is None:
            raise Damaged("there is none yet")
        if self._opened is None or self._opened[0] is not client or self._opened[1] != identity:
            handles = {
                collection: client.get_collection(self._name(collection), embedding_function=None)
                for collection in Collection
            }
            if identity != {collection.value: str(handle.id) for collection, handle in handles.items()}:
                raise Damaged("it was made for another state of the store")
            self._opened = client, identity, handles
        return self._opened[2]

    def _name(self, collection: Collection) -> str:
        """The collection's name in Chroma: vectors of another model or another store are never mixed in."""
        return f"{collection.value}-{self._embedder.name}-{self._embedder.dimension}-{self._store_id}"

    def _hopeless(self, damage: Damaged) -> StoreError:
        """The error where rebuilding did not help."""
        return StoreError(
            f"the index of {self._store.database.name} cannot be made: {damage}; "
            "make sure that the disk has room and the store can be written"
        )


def _key(document: Document) -> str:
    """The document's id in Chroma."""
    return key_of(document.subject, document.variant)


def key_of(subject: str, variant: str) -> str:
    """One text of two; no two pairs have the same one, whatever is in them."""
    return json.dumps([subject, variant], ensure_ascii=False)
