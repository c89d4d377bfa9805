"""The file of rows that an ingest rejected, with the reason for each."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from whylike.errors import StoreError
from whylike.memory.database import lock
from whylike.memory.forgotten import Marks
from whylike.memory.importers import RAW_CHARACTERS, Reject
from whylike.memory.importers.values import BadRow, identifier
from whylike.memory.store import Store

FOLDER = "rejects"
"""Where in the store's folder they are."""
NOTHING = {"reason": "it may be of a user who asked to be forgotten, so the row is not kept", "row": ""}
"""What then stands in the place of a row and its reason, which may quote it."""
_MAX_NAME = 100
"""Characters of the file's name that the name of its rejects begins with."""
_QUOTES = (re.compile(r'(?<!\\)"'), re.compile(r"(?<!\\)'"))
"""Where a string of JSON, or of Python, begins or ends."""
_PARTED = re.compile(r"[,;\t|:{}\[\]\"]")
"""What stands between values in a row."""


class Rejects:
    """The file of rejected rows: in place once the file has been read, absent where nothing was rejected.

    Until then the rows are in a file without a name, which a killed run leaves no trace of and no other run can share.
    """

    def __init__(self, store: Store, path: Path) -> None:
        place = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
        self._store = store
        self._marks = store.forgotten_marks()
        self._final = store.folder / FOLDER / f"{path.name[:_MAX_NAME]}-{place}.jsonl"
        self._open: IO[str] | None = None
        self.count = 0

    @property
    def kept(self) -> Path | None:
        """The file, once it is in place."""
        return self._final if self.count else None

    def add(self, reject: Reject, whole: bytes | str = "") -> None:
        """Write one rejected row; nothing of it where the whole of it names a user who was forgotten."""
        entry = {"line": reject.line, "reason": reject.reason, "row": reject.raw}
        if self._marks and _names(whole.decode("utf-8", "replace") if isinstance(whole, bytes) else whole, self._marks):
            entry |= NOTHING
        with self._reported():
            if self._open is None:
                self._final.parent.mkdir(parents=True, exist_ok=True)
                self._open = TemporaryFile("w+", encoding="utf-8", dir=self._final.parent)  # noqa: SIM115
            self._open.write(f"{json.dumps(entry)}\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._reported():
            if error is None and self._open is None:
                self._final.unlink(missing_ok=True)  # of an earlier run, before the file was mended
            elif error is None and self._open is not None:
                self._open.seek(0)
                with lock(self._final.parent.parent / "rejects.lock"):
                    marks = self._store.forgotten_marks()
                    _put(self._final, self._open, None if marks == self._marks else marks)
            if self._open is not None:
                self._open.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the rejected rows cannot be written to {self._final.parent}: {error.strerror}; "
                f"make room or mend its permissions, then run the same command again"
            ) from None


def withhold(store: Store) -> None:
    """Take rows out of all files of rejected ones that name a user who was forgotten, or are cut off before a name."""
    folder = store.folder / FOLDER
    if not folder.is_dir():
        return
    with lock(store.folder / "rejects.lock"):
        marks = store.forgotten_marks()
        for path in sorted(folder.glob("*.jsonl")):
            with path.open(encoding="utf-8") as lines:
                _put(path, lines, marks)
        for part in folder.glob("*.part"):  # of a run that was killed
            part.unlink(missing_ok=True)


def _put(final: Path, lines: Iterable[str], marks: Marks | None) -> None:
    """Put lines in place of a file; where marks are given, without the rows that may be of somebody forgotten."""
    part = final.with_name(f"{final.name}.part")
    with part.open("w", encoding="utf-8") as written:
        for line in lines:
            entry = json.loads(line) if marks else {}
            theirs = marks and (len(entry["row"]) >= RAW_CHARACTERS or _names(entry["row"], marks))
            written.write(f"{json.dumps(entry | NOTHING)}\n" if theirs else line)
    part.replace(final)


def _names(row: str, marks: Marks) -> bool:
    return any(value in marks for value in _values(row))


def _values(row: str) -> Iterator[str]:
    """All that may be an id in a row as it stands in a file, of whatever format; in time linear in its length."""
    for text in chain.from_iterable(each.split(row) for each in (*_QUOTES, _PARTED)):
        with suppress(BadRow):
            yield identifier(text, "")
        with suppress(BadRow, ValueError):
            if "\\" in text:
                yield identifier(json.loads(f'"{text}"', strict=False), "")
    for delimiter in ",;\t":
        with suppress(csv.Error):
            for text in chain.from_iterable(csv.reader([row], delimiter=delimiter)):
                with suppress(BadRow):
                    yield identifier(text, "")
