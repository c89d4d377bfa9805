"""How the store notes what the index has to follow, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert

from whylike.memory.schema import Collection, outbox


def notify(connection: Connection, collection: Collection, changed: Iterable[tuple[str, str]]) -> None:
    """Note in the outbox that the index has to follow these subjects and variants."""
    rows = [{"collection": collection.value, "subject": subject, "variant": variant} for subject, variant in changed]
    if rows:
        connection.execute(insert(outbox), rows)
