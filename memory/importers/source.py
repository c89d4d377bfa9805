"""A file being read: opened or refused with one sentence, gzip or plain, in constant memory."""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from whylike.errors import InputError

MAX_ROW = 16 * 2**20
"""Most bytes that a row may have in the file. The longest text of a review, all escaped, is shorter."""

_BUFFER = 2**18
_HEAD = 2**13
_CONTROLS = bytes((*range(9), *range(14, 27), *range(28, 32), 127))
_MOST_CONTROLS = 0.05
"""Share of control bytes from which a file is no text: compressed data has about 0.1, UTF-16 about 0.5."""
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"PAR1": "a Parquet file; write it out as JSON Lines",
    b"SQLite format 3": "an SQLite database; write the table out as JSON Lines",
    b"BZh": "compressed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it, or pack it with gzip",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"%PDF": "a PDF document; reviews are read from JSON Lines or CSV",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


class Source:
    """A file of reviews or items, read once from its beginning.

    Use it as a context manager. Lines end with a line feed; a byte order mark before the first is dropped.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            InputError: It is missing, not a file, not readable, empty, or holds no text.
        """
        self.path = path
        self.line = 0
        """The line read last, from 1."""
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise InputError(f"{path} is {kind}; give the file that holds the rows")
            self._raw: io.BufferedReader = io.BufferedReader(io.FileIO(path), _BUFFER)
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; check the name and the folder it is in") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be opened ({error}); check that it is a file you may read") from None
        self.total = status.st_size
        """Bytes of the file, compressed ones where it is compressed."""
        try:
            self._stream = self._opened()
            self._check_head()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._raw.close()

    @property
    def done(self) -> int:
        """Bytes of the file that are read, of `total`."""
        return self._raw.tell()

    def lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Each line: its number, its bytes with the line feed, and whether it is whole.

        A line longer than `MAX_ROW` comes cut to that length and not whole.

        Raises:
            InputError: The compressed data ends early or is damaged.
        """
        limit = MAX_ROW + 1
        while line := self._read(limit):
            self.line += 1
            whole = len(line) < limit or line.endswith(b"\n")
            yield self.line, line, whole
            while not whole:
                rest = self._read(limit)
                whole = not rest or rest.endswith(b"\n")

    def chunks(self, characters: int) -> Iterator[str]:
        """The text in pieces of about this many characters; bytes that are not UTF-8 come as surrogate escapes."""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while True:
            try:
                data = self._stream.read(characters)
            except (*_BROKEN_GZIP, OSError) as error:
                raise self._damaged(error) from None
            if text := decoder.decode(data, final=not data):
                yield text
            if not data:
                return

    def _read(self, limit: int) -> bytes:
        try:
            return self._stream.readline(limit)
        except (*_BROKEN_GZIP, OSError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: BaseException) -> InputError:
        where = f"{self.path}, after line {self.line}"
        if isinstance(error, EOFError):
            return InputError(f"{where}: the gzip data ends early, so the file was cut; fetch or pack it again")
        return InputError(f"{where}: the file cannot be read on ({error}); fetch or pack it again")

    def _opened(self) -> io.BufferedReader:
        if self._raw.peek(2)[:2] == _GZIP_MAGIC:
            return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=self._raw)), _BUFFER)
        if self.path.suffix == ".gz" and self.total:
            raise InputError(f"{self.path} is named .gz but is not gzip; rename it, or pack it again with gzip")
        return self._raw

    def _check_head(self) -> None:
        try:
            head = self._stream.peek(_HEAD)[:_HEAD]
        except (*_BROKEN_GZIP, OSError) as error:
            raise self._damaged(error) from None
        if not head.strip():
            if head and len(head) == _HEAD:
                return
            raise InputError(f"{self.path} is empty; it must hold at least one row")
        for magic, kind in _MAGIC.items():
            if head.startswith(magic):
                raise InputError(f"{self.path} is {kind}")
        if len(head) - len(head.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(head):
            raise InputError(
                f"{self.path} holds binary data, not text; reviews are read from JSON Lines or CSV in UTF-8"
            )
        if head.startswith(codecs.BOM_UTF8):
            self._stream.read(len(codecs.BOM_UTF8))
