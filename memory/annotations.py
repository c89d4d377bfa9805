"""The part of the store that teachers wrote: annotations, which the experts are taught with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from sqlalchemy import insert, select

from whylike.memory.database import Database, chunks
from whylike.memory.schema import teacher_annotations as table
from whylike.records import SummaryAnnotation

SUMMARY = "summary"
"""The kind of a `SummaryAnnotation`."""


class Annotations:
    """What teachers wrote; a part of `Store`."""

    database: Database

    def add_annotations(self, new: Iterable[SummaryAnnotation], source: str) -> tuple[int, int]:
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
            body = annotation.model_dump_json()
            key = hashlib.sha256(f"{SUMMARY}:{body}".encode("utf-8", "surrogatepass")).hexdigest()
            rows[key] = {"annotation_id": key, "kind": SUMMARY, "body": body, "source": source, "created_at": now}
        with self.database.write() as connection:
            for keys in chunks(tuple(rows)):
                there = select(table.c.annotation_id).where(table.c.annotation_id.in_(keys))
                for key in connection.execute(there).scalars():
                    del rows[key]
            if rows:
                connection.execute(insert(table), list(rows.values()))
        return len(rows), count - len(rows)

    def summary_annotations(self) -> list[SummaryAnnotation]:
        """Every review that a teacher summarised, in an order that depends on nothing but what they are."""
        query = select(table.c.body).where(table.c.kind == SUMMARY).order_by(table.c.annotation_id)
        with self.database.read() as connection:
            return [SummaryAnnotation.model_validate_json(body) for body in connection.execute(query).scalars()]
