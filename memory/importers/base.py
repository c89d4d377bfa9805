"""What all readers share: the outcome of a row, and the description of a format.

A row of a file becomes either a tuple of records or one `Reject`. Nothing in a row can stop the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from whylike.memory.importers.values import Levels
from whylike.records import Item, Profile, RatedPair, RatingScale, Review

RAW_CHARACTERS = 500
"""How much of a rejected row is kept to recognise it by."""


Parsed = Review | Item | Profile | RatedPair
"""A record that a row can hold."""

Fields = Mapping[str, object]
"""A row as it stands in the file: column name to JSON value (a CSV row has only strings)."""

Take = Callable[[Fields], tuple[Parsed, ...]]
"""Turns a row into records; raises `BadRow` where it cannot."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken."""

    line: int
    """Line of the file on which the row begins, from 1."""
    reason: str
    """What is wrong and what is allowed, in one sentence without a full stop."""
    raw: str
    """The beginning of the row as it stands in the file."""
    off_scale: bool = False
    """Whether the only thing wrong is a rating that is not on the scale."""


class Layout(StrEnum):
    """How rows stand in a file."""

    LINES = "JSON Lines"
    LIST = "a JSON list"
    DELIMITED = "CSV"


JSON = frozenset((Layout.LINES, Layout.LIST))
"""The layouts of formats that are JSON."""

RawRow = tuple[int, bytes | str, Fields | Reject]
"""First line, the row as it stands there, and its columns or why there are none."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A family of files: which columns it has and what its rows mean."""

    name: str
    """What `--format` calls it."""
    title: str
    """What sentences call it."""
    layouts: frozenset[Layout]
    scale: RatingScale
    own_scale: bool
    """Whether `--scale` may say something else than `scale`: only where the format itself does not fix it."""
    review_columns: tuple[tuple[str, ...], ...]
    """The columns that a review row needs; of each inner tuple, one is enough."""
    reviews: Callable[[Levels, str], Take]
    """Makes the reader of review rows, for the levels of the scale and the name of the file."""
    item_columns: tuple[tuple[str, ...], ...]
    """The columns that an item row needs; empty where the format has no files of items."""
    items: Take | None


def raw_text(raw: bytes | str) -> str:
    """The beginning of a row, for the rejects file; bytes that are not UTF-8 show as backslash escapes."""
    if isinstance(raw, bytes):
        return raw[: RAW_CHARACTERS * 4].decode("utf-8", "backslashreplace").rstrip("\r\n")[:RAW_CHARACTERS]
    return raw[:RAW_CHARACTERS].encode("utf-8", "backslashreplace").decode("utf-8").rstrip("\r\n")


def has_columns(needed: tuple[tuple[str, ...], ...], columns: Iterable[str]) -> bool:
    """Whether `columns` hold all that is needed, of each inner tuple at least one."""
    present = frozenset(columns)
    return bool(needed) and all(any(name in present for name in names) for names in needed)
