"""What is there after a kill, and with several processes at one store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from children import AS_OF, BATCH, EXPLAIN, GOOD, ROWS, Nursery, state, write_corpus

from whylike.memory.chroma import BEGUN, MARK

KILLS = 25
FEW_KILLS = 4
NewDatabase = Callable[..., AbstractContextManager[str]]


def rejects(store: Path) -> dict[str, str]:
    """The files of rejected rows, by name."""
    return {path.name: path.read_text() for path in (store / "rejects").glob("*")}


# --- kill -9


def test_a_killed_ingest_leaves_whole_batches_and_completes_when_run_again(
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], tmp_path: Path
) -> None:
    undisturbed, steps = ingested
    wanted = state(undisturbed)
    assert len(wanted["reviews"]) == ROWS // BATCH * GOOD
    reached = set()
    for kill, step in enumerate(random.Random(1).sample(range(1, steps + 1), KILLS)):
        store = tmp_path / f"store-{kill}"
        nursery.kill(step, holds=kill % 2 == 0, **corpus, store=store)
        left = state(store)
        reached.add(len(left["reviews"]))
        assert len(left["reviews"]) % GOOD == 0
        assert sum(number for _, number, _ in left["rating_totals"]) == len(left["reviews"])
        assert all(left[table] <= wanted[table] for table in wanted if table not in {"rating_totals", "meta"})
        nursery.run(**corpus, store=store)
        assert state(store) == wanted
        assert list(rejects(store).values()) == list(rejects(undisturbed).values())
    assert len(reached) > KILLS // 4  # The kills came at different places.


def test_a_killed_explain_leaves_whole_results_and_completes_when_run_again(
    nursery: Nursery, ingested: tuple[Path, int], tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(ingested[0], undisturbed)
    answer = nursery.run(**EXPLAIN, store=undisturbed)
    wanted = state(undisturbed)
    index = nursery.run(run="index", store=undisturbed)["result"]
    assert {name.split("-")[0]: len(held) for name, held in index.items()} == {
        "summaries": len(wanted["review_summaries"]),
        "profiles": 2,
        "items": 0,  # until somebody looks for one by what it is
    }
    assert {row for row in wanted["outbox"] if row[0] != "items"} == set()
    reached = set()
    for kill, step in enumerate(random.Random(2).sample(range(1, answer["steps"] + 1), KILLS)):
        store = tmp_path / f"store-{kill}"
        shutil.copytree(ingested[0], store)
        nursery.kill(step, holds=kill % 2 == 0, **EXPLAIN, store=store)
        left = state(store)
        mark = store / MARK
        indexing = mark.exists() and mark.read_text().startswith(BEGUN)
        reached.add((indexing, *(len(left[table]) for table in ("review_summaries", "profiles", "answers", "outbox"))))
        assert all(left[table] <= wanted[table] for table in wanted if table != "outbox")
        assert nursery.run(**EXPLAIN, store=store)["result"] == answer["result"]
        assert state(store) == wanted
        assert nursery.run(run="index", store=store)["result"] == index
    assert len(reached) > KILLS // 4
    assert any(indexing for indexing, *_ in reached)


# --- several processes at once


def test_two_that_ingest_and_two_that_explain_at_once_lose_nothing(
    nursery: Nursery,
    ingested: tuple[Path, int],
    tmp_path: Path,
) -> None:
    jobs = [
        write_corpus(tmp_path, "more", 3, first=AS_OF),
        write_corpus(tmp_path, "most", 4, first=AS_OF),
        EXPLAIN,
        EXPLAIN | {"user": "u3", "item": "i4"},
    ]
    one_by_one, at_once = tmp_path / "one-by-one", tmp_path / "at-once"
    for store in (one_by_one, at_once):
        shutil.copytree(ingested[0], store)
    alone = [nursery.run(**job, store=one_by_one)["result"] for job in jobs]
    started = [nursery.start(job | {"store": at_once}) for job in jobs]
    together = [nursery.finish(each)["result"] for each in started]
    assert together[2:] == alone[2:]
    assert state(at_once) == state(one_by_one)
    assert sorted(rejects(at_once).values()) == sorted(rejects(one_by_one).values())
    found = [nursery.run(run="index", store=store)["result"] for store in (at_once, one_by_one)]
    assert found[0] == found[1]


# --- the same on PostgreSQL, whose store must hold the same as SQLite's


def test_a_killed_ingest_on_postgresql(
    nursery: Nursery,
    corpus: dict[str, Any],
    ingested: tuple[Path, int],
    new_database: NewDatabase,
    tmp_path: Path,
) -> None:
    wanted = state(ingested[0])
    reached = set()
    for kill, step in enumerate(random.Random(5).sample(range(1, ingested[1] + 1), FEW_KILLS)):
        with new_database() as url:
            job = corpus | {"store": tmp_path / f"store-{kill}", "database_url": url}
            nursery.kill(step, holds=kill % 2 == 0, **job)
            left = state(job["store"], url)
            reached.add(len(left["reviews"]))
            assert len(left["reviews"]) % GOOD == 0
            assert sum(number for _, number, _ in left["rating_totals"]) == len(left["reviews"])
            nursery.run(**job)
            assert state(job["store"], url) == wanted
            assert list(rejects(job["store"]).values()) == list(rejects(ingested[0]).values())
    assert len(reached) > 1


def test_a_killed_explain_on_postgresql(
    nursery: Nursery,
    corpus: dict[str, Any],
    ingested: tuple[Path, int],
    new_database: NewDatabase,
    tmp_path: Path,
) -> None:
    sqlite = tmp_path / "sqlite"
    shutil.copytree(ingested[0], sqlite)
    answer = nursery.run(**EXPLAIN, store=sqlite)
    wanted, index = state(sqlite), nursery.run(run="index", store=sqlite)["result"]
    reached = set()
    for kill, step in enumerate(random.Random(6).sample(range(1, answer["steps"] + 1), FEW_KILLS)):
        with new_database() as url:
            place = {"store": tmp_path / f"store-{kill}", "database_url": url}
            nursery.run(**corpus | place)
            nursery.kill(step, holds=kill % 2 == 0, **EXPLAIN | place)
            left = state(place["store"], url)
            reached.add(tuple(len(left[table]) for table in ("review_summaries", "profiles", "answers", "outbox")))
            assert nursery.run(**EXPLAIN | place)["result"] == answer["result"]
            assert state(place["store"], url) == wanted
            assert nursery.run(run="index", store=place["store"])["result"] == index
    assert len(reached) > 1


def test_two_that_ingest_and_two_that_explain_at_once_on_postgresql(
    nursery: Nursery,
    corpus: dict[str, Any],
    ingested: tuple[Path, int],
    new_database: NewDatabase,
    tmp_path: Path,
) -> None:
    jobs = [
        write_corpus(tmp_path, "more", 3, first=AS_OF),
        write_corpus(tmp_path, "most", 4, first=AS_OF),
        EXPLAIN,
        EXPLAIN | {"user": "u3", "item": "i4"},
    ]
    sqlite = tmp_path / "sqlite"
    shutil.copytree(ingested[0], sqlite)
    alone = [nursery.run(**job, store=sqlite)["result"] for job in jobs]
    with new_database() as url:
        place = {"store": tmp_path / "store", "database_url": url}
        nursery.run(**corpus | place)
        started = [nursery.start(job | place) for job in jobs]
        assert [nursery.finish(each)["result"] for each in started][2:] == alone[2:]
        assert state(place["store"], url) == state(sqlite)
