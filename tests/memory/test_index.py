"""The index follows the store, finds what is near, and is made again where it is lost."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.api.client import Client
from filelock import FileLock

from whylike.errors import StoreError, UsageError
from whylike.memory import database
from whylike.memory import index as index_module
from whylike.memory.chroma import FOLDER, MARK, Embedded
from whylike.memory.embeddings import Embedder, Vectors
from whylike.memory.index import Index
from whylike.memory.outbox import readable
from whylike.memory.store import Store
from whylike.records import Profile, Review, ReviewSummary, Side
from whylike.settings import Settings

HOSTILE = ["'; DROP TABLE embeddings; --", '["a", "b"]', "a\nb", "😀 عربي", "$eq", "", "x" * 3000]


class Letters(Embedder):
    """Vectors of how often each letter occurs: exact, and there at once."""

    name = "letters"
    dimension = 26

    def _encode(self, texts: list[str]) -> Vectors:
        counts = [[text.count(chr(ord("a") + n)) + 0.01 for n in range(26)] for text in map(str.lower, texts)]
        vectors = np.asarray(counts, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """SQLite's, unless the test asks for others."""
    return request.getfixturevalue("postgresql_url") if getattr(request, "param", "") == "postgresql" else None


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path, database_url=database_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened


@pytest.fixture
def index(settings: Settings, store: Store) -> Iterator[Index]:
    with Index.open(settings, store, Letters()) as opened:
        yield opened


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


def test_lists_as_text() -> None:
    assert readable(("a", "b"), ("c",), ("d",)) == "Liked: a; b. Disliked: c. Cares about: d."
    assert readable((), ("c",)) == "Disliked: c."
    assert readable((), (), ()) == ""


def test_minilm_finds_the_summary_that_means_the_same(settings: Settings, store: Store) -> None:
    store.add_reviews([review("pace"), review("cast"), review("other")])
    store.add_summaries(
        [
            ReviewSummary(review_id="pace", dislikes=("slow pacing", "drags on"), adapter_version="v1"),
            ReviewSummary(review_id="cast", likes=("brilliant acting",), adapter_version="v1"),
            ReviewSummary(review_id="other", dislikes=("boring", "too long"), adapter_version="v1"),
        ]
    )
    store.add_profiles(
        [
            Profile(side=Side.USER, subject_id="war", likes=("war films", "battle scenes"), adapter_version="v1"),
            Profile(side=Side.USER, subject_id="love", likes=("romance", "love stories"), adapter_version="v1"),
            Profile(side=Side.ITEM, subject_id="tank", likes=("tanks and soldiers",), adapter_version="v1"),
        ]
    )
    embedder = Embedder()
    with Index.open(settings, store, embedder) as index:
        vectors = embedder.embed(["the film takes too long to get going", "great performances by the actors"])
        slow, acted = index.nearest_summaries(vectors, among=["pace", "cast"], adapter_version="v1", k=2)
        assert [review_id for review_id, _ in slow] == ["pace", "cast"]
        assert [review_id for review_id, _ in acted] == ["cast", "pace"]
        assert 1.0 > acted[0][1] > acted[1][1] > -1.0
        (users, items) = (index.nearest_profiles(embedder.embed(["military movies"])[0], side, 5) for side in Side)
        assert [subject for subject, _ in users] == ["war", "love"]
        assert [subject for subject, _ in items] == ["tank"]


def test_similarity_is_the_cosine_and_only_the_asked_for_are_found(store: Store, index: Index) -> None:
    ids = [f"{letter}{n}" for letter in "abcdef" for n in range(60)]
    add(store, ids)
    index.sync()
    embedder = Letters()
    vectors = embedder.embed(["aab", "f"])
    among = [*ids[10:100], "unknown", *ids[10:20]]
    found = index.nearest_summaries(vectors, among=among, adapter_version="v1", k=5)
    expected = embedder.embed([readable((each,), ()) for each in ids[10:100]])
    for vector, row in zip(vectors, found, strict=True):
        cosines = dict(zip(ids[10:100], expected @ vector, strict=True))
        assert [cosine for _, cosine in row] == pytest.approx(sorted(cosines.values(), reverse=True)[:5], abs=1e-5)
        assert all(cosine == pytest.approx(cosines[review_id], abs=1e-5) for review_id, cosine in row)
    assert index.nearest_summaries(vectors, among=[], adapter_version="v1", k=5) == [[], []]
    assert index.nearest_summaries(vectors, among=["unknown"], adapter_version="v1", k=5) == [[], []]
    assert nearest(index, "a1", ids, version="v2") == []
    assert len(nearest(index, "a1", ids, k=1000)) == len(ids)


def test_adapter_versions_do_not_mix(store: Store, index: Index) -> None:
    store.add_reviews([review("r")])
    for version, word in (("v1", "aaa"), ("v2", "zzz")):
        store.add_summaries([ReviewSummary(review_id="r", likes=(word,), adapter_version=version)])
    index.sync()
    vectors = Letters().embed([readable(("zzz",), ())])
    similar = {
        version: index.nearest_summaries(vectors, among=["r"], adapter_version=version, k=1)[0][0][1]
        for version in ("v1", "v2")
    }
    assert similar["v2"] == pytest.approx(1.0, abs=1e-5)
    assert similar["v1"] < 0.9


@pytest.mark.parametrize("joint", ['", "', ", ", "", ":", "-"])
def test_ids_that_are_the_same_when_joined_are_kept_apart(store: Store, index: Index, joint: str) -> None:
    long, short = f"a{joint}b", "a"
    store.add_reviews([review(long), review(short)])
    store.add_summaries([ReviewSummary(review_id=long, likes=("aaa",), adapter_version="c")])
    store.add_summaries([ReviewSummary(review_id=short, likes=("zzz",), adapter_version=f"b{joint}c")])
    index.sync()
    vectors = Letters().embed([readable(("zzz",), ())])
    ((_, first),) = index.nearest_summaries(vectors, among=[short], adapter_version=f"b{joint}c", k=1)[0]
    ((_, second),) = index.nearest_summaries(vectors, among=[long], adapter_version="c", k=1)[0]
    assert first > 0.99 > second


@both_databases
def test_hostile_ids_and_texts_are_found_again(store: Store, index: Index) -> None:
    store.add_reviews(review(text, user_id=f"u{text}", item_id=f"i{text}") for text in HOSTILE)
    store.add_summaries(ReviewSummary(review_id=text, likes=(text or "q",), adapter_version=text) for text in HOSTILE)
    store.add_profiles(
        Profile(side=side, subject_id=text, likes=(text or "q",), adapter_version="v")
        for text in HOSTILE
        for side in Side
    )
    index.sync()
    for text in HOSTILE:
        assert nearest(index, text or "q", HOSTILE, version=text) == [text]
    found = index.nearest_profiles(Letters().embed(["a"])[0], Side.USER, 100)
    assert sorted(subject for subject, _ in found) == sorted(HOSTILE)


def test_what_chroma_holds(settings: Settings, store: Store, index: Index) -> None:
    store.add_reviews([review("r", user_id="someone", item_id="something", rating=2.5, timestamp=77)])
    store.add_summaries(
        [ReviewSummary(review_id="r", likes=("a",), dislikes=("b",), preferences=("c",), adapter_version="v")]
    )
    dated = Profile(side=Side.ITEM, subject_id="something", likes=("d",), adapter_version="w", average=2.5, as_of=77)
    undated = Profile(side=Side.USER, subject_id="someone", likes=("e",), adapter_version="x")
    store.add_profiles([dated, undated])
    index.sync()
    index.close()
    summaries, profiles = raw(settings, "summaries"), raw(settings, "profiles")
    assert summaries["name"].startswith("summaries-letters-26-")
    assert summaries["documents"] == ["Liked: a. Disliked: b. Cares about: c."]
    assert summaries["metadatas"] == [
        {"user_id": "someone", "item_id": "something", "rating": 2.5, "timestamp": 77, "adapter_version": "v"}
    ]
    assert profiles["documents"] == ["Liked: d.", "Liked: e."]
    assert profiles["metadatas"] == [
        {"side": "item", "item_id": "something", "rating": 2.5, "timestamp": 77, "adapter_version": "w"},
        {"side": "user", "user_id": "someone", "adapter_version": "x"},
    ]
    Embedded.of(settings.store)  # for the fixture to close


@both_databases
def test_the_newest_state_counts_and_what_is_gone_or_empty_is_taken_out(store: Store, index: Index) -> None:
    def profile(source: str, *likes: str) -> None:
        store.add_profiles([Profile(side=Side.USER, subject_id="u", likes=likes, adapter_version="v", source=source)])

    def similarity(text: str) -> list[float]:
        vector = Letters().embed([readable((text,), ())])[0]
        return [round(cosine, 3) for _, cosine in index.nearest_profiles(vector, Side.USER, 5)]

    profile("s1", "aaa")
    index.sync()
    assert similarity("aaa") == [1.0]
    profile("s2", "bbb")
    profile("s2", "ccc")
    assert index.sync() == 2
    assert index.sync() == 0
    assert similarity("ccc") == [1.0]
    profile("s3")
    index.sync()
    assert similarity("ccc") == []
    profile("s4", "ddd")
    index.sync()
    store.forget_profiles(Side.USER, "u")
    index.sync()
    assert similarity("ddd") == []

    add(store, ["r"])
    index.sync()
    store.add_summaries([ReviewSummary(review_id="r", adapter_version="v1")])
    index.sync()
    assert nearest(index, "r", ["r"]) == []


def test_a_sync_of_many_is_done_in_parts_and_tells_how_far_it_is(
    store: Store, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "BATCH", 10)
    told: list[tuple[int, int]] = []
    add(store, [f"r{n}" for n in range(25)])
    assert index.sync(lambda done, total: told.append((done, total))) == 25
    assert told == [(10, 25), (20, 25), (25, 25)]


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


def test_another_model_gets_its_own_vectors(settings: Settings, store: Store) -> None:
    class Longer(Letters):
        dimension = 27

        def _encode(self, texts: list[str]) -> Vectors:
            return np.pad(super()._encode(texts), ((0, 0), (0, 1)))

    add(store, ["r"])
    Index.open(settings, store, Letters()).close()
    with Index.open(settings, store, Longer()) as index:
        vectors = Longer().embed([readable(("r",), ())])
        assert index.nearest_summaries(vectors, among=["r"], adapter_version="v1", k=1)[0][0][0] == "r"


def test_rebuilding_fills_the_index_again(store: Store, index: Index) -> None:
    add(store, ["ra", "rb"])
    store.add_profiles(
        [Profile(side=Side.USER, subject_id="u", likes=("a",), adapter_version="v", source=s) for s in "xy"]
    )
    index.sync()
    assert index.rebuild() == 3
    assert nearest(index, "rb", ["ra", "rb"]) == ["rb"]
    assert [subject for subject, _ in index.nearest_profiles(Letters().embed(["a"])[0], Side.USER, 9)] == ["u"]


def test_threads_and_a_second_index_of_the_process_share_the_client(
    settings: Settings, store: Store, index: Index
) -> None:
    with Index.open(settings, store, Letters()) as second:

        def work(n: int) -> list[str]:
            add(store, [f"r{n}"])
            mine = (index, second)[n % 2]
            mine.sync()
            return nearest((second, index)[n % 2], f"r{n}", [f"r{n}"])

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(work, range(24))) == [[f"r{n}"] for n in range(24)]
    assert nearest(index, "r1", ["r1"]) == ["r1"]


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chroma = Path(sys.executable).parent / "chroma"
    command = [str(chroma), "run", "--path", str(tmp_path_factory.mktemp("server")), "--port", str(port)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in child.stdout:
        if "listening on address" in line:
            break
    threading.Thread(target=child.stdout.read, daemon=True).start()
    yield f"http://127.0.0.1:{port}"
    child.kill()
    child.wait()


def test_a_server_keeps_the_indexes_of_several_stores_apart(tmp_path: Path, server: str) -> None:
    one, two = (Settings(store=tmp_path / name, chroma_url=server) for name in ("one", "two"))
    with Store.open(one) as store_one, Store.open(two) as store_two:
        add(store_one, ["r", "only one"])
        add(store_two, ["r"])
        with Index.open(one, store_one, Letters()) as index, Index.open(two, store_two, Letters()) as other:
            assert nearest(index, "only one", ["r", "only one"]) == ["only one"]
            assert nearest(other, "only one", ["r", "only one"]) == ["r"]
            with Index.open(one, store_one, Letters()) as again:
                assert again.rebuild() == 2
            assert nearest(index, "only one", ["r", "only one"]) == ["only one"]
            assert nearest(other, "r", ["r"]) == ["r"]
    assert not (tmp_path / "one" / FOLDER).exists()


def test_an_index_that_moves_to_a_server_and_back_is_whole(tmp_path: Path, server: str) -> None:
    here = Settings(store=tmp_path)
    there = Settings(store=tmp_path, chroma_url=server)
    with Store.open(here) as store:
        for n, settings in enumerate((here, there, here)):
            add(store, [f"r{n}"])
            with Index.open(settings, store, Letters()) as index:
                assert len(nearest(index, "r", ["r0", "r1", "r2"], k=9)) == n + 1


def test_a_server_that_does_not_answer_and_a_wrong_url_say_so(tmp_path: Path, store: Store) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StoreError, match=f"the Chroma server at {url} failed: .* start it with `chroma run`"):
        Index.open(Settings(store=tmp_path, chroma_url=url), store, Letters())
    with pytest.raises(UsageError, match="chroma_url = 'nonsense' is not allowed"):
        Index.open(Settings(store=tmp_path, chroma_url="nonsense"), store, Letters())
