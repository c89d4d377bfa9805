"""How to reach Chroma: embedded in the store's folder, or a server.

The embedded client is not made for several processes. Tried with 1.5.9: a client does not see the vectors that another
process wrote, and the next time that it writes it loses them for good; a process killed while it writes can leave files
that crash whoever reads them. So every use of the folder here happens under a file lock, and a mark beside it says who
wrote last: where that was another process, the client is opened anew; where that one never finished, the folder is not
touched and the index is rebuilt.
"""

from __future__ import annotations

import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import chromadb
import httpx
from chromadb.api.client import Client
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError, NotFoundError

from whylike.errors import StoreError, UsageError
from whylike.memory.database import lock
from whylike.settings import hidden

FOLDER = "chroma"
"""The embedded index, in the store's folder."""

MARK = "chroma.mark"
"""Beside it: who wrote to it last, and whether that write was finished."""

BEGUN = "begun "
"""How the mark of a write that is not finished begins."""


class Damaged(Exception):  # noqa: N818 - it is not an error to a user: the index is rebuilt
    """The index cannot be used as it is and has to be rebuilt from the store."""


class Chroma(ABC):
    """One place where vectors are kept."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Client]:
        """A client that sees everything written so far.

        Raises:
            Damaged: The index has to be rebuilt.
            StoreError: It cannot be reached.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Client]:
        """A client that may write, alone; raises as `reading` does."""

    @abstractmethod
    def replacing(self) -> AbstractContextManager[Client]:
        """A client to make the index anew with, alone, whatever state it is in."""

    @abstractmethod
    def renewing(self) -> AbstractContextManager[tuple[Client, Client] | None]:
        """The index and an empty one, alone, which takes its place; None where the files are a server's business."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the client."""


class Server(Chroma):
    """A Chroma server, which takes care of concurrent clients itself."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"setting chroma_url = {hidden(repr(url))} is not allowed; write it as http://HOST:PORT")
        self._url = url
        self._reached: Client | None = None
        self._turn = threading.Lock()

    @contextmanager
    def reading(self) -> Generator[Client]:
        """See `Chroma.reading`."""
        try:
            yield self._connected()
        except NotFoundError as error:
            raise Damaged(str(error)) from error
        except (ChromaError, httpx.HTTPError) as error:
            raise self._failed(error) from error

    writing = reading
    replacing = reading

    @contextmanager
    def renewing(self) -> Generator[None]:
        """See `Chroma.renewing`."""
        yield None

    def close(self) -> None:
        """Let go of the connection."""
        if self._reached is not None:
            self._reached.close()
            self._reached = None

    def _connected(self) -> Client:
        """The client, connected at first use."""
        parts = urlsplit(self._url)
        secure = parts.scheme == "https"
        with self._turn:
            if self._reached is None:
                try:
                    reached = chromadb.HttpClient(
                        host=str(parts.hostname),
                        port=parts.port or (443 if secure else 80),
                        ssl=secure,
                        settings=ChromaSettings(anonymized_telemetry=False),
                    )
                except ValueError as error:  # its way to say that nothing answers
                    raise self._failed(error) from error
                assert isinstance(reached, Client)
                self._reached = reached
            return self._reached

    def _failed(self, error: Exception) -> StoreError:
        """The error where the server does not do its part."""
        return StoreError(
            f"the Chroma server at {hidden(self._url)} failed: {error}; start it with `chroma run`, "
            "or leave out chroma_url to use the index in the store"
        )


class Embedded(Chroma):
    """The index in a store's folder; get it with `of`, since a process must have one only."""

    _open: ClassVar[dict[Path, Embedded]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self._store = folder
        self._folder = folder / FOLDER
        self._mark = folder / MARK
        self._turn = threading.Lock()
        self._client: Client | None = None
        self._seen = ""
        self._users = 0

    @classmethod
    def of(cls, folder: Path) -> Embedded:
        """The index of this store's folder; clients of one path share what they saw: a second could not look anew."""
        with cls._opening:
            embedded = cls._open.setdefault(folder, cls(folder))
            embedded._users += 1
            return embedded

    def close(self) -> None:
        """Let go; the last one to do so closes the client."""
        with Embedded._opening:
            self._users -= 1
            if self._users:
                return
            del Embedded._open[self._store]
        with self._turn:
            self._drop_client()

    @contextmanager
    def reading(self) -> Generator[Client]:
        """See `Chroma.reading`."""
        with self._alone():
            yield self._current()

    @contextmanager
    def writing(self) -> Generator[Client]:
        """See `Chroma.writing`."""
        with self._alone():
            client = self._current()
            with self._marked():
                yield client

    @contextmanager
    def replacing(self) -> Generator[Client]:
        """See `Chroma.replacing`."""
        with self._alone():
            self._drop_client()
            with self._marked():
                shutil.rmtree(self._folder.with_name(f"{FOLDER}.new"), ignore_errors=True)
                if self._folder.is_dir():
                    shutil.rmtree(self._folder)
                else:
                    self._folder.unlink(missing_ok=True)
                yield self._connect()

    @contextmanager
    def renewing(self) -> Generator[tuple[Client, Client]]:
        """The index as it is, and an empty one that takes its place in the end; nothing of the old files stays."""
        new = self._folder.with_name(f"{FOLDER}.new")
        with self._alone():
            old = self._current()
            with self._marked():
                shutil.rmtree(new, ignore_errors=True)  # of a renewal that was killed
                made = _client(new)
                try:
                    yield old, made
                finally:
                    made.close()
                _blank(new)
                self._drop_client()
                shutil.rmtree(self._folder)
                new.rename(self._folder)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep out this process's other threads and all other processes."""
        with self._turn, lock(self._store / "chroma.lock"):
            try:
                yield
            except ChromaError as error:
                self._drop_client()
                raise Damaged(str(error)) from error
            except OSError as error:
                raise StoreError(
                    f"the index {self._folder} cannot be written: {error.strerror}; mend its permissions or make room"
                ) from error

    @contextmanager
    def _marked(self) -> Generator[None]:
        """Mark a write: as begun until it ends, so that a kill is noticed, and then as this process's."""
        token = uuid4().hex
        self._mark.write_text(BEGUN + token)
        try:
            yield
        except ChromaError:
            raise  # It stays marked as begun: what Chroma refused halfway is not to be trusted.
        except BaseException:
            self._finish(token)
            raise
        self._finish(token)

    def _finish(self, token: str) -> None:
        """Mark the write as finished."""
        _blank(self._folder)
        self._mark.write_text(token)
        self._seen = token

    def _current(self) -> Client:
        """A client that sees what was written last, by whichever process."""
        mark = self._mark.read_text() if self._mark.exists() else ""
        if mark.startswith(BEGUN):
            raise Damaged("a write to it was cut off")
        if self._client is not None and mark == self._seen:
            return self._client
        self._drop_client()
        self._seen = mark
        return self._connect()

    def _connect(self) -> Client:
        """Open the client."""
        self._client = _client(self._folder)
        return self._client

    def _drop_client(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None


def discard(store: Path) -> None:
    """Remove the index in a store's folder that has none, or whose index is on a server: it would be made anew."""
    with lock(store / "chroma.lock"):
        for folder in (FOLDER, f"{FOLDER}.new"):
            shutil.rmtree(store / folder, ignore_errors=True)


def _blank(folder: Path) -> None:
    """Overwrite the files of vectors that have none yet.

    Chroma writes them before it has any, for a hundred to come, as the process's memory happens to be there: with
    whatever the process has read before.
    """
    for header in folder.glob("*/header.bin"):
        if (header.parent / "index_metadata.pickle").exists():  # then it has written vectors, and nothing else
            continue
        for name in ("data_level0.bin", "length.bin"):
            path = header.parent / name
            if path.exists() and any(held := path.read_bytes()):
                path.write_bytes(bytes(len(held)))


def _client(folder: Path) -> Client:
    """Open a client."""
    try:
        client = chromadb.PersistentClient(folder, settings=ChromaSettings(anonymized_telemetry=False))
    except (ChromaError, ValueError) as error:
        # Chroma keeps what failed to open, and would give it to whoever opens the path next.
        SharedSystemClient._identifier_to_system.pop(str(folder), None)
        raise Damaged(str(error)) from error
    assert isinstance(client, Client)
    return client
