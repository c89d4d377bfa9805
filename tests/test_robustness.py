"""What is there after a kill, with several processes at one store, and where the store cannot be used.

The work is done by children that `robustness_nursery.py` forks, with the scripted engine and vectors by hash.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, inspect

from whylike.memory.chroma import BEGUN, FOLDER, MARK
from whylike.memory.connection import FILE

KILLS = 25
FEW_KILLS = 4
BATCH = 10
GOOD = 9
"""Rows of each batch that can be taken; the last of the ten is bad."""
ROWS = 12 * BATCH
AS_OF = 2_000_000_000
EXPLAIN = {"run": "explain", "user": "u1", "item": "i2", "as_of": AS_OF}
KEPT = {
    "users": "user_id",
    "items": "item_id, title, description, categories",
    "reviews": "review_id, user_id, item_id, rating, title, text, timestamp, helpful",
    "rating_totals": "day, count, total",
    "review_summaries": "review_id, adapter_version, likes, dislikes, preferences",
    "profiles": "side, subject_id, adapter_version, source, likes, dislikes, average",
    "answers": "key, kind, user_id, item_id, body",
    "outbox": "collection, subject, variant",
    "meta": "name, value",
}
"""What a store holds, without the times and numbers that differ from run to run."""
OWN = {"store", "index"}
"""Single values that are made up anew for each store."""

State = dict[str, set[tuple[Any, ...]]]
NewDatabase = Callable[..., AbstractContextManager[str]]


class Nursery:
    """Starts children and tells how they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outs = count()
        self._events, tell = os.pipe()
        self._tell = tell
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("robustness_nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[tell],
            env=os.environ | one_thread | {"WHYLIKE_ENGINE": "scripted", "WHYLIKE_CACHE": str(folder / "cache")},
        )
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._events)
        os.close(self._tell)

    def _asks(self, request: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, job: dict[str, Any]) -> tuple[int, Path]:
        """Start a child: its id, and where its result will be."""
        out = self._folder / f"out-{next(self._outs)}"
        return self._asks({"start": job | {"out": out, "events": self._tell}}), out

    def finish(self, started: tuple[int, Path]) -> dict[str, Any]:
        """Wait for a child that must succeed: its result."""
        pid, out = started
        assert self._asks({"wait": pid}) == 0
        return json.loads(out.read_text())

    def run(self, **job: Any) -> dict[str, Any]:
        return self.finish(self.start(job))

    def kill(self, step: int, *, holds: bool, **job: Any) -> None:
        """Start a child and kill it once it says that it is at this step; `holds`: at this very step."""
        pid, _ = self.start(job | {"doomed_at": step, "holds": holds})
        assert os.read(self._events, 4) == b"now\n"
        os.kill(pid, signal.SIGKILL)
        assert self._asks({"wait": pid}) == -signal.SIGKILL
        os.set_blocking(self._events, False)
        try:  # A child that came to its end in the meantime has said so a second time.
            os.read(self._events, 4)
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(self._events, True)

    def cli(self, store: Path, *args: str | Path, **job: Any) -> tuple[int, str, str]:
        """The command line: status, standard output, standard error."""
        pid, out = self.start({"run": "cli", "args": args, "store": store} | job)
        status = self._asks({"wait": pid})
        return status, Path(f"{out}.stdout").read_text(), Path(f"{out}.stderr").read_text()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with closing(Nursery(tmp_path_factory.mktemp("nursery"))) as opened:
        yield opened


def write_corpus(folder: Path, name: str, seed: int, first: int = 1_600_000_000) -> dict[str, Any]:
    """Files of reviews and items, and the job that ingests them."""
    chance = random.Random(seed)
    words = [
        "warm",
        "slow",
        "cheap",
        "loud",
        "bright",
        "sound",
        "voice",
        "plot",
        "strings",
        "cover",
        "ending",
        "rhythm",
    ]
    rows = [
        {
            "user_id": f"u{number % 7}",
            "item_id": f"i{number % 5}" if number % BATCH < GOOD else "",
            "rating": chance.randint(1, 5),
            "title": " ".join(chance.sample(words, 2)),
            "text": ". ".join(f"The {' '.join(chance.sample(words, 4))}" for _ in range(3)),
            "timestamp": first + chance.randrange(100) * 86_400 + number,
        }
        for number in range(ROWS)
    ]
    items = [{"item_id": f"i{number}", "title": f"Thing {number}", "description": words[number]} for number in range(5)]
    for path, lines in ((f"{name}.jsonl", rows), ("items.jsonl", items)):
        (folder / path).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return {"run": "ingest", "file": folder / f"{name}.jsonl", "items": folder / "items.jsonl", "batch": BATCH}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), "reviews", 0)


@pytest.fixture(scope="module")
def ingested(nursery: Nursery, corpus: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A store after an undisturbed ingest, and the steps that it took."""
    store = tmp_path_factory.mktemp("ingested") / "store"
    return store, nursery.run(**corpus, store=store)["steps"]


def state(store: Path, database_url: str | None = None) -> State:
    """All that the store holds; what is not there yet holds nothing. Fails where the database is damaged."""
    store.mkdir(exist_ok=True)
    engine = create_engine(database_url or f"sqlite:///{store / FILE}", poolclass=NullPool)
    with engine.connect() as database:
        if database_url is None:
            assert database.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
            assert database.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        tables = inspect(database).get_table_names()
        found = {
            table: [tuple(row) for row in database.exec_driver_sql(f"SELECT {columns} FROM {table}")]
            if table in tables
            else []
            for table, columns in KEPT.items()
        }
    assert all(len(rows) == len(set(rows)) for table, rows in found.items() if table != "outbox")
    found["meta"] = [row for row in found["meta"] if row[0] not in OWN]
    return {table: set(rows) for table, rows in found.items()}


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
        assert all(left[table] <= wanted[table] for table in wanted if table != "rating_totals")
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
    }
    assert wanted["outbox"] == set()
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
    nursery: Nursery, ingested: tuple[Path, int], tmp_path: Path
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
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], new_database: NewDatabase, tmp_path: Path
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
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], new_database: NewDatabase, tmp_path: Path
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
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], new_database: NewDatabase, tmp_path: Path
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


REVIEWED = ("review", "add", "--user", "u1", "--item", "i2", "--rating", "5", "--text", "Fine.")


def test_the_command_line_on_postgresql_never_says_the_password(
    nursery: Nursery, corpus: dict[str, Any], new_database: NewDatabase, place: Path
) -> None:
    files = [shutil.copy(corpus[name], place) for name in ("file", "items")]
    open_to_all(place)
    with new_database() as url:
        password = re.search(":([^:@]+)@", url)[1]
        wrong, slip = url.replace(password, "wr%40ng"), url.replace(password, "wr@ng")
        commands = [("ingest", files[0], "--items", files[1]), ASKED, REVIEWED, ("doctor",)]
        for command in commands:
            status, out, said = nursery.cli(place, *command, "-vv", database_url=url)
            if command != ("doctor",):  # to whom the cache may be unreadable
                assert status == 0, said
            assert "Traceback" not in said
            assert password not in out + said
            for bad, code in ((wrong, 1), (slip, 2)):
                status, out, said = nursery.cli(place, *command, "-vv", database_url=bad)
                assert status == (1 if command == ("doctor",) else code)
                assert "ng@" not in out + said
                assert "Traceback" not in out + said
                assert ("password authentication failed" if bad is wrong else "write it as %40") in out + said


# --- stores that cannot be used


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may reach and write: where the tests run as root, the command runs as nobody."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


def open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def no_folder(store: Path) -> None:
    shutil.rmtree(store)
    store.write_text("a file")


def unreadable_folder(store: Path) -> None:
    store.chmod(0)


def read_only_folder(store: Path) -> None:
    for path in store.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    store.chmod(0o555)


def read_only_empty_folder(store: Path) -> None:
    shutil.rmtree(store)
    store.mkdir(0o555)


def read_only_database(store: Path) -> None:
    (store / FILE).chmod(0o444)


def unreadable_database(store: Path) -> None:
    (store / FILE).chmod(0)


def folder_for_database(store: Path) -> None:
    (store / FILE).unlink()
    (store / FILE).mkdir()


def nonsense_database(store: Path) -> None:
    (store / FILE).write_bytes(b"nonsense" * 1000)


def damaged_database(store: Path) -> None:
    pages = bytearray((store / FILE).read_bytes())
    pages[4096:] = random.Random(0).randbytes(len(pages) - 4096)
    (store / FILE).write_bytes(pages)


BROKEN = [
    no_folder,
    unreadable_folder,
    read_only_folder,
    read_only_empty_folder,
    read_only_database,
    unreadable_database,
    folder_for_database,
    nonsense_database,
    damaged_database,
]


def one_sentence(result: tuple[int, str, str], status: int = 1) -> str:
    """What the command said on standard error, which must be all that it said."""
    assert result[:2] == (status, "")
    said = result[2]
    assert said.startswith("whylike: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_store_that_cannot_be_used_is_told_in_one_sentence(
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], place: Path, broken: Callable[[Path], None]
) -> None:
    store = place / "store"
    shutil.copytree(ingested[0], store)
    reviews = shutil.copy(corpus["file"], place)
    open_to_all(place)
    broken(store)
    for command in (["ingest", reviews], ["explain", "--user", "u1", "--item", "i2"]):
        assert str(store) in one_sentence(nursery.cli(store, *command))


def file_for_index(index: Path) -> None:
    shutil.rmtree(index)
    index.write_text("a file")


def nonsense_index(index: Path) -> None:
    for path in index.rglob("*.*"):
        path.write_bytes(b"nonsense" * 1000)


@pytest.fixture(scope="module")
def explained(nursery: Nursery, ingested: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has an index."""
    store = tmp_path_factory.mktemp("explained") / "store"
    shutil.copytree(ingested[0], store)
    nursery.run(**EXPLAIN, store=store)
    return store


ASKED = ("explain", "--user", "u3", "--item", "i2", "--json")


@pytest.mark.parametrize("broken", [file_for_index, nonsense_index], ids=lambda broken: broken.__name__)
def test_a_damaged_index_is_made_anew(
    nursery: Nursery, explained: Path, place: Path, broken: Callable[[Path], None]
) -> None:
    sound, store = place / "sound", place / "store"
    for copy in (sound, store):
        shutil.copytree(explained, copy)
    open_to_all(place)
    broken(store / FOLDER)
    status, out, said = nursery.cli(store, *ASKED)
    assert status == 0
    assert said.startswith(f"whylike: the index of {store} is rebuilt from the store: ")
    assert json.loads(out)["reason"] == json.loads(nursery.cli(sound, *ASKED)[1])["reason"]


@pytest.mark.parametrize("mode", [0, 0o555], ids=["unreadable", "read-only"])
def test_an_index_that_cannot_be_used_is_told(nursery: Nursery, explained: Path, place: Path, mode: int) -> None:
    store = place / "store"
    shutil.copytree(explained, store)
    open_to_all(place)
    for path in (store / FOLDER).rglob("*.*"):
        path.chmod(mode & 0o444)
    (store / FOLDER).chmod(mode)
    status, out, said = nursery.cli(store, *ASKED)
    assert (status, out) == (1, "")
    assert f"whylike: the index {store / FOLDER} cannot be written: " in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_full_disk_is_told_and_the_next_run_completes(
    nursery: Nursery, corpus: dict[str, Any], ingested: tuple[Path, int], place: Path
) -> None:
    store = place / "store"
    store.mkdir()
    files = [shutil.copy(corpus[name], place) for name in ("file", "items")]
    open_to_all(place)
    command = ["ingest", files[0], "--items", files[1]]
    assert str(store) in one_sentence(nursery.cli(store, *command, file_size=50_000))
    assert nursery.cli(store, *command)[0] == 0
    assert state(store) == state(ingested[0])
