"""Ingest: from files of reviews and items into the store, in batches, with a file of what was rejected.

A batch is written before the next is read, so memory stays constant and a killed run loses only the batch under way.
Every write can be done twice without harm: run the same command again and it completes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from whylike.dates import day
from whylike.errors import InputError, UsageError
from whylike.memory.importers import (
    AUTO,
    FORMATS,
    RAW_CHARACTERS,
    Kind,
    Levels,
    Parsed,
    Recognised,
    Reject,
    Source,
    raw_text,
    read,
    read_rows,
    recognise,
)
from whylike.memory.importers.values import shown
from whylike.memory.rejects import Rejects
from whylike.memory.store import Store
from whylike.records import Item, Profile, RatedPair, RatingScale, Record, Review, Side

_SAMPLE = 64
"""First rows by which it is told whether a file has another rating scale than the store."""
_FEWEST = 8
"""Rows below which a sample tells nothing about the scale."""
_BATCH = 10_000
"""Rows a transaction: the more there are, the fewer times a page of the indexes is written."""
_CHARACTERS = 10_000_000
"""Characters from which a transaction is full, however few its rows: a review may be 100,000 words long."""
_MANY = 0.1
"""Share of rows off the scale from which the file may be on another one."""
_NEWS = 2_000
"""Rows from one telling of progress to the next."""
_RAW = 4 * RAW_CHARACTERS
"""Bytes of a row that are kept until it is written: what it may be recognised by if it is rejected then."""


class Progress(Record):
    """How far one file is."""

    file: Path
    rows: int
    """Rows read, rejected ones among them."""
    rejected: int
    done: int
    """Bytes read of the file; compressed ones where it is compressed."""
    total: int
    """Bytes of the file."""


class FileReport(Record):
    """What became of one file."""

    file: Path
    format: str
    seen: str
    """What the file was recognised as, for people."""
    rows: int = 0
    """Rows read, rejected ones among them."""
    rejected: int = 0
    rejects: Path | None = None
    """The file of rejected rows, where there are any: JSON Lines with `line`, `reason` and `row`."""
    off_scale: int = 0
    """Rejected rows of which nothing is wrong but a rating that is not on the scale."""
    reviews: int = 0
    """Reviews in the file, without rejected ones."""
    reviews_added: int = 0
    """Reviews that were new to the store."""
    pairs: int = 0
    """Rated pairs in the file (EXP3RT): ratings to evaluate against, never evidence."""
    pairs_added: int = 0
    items: int = 0
    """Rows of the file that told about an item."""
    profiles: int = 0
    """Ready-made profiles in the file."""

    @property
    def present(self) -> int:
        """Reviews and pairs that were in the store already, or twice in the file."""
        return self.reviews - self.reviews_added + self.pairs - self.pairs_added


class IngestReport(Record):
    """What an ingest did."""

    scale: RatingScale
    reviews: FileReport
    items: FileReport | None = Field(default=None, description="Where a file of items was given")

    @property
    def other_scale(self) -> str:
        """What to do if the ratings are on another scale, as so many of them are not on this one; else empty."""
        file = self.reviews
        if not file.off_scale or file.off_scale < _MANY * file.rows or not FORMATS[file.format].own_scale:
            return ""
        where = "into another store, given with --store and" if file.reviews else "again, with"
        return (
            f"{file.off_scale:,} of {file.rows:,} rows have ratings that are not on the scale {self.scale}; "
            f"if they are on another one, read the file {where} --scale MIN:MAX[:STEP]"
        )


def ingest(
    store: Store,
    reviews_file: Path,
    *,
    items_file: Path | None = None,
    format: str = AUTO,  # noqa: A002 - what the command line calls it
    scale: RatingScale | None = None,
    strict: bool = False,
    batch: int = _BATCH,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Read files of items and reviews into the store; items first.

    Bad rows go to `<store>/rejects/<file name>-<hash of its path>.jsonl`, the others into the store.

    Args:
        store: Where to.
        reviews_file: Reviews (or EXP3RT pairs), plain or gzip.
        items_file: Items of any known format; recognised from its rows.
        format: Format of the reviews, or `auto`.
        scale: The rating scale, for formats that do not fix it; the store's own where it is None.
        strict: Stop at the first bad row; the batches before it stay.
        batch: Most rows a transaction; rows with very long texts make it smaller.
        progress: Called after each batch and between, every few rows.

    Returns:
        What was read, added and rejected.

    Raises:
        InputError: A file cannot be read or is not what it should be; under `strict` also: a row is bad.
        UsageError: The rating scale is not the format's or not the store's, or there is no such format.
        StoreError: The store refused a write.
    """
    reviews = recognise(reviews_file, Kind.REVIEWS, format)
    items = recognise(items_file, Kind.ITEMS) if items_file else None
    _check_scale(store, reviews, scale)
    fixed = scale if reviews.format.own_scale else reviews.format.scale
    levels = Levels(store.fitting_scale(fixed, reviews.format.scale))
    item_report = _File(store, items, levels, strict=strict, batch=batch, progress=progress).ingest() if items else None
    review_report = _File(store, reviews, levels, strict=strict, batch=batch, progress=progress).ingest()
    return IngestReport(scale=levels.scale, reviews=review_report, items=item_report)


def _check_scale(store: Store, reviews: Recognised, scale: RatingScale | None) -> None:
    """Refuse a file whose ratings are on another scale, before anything is settled or half of it is written."""
    if not reviews.format.own_scale:
        if scale not in (None, reviews.format.scale):
            raise UsageError(
                f"{reviews.path} holds {reviews.format.title} reviews, which are rated {reviews.format.scale}, "
                f"not {scale}; leave out --scale"
            )
        return
    if scale is None:
        with Source(reviews.path) as source:
            sample = list(islice(read(reviews, source, Levels(store.scale)), _SAMPLE))
        off = [row for row in sample if isinstance(row, Reject) and row.off_scale]
        if len(sample) >= _FEWEST and 2 * len(off) > len(sample):
            raise InputError(
                f"{reviews.path}, line {off[0].line}: {off[0].reason}, and so are {len(off)} of the first "
                f"{len(sample)} rows; say which scale it is with --scale MIN:MAX[:STEP]"
            )


class _Row(NamedTuple):
    """A row of the batch under way."""

    line: int
    raw: bytes | str
    """Its beginning."""
    parsed: tuple[Parsed, ...]
    """Its records; none of a rejected row."""


class _File:
    """One file on its way into the store."""

    def __init__(
        self,
        store: Store,
        recognised: Recognised,
        levels: Levels,
        *,
        strict: bool,
        batch: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._store = store
        self._recognised = recognised
        self._levels = levels
        self._strict = strict
        self._batch = batch
        self._progress = progress
        self._count: Counter[str] = Counter()

    def ingest(self) -> FileReport:
        """Read all of it."""
        path = self._recognised.path
        count = self._count
        with Source(path) as source, Rejects(self._store, path) as rejects:
            batch: list[_Row] = []
            characters = told = 0

            def tell() -> None:
                nonlocal told
                told, count["rejected"] = count["rows"], rejects.count
                if self._progress:
                    done, total = source.done, source.total
                    self._progress(Progress(file=path, rows=told, rejected=rejects.count, done=done, total=total))

            for line, raw, outcome in read_rows(self._recognised, source, self._levels):
                row = _Row(line, raw[:_RAW], () if isinstance(outcome, Reject) else outcome)
                if isinstance(outcome, Reject):
                    self._reject(outcome, rejects, raw)
                batch.append(row)
                count["rows"] += 1
                characters += sum(map(_length, row.parsed))
                full = len(batch) >= self._batch or characters >= _CHARACTERS
                if full:
                    self._write(batch, rejects)
                    batch, characters = [], 0
                if full or count["rows"] - told >= _NEWS:
                    tell()
            self._write(batch, rejects)
            if count["rows"] > told or rejects.count > count["rejected"]:
                tell()
        return FileReport(
            file=path, format=self._recognised.format.name, seen=str(self._recognised), rejects=rejects.kept, **count
        )

    def _reject(self, reject: Reject, rejects: Rejects, whole: bytes | str = "") -> None:
        if self._strict:
            raise InputError(f"{self._recognised.path}, line {reject.line}: {reject.reason}")
        rejects.add(reject, whole)
        self._count["off_scale"] += reject.off_scale

    def _write(self, batch: list[_Row], rejects: Rejects) -> None:
        """Write a batch, one transaction for each kind of record; what has the id of another review is rejected."""
        # Of what is told twice the last counts, as it would in two batches.
        items: dict[str, Item] = {}
        profiles: dict[tuple[Side, str], Profile] = {}
        reviews: list[Review] = []
        pairs: list[RatedPair] = []
        rows: dict[int, _Row] = {}
        for row in batch:
            for parsed in row.parsed:
                if isinstance(parsed, Review):
                    reviews.append(parsed)
                    rows[id(parsed)] = row
                elif isinstance(parsed, Item):
                    items[parsed.item_id] = parsed
                    self._count["items"] += 1
                elif isinstance(parsed, Profile):
                    profiles[parsed.side, parsed.subject_id] = parsed
                    self._count["profiles"] += 1
                else:
                    pairs.append(parsed)
                    rows[id(parsed)] = row
        taken = 0

        def reject(review: Review, there: Review) -> None:
            nonlocal taken
            taken += 1
            row = rows[id(review)]
            self._reject(Reject(row.line, _whose(there), raw_text(row.raw)), rejects)

        def leave_out(parsed: Review | RatedPair, why: str) -> None:
            self._count["reviews" if isinstance(parsed, Review) else "pairs"] -= 1
            self._reject(Reject(rows[id(parsed)].line, why, ""), rejects)

        self._store.add_items(items.values())
        scale = self._levels.scale
        self._count["reviews_added"] += self._store.add_reviews(reviews, scale=scale, taken=reject, left_out=leave_out)
        self._count["pairs_added"] += self._store.add_rated_pairs(pairs, scale=scale, left_out=leave_out)
        # After the pairs, because averages are on the scale that these settle.
        self._store.add_profiles(profiles.values())
        self._count.update(reviews=len(reviews) - taken, pairs=len(pairs))


def _whose(there: Review) -> str:
    """Why the id of a review cannot be taken again."""
    return (
        f"review_id {shown(there.review_id)} belongs to another review, of item {shown(there.item_id)} on "
        f"{day(there.timestamp)}; give each review an id of its own, for example with "
        "the name of its file before it, or leave the column out"
    )


def _length(parsed: Parsed) -> int:
    """About how many characters a record has."""
    if isinstance(parsed, Review):
        return len(parsed.title) + len(parsed.text)
    if isinstance(parsed, Item):
        return len(parsed.title) + len(parsed.description)
    return sum(map(len, parsed.likes + parsed.dislikes)) if isinstance(parsed, Profile) else 0
