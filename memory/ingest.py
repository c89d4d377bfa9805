"""Ingest: from files of reviews and items into the store, in batches, with a file of what was rejected.

A batch is written before the next is read, so memory stays constant and a killed run loses only the batch under way.
Every write can be done twice without harm: run the same command again and it completes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from pydantic import Field

from whylike.errors import InputError, StoreError, UsageError
from whylike.memory.database import lock
from whylike.memory.importers import AUTO, Kind, Levels, Parsed, Recognised, Reject, Source, read, recognise
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
_NEWS = 2_000
"""Rows from one telling of progress to the next."""
_MAX_NAME = 100
"""Characters of the file's name that the name of its rejects begins with."""


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
    reviews: int = 0
    """Reviews in the file."""
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
    levels = Levels(store.settle_scale(fixed, reviews.format.scale))
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
        with Source(path) as source, _Rejects(self._store.folder, path) as rejects:
            batch: list[Parsed] = []
            rows = characters = told = 0

            def tell() -> None:
                nonlocal told
                told, count["rejected"] = count["rows"], rejects.count
                if self._progress:
                    done, total = source.done, source.total
                    self._progress(Progress(file=path, rows=told, rejected=rejects.count, done=done, total=total))

            for row in read(self._recognised, source, self._levels):
                taken = self._taken(row, rejects)
                batch += taken
                count["rows"] += 1
                rows += 1
                characters += sum(map(_length, taken))
                full = rows >= self._batch or characters >= _CHARACTERS
                if full:
                    self._write(batch)
                    batch, rows, characters = [], 0, 0
                if full or count["rows"] - told >= _NEWS:
                    tell()
            self._write(batch)
            if count["rows"] > told:
                tell()
        return FileReport(
            file=path, format=self._recognised.format.name, seen=str(self._recognised), rejects=rejects.kept, **count
        )

    def _taken(self, row: tuple[Parsed, ...] | Reject, rejects: _Rejects) -> tuple[Parsed, ...]:
        if not isinstance(row, Reject):
            return row
        if self._strict:
            raise InputError(f"{self._recognised.path}, line {row.line}: {row.reason}")
        rejects.add(row)
        return ()

    def _write(self, batch: list[Parsed]) -> None:
        """Write a batch, one transaction for each kind of record."""
        # Of what is told twice the last counts, as it would in two batches.
        items: dict[str, Item] = {}
        profiles: dict[tuple[Side, str], Profile] = {}
        reviews: list[Review] = []
        pairs: list[RatedPair] = []
        for parsed in batch:
            if isinstance(parsed, Review):
                reviews.append(parsed)
            elif isinstance(parsed, Item):
                items[parsed.item_id] = parsed
            elif isinstance(parsed, Profile):
                profiles[parsed.side, parsed.subject_id] = parsed
            else:
                pairs.append(parsed)
        self._store.add_items(items.values())
        self._store.add_profiles(profiles.values())
        self._count["reviews_added"] += self._store.add_reviews(reviews)
        self._count["pairs_added"] += self._store.add_rated_pairs(pairs)
        self._count.update(reviews=len(reviews), pairs=len(pairs))
        self._count["items"] += sum(isinstance(parsed, Item) for parsed in batch)
        self._count["profiles"] += sum(isinstance(parsed, Profile) for parsed in batch)


def _length(parsed: Parsed) -> int:
    """About how many characters a record has."""
    if isinstance(parsed, Review):
        return len(parsed.title) + len(parsed.text)
    if isinstance(parsed, Item):
        return len(parsed.title) + len(parsed.description)
    return sum(map(len, parsed.likes + parsed.dislikes)) if isinstance(parsed, Profile) else 0


class _Rejects:
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
