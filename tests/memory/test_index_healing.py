"""The index follows the store after failures, and is made again where it is lost."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import chromadb
import pytest
from chromadb.api.client import Client
from filelock import FileLock
from letters import Letters, add, nearest

from whylike.errors import StoreError
from whylike.memory import database
from whylike.memory.chroma import FOLDER, MARK, Embedded
from whylike.memory.embeddings import Vectors
from whylike.memory.index import Index
from whylike.memory.outbox import readable
from whylike.memory.store import Store
from whylike.records import ReviewSummary
from whylike.settings import Settings

both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@both_databases
def test_a_failure_between_the_two_writes_heals_at_the_next_start(
    settings: Settings, store: Store, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, ["r1"])

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Letters, "_encode", fail)
        with pytest.raises(KeyboardInterrupt):
            index.sync()
    with monkeypatch.context() as patch:
        patch.setattr(index._outbox, "done", fail)
        with pytest.raises(KeyboardInterrupt):
            index.sync()
    index.close()
    Embedded.of(settings.store)  # for the fixture to close
    with Index.open(settings, store, Letters()) as again:
        assert nearest(again, "r1", ["r1"]) == ["r1"]
        assert again.sync() == 0


@both_databases
def test_a_change_made_during_a_sync_is_not_lost(store: Store, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, ["r"])
    encode = Letters._encode

    def change_meanwhile(self: Letters, texts: list[str]) -> Vectors:
        monkeypatch.undo()
        store.add_summaries([ReviewSummary(review_id="r", likes=("zzz",), adapter_version="v1")])
        return encode(self, texts)

    monkeypatch.setattr(Letters, "_encode", change_meanwhile)
    assert index.sync() == 2
    vectors = Letters().embed([readable(("zzz",), ())])
    assert index.nearest_summaries(vectors, among=["r"], adapter_version="v1", k=1)[0][0][1] > 0.99


def cut_database(folder: Path) -> None:
    path = folder / FOLDER / "chroma.sqlite3"
    path.write_bytes(path.read_bytes()[:20_000])


def fill_database_with_garbage(folder: Path) -> None:
    (folder / FOLDER / "chroma.sqlite3").write_bytes(b"garbage" * 1000)


def empty_database(folder: Path) -> None:
    (folder / FOLDER / "chroma.sqlite3").write_bytes(b"")


def remove_vectors(folder: Path) -> None:
    for segment in (folder / FOLDER).iterdir():
        if segment.is_dir():
            shutil.rmtree(segment)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder / FOLDER)


def put_a_file(folder: Path) -> None:
    shutil.rmtree(folder / FOLDER)
    (folder / FOLDER).write_text("not a folder")


def cut_write_off(folder: Path) -> None:
    (folder / MARK).write_text("begun by one that was killed")


@pytest.mark.parametrize(
    "damage",
    [
        cut_database,
        fill_database_with_garbage,
        empty_database,
        remove_vectors,
        remove_folder,
        put_a_file,
        cut_write_off,
    ],
)
def test_a_damaged_index_is_rebuilt_from_the_store_with_a_warning(
    settings: Settings, store: Store, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    ids = [
        f"r{n}" for n in range(1100 if damage is remove_vectors else 20)
    ]  # Chroma writes files of vectors from 1,000
    add(store, ids)
    Index.open(settings, store, Letters()).close()
    caplog.clear()
    damage(settings.store)
    with caplog.at_level(logging.WARNING), Index.open(settings, store, Letters()) as index:
        assert len(nearest(index, "r", ids, k=2000)) == len(ids)
        assert ["is rebuilt from the store" in message for message in caplog.messages] == [True]
        add(store, ["new"])
        index.sync()
        assert nearest(index, "new", ["new", "r1"]) == ["new"]


@both_databases
def test_threads_that_meet_the_same_damage_rebuild_once(
    settings: Settings,
    store: Store,
    index: Index,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(store, ["r"])
    index.sync()
    meet = threading.Barrier(4)
    reading = index._chroma.reading

    def read_together() -> AbstractContextManager[Client]:
        if not caplog.messages:
            meet.wait()
        return reading()

    monkeypatch.setattr(index._chroma, "reading", read_together)

    def look(_: int) -> list[str]:
        nearest(index, "r", ["r"])
        index.sync()
        return nearest(index, "r", ["r"])

    cut_write_off(settings.store)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(4))) == [["r"]] * 4
    assert ["is rebuilt from the store" in message for message in caplog.messages] == [True]


def test_a_good_index_is_not_rebuilt(settings: Settings, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    add(store, ["r"])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with Index.open(settings, store, Letters()) as index:
                assert nearest(index, "r", ["r"]) == ["r"]
                assert index.sync() == 0
    assert caplog.records == []


def test_nothing_is_read_while_another_process_writes(
    settings: Settings, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    with FileLock(settings.store / "chroma.lock"), pytest.raises(StoreError, match="another whylike has held"):
        nearest(index, "r", ["r"])
    assert nearest(index, "r", ["r"]) == []


def test_an_index_that_cannot_be_made_says_so(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise chromadb.errors.InternalError("error returned from database: (code: 13) database or disk is full")

    monkeypatch.setattr(chromadb.api.client.Client, "create_collection", refuse)
    with pytest.raises(StoreError, match=r"the index of .* cannot be made: .*disk is full; make sure"):
        Index.open(settings, store, Letters())
