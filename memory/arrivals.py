"""The order in which reviews and annotations came in: each gets the next number, whatever time it bears."""

from __future__ import annotations

from sqlalchemy import Connection, select

from whylike.memory.database import Database
from whylike.memory.schema import ARRIVALS, meta


def number(database: Database, connection: Connection, count: int) -> int:
    """Give out so many numbers, which are nobody else's, also once what had them is gone.

    Args:
        database: Knows how its inserts are written.
        connection: An open write transaction: those who write take turns, so that what is committed later has higher
            numbers.
        count: How many.

    Returns:
        The first of them.
    """
    last = latest(connection)
    value = str(last + count)
    upsert = database.insert(meta).values(name=ARRIVALS, value=value)
    connection.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
    return last + 1


def latest(connection: Connection) -> int:
    """The highest number that was given out; 0 where there is none."""
    return int(connection.execute(select(meta.c.value).where(meta.c.name == ARRIVALS)).scalar_one_or_none() or 0)
