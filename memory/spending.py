"""The part of the store about what teachers were asked: every call, booked before it is made and settled after it.

What is booked counts against the day's budget, so that neither several processes at once nor a process that is killed
in the middle of a call can exceed it. No prompt, answer, review or key is in it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from sqlalchemy import Connection, func, insert, select, update

from whylike.memory.database import Database
from whylike.memory.schema import records, teacher_calls
from whylike.records import Record

DAY = 86_400
"""Seconds of a day (UTC)."""


class Purpose(StrEnum):
    """What a teacher is asked for."""

    LIVE_SUMMARY = "live summary"
    LIVE_REASON = "live reason"
    SUMMARIES = "annotate summaries"
    REASONS = "annotate reasons"


Outcome = Literal["asked", "answered", "failed"]
"""A call that is under way, or whose process was killed, is `asked` and counts with its most tokens."""


class Call(Record):
    """One call to a teacher."""

    call_id: int
    asked_at: int
    model: str
    purpose: Purpose
    tokens_in: int
    tokens_out: int
    outcome: Outcome


class Spent(Record):
    """What calls took."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Those that were sent and those that were answered."""
        return self.tokens_in + self.tokens_out

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
        )


class Spending:
    """What teachers were asked; a part of `Store`."""

    database: Database

    def book_call(self, model: str, purpose: Purpose, most: Spent, *, calls: int, tokens: int, now: int) -> int | None:
        """Book a call before it is made, unless with it the day's calls or tokens were more than allowed.

        Args:
            model: Which is asked.
            purpose: What for.
            most: What the call may take at most.
            calls: Allowed on a day.
            tokens: The same.
            now: Seconds since 1970; the day begins at midnight UTC.

        Returns:
            The number of the call; None where it may not be made.
        """
        with self.database.write() as connection:
            then = _spent(connection, now // DAY).plus(most)
            if then.calls > calls or then.tokens > tokens:
                return None
            booked = insert(teacher_calls).values(
                day=now // DAY,
                asked_at=now,
                model=model,
                purpose=purpose.value,
                tokens_in=most.tokens_in,
                tokens_out=most.tokens_out,
                outcome="asked",
            )
            number: int = connection.execute(booked.returning(teacher_calls.c.call_id)).scalar_one()
            return number

    def settle_call(self, number: int, outcome: Outcome, took: Spent) -> None:
        """Note what became of a call, and what it took indeed."""
        done = {"outcome": outcome, "tokens_in": took.tokens_in, "tokens_out": took.tokens_out}
        with self.database.write() as connection:
            connection.execute(update(teacher_calls).where(teacher_calls.c.call_id == number).values(done))

    def spent(self, now: int) -> Spent:
        """What the calls of a day took, those under way with their most."""
        with self.database.read() as connection:
            return _spent(connection, now // DAY)

    def calls(self) -> list[Call]:
        """All calls, oldest first."""
        with self.database.read() as connection:
            query = select(teacher_calls).order_by(teacher_calls.c.call_id)
            return records(Call, connection.execute(query).mappings())


def _spent(connection: Connection, day: int) -> Spent:
    columns = teacher_calls.c
    sums = (func.coalesce(func.sum(column), 0) for column in (columns.tokens_in, columns.tokens_out))
    row = connection.execute(select(func.count(), *sums).where(columns.day == day)).one()
    return Spent(calls=row[0], tokens_in=int(row[1]), tokens_out=int(row[2]))
