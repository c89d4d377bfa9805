"""Rows from CSV: comma, semicolon or tab, quoted fields with line breaks, a header that names the columns."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence

from whylike.memory.importers.base import RawRow, Reject, raw_text
from whylike.memory.importers.json_rows import NOT_UTF8, TOO_LONG
from whylike.memory.importers.source import MAX_ROW, Source

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_MAX_FIELD = 4_000_000
"""Characters of a field before cleaning; csv's own limit of 131,072 is shorter than a text may be."""


def header(line: bytes, delimiter: str) -> tuple[str, ...]:
    """The column names of a header line, trimmed and in small letters; empty where it is none."""
    try:
        return _names(next(csv.reader([line.decode()], delimiter=delimiter, strict=True), []))
    except (csv.Error, UnicodeDecodeError):
        return ()


def csv_rows(source: Source, delimiter: str) -> Iterator[RawRow]:
    """One row for each record after the header, which is the first line that is not blank.

    A record that is broken, for example by a quote that is never closed, costs its first line only: reading goes on
    with the line after. A record without any value is passed over.
    """
    csv.field_size_limit(_MAX_FIELD)  # the limit is one for the whole process; nothing else here reads CSV
    feed = _Feed(source)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    while True:
        feed.taken.clear()
        feed.undecodable = False
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            number, line = feed.taken[0]
            feed.give_back()
            yield number, line, Reject(number, _broken(error), raw_text(line))
            continue
        if not any(map(str.strip, fields)):
            continue
        number = feed.taken[0][0]
        raw = b"".join(line for _, line in feed.taken) if len(feed.taken) > 1 else feed.taken[0][1]
        if not columns:
            columns = _names(fields)
        elif feed.undecodable:
            yield number, raw, Reject(number, NOT_UTF8, raw_text(raw))
        elif len(fields) != len(columns):
            reason = f"the row has {_count(fields)} where the header has {_count(columns)}; {_QUOTING}"
            yield number, raw, Reject(number, reason, raw_text(raw))
        else:
            yield number, raw, dict(zip(columns, fields, strict=True))


_QUOTING = "put a field that holds the delimiter, a quote or a line break in quotes, and double the quotes in it"


class _TooLongError(Exception):
    """A record is longer than a row may be."""


class _Feed:
    """The lines of a source for csv, remembering those of the record under way.

    An iterator and no generator, because it must go on after its end when lines are given back.
    """

    def __init__(self, source: Source) -> None:
        self._lines = source.lines()
        self._again: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self.taken: list[tuple[int, bytes]] = []
        self.undecodable = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        whole = True
        if self._again:
            number, line = self._again.popleft()
        else:
            number, line, whole = next(self._lines)
        self._bytes = self._bytes + len(line) if self.taken else len(line)
        self.taken.append((number, line))
        if not whole or self._bytes > MAX_ROW:
            raise _TooLongError
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.undecodable = True
            return line.decode("utf-8", "surrogateescape")

    def give_back(self) -> None:
        """Take all lines of the record under way but the first as unread."""
        self._again.extendleft(reversed(self.taken[1:]))


def _names(fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in fields)


def _broken(error: Exception) -> str:
    if isinstance(error, _TooLongError):
        return TOO_LONG
    return f"the row is no valid CSV ({error}); {_QUOTING}"


def _count(fields: Sequence[str]) -> str:
    return f"{len(fields)} field{'' if len(fields) == 1 else 's'}"
