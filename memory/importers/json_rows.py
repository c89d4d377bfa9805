"""Rows from JSON: one object a line, or one list of objects."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

import orjson

from whylike.errors import InputError
from whylike.memory.importers.base import Fields, RawRow, Reject, raw_text
from whylike.memory.importers.source import MAX_ROW, Source

NOT_UTF8 = "the row is not UTF-8; save the file as UTF-8"
TOO_LONG = f"the row is longer than {MAX_ROW // 2**20} MiB; shorten it"

_CHUNK = 2**16
_UNDECODABLE = re.compile("[\udc80-\udcff]")
_LITERAL = re.compile(r"\s*\{\s*'")
_MAX_LITERAL = 2**20
"""Characters above which a line is not tried as a Python literal, whose parsing takes a hundred times its memory."""
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(strict=False)


def line_rows(source: Source) -> Iterator[RawRow]:
    """One row for each line that is not blank. A line may also be a Python literal, as in Amazon's files of 2014.

    Yields:
        Line number, raw bytes, and the object of that line, or a `Reject` where it is not one.
    """
    for number, line, whole in source.lines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            value = _lenient(line) if whole else _Reason(TOO_LONG)
        if isinstance(value, dict):
            yield number, line, value
        else:
            reason = value if isinstance(value, _Reason) else "the row is no JSON object; write one {...} a line"
            yield number, line, Reject(number, reason, raw_text(line))


class _Reason(str):
    """Why a line has no object; its own type, because a line may also hold a JSON string."""

    __slots__ = ()


def _lenient(line: bytes) -> object:
    """Read what orjson refuses and Python's own writers make: NaN, lone surrogates, raw control characters."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return _Reason(NOT_UTF8)
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        return _Reason("the row is nested too deeply; write one flat object a line")
    except ValueError as error:
        if _LITERAL.match(text) and len(text) <= _MAX_LITERAL:
            try:
                return ast.literal_eval(text.strip())
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                return _Reason("the row is neither valid JSON nor a Python literal; write one JSON object a line")
        return _Reason(f"the row is not valid JSON ({_plain(error)}); write one object a line")


def _plain(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        said = error.msg.removesuffix(" at")
        return f"{said[0].lower()}{said[1:]} at character {error.pos + 1}"
    return "a number has too many digits"


def list_rows(source: Source) -> Iterator[RawRow]:
    """One row for each element of the JSON list that the file holds, without loading the whole list.

    Raises:
        InputError: The file is not one valid JSON list; unlike a line, an element that is broken hides where the
            next one begins.
    """
    text = _Text(source)
    text.expect("[", "a JSON list must begin here")
    if text.next() == "]":
        text.skip()
    else:
        while True:
            line, raw, value = text.value()
            if not raw.isascii() and _UNDECODABLE.search(raw):
                yield line, raw, Reject(line, NOT_UTF8, raw_text(raw))
            elif isinstance(value, dict):
                yield line, raw, value
            else:
                yield line, raw, Reject(line, "the element is no JSON object; the list must hold {...}", raw_text(raw))
            if text.next() != ",":
                break
            text.skip()
        text.expect("]", "a comma or the end of the list must stand here")
    if text.next():
        raise text.error("nothing may follow the list")


class _Text:
    """The unread part of a JSON text, filled as needed."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._chunks = source.chunks(_CHUNK)
        self._buffer = ""
        self._at = 0
        self._line = 1

    def next(self) -> str:
        """The next character that is not space, or nothing at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill(_CHUNK):
                return ""

    def skip(self) -> None:
        """Pass the character that `next` returned."""
        self._advance(self._at + 1)

    def expect(self, character: str, otherwise: str) -> None:
        """Pass this character."""
        if self.next() != character:
            raise self.error(otherwise)
        self.skip()

    def value(self) -> tuple[int, str, Fields | object]:
        """The value that begins at the next character: its line, its text and itself."""
        self.next()
        line = self._line
        more = True
        while True:
            unread = len(self._buffer) - self._at
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise self.error("the value is nested too deeply") from None
            except ValueError as error:
                # Doubling what is read keeps the time linear, however long the value is.
                if unread > MAX_ROW:
                    raise self.error(f"a value is broken or longer than {MAX_ROW // 2**20} MiB") from None
                if not more:
                    raise self.error(_plain_in_list(error)) from None
            else:
                # A number may go on: of 1e+5 cut before the 5, the 1 alone is valid too.
                if len(self._buffer) - end >= len("e+5") or not more:
                    raw = self._buffer[self._at : end]
                    self._advance(end)
                    return line, raw, value
            more = self._fill(max(unread, _CHUNK))

    def error(self, problem: str) -> InputError:
        """The sentence for a list that is broken here."""
        return InputError(
            f"{self._path}, line {self._line}: the file is no valid JSON list: {problem}; mend it there, "
            f"or write one object a line (JSON Lines), where a broken row does not hide the others"
        )

    def _advance(self, end: int) -> None:
        self._line += self._buffer.count("\n", self._at, end)
        self._at = end

    def _fill(self, characters: int) -> bool:
        """Read at least this many characters more, as far as there are; False where there are none."""
        pieces = [self._buffer[self._at :]]
        wanted = characters
        while wanted > 0 and (piece := next(self._chunks, "")):
            pieces.append(piece)
            wanted -= len(piece)
        self._buffer = "".join(pieces)
        self._at = 0
        return len(pieces) > 1


def _plain_in_list(error: ValueError) -> str:
    return (
        f"{error.msg[0].lower()}{error.msg[1:]}" if isinstance(error, json.JSONDecodeError) else "a number is too long"
    )
