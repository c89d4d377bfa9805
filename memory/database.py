"""The connection to the truth: SQLite or PostgreSQL, its transactions, its locks and its errors in one sentence."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from whylike.errors import StoreError, UsageError
from whylike.memory.connection import BUSY_SECONDS, STILL_LOCKED, connect, refused, take_turn, url_of
from whylike.memory.migrations import has_begun, migrate
from whylike.settings import Settings, hidden

IN_CHUNK = 500
"""Most values in one IN list; databases limit how many a statement may bind."""

LOCK_SECONDS = 600
"""How long to wait for another process that holds one of the store's locks, such as one that migrates it."""

AT_ONCE = 0.001
"""Seconds that PostgreSQL waits for a lock that is not to be waited for: none at all would mean for ever."""

V = TypeVar("V", str, int)


class HeldError(StoreError):
    """Another process holds one of the store's locks."""


class Database:
    """One opened database: short read and write transactions, safe to use from many threads."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        url = url_of(folder, database_url)
        self._reader = connect(url, writes=False)
        self._writer = connect(url, writes=True)
        self._gates: dict[str, threading.Lock] = {}
        self.dialect = self._reader.dialect.name
        self.name = hidden(database_url) if database_url else str(folder)
        self.elsewhere = "another database, named in database_url" if database_url else "another store with --store"

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Open, make or bring up to date the store that the settings name.

        Raises:
            StoreError: It cannot be opened, is not a whylike store, or is from a newer whylike.
            UsageError: `database_url` is not one that whylike can use.
        """
        folder = settings.store.expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store {folder} cannot be made: {error.strerror}; give a folder that can be written with --store"
            ) from None
        database = cls(folder, settings.database_url)
        try:
            with database.exclusive("migrations"):
                if database.dialect == "sqlite":
                    database._keep_a_log()
                else:
                    database._check_encoding()
                with database.write() as connection:
                    migrate(connection, database.name)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def glance(cls, settings: Settings) -> tuple[str, bool]:
        """Look for the store that the settings name, and make nothing.

        Returns:
            Where it is and in what, such as `FOLDER, SQLite 3.45.1`, and whether it is there.

        Raises:
            StoreError: The server cannot be reached, or refused.
            UsageError: `database_url` is not one that whylike can use.
        """
        with closing(cls(settings.store.expanduser().absolute(), settings.database_url)) as database:
            file = database._reader.url.database
            if database.dialect == "sqlite":
                return f"{database.name}, SQLite {sqlite3.sqlite_version}", Path(file or "").is_file()
            with database.read() as connection:
                version = connection.execute(text("SHOW server_version")).scalar_one().split()[0]
                return f"{database.name}, PostgreSQL {version}", has_begun(connection)

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that sees one state of the store.

        Raises:
            StoreError: The database failed.
        """
        with self._reported(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction that may write; it waits for its turn when it begins, so that it cannot fail halfway.

        Raises:
            StoreError: The database failed or stayed locked; nothing of the transaction is kept.
        """
        with self._reported(), self._writer.begin() as connection:
            yield connection

    def purge(self) -> None:
        """Leave nothing in SQLite's files of what was ever deleted: they are written anew, and the log is emptied.

        What a PostgreSQL server keeps of deleted rows, and until when, is its own business (VACUUM, its log, backups).

        Raises:
            StoreError: There is no room to write them, or another process reads for so long that it cannot end.
        """
        if self.dialect != "sqlite":
            return
        with self._reported(), self._writer.connect() as connection:
            # Not through SQLAlchemy, which would begin a transaction.
            cursor = connection.connection.cursor()
            cursor.execute("VACUUM")
            busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(
                f"another process has been reading the store {self.name} for {BUSY_SECONDS} seconds, so what was "
                "deleted is still in its log; end that process and run the same command again"
            )

    @contextmanager
    def exclusive(self, purpose: str, *, waiting: bool = True) -> Generator[None]:
        """Keep out every other process (and thread) that asks for the same purpose; a killed holder lets go.

        Args:
            purpose: What it is for.
            waiting: Whether to wait for one that holds it, for `LOCK_SECONDS` at most.

        Raises:
            HeldError: Another process holds it, or has held it for that long.
        """
        seconds = LOCK_SECONDS if waiting else 0
        if self.dialect == "sqlite":
            with lock(self.folder / f"{purpose}.lock", seconds):
                yield
            return
        # Threads wait without a connection each: the one that holds the lock needs more of them.
        with self._gate(purpose, seconds), self.read() as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            try:
                take_turn(connection, purpose, max(seconds, AT_ONCE))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != STILL_LOCKED:
                    raise
                raise self._held(purpose, seconds) from None
            yield

    @contextmanager
    def _gate(self, purpose: str, seconds: float) -> Generator[None]:
        """Let in one thread of this process."""
        gate = self._gates.setdefault(purpose, threading.Lock())
        if not gate.acquire(timeout=seconds):
            raise self._held(purpose, seconds)
        try:
            yield
        finally:
            gate.release()

    def _held(self, purpose: str, seconds: float) -> HeldError:
        return HeldError(f"another whylike {_holds(f'the lock for {purpose} of {self.name}', seconds)}")

    def insert(self, table: Table) -> Any:  # noqa: ANN401 - the two dialects' inserts share no type that has on_conflict_*
        """An insert into the table that can say what happens on conflict."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    def _keep_a_log(self) -> None:
        """Give the SQLite file its write-ahead log, which it keeps.

        Only under a lock: of two processes that switch to the log at once, one is told "locked" without any wait.
        """
        with self._reported(), self._writer.connect() as connection:
            # Not through SQLAlchemy, which would begin a transaction, where the mode cannot change.
            connection.connection.cursor().execute("PRAGMA journal_mode = WAL")

    def _check_encoding(self) -> None:
        """Refuse a PostgreSQL database that cannot hold every text."""
        with self.read() as connection:
            encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise StoreError(
                f"the store {self.name} has the encoding {encoding}, which cannot hold every review; "
                "make a database with `createdb --encoding=UTF8 --template=template0` and name it in database_url"
            )

    @contextmanager
    def _reported(self) -> Generator[None]:
        """Turn the database's errors into one sentence."""
        try:
            yield
        except DBAPIError as error:
            raise refused(self.name, error) from error
        except PoolTimeoutError as error:
            raise StoreError(
                f"the store {self.name} is too busy: no turn came in {BUSY_SECONDS} seconds; run fewer commands at once"
            ) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise UsageError(
                f"the store cannot hold or look up this value: {error}; give valid UTF-8 and whole seconds"
            ) from error


@contextmanager
def lock(path: Path, seconds: float | None = None) -> Generator[None]:
    """Hold a file lock, made for this one use so that threads shut each other out too.

    Args:
        path: Its file.
        seconds: How long to wait for another that holds it; without it `LOCK_SECONDS`.

    Raises:
        HeldError: Another has held it for longer.
        StoreError: It could not be taken.
    """
    seconds = LOCK_SECONDS if seconds is None else seconds
    held = FileLock(path, timeout=seconds)
    try:
        held.acquire(poll_interval=0.01)
    except Timeout:
        raise HeldError(f"another whylike {_holds(str(path), seconds)}") from None
    except OSError as error:
        raise StoreError(
            f"the store {path.parent} cannot be written, which reading it needs as well: {error.strerror}; "
            "mend its permissions, or copy it to a folder of your own and give that with --store"
        ) from None
    try:
        yield
    finally:
        held.release()


def _holds(what: str, seconds: float) -> str:
    """That another holds a lock, and has for so long as was waited."""
    held = f"has held {what} for {seconds // 60:.0f} minutes" if seconds else f"holds {what}"
    return f"{held}; wait until it is done or end it"


def chunks(values: Iterable[V]) -> Iterator[tuple[V, ...]]:
    """The values in lists that one statement can bind."""
    remaining = iter(values)
    while chunk := tuple(islice(remaining, IN_CHUNK)):
        yield chunk
