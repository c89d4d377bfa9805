"""The file of rows that an ingest rejected, with the reason for each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from whylike.errors import StoreError
from whylike.memory.database import lock
from whylike.memory.importers import Reject

_MAX_NAME = 100
"""Characters of the file's name that the name of its rejects begins with."""


class Rejects:
    """The file of rejected rows: in place once the file has been read, absent where nothing was rejected.

    Until then the rows are in a file without a name, which a killed run leaves no trace of and no other run can share.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        place = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
        self._final = folder / "rejects" / f"{path.name[:_MAX_NAME]}-{place}.jsonl"
        self._open: IO[str] | None = None
        self.count = 0

    @property
    def kept(self) -> Path | None:
        """The file, once it is in place."""
        return self._final if self.count else None

    def add(self, reject: Reject) -> None:
        """Write one rejected row."""
        with self._reported():
            if self._open is None:
                self._final.parent.mkdir(parents=True, exist_ok=True)
                self._open = TemporaryFile("w+", encoding="utf-8", dir=self._final.parent)  # noqa: SIM115
            entry = {"line": reject.line, "reason": reject.reason, "row": reject.raw}
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
                    part = self._final.with_name(f"{self._final.name}.part")
                    with part.open("w", encoding="utf-8") as written:
                        shutil.copyfileobj(self._open, written)
                    part.replace(self._final)
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
