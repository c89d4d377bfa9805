"""The part of the store that the experts are taught with: what teachers wrote, and which reasons were good enough."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from typing import Self, TypeVar

from sqlalchemy import Connection, insert, or_, select

from whylike.memory.arrivals import number
from whylike.memory.database import Database, chunks
from whylike.memory.forgotten import rest_on
from whylike.memory.schema import Row
from whylike.memory.schema import teacher_annotations as table
from whylike.memory.spending import Purpose
from whylike.records import ReasonAnnotation, ReasonDecision, Record, Review, SummaryAnnotation

Annotation = SummaryAnnotation | ReasonAnnotation
KINDS: dict[type[Annotation], str] = {SummaryAnnotation: "summary", ReasonAnnotation: "reason"}
"""What each kind is called in the database."""

DECISION = "decision"
"""What decisions about reasons are called there."""

A = TypeVar("A", SummaryAnnotation, ReasonAnnotation)


class Occasion(Record):
    """For what, for whom and why a teacher wrote an annotation."""

    teacher: str
    """Its name, and after `+` the recipe that it was asked by."""
    purpose: Purpose
    user_id: str
    item_id: str
    reviews: tuple[str, ...]
    """Ids of the reviews that it was given to read."""
    why: str = ""
    """What was doubtful of the student's answer; empty where it was not asked for a user who waits."""
    instead: str = ""
    """What the student had written."""

    @classmethod
    def of(cls, review: Review, teacher: str, purpose: Purpose, why: str = "") -> Self:
        """That of the summary of a review."""
        return cls(
            teacher=teacher,
            purpose=purpose,
            user_id=review.user_id,
            item_id=review.item_id,
            reviews=(review.review_id,),
            why=why,
        )


class Written(Record):
    """An annotation as it is in the store."""

    annotation: Annotation
    source: str
    """The teacher's name, or the file that it came in."""
    at: int
    """When it was added: seconds since 1970."""
    occasion: Occasion | None
    """None where it came in a file."""


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

    def keep_summary(
        self, review_id: str, annotation: SummaryAnnotation, source: str, occasion: Occasion, *, anew: bool = True
    ) -> None:
        """Keep what a teacher wrote of a review of the store.

        Of a review that has been forgotten meanwhile nothing is kept.

        Args:
            review_id: The review.
            annotation: What was written.
            source: The teacher's name.
            occasion: Why.
            anew: Whether it takes the place of what was kept of this review before.
        """
        self._keep(summary_key(review_id), annotation, source, occasion, anew=anew)

    def keep_reason(self, key: str, annotation: ReasonAnnotation, source: str, occasion: Occasion) -> None:
        """Keep a reason that a teacher wrote; of two for one question the first stays.

        Args:
            key: The hash of all that it was asked with.
            annotation: What was written.
            source: The teacher's name.
            occasion: Why.
        """
        self._keep(_hash(f"reason to {key}"), annotation, source, occasion, anew=False)

    def written(self) -> list[Written]:
        """All annotations with where they are from, the newest first; those of a file in no order."""
        columns = table.c.kind, table.c.body, table.c.source, table.c.created_at, table.c.occasion
        query = select(*columns).where(table.c.kind.in_(KINDS.values()))
        kinds = {name: kind for kind, name in KINDS.items()}
        with self.database.read() as connection:
            return [
                Written(
                    annotation=kinds[kind].model_validate_json(body),
                    source=source,
                    at=at,
                    occasion=Occasion.model_validate_json(occasion) if occasion else None,
                )
                for kind, body, source, at, occasion in connection.execute(
                    query.order_by(table.c.created_at.desc(), table.c.annotation_id)
                )
            ]

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

    def _keep(self, key: str, annotation: Annotation, source: str, occasion: Occasion, *, anew: bool) -> None:
        with self.database.write() as connection:
            if rest_on(connection, [occasion.user_id], occasion.reviews):
                body, why = annotation.model_dump_json(), occasion.model_dump_json()
                self._put(connection, key, KINDS[type(annotation)], body, source, occasion=why, anew=anew)

    def _put(
        self,
        connection: Connection,
        key: str,
        kind: str,
        body: str,
        source: str,
        *,
        occasion: str | None = None,
        anew: bool = True,
    ) -> None:
        """Write a row as of now; `anew`: in the place of the one with this key, if that differs.

        What says something new is a new arrival.
        """
        values: Row = {"body": body, "source": source, "created_at": int(time.time()), "occasion": occasion}
        before = connection.execute(select(table.c.body).where(table.c.annotation_id == key)).scalar_one_or_none()
        if before is None or (anew and _said(before) != _said(body)):
            values["position"] = number(self.database, connection, 1)
        new = self.database.insert(table).values(annotation_id=key, kind=kind, **values)
        if anew:
            differs = or_(table.c.body != body, table.c.source != source)
            connection.execute(new.on_conflict_do_update(index_elements=["annotation_id"], set_=values, where=differs))
        else:
            connection.execute(new.on_conflict_do_nothing())


def summary_key(review_id: str) -> str:
    """What a teacher's summary of a review of the store is kept under."""
    return _hash(f"summary of {review_id}")


def _said(body: str) -> dict[str, object]:
    """What a row says, whenever it was written."""
    return {name: value for name, value in json.loads(body).items() if name != "decided_at"}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
