"""From an empty file to today's tables, once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from whylike.errors import StoreError
from whylike.memory import database
from whylike.memory.connection import FILE
from whylike.memory.migrations import MIGRATIONS, migrate
from whylike.memory.schema import metadata
from whylike.memory.store import Store
from whylike.records import Item
from whylike.settings import Settings


def shape(engine: Engine) -> dict[str, object]:
    """What is in a database, in words that can be compared."""
    found = inspect(engine)
    return {
        table: {
            "columns": {(c["name"], c["nullable"], c["type"].python_type) for c in found.get_columns(table)},
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": {(*k["constrained_columns"], k["referred_table"]) for k in found.get_foreign_keys(table)},
            "unique": {tuple(u["column_names"]) for u in found.get_unique_constraints(table)},
            "indexes": {(i["name"], tuple(i["column_names"])) for i in found.get_indexes(table)},
        }
        for table in found.get_table_names()
        if table not in ("migrations", "sqlite_sequence")
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def engines(
    request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[..., AbstractContextManager[str]]
) -> Iterator[tuple[Engine, Engine]]:
    """Two empty databases."""
    with ExitStack() as stack:
        urls = [f"sqlite:///{tmp_path}/{name}" for name in ("one", "two")]
        if request.param == "postgresql":
            urls = [stack.enter_context(new_database()) for _ in urls]
        one, two = map(create_engine, urls)
        yield one, two
        one.dispose()
        two.dispose()


@pytest.fixture
def here(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path / "new", database_url=database_url)


def test_the_migrations_make_the_tables_of_the_schema(engines: tuple[Engine, Engine]) -> None:
    migrated, declared = engines
    with migrated.begin() as connection:
        assert migrate(connection, "it") == len(MIGRATIONS)
    metadata.create_all(declared)
    assert shape(migrated) == shape(declared)


def test_positions_of_the_outbox_are_never_used_twice(engines: tuple[Engine, Engine]) -> None:
    """Or a sync could take out a change that came after the one that it carried over."""
    engine, _ = engines
    add = text("INSERT INTO outbox (collection, subject, variant) VALUES ('summaries', 'a', 'b')")
    with engine.begin() as connection:
        migrate(connection, "it")
        connection.execute(add)
        connection.execute(text("DELETE FROM outbox"))
        connection.execute(add)
        assert connection.execute(text("SELECT position FROM outbox")).scalar_one() == 2


def test_an_empty_file_becomes_a_store_and_opens_again(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with Store.open(Settings(store=tmp_path)) as store:
        store.add_items([Item(item_id="a", title="A")])
    with Store.open(Settings(store=tmp_path)) as store:
        assert store.item("a") == Item(item_id="a", title="A")
    applied = sqlite3.connect(tmp_path / FILE).execute("SELECT version, name FROM migrations").fetchall()
    assert applied == [(number, each.__name__) for number, each in enumerate(MIGRATIONS, start=1)]


def test_an_older_store_gets_only_what_it_lacks(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/it")
    calls: list[str] = []

    def second(connection: Connection) -> None:
        calls.append("second")

    def third(connection: Connection) -> None:
        calls.append("third")

    with engine.begin() as connection:
        assert migrate(connection, "it", (*MIGRATIONS[:1], second)) == 2
    with engine.begin() as connection:
        assert migrate(connection, "it", (*MIGRATIONS[:1], second, third)) == 1
    assert calls == ["second", "third"]


def test_a_migration_that_fails_leaves_the_store_as_it_was(here: Settings) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (a TEXT)"))
        raise RuntimeError("no")

    with Store.open(here) as store:
        with pytest.raises(RuntimeError, match="no"), store.database.write() as connection:
            migrate(connection, "it", (*MIGRATIONS, broken))
        with store.database.read() as connection:
            assert not inspect(connection).has_table("half")
            assert connection.execute(text("SELECT count(*) FROM migrations")).scalar_one() == len(MIGRATIONS)


def test_a_store_of_a_newer_whylike_is_refused_in_one_sentence(here: Settings) -> None:
    with Store.open(here) as store, store.database.write() as connection:
        connection.execute(text("INSERT INTO migrations VALUES (99, 'from_the_future', 0)"))
    with pytest.raises(StoreError, match=r"written by a newer whylike .* 99, .* update whylike"):
        Store.open(here)


def test_a_store_is_opened_under_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not wait where two processes switch a new file to its log at once: one of them would fail."""
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    with FileLock(tmp_path / "migrations.lock"), pytest.raises(StoreError, match="another whylike has held"):
        Store.open(Settings(store=tmp_path))
    Store.open(Settings(store=tmp_path)).close()


def test_processes_that_open_a_new_store_at_once_all_succeed(here: Settings) -> None:
    code = """
import sys
from whylike.memory.store import Store
from whylike.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
with Store.open(Settings.model_validate_json(sys.argv[1])) as store:
    print(store.counts().items)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    openers = [subprocess.Popen([sys.executable, "-c", code, here.model_dump_json()], **pipes) for _ in range(4)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate()[0] for opener in openers] == ["0\n"] * 4
    assert [opener.returncode for opener in openers] == [0] * 4


def test_a_store_that_may_only_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "migrations.lock").mkdir()  # which refuses even root
    with pytest.raises(StoreError) as caught:
        Store.open(Settings(store=tmp_path))
    assert str(caught.value) == (
        f"the store {tmp_path} cannot be written, which reading it needs as well: Is a directory; "
        "mend its permissions, or copy it to a folder of your own and give that with --store"
    )
