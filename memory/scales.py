"""The store's one rating scale, settled by the first rating that it takes, in that rating's transaction."""

from __future__ import annotations

from sqlalchemy import Connection, select

from whylike.errors import UsageError
from whylike.memory.database import Database
from whylike.memory.schema import meta
from whylike.records import RatingScale

_NAME = "scale"
"""Name of the rating scale in the table of single values."""


def settled(connection: Connection) -> RatingScale | None:
    """The settled rating scale, if one is."""
    text = connection.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar_one_or_none()
    return None if text is None else RatingScale.model_validate_json(text)


def settle(database: Database, connection: Connection, scale: RatingScale) -> None:
    """Settle the scale for good where none is settled, within the transaction that writes the first ratings on it.

    Raises:
        UsageError: Another one is settled.
    """
    new = database.insert(meta).values(name=_NAME, value=scale.model_dump_json())
    connection.execute(new.on_conflict_do_nothing())
    check(database, settled(connection), scale)


def check(database: Database, there: RatingScale | None, wanted: RatingScale) -> None:
    """Refuse a scale where another one is settled.

    Raises:
        UsageError: It is.
    """
    if there not in (None, wanted):
        raise UsageError(
            f"the store {database.name} has ratings on the scale {there}, not {wanted}; "
            f"leave out --scale, or keep these reviews in {database.elsewhere}"
        )
