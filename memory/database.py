"""The connection to the truth: SQLite or PostgreSQL, its transactions, its locks and its errors in one sentence."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, Select, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from whylike.errors import StoreError, UsageError
from whylike.memory.migrations import SERIAL, migrate
from whylike.settings import Settings

FILE = "whylike.sqlite3"
"""The SQLite file in the store's folder."""

BUSY_SECONDS = 30
"""How long a write waits for another process's write."""

IN_CHUNK = 500
"""Most values in one IN list; databases limit how many a statement may bind."""

LOCK_SECONDS = 600
"""How long to wait for another process that holds one of the store's locks, such as one that migrates it."""

PRAGMAS = {
    "foreign_keys": "ON",
    "synchronous": "NORMAL",
    "cache_size": "-8192",
}
"""SQLite's settings of every connection; the cache is in KiB."""

WRITER_PRAGMAS = {
    "cache_size": "-131072",
    "wal_autocheckpoint": "16384",
}
"""Those of the one connection that writes.

Reviews land all over the indexes, and a page is better written once than often. The log grows to 64 MiB between
checkpoints.
"""


V = TypeVar("V", str, int)


class Database:
    """One opened database: short read and write transactions, safe to use from many threads."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self._reader = _engine(folder, database_url, writes=False)
        self._writer = _engine(folder, database_url, writes=True)
        self.dialect = self._reader.dialect.name
        self.name = str(folder) if database_url is None else self._reader.url.render_as_string(hide_password=True)

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
                with database.write() as connection:
                    migrate(connection, database.name)
        except BaseException:
            database.close()
            raise
        return database

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

    @contextmanager
    def exclusive(self, purpose: str) -> Generator[None]:
        """Keep out every other process (and thread) that asks for the same purpose; a killed holder lets go.

        Raises:
            StoreError: Another process held it for longer than `LOCK_SECONDS`.
        """
        if self.dialect == "sqlite":
            with lock(self.folder / f"{purpose}.lock"):
                yield
        else:
            with self.read() as connection:
                connection.execute(_advisory(purpose))
                yield

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

    @contextmanager
    def _reported(self) -> Generator[None]:
        """Turn the database's errors into one sentence."""
        try:
            yield
        except DBAPIError as error:
            raise StoreError(_sentence(self.name, str(error.orig))) from error
        except PoolTimeoutError as error:
            raise StoreError(
                f"the store {self.name} is too busy: no turn came in {BUSY_SECONDS} seconds; run fewer commands at once"
            ) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise UsageError(
                f"the store cannot hold or look up this value: {error}; give valid UTF-8 and whole seconds"
            ) from error


@contextmanager
def lock(path: Path) -> Generator[None]:
    """Hold a file lock, made for this one use so that threads shut each other out too.

    Raises:
        StoreError: It could not be taken, or another held it for longer than `LOCK_SECONDS`.
    """
    held = FileLock(path, timeout=LOCK_SECONDS)
    try:
        held.acquire(poll_interval=0.01)
    except Timeout:
        raise StoreError(
            f"another whylike has held {path} for {LOCK_SECONDS // 60} minutes; wait until it is done or end it"
        ) from None
    except OSError as error:
        raise StoreError(
            f"the store {path.parent} cannot be written: {error.strerror}; "
            "mend its permissions or give another folder with --store"
        ) from None
    try:
        yield
    finally:
        held.release()


def chunks(values: Iterable[V]) -> Iterator[tuple[V, ...]]:
    """The values in lists that one statement can bind."""
    remaining = iter(values)
    while chunk := tuple(islice(remaining, IN_CHUNK)):
        yield chunk


def _engine(folder: Path, database_url: str | None, *, writes: bool) -> Engine:
    """An engine for the URL, else for the store's SQLite file; writers take turns on one connection."""
    pool = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 8, "max_overflow": 56}
    try:
        url = make_url(database_url) if database_url else URL.create("sqlite", database=str(folder / FILE))
        backend = url.get_backend_name()
        if backend not in SERIAL:
            raise UsageError(
                f"setting database_url names {backend}, allowed are sqlite and postgresql; "
                "mend it, or leave it out to use the store's own SQLite file"
            )
        connect = {"timeout": BUSY_SECONDS} if backend == "sqlite" else {}
        engine = create_engine(url, pool_timeout=BUSY_SECONDS, connect_args=connect, **pool)
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(f"setting database_url needs a driver that is not here: {error}; install it") from None
    except ArgumentError:
        raise UsageError(
            "setting database_url is not a database URL; write it as postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from None
    if backend == "sqlite":
        event.listen(engine, "connect", partial(_prepare_connection, PRAGMAS | WRITER_PRAGMAS if writes else PRAGMAS))
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    elif writes:
        event.listen(engine, "begin", lambda connection: connection.execute(_advisory("writer")))
    return engine


def _prepare_connection(pragmas: dict[str, str], connection: sqlite3.Connection, record: object) -> None:
    """Set up a new SQLite connection."""
    connection.isolation_level = None  # or sqlite3 would begin transactions at times of its own choosing
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")


def _advisory(purpose: str) -> Select[tuple[object]]:
    """PostgreSQL's lock for a purpose, held until the end of the transaction."""
    return select(func.pg_advisory_xact_lock(zlib.crc32(f"whylike {purpose}".encode())))


def _sentence(name: str, problem: str) -> str:
    """What to tell the user when the database said `problem`."""
    elsewhere = "or give another folder with --store"
    mends = {
        "database is locked": f"another process has been writing to it for {BUSY_SECONDS} seconds; wait and try again",
        "disk is full": "the disk is full and nothing was written; make room and try again",
        "disk I/O error": "the disk refused a read or a write; check the disk and its free space",
        "readonly database": f"it may only be read; mend its permissions {elsewhere}",
        "not a database": f"its database file is not one of whylike's; move it away {elsewhere}",
        "malformed": f"its database file is damaged; restore it from a backup {elsewhere}",
        "unable to open": f"its database file cannot be opened; mend its permissions {elsewhere}",
        "FOREIGN KEY": "a record is about a review that is not in it; add that review first",
    }
    for sign, mend in mends.items():
        if sign in problem:
            return f"the store {name} refused: {mend}"
    said = " ".join(problem.split())
    return f"the store {name} refused: {said}; check that its database runs and can be written, {elsewhere}"
