"""The index follows the store, finds what is near, and is made again where it is lost."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from letters import Letters, add, nearest, raw, review

from whylike.errors import StoreError, UsageError
from whylike.memory import index as index_module
from whylike.memory.chroma import FOLDER, Embedded
from whylike.memory.embeddings import Embedder, Vectors
from whylike.memory.index import Index
from whylike.memory.outbox import readable
from whylike.memory.store import Store
from whylike.records import Profile, ReviewSummary, Side
from whylike.settings import Settings

HOSTILE = ["'; DROP TABLE embeddings; --", '["a", "b"]', "a\nb", "😀 عربي", "$eq", "", "x" * 3000]


both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


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
    store.erase("u")
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
