"""The part of the store that users said in conversations: their own taste, and whose each conversation is."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import delete, select

from whylike.memory.database import Database
from whylike.memory.forgotten import turn_away
from whylike.memory.reviewed import add_missing
from whylike.memory.schema import conversations, records, row, stated_preferences
from whylike.records import Preference

NEWEST_STATED = (stated_preferences.c.stated_at.desc(), stated_preferences.c.preference_id)
"""Newest first."""


class Conversed:
    """What users said of themselves; a part of `Store`."""

    database: Database

    def state_preference(self, new: Preference, replaced: Iterable[str] = ()) -> bool:
        """Keep what a user said, with the user where they are missing; one whose id is there changes nothing.

        Args:
            new: What was said.
            replaced: Ids of the user's earlier ones that it takes the place of.

        Returns:
            Whether it is new.

        Raises:
            UsageError: The user asked to be forgotten.
        """
        gone = delete(stated_preferences).where(
            stated_preferences.c.preference_id.in_(tuple(replaced)), stated_preferences.c.user_id == new.user_id
        )
        with self.database.write() as connection:
            turn_away(connection, new.user_id)
            add_missing(self.database, connection, [new.user_id], ())
            connection.execute(gone)
            added = connection.execute(
                self.database.insert(stated_preferences).values(row(new)).on_conflict_do_nothing()
            )
            return bool(added.rowcount)

    def preferences(self, user_id: str) -> list[Preference]:
        """What the user said of their own taste, newest first; to show, not as evidence (`history.py`)."""
        query = select(stated_preferences).where(stated_preferences.c.user_id == user_id).order_by(*NEWEST_STATED)
        with self.database.read() as connection:
            return records(Preference, connection.execute(query).mappings())

    def withdraw_preferences(self, user_id: str, preference_ids: Iterable[str]) -> int:
        """Remove what the user said. Returns how many there were."""
        mine = stated_preferences.c.user_id == user_id
        gone = delete(stated_preferences).where(mine, stated_preferences.c.preference_id.in_(tuple(preference_ids)))
        with self.database.write() as connection:
            return connection.execute(gone).rowcount

    def begin_conversation(self, session: str, user_id: str) -> str:
        """Note whose a conversation is. Returns the user whose it is: of a known one, whoever began it.

        Raises `UsageError` where the user asked to be forgotten.
        """
        values = {"session": session, "user_id": user_id, "began_at": int(time.time())}
        with self.database.write() as connection:
            turn_away(connection, user_id)
            connection.execute(self.database.insert(conversations).values(values).on_conflict_do_nothing())
            query = select(conversations.c.user_id).where(conversations.c.session == session)
            whose: str = connection.execute(query).scalar_one()
        return whose

    def conversations(self, user_id: str) -> list[str]:
        """The names of the user's conversations, the oldest first."""
        query = select(conversations.c.session).where(conversations.c.user_id == user_id)
        with self.database.read() as connection:
            order = query.order_by(conversations.c.began_at, conversations.c.session)
            return list(connection.execute(order).scalars())

    def conversation_of(self, session: str) -> str | None:
        """The user whose conversation it is, if there is one of this name."""
        query = select(conversations.c.user_id).where(conversations.c.session == session)
        with self.database.read() as connection:
            return connection.execute(query).scalar_one_or_none()
