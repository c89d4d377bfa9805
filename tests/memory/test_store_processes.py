"""Two processes at one store, and processes that are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from whylike.memory.store import Store
from whylike.records import Review
from whylike.settings import Settings

BATCH = 50

WRITER = """
import itertools, sys
from pathlib import Path
from whylike.memory.store import Store
from whylike.records import Review
from whylike.settings import Settings

name, batches, size = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Store.open(Settings.model_validate_json(sys.argv[1])) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(batches) if batches else itertools.count():
        store.add_reviews(
            Review(review_id=f"{name}{n}-{m}", user_id=f"u{m}", item_id="i", rating=4, text="t" * 500, timestamp=n)
            for m in range(size)
        )
        print(n, flush=True)
"""


@pytest.fixture
def here(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path, database_url=database_url)


def writer(here: Settings, name: str, batches: int = 0) -> subprocess.Popen[str]:
    """A process that has opened the store and waits to be told to write; for ever with no number of batches."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, here.model_dump_json(), name, str(batches), str(BATCH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    return child


def go(*children: subprocess.Popen[str]) -> None:
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()


def test_two_processes_that_write_at_once_both_succeed(here: Settings) -> None:
    children = [writer(here, name, 20) for name in ("a", "b")]
    go(*children)
    with Store.open(here) as store:
        while any(child.poll() is None for child in children):
            seen = store.counts().reviews
            assert seen % BATCH == 0
            assert store.mean_rating(100).count >= seen
        assert [child.communicate()[0].count("\n") for child in children] == [20, 20]
        assert [child.returncode for child in children] == [0, 0]
        assert store.counts().reviews == store.mean_rating(100).count == 2 * 20 * BATCH


def test_a_killed_writer_leaves_whole_batches_and_a_store_that_works(here: Settings) -> None:
    for attempt in range(3):
        child = writer(here, f"k{attempt}-")
        go(child)
        for _ in range(3 + attempt):
            child.stdout.readline()
        child.kill()
        child.communicate()
        with Store.open(here) as store:
            there = store.counts().reviews
            assert there >= (3 + attempt) * BATCH
            assert there % BATCH == 0
            assert store.mean_rating(10**6).count == there
            assert store.add_reviews(
                Review(review_id=f"after{attempt}-{n}", user_id="u", item_id="i", rating=1, text="t", timestamp=1)
                for n in range(BATCH)
            )
    if here.database_url is None:
        with Store.open(here) as store, store.database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").one() == ("ok",)
