"""How the truth is reached: the engines of SQLAlchemy for SQLite and PostgreSQL, and the databases' errors in words."""

from __future__ import annotations

import re
import sqlite3
import zlib
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from whylike.errors import StoreError, UsageError, WhylikeError
from whylike.settings import Settings

FILE = "whylike.sqlite3"
"""The SQLite file in the store's folder."""

BUSY_SECONDS = 30
"""How long a write waits for another process's write."""

CONNECT_SECONDS = 10
"""How long to wait for a server to answer, unless the URL has a `connect_timeout`."""

DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite", "postgresql": "psycopg", "postgresql+psycopg": "psycopg"}
"""How a database URL may begin, and what then carries it."""

EXAMPLE = "postgresql://USER:PASSWORD@HOST/NAME"

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

SQLITE_REFUSALS = {
    "database is locked": f"another process has been writing to it for {BUSY_SECONDS} seconds; wait and try again",
    "disk is full": "the disk is full and nothing was written; make room and try again",
    "disk I/O error": "the disk refused a read or a write; check the disk and its free space",
    "readonly database": "it may only be read; mend its permissions {elsewhere}",
    "not a database": "its database file is not one of whylike's; move it away {elsewhere}",
    "malformed": "its database file is damaged; restore it from a backup {elsewhere}",
    "unable to open": "its database file cannot be opened; mend its permissions {elsewhere}",
    "FOREIGN KEY": "a record is about a review that is not in it; add that review first",
}
"""A part of what SQLite says, and what to tell the user."""

STILL_LOCKED = "55P03"
"""PostgreSQL's code of an error where a lock was waited for in vain."""

POSTGRESQL_REFUSALS = {
    STILL_LOCKED: f"another process has been writing to it for {BUSY_SECONDS} seconds; wait and try again",
    "53100": "the disk of its server is full and nothing was written; make room and try again",
    "53300": "its server has no connection left; run fewer commands at once or raise its max_connections",
    "25006": "it may only be read; name the server that takes writes in database_url",
    "42501": "its user may not do that ({said}); grant it, or name another user in database_url",
    "23503": "a record is about a review that is not in it; add that review first",
    "54000": "a text is too long to be looked up by ({said}); ids have up to 200 characters",
}
"""PostgreSQL's codes of errors (SQLSTATE), and what to tell the user."""

UNREACHED = {
    r"starting up|shutting down|recovery": "wait until the server has started",
    r"password|authentication": "mend the user or the password in database_url",
    r"pg_hba\.conf": "let this user in on the server, or name another one in database_url",
    r"too many|connection slots": "run fewer commands at once or raise the server's max_connections",
    r'database ".*" does not exist': "make that database with `createdb`, or mend its name in database_url",
    r'role ".*" does not exist': "mend the user in database_url",
    r"connection option": f"mend what follows the ? in database_url; {EXAMPLE} is enough",
}
"""Patterns of what is said where no connection comes about, and how to mend it; the first that is found counts."""


def existing(settings: Settings) -> Settings:
    """The settings as they are, for commands that read what is in a store, and so have to make none.

    Raises:
        UsageError: The store that they name is not there, or is a file.
    """
    if settings.store.is_file():
        raise UsageError(f"the store {settings.store} is a file, not a folder; name another with --store")
    if not settings.database_url and not (settings.store / FILE).exists():
        raise UsageError(
            f"there is no store in {settings.store}; `whylike ingest` makes one, or name another with --store"
        )
    return settings


def url_of(folder: Path, database_url: str | None) -> URL:
    """The URL of the truth: the one that is set, else that of the SQLite file in the folder.

    Raises:
        UsageError: It is not one that whylike can use.
    """
    if not database_url:
        return URL.create("sqlite", database=str(folder / FILE))
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise UsageError(f"setting database_url is not a database URL; write it as {EXAMPLE}") from None
    backend, _, driver = url.drivername.partition("+")
    if backend not in DRIVERS:
        raise UsageError(
            f"setting database_url names {backend}, allowed are sqlite and postgresql; "
            "mend it, or leave it out to use the store's own SQLite file"
        )
    if url.drivername not in DRIVERS:
        raise UsageError(
            f"setting database_url names the driver {driver}, but whylike uses {DRIVERS[backend]}; "
            f"begin it with {backend}://"
        )
    if "@" in (url.host or ""):
        raise UsageError("setting database_url has an @ in its user or password; write it as %40")
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError("setting database_url names no file; write it as sqlite:////FOLDER/FILE")
    return url


def connect(url: URL, *, writes: bool) -> Engine:
    """An engine for the URL; nothing is opened yet. Those who write take turns on one connection.

    Raises:
        UsageError: The driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        pool = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 8, "max_overflow": 56}
        engine = create_engine(url, pool_timeout=BUSY_SECONDS, connect_args={"timeout": BUSY_SECONDS}, **pool)
        event.listen(engine, "connect", partial(_prepare_sqlite, PRAGMAS | WRITER_PRAGMAS if writes else PRAGMAS))
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine
    # A server has a hundred connections or so for all its clients.
    pool = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 4, "max_overflow": 12}
    own = {"connect_timeout": CONNECT_SECONDS, "application_name": "whylike", "client_encoding": "utf8"}
    try:
        engine = create_engine(
            url,
            pool_timeout=BUSY_SECONDS,
            pool_pre_ping=True,  # or the first command after a restart of the server would fail
            connect_args={name: value for name, value in own.items() if name not in url.query},
            # A read sees one state. A write must see what the one before it wrote, which it may have waited for.
            isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
            **pool,
        )
    except ImportError as error:
        raise UsageError(
            f"setting database_url needs a driver that is not here: {error}; "
            "run `make setup`, or `pip install 'psycopg[binary]'`"
        ) from None
    if writes:
        event.listen(engine, "begin", lambda connection: take_turn(connection, "writer", BUSY_SECONDS))
    return engine


def take_turn(connection: Connection, purpose: str, seconds: float) -> None:
    """Take PostgreSQL's lock for a purpose until the end of the transaction, waiting for so long at most."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{int(1000 * seconds)}ms'"))
    connection.execute(_advisory(purpose))


def refused(name: str, error: DBAPIError) -> WhylikeError:
    """What to tell the user when the database `name` failed or refused."""
    if isinstance(error.orig, sqlite3.Error):
        return StoreError(_sqlite_sentence(name, str(error.orig)))
    said, code = _said(error), getattr(error.orig, "sqlstate", None)
    if code in POSTGRESQL_REFUSALS:
        return StoreError(f"the store {name} refused: {POSTGRESQL_REFUSALS[code].format(said=said)}")
    if type(error).__name__ == "DataError":
        return UsageError(
            f"the store cannot hold or look up this value: {said}; give valid UTF-8 without NUL and whole seconds"
        )
    if error.statement is None:
        mends = (mend for pattern, mend in UNREACHED.items() if re.search(pattern, said))
        mend = next(mends, "make sure that the server runs and that database_url has its host and port")
        return StoreError(f"the store {name} cannot be reached: {said}; {mend}")
    if code is None or code.startswith(("08", "57")):
        return StoreError(f"the store {name} hung up: {said}; see that its server runs and run the command again")
    return StoreError(f"the store {name} refused: {said}; look for the reason in the log of its server")


def _said(error: DBAPIError) -> str:
    """What PostgreSQL or its driver said, in one line: no statement, no address twice."""
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    line: str = primary or (str(error.orig).strip().splitlines() or ["no reason was given"])[0]
    for before in (" failed: ", "FATAL: "):
        line = line.rpartition(before)[2]
    return " ".join(line.split())


def _sqlite_sentence(name: str, problem: str) -> str:
    elsewhere = "or give another folder with --store"
    for sign, mend in SQLITE_REFUSALS.items():
        if sign in problem:
            return f"the store {name} refused: {mend.format(elsewhere=elsewhere)}"
    said = " ".join(problem.split())
    return f"the store {name} refused: {said}; check that its database can be written, {elsewhere}"


def _prepare_sqlite(pragmas: dict[str, str], connection: sqlite3.Connection, record: object) -> None:
    """Set up a new SQLite connection."""
    connection.isolation_level = None  # or sqlite3 would begin transactions at times of its own choosing
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")


def _advisory(purpose: str) -> Select[tuple[object]]:
    """PostgreSQL's lock for a purpose."""
    return select(func.pg_advisory_xact_lock(zlib.crc32(f"whylike {purpose}".encode())))
