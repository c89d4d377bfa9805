"""Telling what a file is from its first rows, and reading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from whylike.errors import InputError, UsageError
from whylike.memory.importers.amazon2014 import AMAZON_2014
from whylike.memory.importers.amazon2023 import AMAZON_2023
from whylike.memory.importers.base import Format, Layout, Parsed, RawRow, Reject, Take, has_columns, raw_text
from whylike.memory.importers.csv_rows import DELIMITERS, csv_rows, header
from whylike.memory.importers.exp3rt import EXP3RT
from whylike.memory.importers.json_rows import line_rows, list_rows
from whylike.memory.importers.own import CSV, JSONL
from whylike.memory.importers.source import Source
from whylike.memory.importers.values import BadRow, Levels, OffScale
from whylike.memory.importers.yelp import YELP

AUTO = "auto"
"""The format name that asks to recognise the format."""

FORMATS = {known.name: known for known in (JSONL, CSV, AMAZON_2014, AMAZON_2023, YELP, EXP3RT)}
"""All formats by name; recognised in this order."""

_FIRST_ROWS = 64
_SHOWN_COLUMNS = 12


class Kind(StrEnum):
    """What the rows of a file are about."""

    REVIEWS = "reviews"
    ITEMS = "items"


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """A file whose format is known."""

    path: Path
    kind: Kind
    format: Format
    layout: Layout
    delimiter: str
    """What parts the fields of a CSV file; empty otherwise."""
    columns: tuple[str, ...]
    """The columns that were seen, in order."""

    def __str__(self) -> str:
        """What was seen, for people: `Yelp reviews (JSON Lines; review_id, user_id, ...)`."""
        parted = f" parted by {DELIMITERS[self.delimiter]}" if self.delimiter else ""
        return f"{self.format.title} {self.kind} ({self.layout}{parted}; {_listed(self.columns)})"


def recognise(path: Path, kind: Kind, format_name: str = AUTO) -> Recognised:
    """Find out what `path` holds from its first rows.

    Args:
        path: A file, plain or gzip.
        kind: Whether it should hold reviews or items.
        format_name: A name of `FORMATS`, or `auto`.

    Returns:
        What the file is.

    Raises:
        UsageError: There is no format of that name.
        InputError: The file cannot be read, or is not of that format, or of none.
    """
    if format_name != AUTO and format_name not in FORMATS:
        raise UsageError(f"there is no format {format_name!r}; use one of {', '.join((AUTO, *FORMATS))}")
    line, layout, first = _layout(path)
    fits = _fits_csv(first) if layout is Layout.DELIMITED else _fits_json(path, layout)
    candidates = FORMATS.values() if format_name == AUTO else (FORMATS[format_name],)
    for candidate in candidates:
        for delimiter, columns in fits:
            if layout in candidate.layouts and _holds(candidate, kind, columns):
                _check_named_once(path, line, columns)
                return Recognised(
                    path=path, kind=kind, format=candidate, layout=layout, delimiter=delimiter, columns=columns
                )
    raise _unrecognised(f"{path}, line {line}", kind, format_name, layout, fits)


def read(recognised: Recognised, source: Source, levels: Levels) -> Iterator[tuple[Parsed, ...] | Reject]:
    """Read all rows of a recognised file.

    Args:
        recognised: What the file is.
        source: The same file, opened and unread.
        levels: The rating scale's values; not used for items.

    Yields:
        For each row of the file its records, or a `Reject`.

    Raises:
        InputError: The file ends early, is damaged, or is a JSON list that is broken.
    """
    for _, _, outcome in read_rows(recognised, source, levels):
        yield outcome


def read_rows(
    recognised: Recognised, source: Source, levels: Levels
) -> Iterator[tuple[int, bytes | str, tuple[Parsed, ...] | Reject]]:
    """As `read`, but each row comes with the line on which it begins and as it stands in the file."""
    take = _take(recognised, levels)
    for line, raw, fields in _rows(recognised, source):
        if isinstance(fields, Reject):
            yield line, raw, fields
            continue
        try:
            parsed = take(fields)
        except BadRow as error:
            yield line, raw, Reject(line, str(error), raw_text(raw), off_scale=isinstance(error, OffScale))
        else:
            yield line, raw, parsed


def _take(recognised: Recognised, levels: Levels) -> Take:
    if recognised.kind is Kind.REVIEWS:
        return recognised.format.reviews(levels, recognised.path.name)
    assert recognised.format.items is not None  # a format without items is recognised in no file of items
    return recognised.format.items


def _rows(recognised: Recognised, source: Source) -> Iterator[RawRow]:
    if recognised.layout is Layout.DELIMITED:
        return csv_rows(source, recognised.delimiter)
    if recognised.layout is Layout.LIST:
        return list_rows(source)
    return line_rows(source)


def _layout(path: Path) -> tuple[int, Layout, bytes]:
    """The layout, and the first line that is not blank with its number."""
    with Source(path) as source:
        filled = (line for line in source.lines() if line[1].strip())
        head = list(islice(filled, _FIRST_ROWS))
    if not head:
        raise InputError(f"{path} is empty; it must hold at least one row")
    number, first, _ = head[0]
    if first.lstrip().startswith(b"["):
        return number, Layout.LIST, first
    # A first line that is broken does not hide that the others are objects.
    if any(line.lstrip().startswith(b"{") for _, line, _ in head):
        return number, Layout.LINES, first
    return number, Layout.DELIMITED, first


def _fits_csv(line: bytes) -> list[tuple[str, tuple[str, ...]]]:
    """The header as each delimiter parts it, the most columns first."""
    fits = [(delimiter, header(line, delimiter)) for delimiter in DELIMITERS]
    return sorted(fits, key=lambda fit: -len(fit[1]))


def _fits_json(path: Path, layout: Layout) -> list[tuple[str, tuple[str, ...]]]:
    """The columns of the first rows, each set of columns once."""
    seen: dict[tuple[str, ...], None] = {}
    with Source(path) as source:
        rows = list_rows(source) if layout is Layout.LIST else line_rows(source)
        for _, _, fields in islice(rows, _FIRST_ROWS):
            if not isinstance(fields, Reject):
                seen[tuple(map(str, fields))] = None
    return [("", columns) for columns in seen]


def _holds(candidate: Format, kind: Kind, columns: tuple[str, ...]) -> bool:
    """Whether these are the columns of such a file. Reviews have the item's id too, and are no items for that."""
    if kind is Kind.REVIEWS:
        return has_columns(candidate.review_columns, columns)
    reviews = any(has_columns(known.review_columns, columns) for known in FORMATS.values())
    return has_columns(candidate.item_columns, columns) and not reviews


def _check_named_once(path: Path, line: int, columns: tuple[str, ...]) -> None:
    twice = next((name for index, name in enumerate(columns) if name and name in columns[:index]), None)
    if twice is not None:
        raise InputError(f"{path}, line {line}: the column {twice!r} is named twice; rename one of them")


def _unrecognised(
    where: str, kind: Kind, name: str, layout: Layout, fits: list[tuple[str, tuple[str, ...]]]
) -> InputError:
    """The sentence for a file that is not what it should be."""
    if not fits:
        return InputError(
            f"{where}: none of the first {_FIRST_ROWS} rows is a JSON object; write one a line, or CSV with a header"
        )
    columns = fits[0][1]
    for known in FORMATS.values():
        for its_kind, option in ((Kind.REVIEWS, "as REVIEWS"), (Kind.ITEMS, "with --items")):
            if layout in known.layouts and _holds(known, its_kind, columns):
                mend = (
                    f"give the file {option}" if its_kind is not kind else f"use --format {known.name}, or leave it out"
                )
                asked = kind if name == AUTO else f"{name} {kind}"
                return InputError(f"{where}: these are {known.title} {its_kind}, not {asked}; {mend}")
    wanted = FORMATS[name] if name != AUTO else CSV if layout is Layout.DELIMITED else JSONL
    if layout not in wanted.layouts:
        allowed = " or ".join(sorted(wanted.layouts))
        return InputError(f"{where}: the file is {layout}, but {wanted.name} is read from {allowed}; use --format auto")
    needed = wanted.review_columns if kind is Kind.REVIEWS else wanted.item_columns
    missing = [" or ".join(names) for names in needed if frozenset(columns).isdisjoint(names)]
    if not missing:
        return InputError(f"{where}: {wanted.title} has no files of {kind}; leave the file out")
    fit = f"of no known format (they are {', '.join(FORMATS)})" if name == AUTO else f"not those of {name}"
    return InputError(
        f"{where}: the columns {_listed(columns)} are {fit}; "
        f"{wanted.title} {kind} also need {', '.join(missing)}, so add or rename them"
    )


def _listed(columns: tuple[str, ...]) -> str:
    named = ", ".join(column[:40] if column.isprintable() else repr(column[:40]) for column in columns[:_SHOWN_COLUMNS])
    return f"{named}, ..." if len(columns) > _SHOWN_COLUMNS else named or "none"
