"""Several processes at one index, and processes that are killed while they write to it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whylike.memory.chroma import BEGUN, MARK
from whylike.memory.embeddings import Embedder, Vectors
from whylike.memory.index import Index
from whylike.memory.outbox import Outbox
from whylike.memory.store import Store
from whylike.records import Review, ReviewSummary
from whylike.settings import Settings

CHILD = '''
import sys, time
from pathlib import Path
import chromadb, numpy as np
from whylike.memory import index as index_module
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index
from whylike.memory.outbox import Outbox
from whylike.memory.store import Store
from whylike.records import Review, ReviewSummary
from whylike.settings import Settings

class Numbers(Embedder):
    """A direction of its own for every text that ends in a number."""

    name = "numbers"
    dimension = 32

    def _encode(self, texts):
        vectors = [np.random.default_rng(int(t.strip(".").split("-")[-1])).normal(size=32) for t in texts]
        return np.asarray([v / np.linalg.norm(v) for v in vectors], dtype=np.float32)

def add(store, first, last):
    store.add_reviews(
        Review(review_id=f"r{n}", user_id="u", item_id="i", rating=4, text="t", timestamp=n) for n in range(first, last)
    )
    store.add_summaries(
        ReviewSummary(review_id=f"r{n}", likes=(f"text-{n}",), adapter_version="v") for n in range(first, last)
    )

def stop():
    print("stopped", flush=True)
    sys.stdin.read()

def after(method):
    def run(*args, **kwargs):
        method(*args, **kwargs)
        stop()
    return run

settings = Settings(store=Path(sys.argv[1]))
first, last, part, how = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
with Store.open(settings) as store, Index.open(settings, store, Numbers()) as index:
    print("ready", flush=True)
    sys.stdin.readline()
    if how == "within":
        chromadb.Collection.upsert = after(chromadb.Collection.upsert)
    if how == "between":
        Outbox.done = lambda *_: stop()
    for n in range(first, last, part):
        add(store, n, n + part)
        index.sync()
        print(n, flush=True)
'''

scope: dict[str, type[Embedder]] = {}
exec(CHILD.split("def add", maxsplit=1)[0], scope)  # the same embedder here as there
Numbers = scope["Numbers"]


def child(folder: Path, first: int, last: int, part: int, how: str = "through") -> subprocess.Popen[str]:
    """A process that has opened the index and waits to be told to add and sync summaries."""
    command = [sys.executable, "-c", CHILD, str(folder), str(first), str(last), str(part), how]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "ready\n"
    return started


def go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def found(index: Index, numbers: range) -> list[str]:
    """The summary found closest to each number's text, among all of them."""
    vectors: Vectors = Numbers().embed([f"Liked: text-{n}." for n in numbers])
    among = [f"r{n}" for n in numbers]
    rows = index.nearest_summaries(vectors, among=among, adapter_version="v", k=1)
    assert np.allclose([row[0][1] for row in rows], 1.0, atol=1e-4)
    return [row[0][0] for row in rows]


def ids(numbers: range) -> list[str]:
    return [f"r{n}" for n in numbers]


def test_processes_that_sync_at_once_succeed_and_see_what_the_others_wrote(tmp_path: Path) -> None:
    """Without the lock and the mark, vectors of one process are missed by another, and lost when that one writes.

    That would be noticed and mended; what is told here is that nothing had to be, the collections being the first ones.
    """
    settings = Settings(store=tmp_path)
    children = [child(tmp_path, first, first + 1200, 400) for first in (0, 1200)]
    with Store.open(settings) as store, Index.open(settings, store, Numbers()) as index:
        made = Outbox(store.database).identity()
        for each in children:
            go(each)
        for each in children:
            each.stdout.readline()
        store.add_reviews([Review(review_id="r5000", user_id="u", item_id="i", rating=1, text="t", timestamp=1)])
        store.add_summaries([ReviewSummary(review_id="r5000", likes=("text-5000",), adapter_version="v")])
        index.sync()
        assert found(index, range(5000, 5001)) == ["r5000"]
        for each in children:
            assert each.communicate()[0].count("\n") == 2
            assert each.returncode == 0
        assert found(index, range(2400)) == ids(range(2400))
        late = child(tmp_path, 2400, 3500, 1100)
        go(late)
        late.communicate()
        assert found(index, range(3500)) == ids(range(3500))
        assert index.sync() == 0
        assert Outbox(store.database).identity() == made


def test_a_process_killed_between_the_two_writes_is_made_good_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed = child(tmp_path, 0, 100, 100, "between")
    go(killed)
    assert killed.stdout.readline() == "stopped\n"
    killed.kill()
    killed.communicate()
    assert not (tmp_path / MARK).read_text().startswith(BEGUN)
    settings = Settings(store=tmp_path)
    with (
        caplog.at_level(logging.WARNING),
        Store.open(settings) as store,
        Index.open(settings, store, Numbers()) as index,
    ):
        assert index.sync() == 0
        assert found(index, range(100)) == ids(range(100))
    assert caplog.records == []


def test_an_index_whose_writer_was_killed_is_not_touched_but_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What such a process leaves can crash whoever reads it."""
    settings = Settings(store=tmp_path)
    with Store.open(settings) as store, Index.open(settings, store, Numbers()) as index:
        killed = child(tmp_path, 0, 100, 100, "within")
        go(killed)
        assert killed.stdout.readline() == "stopped\n"
        killed.kill()
        killed.communicate()
        assert (tmp_path / MARK).read_text().startswith(BEGUN)
        with caplog.at_level(logging.WARNING):
            assert found(index, range(100)) == ids(range(100))
        assert ["a write to it was cut off" in message for message in caplog.messages] == [True]
        assert index.sync() == 0


def test_processes_killed_anywhere_leave_an_index_that_works(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path)
    done = 0
    for attempt in range(3):
        killed = child(tmp_path, attempt * 2000, attempt * 2000 + 2000, 80 + attempt)
        go(killed)
        for _ in range(5 + attempt):
            killed.stdout.readline()
            done += 80 + attempt
        killed.kill()
        killed.communicate()
        with Store.open(settings) as store, Index.open(settings, store, Numbers()) as index:
            review_ids = [each.review_id for each in store.user_reviews("u", 10**6)]
            kept = list(store.summaries(review_ids, "v"))
            assert len(kept) >= done
            vectors = Numbers().embed([f"Liked: text-{review_id[1:]}." for review_id in kept])
            rows = index.nearest_summaries(vectors, among=kept, adapter_version="v", k=1)
            assert [row[0][0] for row in rows] == kept
