"""The store: what is known for good, in SQL. Every write is one transaction."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import func, select

from whylike.memory.annotations import Annotations
from whylike.memory.conversed import Conversed
from whylike.memory.database import Database
from whylike.memory.distilled import Distilled
from whylike.memory.erasing import Erasing
from whylike.memory.forgotten import Forgotten
from whylike.memory.learned import Learned
from whylike.memory.reviewed import Reviewed
from whylike.memory.scales import check, settled
from whylike.memory.schema import items, profiles, record, review_summaries, reviews, users
from whylike.memory.spending import Spending
from whylike.memory.taught import Taught
from whylike.records import RatingScale, Record
from whylike.settings import Settings


class Counts(Record):
    """How much is in a store."""

    users: int
    items: int
    reviews: int
    summaries: int
    profiles: int


class Store(Reviewed, Distilled, Taught, Annotations, Spending, Learned, Conversed, Forgotten, Erasing):
    """An open store; use it as a context manager, from as many threads as you like.

    Every method raises `StoreError` where the database fails (locked for 30 seconds, disk full, read-only, damaged).
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._scale: RatingScale | None = None

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store that the settings name; it is made where there is none.

        Raises:
            StoreError: It cannot be opened or made, or is from a newer whylike.
            UsageError: `database_url` is not one that whylike can use.
        """
        return cls(Database.open(settings))

    def close(self) -> None:
        """Close the store."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The store's folder."""
        return self.database.folder

    @property
    def scale(self) -> RatingScale:
        """The rating scale of all ratings in the store; 1:5 until one is settled."""
        if self._scale is None:
            with self.database.read() as connection:
                self._scale = settled(connection)
        return self._scale or RatingScale()

    def fitting_scale(self, requested: RatingScale | None, default: RatingScale) -> RatingScale:
        """The scale for more ratings: the store's own, which the first ratings settle; until then the one asked for.

        Args:
            requested: The scale that the user asked for, if any.
            default: The scale where none is settled and none asked for.

        Raises:
            UsageError: A scale was asked for and the store has ratings on another.
        """
        with self.database.read() as connection:
            there = settled(connection)
        if requested is not None:
            check(self.database, there, requested)
        return there or requested or default

    def counts(self) -> Counts:
        """How much is in the store."""
        tables = {
            "users": users,
            "items": items,
            "reviews": reviews,
            "summaries": review_summaries,
            "profiles": profiles,
        }
        query = select(
            *(select(func.count()).select_from(tables[name]).scalar_subquery().label(name) for name in tables)
        )
        with self.database.read() as connection:
            return record(Counts, connection.execute(query).mappings().one())
