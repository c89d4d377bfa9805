"""What tests say in conversations, what comes back, and what the store has then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import select

from whylike.graph.conversation import Conversation
from whylike.graph.pair import Services
from whylike.memory.schema import metadata

Talk = Callable[..., AbstractContextManager[Conversation]]
"""Opens a session of a user."""


def say(conversation: Conversation, text: str) -> str:
    """What comes back to a turn, with the numbers of the reviews; a question ends with ->."""
    parts = [part for part in conversation.say(text) if part["kind"] != "working"]
    return " ".join(
        part["text"]
        + "".join(f"[{mark}]" for mark in part.get("marks", ()))
        + (" ->" if part["kind"] == "asked" else "")
        for part in parts
    )


def everything(services: Services) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the store but for what any answer keeps."""
    derived = {"answers", "review_summaries", "profiles", "outbox", "meta", "migrations"}
    with services.store.database.read() as connection:
        tables = [table for table in metadata.sorted_tables if table.name not in derived]
        return {table.name: [tuple(row) for row in connection.execute(select(table))] for table in tables}
