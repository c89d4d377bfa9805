"""Forgetting that is killed, that two do at once, and while others write."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from children import EXPLAIN, Nursery, state
from leftovers import left

from whylike.memory.chroma import BEGUN, MARK
from whylike.memory.store import Store
from whylike.settings import Settings

KILLS = 20
WHO = "quokka-u1"
WORDS = (WHO, "zorblatt", "flimwizz")
FORGET = {"run": "forget", "user": WHO}
OTHERS = [EXPLAIN | {"user": user, "item": item} for user, item in (("u1", "i2"), ("u3", "i4"))]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "user_id": WHO,
            "item_id": f"i{number % 5}",
            "rating": 1 + number % 5 if number % 7 else 99,
            "text": f"The zorblatt was slow. A flimwizz rhythm, number {number}.",
            "timestamp": 1_600_000_000 + number,
        }
        for number in range(count)
    ]


def job(folder: Path, name: str, count: int, batch: int = 10) -> dict[str, Any]:
    """An ingest of the user's reviews, some of which are rejected."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows(count)))
    return {"run": "ingest", "file": path, "items": folder / "items.jsonl", "batch": batch}


@pytest.fixture(scope="module")
def known(
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A store that knows the user, and has answered them and others."""
    store = tmp_path_factory.mktemp("known") / "store"
    shutil.copytree(ingested[0], store)
    (store.parent / "items.jsonl").write_text(Path(corpus["items"]).read_text())
    nursery.run(**job(store.parent, "theirs", 15), store=store)
    for each in (*OTHERS, EXPLAIN | {"user": WHO}):
        nursery.run(**each, store=store)
    assert {needle for needle, _ in left(store, WORDS)} == set(WORDS)
    return store


@pytest.fixture(scope="module")
def forgotten(nursery: Nursery, known: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The same after an undisturbed forgetting, and the steps that it took."""
    store = tmp_path_factory.mktemp("forgotten") / "store"
    shutil.copytree(known, store)
    steps = nursery.run(**FORGET, store=store)["steps"]
    assert not left(store, WORDS)
    return store, steps


def test_a_killed_forgetting_is_finished_by_the_next_one_or_by_whoever_asks_something(
    nursery: Nursery, known: Path, forgotten: tuple[Path, int], tmp_path: Path
) -> None:
    undisturbed, steps = forgotten
    wanted, index = state(undisturbed), nursery.run(run="index", store=undisturbed)["result"]
    reached = set()
    for kill, step in enumerate(random.Random(1).sample(range(1, steps + 1), min(KILLS, steps))):
        store = tmp_path / f"store-{kill}"
        shutil.copytree(known, store)
        nursery.kill(step, holds=kill % 2 == 0, **FORGET, store=store)
        here = state(store)
        mark = store / MARK
        begun = mark.exists() and mark.read_text().startswith(BEGUN)
        reached.add((begun, len(here["reviews"]), len(here["outbox"]), bool(left(store, WORDS))))
        assert len(here["reviews"]) in (len(wanted["reviews"]), len(wanted["reviews"]) + 12), "all or nothing"
        if kill % 4 < 3:
            nursery.run(**FORGET, store=store)
        else:
            with Store.open(Settings(store=store)) as opened:
                noted = bool(opened.unfinished()) or not opened.has_user(WHO)
            nursery.run(**OTHERS[0], store=store)
            if not noted:  # killed before it was noted that it had begun: nothing had been done
                continue
        assert not left(store, WORDS), (kill, step)
        if kill % 4 < 3:
            assert state(store) == wanted
            assert nursery.run(run="index", store=store)["result"] == index
    assert len(reached) > 4
    assert any(begun for begun, *_ in reached)


def test_two_that_forget_at_once_while_others_ask_and_ingest(
    nursery: Nursery, corpus: dict[str, Any], known: Path, forgotten: tuple[Path, int], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(known, store)
    (tmp_path / "items.jsonl").write_text(Path(corpus["items"]).read_text())
    before = [nursery.run(**each, store=forgotten[0])["result"] for each in OTHERS]
    jobs = [FORGET, job(tmp_path, "more", 200, batch=5), *OTHERS, FORGET, job(tmp_path, "most", 200, batch=5), *OTHERS]
    started = [nursery.start(each | {"store": store}) for each in jobs]
    for each in started:
        nursery.finish(each)
    nursery.run(**FORGET, store=store)
    assert not left(store, WORDS)
    with Store.open(Settings(store=store)) as opened:
        assert not opened.has_user(WHO)
        assert opened.forgotten_at(WHO)
        assert opened.unfinished() == []
    assert [nursery.run(**each, store=store)["result"] for each in OTHERS] == before
    wanted = state(forgotten[0])
    here = state(store)
    assert {table: here[table] for table in ("reviews", "rating_totals")} == {
        table: wanted[table] for table in ("reviews", "rating_totals")
    }


def test_a_killed_forgetting_on_postgresql(
    nursery: Nursery,
    corpus: dict[str, Any],
    new_database: Callable[..., AbstractContextManager[str]],
    forgotten: tuple[Path, int],
    tmp_path: Path,
) -> None:
    (tmp_path / "items.jsonl").write_text(Path(corpus["items"]).read_text())
    wanted = state(forgotten[0])["reviews"]
    for kill, step in enumerate(random.Random(2).sample(range(3, forgotten[1] - 5), 3)):
        with new_database() as url:
            place = {"store": tmp_path / f"store-{kill}", "database_url": url}
            nursery.run(**corpus | place)
            nursery.run(**job(tmp_path, "theirs", 15) | place)
            nursery.run(**EXPLAIN | place)
            nursery.kill(step, holds=True, **FORGET | place)
            nursery.run(**FORGET | place)
            assert state(place["store"], url)["reviews"] == wanted
            assert not left(place["store"], WORDS)
