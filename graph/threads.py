"""The threads of conversations: a file in the store's folder that LangGraph's checkpointer keeps.

Of each thread only the latest checkpoint stays, so that a session does not grow without end and what was forgotten is
not kept in what came before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver

from whylike.errors import StoreError

FILE = "conversations.sqlite3"
"""In the store's folder."""
BUSY_SECONDS = 30
"""How long a write waits for another process's write."""

_LATER = (
    "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_id < ?",
    "DELETE FROM writes WHERE thread_id = ? AND checkpoint_id < ?",
)


@contextmanager
def opened(folder: Path) -> Generator[SqliteSaver]:
    """The checkpointer of a store's folder.

    Raises:
        StoreError: The file cannot be opened or written.
    """
    try:
        with SqliteSaver.from_conn_string(str(folder / FILE)) as saver:
            saver.conn.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")
            saver.conn.execute("PRAGMA secure_delete = ON")
            saver.setup()
            yield saver
    except sqlite3.Error as error:
        raise StoreError(
            f"the conversations of the store {folder} cannot be kept: {error}; see that {FILE} there can be written "
            "and the disk has room, or move that file away"
        ) from error


def prune(saver: SqliteSaver, session: str, latest: str) -> None:
    """Remove all checkpoints of a thread that came before the latest."""
    with saver.cursor() as cursor:
        for statement in _LATER:
            cursor.execute(statement, (session, latest))


def forget(folder: Path, sessions: Collection[str], review_ids: Collection[str]) -> None:
    """Remove threads for good: nothing of them is left in the file.

    Args:
        folder: The store's.
        sessions: The threads.
        review_ids: A thread of somebody else goes too if it names one of these, since it may quote the review; the
            session then begins anew.

    Raises:
        StoreError: The file cannot be written.
    """
    if not (folder / FILE).exists():
        return
    wanted = [review_id.encode("utf-8", "surrogatepass") for review_id in review_ids]
    with opened(folder) as saver:
        naming = set(sessions)
        for query in ("SELECT thread_id, checkpoint FROM checkpoints", "SELECT thread_id, value FROM writes"):
            for thread, blob in saver.conn.execute(query):
                if thread not in naming and any(each in blob for each in wanted):
                    naming.add(thread)
        for thread in naming:
            saver.delete_thread(thread)
        saver.conn.execute("VACUUM")
        saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
