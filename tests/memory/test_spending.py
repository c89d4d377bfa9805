"""The teacher's calls: booked before they are made, settled after, and never more than a day allows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from whylike.memory.schema import teacher_calls
from whylike.memory.spending import DAY, Purpose, Spent
from whylike.memory.store import Store
from whylike.settings import Settings

NOON = 20_000 * DAY + DAY // 2
MOST = Spent(calls=1, tokens_in=100, tokens_out=400)

BOOK = """
import sys
from pathlib import Path
from whylike.memory.spending import Purpose, Spent
from whylike.memory.store import Store
from whylike.settings import Settings

folder, url, wanted, now = sys.argv[1:]
with Store.open(Settings(store=Path(folder), database_url=url or None)) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    most = Spent(calls=1, tokens_in=100, tokens_out=400)
    booked = [
        store.book_call("big", Purpose.REASONS, most, calls=30, tokens=10**6, now=int(now)) for _ in range(int(wanted))
    ]
    print(sum(number is not None for number in booked), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def here(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path / "store", database_url=database_url)


@pytest.fixture
def store(here: Settings) -> Iterator[Store]:
    with Store.open(here) as opened:
        yield opened


def book(store: Store, *, calls: int = 1_000, tokens: int = 10**6, now: int = NOON, most: Spent = MOST) -> int | None:
    return store.book_call("big", Purpose.SUMMARIES, most, calls=calls, tokens=tokens, now=now)


def test_what_is_booked_counts_with_its_most_until_it_is_settled(store: Store):
    first, second = book(store), book(store)
    assert first is not None
    assert second is not None
    assert store.spent(NOON) == Spent(calls=2, tokens_in=200, tokens_out=800)
    store.settle_call(first, "answered", Spent(calls=1, tokens_in=60, tokens_out=20))
    assert store.spent(NOON) == Spent(calls=2, tokens_in=160, tokens_out=420)
    one, two = store.calls()
    assert (one.call_id, one.model, one.purpose, one.asked_at) == (first, "big", Purpose.SUMMARIES, NOON)
    assert (one.tokens_in, one.tokens_out, one.outcome, two.outcome) == (60, 20, "answered", "asked")


def test_no_call_is_booked_beyond_the_days_calls_or_tokens(store: Store):
    assert book(store, calls=0) is None
    assert book(store, tokens=499) is None
    assert book(store, calls=2, tokens=500) is not None
    assert book(store, calls=1) is None
    assert book(store, calls=2, tokens=999) is None
    assert book(store, calls=2, tokens=1_000) is not None
    assert store.spent(NOON).calls == 2


def test_each_day_has_its_own_budget_which_begins_at_midnight(store: Store):
    midnight = 20_001 * DAY
    assert book(store, calls=1, now=midnight - 1) is not None
    assert book(store, calls=1, now=midnight - 1) is None
    assert book(store, calls=1, now=midnight) is not None
    assert store.spent(midnight - 1).calls == store.spent(midnight).calls == 1


def test_nothing_of_what_was_said_is_kept():
    assert set(teacher_calls.c.keys()) == {
        "call_id", "day", "asked_at", "model", "purpose", "tokens_in", "tokens_out", "outcome"
    }  # fmt: skip


def booking(here: Settings, wanted: int) -> subprocess.Popen[str]:
    arguments = [str(here.store), here.database_url or "", str(wanted), str(NOON)]
    child = subprocess.Popen(
        [sys.executable, "-c", BOOK, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    return child


def test_several_processes_at_once_keep_to_one_budget_and_one_that_is_killed_does_too(here: Settings, store: Store):
    children = [booking(here, wanted) for wanted in (25, 25, 25)]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert sum(int(child.stdout.readline()) for child in children) == 30
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
    assert store.spent(NOON).calls == 30, "what was under way when they were killed counts as spent"
    assert book(store, calls=30) is None
