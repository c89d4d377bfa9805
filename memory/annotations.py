"""The part of the store that the experts are taught with: what teachers wrote, and which reasons were good enough."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import TypeVar

from sqlalchemy import Connection, insert, select

from whylike.memory.arrivals import number
from whylike.memory.database import Database, chunks
from whylike.memory.forgotten import rest_on
from whylike.memory.schema import teacher_annotations as table
from whylike.records import ReasonAnnotation, ReasonDecision, SummaryAnnotation

Annotation = SummaryAnnotation | ReasonAnnotation
KINDS: dict[type[Annotation], str] = {SummaryAnnotation: "summary", ReasonAnnotation: "reason"}
"""What each kind is called in the database."""

DECISION = "decision"
"""What decisions about reasons are called there."""

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
            key = _hash(f"{kind}:{body}")
            rows[key] = {"annotation_id": key, "kind": kind, "body": body, "source": source, "created_at": now}
        with self.database.write() as connection:
            for keys in chunks(tuple(rows)):
                there = select(table.c.annotation_id).where(table.c.annotation_id.in_(keys))
                for key in connection.execute(there).scalars():
                    del rows[key]
            if rows:
                first = number(self.database, connection, len(rows))
                numbered = [{**each, "position": first + n} for n, each in enumerate(rows.values())]
                connection.execute(insert(table), numbered)
        return len(rows), count - len(rows)

    def keep_summaries(self, made: Mapping[str, SummaryAnnotation], source: str) -> None:
        """Keep what a teacher wrote of reviews of the store, by their ids; what was kept of them before goes.

        Of a review that has been forgotten meanwhile nothing is kept.

        Args:
            made: The newest of each review.
            source: The teacher's name.
        """
        with self.database.write() as connection:
            for review_id, annotation in made.items():
                if rest_on(connection, [], [review_id]):
                    key, body = summary_key(review_id), annotation.model_dump_json()
                    self._put(connection, key, KINDS[SummaryAnnotation], body, source)

    def annotations(self, kind: type[A]) -> list[A]:
        """All annotations of a kind, in an order that depends on nothing but what they are and what they are of."""
        query = select(table.c.body).where(table.c.kind == KINDS[kind]).order_by(table.c.annotation_id)
        with self.database.read() as connection:
            return [kind.model_validate_json(body) for body in connection.execute(query).scalars()]

    def decide(self, key: str, decision: ReasonDecision) -> None:
        """Keep a decision about a reason; a later one for the same key takes the earlier one's place.

        One that rests on a review that has been forgotten meanwhile is not kept.

        Args:
            key: The hash of all that it was asked with.
            decision: What came of it.
        """
        with self.database.write() as connection:
            now = decision.model_copy(update={"decided_at": time.time_ns()})
            if rest_on(connection, [decision.user_id], decision.read):
                self._put(connection, key, DECISION, now.model_dump_json(), decision.sampler)

    def decisions(self) -> dict[str, ReasonDecision]:
        """All decisions about reasons by key, the oldest first."""
        query = select(table.c.annotation_id, table.c.body).where(table.c.kind == DECISION)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(table.c.created_at, table.c.annotation_id)).all()
        found = ((key, ReasonDecision.model_validate_json(body)) for key, body in rows)
        return dict(sorted(found, key=lambda row: row[1].decided_at))

    def _put(self, connection: Connection, key: str, kind: str, body: str, source: str) -> None:
        """Write a row as of now, in the place of the one with this key; what says something new is a new arrival."""
        values = {"body": body, "source": source, "created_at": int(time.time())}
        before = connection.execute(select(table.c.body).where(table.c.annotation_id == key)).scalar_one_or_none()
        if before is None or _said(before) != _said(body):
            values["position"] = number(self.database, connection, 1)
        upsert = self.database.insert(table).values(annotation_id=key, kind=kind, **values)
        connection.execute(upsert.on_conflict_do_update(index_elements=["annotation_id"], set_=values))


def summary_key(review_id: str) -> str:
    """What a teacher's summary of a review of the store is kept under."""
    return _hash(f"summary of {review_id}")


def _said(body: str) -> dict[str, object]:
    """What a row says, whenever it was written."""
    return {name: value for name, value in json.loads(body).items() if name != "decided_at"}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
