"""The part of the store that teachers wrote: annotations, which the experts are taught with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy import insert, select

from whylike.memory.database import Database, chunks
from whylike.memory.schema import teacher_annotations as table
from whylike.records import ReasonAnnotation, SummaryAnnotation

Annotation = SummaryAnnotation | ReasonAnnotation
KINDS: dict[type[Annotation], str] = {SummaryAnnotation: "summary", ReasonAnnotation: "reason"}
"""What each kind is called in the database."""

A = TypeVar("A", SummaryAnnotation, ReasonAnnotation)


class Annotations:
    """What teachers wrote; a part of `Store`."""

    database: Database

    def add_annotations(self, new: Iterable[Annotation], source: str) -> tuple[int, int]:
        """Add annotations; one that is there stays as it is.

        Args:
            new: What a teacher wrote.
            source: Where it comes from: a file, or the teacher's name.

        Returns:
            How many were new, and how many there already.
        """
        now = int(time.time())
        rows, count = {}, 0
        for count, annotation in enumerate(new, start=1):  # noqa: B007 - how many there were
            kind, body = KINDS[type(annotation)], annotation.model_dump_json()
            key = hashlib.sha256(f"{kind}:{body}".encode("utf-8", "surrogatepass")).hexdigest()
            rows[key] = {"annotation_id": key, "kind": kind, "body": body, "source": source, "created_at": now}
        with self.database.write() as connection:
            for keys in chunks(tuple(rows)):
                there = select(table.c.annotation_id).where(table.c.annotation_id.in_(keys))
                for key in connection.execute(there).scalars():
                    del rows[key]
            if rows:
                connection.execute(insert(table), list(rows.values()))
        return len(rows), count - len(rows)

    def annotations(self, kind: type[A]) -> list[A]:
        """All annotations of a kind, in an order that depends on nothing but what they are."""
        query = select(table.c.body).where(table.c.kind == KINDS[kind]).order_by(table.c.annotation_id)
        with self.database.read() as connection:
            return [kind.model_validate_json(body) for body in connection.execute(query).scalars()]
