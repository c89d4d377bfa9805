"""The tables of the store, and how a row becomes a record and back.

Columns carry the names of the record's fields, so `dict(record)` is a row and `Record(**row)` a record; the column
types below do the rest. What makes the tables is `migrations.py`; a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from whylike.records import Attitude, Expert, Record, Side

R = TypeVar("R", bound=Record)

Row = dict[str, Any]
"""One row to insert: column name to value."""


class Strings(TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, kept as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """The list as text."""
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """The text as a tuple."""
        return None if value is None else tuple(json.loads(value))


W = TypeVar("W", bound=StrEnum)


class Word(TypeDecorator[W]):
    """One of some words, kept as text."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[W]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: W | None, dialect: Dialect) -> str | None:
        """The word."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> W | None:
        """What it stands for."""
        return None if value is None else self.kind(value)


Serial = BigInteger().with_variant(Integer(), "sqlite")
"""A key that the database counts up."""

metadata = MetaData()

items = Table(
    "items",
    metadata,
    Column("item_id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("categories", Strings, nullable=False),
)

users = Table("users", metadata, Column("user_id", Text, primary_key=True))

reviews = Table(
    "reviews",
    metadata,
    Column("review_id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("item_id", Text, ForeignKey("items.item_id"), nullable=False),
    Column("rating", Double, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("helpful", BigInteger, nullable=False),
    Column("position", BigInteger),
)
# Each covers its side of a history: the newest reviews in order, and the averages without touching the table.
# The review id is not in them: it would make each a quarter larger only to order reviews of one second.
Index("reviews_of_user", reviews.c.user_id, reviews.c.timestamp.desc(), reviews.c.item_id, reviews.c.rating)
Index("reviews_of_item", reviews.c.item_id, reviews.c.timestamp.desc(), reviews.c.user_id, reviews.c.rating)
# Covers the rest of a day in the mean of all ratings.
Index("reviews_in_time", reviews.c.timestamp, reviews.c.rating)
# In the order in which they came in, whenever they were written.
Index("reviews_in_order", reviews.c.position)

NEWEST = (reviews.c.timestamp.desc(), reviews.c.review_id)
"""The order of reviews everywhere: newest first, ties in order of review id."""

review_summaries = Table(
    "review_summaries",
    metadata,
    Column("review_id", Text, ForeignKey("reviews.review_id"), primary_key=True),
    Column("adapter_version", Text, primary_key=True),
    Column("likes", Strings, nullable=False),
    Column("dislikes", Strings, nullable=False),
    Column("preferences", Strings, nullable=False),
    Column("praise", Strings),
    Column("blame", Strings),
)

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", Serial, primary_key=True),
    Column("side", Word(Side), nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("adapter_version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("likes", Strings, nullable=False),
    Column("dislikes", Strings, nullable=False),
    Column("average", Double),
    Column("created_at", BigInteger, nullable=False),
    Column("as_of", BigInteger),
    UniqueConstraint("side", "subject_id", "adapter_version", "source"),
    sqlite_autoincrement=True,
)

answers = Table(
    "answers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", Text),
    Column("item_id", Text),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("answers_of_user", answers.c.user_id)
Index("answers_of_item", answers.c.item_id)

rated_pairs = Table(
    "rated_pairs",
    metadata,
    Column("source", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.user_id"), primary_key=True),
    Column("item_id", Text, ForeignKey("items.item_id"), primary_key=True),
    Column("rating", Double, nullable=False),
)

rating_totals = Table(
    "rating_totals",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
)

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

INDEX = "index"
"""Name of the index's identity in the table of single values; there is none while no index was made."""

outbox = Table(
    "outbox",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("collection", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("variant", Text, nullable=False),
    sqlite_autoincrement=True,
)

adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("version", Text, primary_key=True),
    Column("expert", Text, nullable=False),
    Column("card", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("promotion_id", Serial, primary_key=True),
    Column("expert", Text, nullable=False),
    Column("version", Text, ForeignKey("adapter_versions.version")),
    Column("promoted_at", BigInteger, nullable=False),
    Column("promoted_by", Text, nullable=False),
    Column("kind", Text, nullable=False),
    sqlite_autoincrement=True,
)


stated_preferences = Table(
    "stated_preferences",
    metadata,
    Column("preference_id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("attitude", Word(Attitude), nullable=False),
    Column("about", Text, nullable=False),
    Column("stated_at", BigInteger, nullable=False),
)
Index("stated_preferences_of_user", stated_preferences.c.user_id, stated_preferences.c.stated_at)

conversations = Table(
    "conversations",
    metadata,
    Column("session", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
)
Index("conversations_of_user", conversations.c.user_id)

teacher_annotations = Table(
    "teacher_annotations",
    metadata,
    Column("annotation_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("occasion", Text),
    Column("position", BigInteger),
)
Index("teacher_annotations_of_kind", teacher_annotations.c.kind, teacher_annotations.c.annotation_id)

forgotten = Table(
    "forgotten",
    metadata,
    Column("mark", Text, primary_key=True),
    Column("forgotten_at", BigInteger, nullable=False),
    Column("user_id", Text),
    Column("finished", Integer, nullable=False),
    Column("readmitted", Integer, nullable=False),
)

learned_from = Table(
    "learned_from",
    metadata,
    Column("version", Text, primary_key=True),
    Column("mark", Text, primary_key=True),
    Column("learned_at", BigInteger, nullable=False),
)
Index("learned_from_user", learned_from.c.mark)

teacher_calls = Table(
    "teacher_calls",
    metadata,
    Column("call_id", Serial, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("teacher_calls_of_day", teacher_calls.c.day, teacher_calls.c.tokens_in, teacher_calls.c.tokens_out)

ARRIVALS = "arrivals"
"""Name of the number of the latest arrival in the table of single values: it never goes back."""

learning_runs = Table(
    "learning_runs",
    metadata,
    Column("run_id", Serial, primary_key=True),
    Column("expert", Word(Expert), nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("parent", Text),
    Column("version", Text),
    Column("outcome", Text, nullable=False),
    Column("report", Text, nullable=False),
    sqlite_autoincrement=True,
)

frozen_examples = Table(
    "frozen_examples",
    metadata,
    Column("expert", Word(Expert), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
)
Index("frozen_examples_of_user", frozen_examples.c.user_id)


class Collection(StrEnum):
    """What the index holds vectors of."""

    SUMMARIES = "summaries"
    PROFILES = "profiles"
    ITEMS = "items"
    """What the items are; followed where somebody looks for an item by what it is, since a catalogue can be large."""


ANSWERED_FROM = (Collection.SUMMARIES, Collection.PROFILES)
"""Those that every answer needs."""


def row(record: Record) -> Row:
    """The record as a row of its table."""
    return dict(vars(record))


def record(kind: type[R], mapping: RowMapping | Row) -> R:
    """The row as a record of the given kind, whose fields are columns of it."""
    return kind(**{name: mapping[name] for name in kind.model_fields})


def records(kind: type[R], mappings: Iterable[RowMapping]) -> list[R]:
    """All rows as records."""
    return [record(kind, mapping) for mapping in mappings]
