"""Vectors by letter for tests of the index, and what they put in and look up."""

from __future__ import annotations

import chromadb
import numpy as np

from whylike.memory.chroma import FOLDER
from whylike.memory.embeddings import Embedder, Vectors
from whylike.memory.index import Index
from whylike.memory.outbox import readable
from whylike.memory.store import Store
from whylike.records import Review, ReviewSummary
from whylike.settings import Settings


class Letters(Embedder):
    """Vectors of how often each letter occurs: exact, and there at once."""

    name = "letters"
    dimension = 26

    def _encode(self, texts: list[str]) -> Vectors:
        counts = [[text.count(chr(ord("a") + n)) + 0.01 for n in range(26)] for text in map(str.lower, texts)]
        vectors = np.asarray(counts, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def review(review_id: str, **changed: object) -> Review:
    values = {"user_id": "u", "item_id": "i", "rating": 4.5, "text": "good", "timestamp": 100, **changed}
    return Review(review_id=review_id, **values)


def add(store: Store, review_ids: list[str], version: str = "v1") -> None:
    """Reviews with a summary that likes their id."""
    store.add_reviews(review(each) for each in review_ids)
    store.add_summaries(ReviewSummary(review_id=each, likes=(each,), adapter_version=version) for each in review_ids)


def nearest(index: Index, text: str, among: list[str], version: str = "v1", k: int = 1) -> list[str]:
    """The reviews whose summary is closest to a liked text."""
    vectors = Letters().embed([readable((text,), ())])
    (found,) = index.nearest_summaries(vectors, among=among, adapter_version=version, k=k)
    return [review_id for review_id, _ in found]


def raw(settings: Settings, name: str) -> dict[str, object]:
    """What Chroma itself holds, read by a client of our own."""
    client = chromadb.PersistentClient(settings.store / FOLDER)
    try:
        (collection,) = [each for each in client.list_collections() if each.name.startswith(name)]
        return {"name": collection.name, **collection.get(include=["documents", "metadatas"])}
    finally:
        client.close()
