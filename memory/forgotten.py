"""The part of the store about users who asked to be forgotten: who they are, and which adapters had seen them.

Of such a user nothing is kept but a mark and a date. A mark is a keyed hash of the user's id, and the key, drawn once
for each store, lies in the store and nowhere else: a mark means nothing in another store, on an adapter's card, or to
whoever has the marks alone. Whoever has the whole store can try out ids that he knows already; that much is needed to
turn a user away who comes back by mistake, with the same file once more.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sqlalchemy import Connection, Join, delete, exists, func, literal, select, update

from whylike.dates import day
from whylike.errors import UsageError
from whylike.memory.database import Database, chunks
from whylike.memory.schema import forgotten, learned_from, meta, reviews
from whylike.records import RatedPair, Record, Review

W = TypeVar("W", Review, RatedPair)

_KEY = "key of marks"
"""Name of the store's key in the table of single values."""

AWAY = forgotten.c.readmitted == 0
"""Those who have not come back."""


class Unfinished(Record):
    """A forgetting that has begun."""

    mark: str
    user_id: str | None
    """The user while there are rows of theirs."""


_REMOVING = "removing review "
"""How the names of the single values begin that note which reviews are being removed."""


class Forgotten:
    """Who was forgotten, and what had been learned from them; a part of `Store`."""

    database: Database

    def forgotten_at(self, user_id: str) -> int | None:
        """When the user asked to be forgotten, in seconds since 1970; None of one who did not, or has come back."""
        with self.database.read() as connection:
            return forgotten_among(connection, [user_id]).get(user_id)

    def begin_forgetting(self, user_id: str) -> None:
        """Note that a user is to be forgotten: from now on nothing of theirs is taken in or learned from."""
        with self.database.write() as connection:
            mark = _mark(_key(self.database, connection), user_id)
            values = {"forgotten_at": int(time.time()), "user_id": user_id, "finished": 0, "readmitted": 0}
            upsert = self.database.insert(forgotten).values(mark=mark, **values)
            connection.execute(upsert.on_conflict_do_update(index_elements=["mark"], set_=values))

    def unfinished(self) -> list[Unfinished]:
        """The forgettings that have begun and not come to their end."""
        query = select(forgotten.c.mark, forgotten.c.user_id).where(forgotten.c.finished == 0)
        with self.database.read() as connection:
            return [Unfinished(mark=mark, user_id=user_id) for mark, user_id in connection.execute(query)]

    def end_forgetting(self, marks: Iterable[str]) -> None:
        """Note that nothing is left of these users."""
        with self.database.write() as connection:
            # One that was asked for again in the meantime is not at its end.
            done = forgotten.c.mark.in_(list(marks)) & forgotten.c.user_id.is_(None)
            connection.execute(update(forgotten).where(done).values(finished=1))

    def readmit(self, user_id: str) -> bool:
        """Let a user who was forgotten come back, with nothing but what they bring.

        Returns:
            Whether they had been forgotten, to the end.
        """
        with self.database.write() as connection:
            mark = _mark(_key(self.database, connection), user_id)
            back = update(forgotten).where(forgotten.c.mark == mark, AWAY, forgotten.c.finished == 1)
            return bool(connection.execute(back.values(readmitted=1)).rowcount)

    def begin_removing(self, review_id: str) -> None:
        """Note that a review is to be removed: from now on it is not taken in, and nothing that rests on it is kept."""
        with self.database.write() as connection:
            mark = _mark(_key(self.database, connection), _named(review_id))
            values = {"mark": mark, "forgotten_at": int(time.time()), "finished": 1, "readmitted": 0}
            connection.execute(self.database.insert(forgotten).values(values).on_conflict_do_nothing())
            noted = self.database.insert(meta).values(name=f"{_REMOVING}{review_id}", value="")
            connection.execute(noted.on_conflict_do_nothing())

    def removing(self) -> list[str]:
        """The reviews whose removal has begun and not come to its end."""
        query = select(meta.c.name).where(meta.c.name.startswith(_REMOVING, autoescape=True))
        with self.database.read() as connection:
            return [name.removeprefix(_REMOVING) for name in connection.execute(query).scalars()]

    def end_removing(self, review_ids: Iterable[str]) -> None:
        """Note that nothing is left of these reviews."""
        with self.database.write() as connection:
            names = [f"{_REMOVING}{review_id}" for review_id in review_ids]
            connection.execute(delete(meta).where(meta.c.name.in_(names)))

    def learned_from(self, user_id: str) -> list[str]:
        """The adapter versions, and unfinished trainings, that learned from this user's data."""
        query = select(learned_from.c.version).order_by(learned_from.c.version)
        with self.database.read() as connection:
            key = _known_key(connection)
            mine = () if key is None else connection.execute(query.where(learned_from.c.mark == _mark(key, user_id)))
            return [row.version for row in mine]

    def forgotten_marks(self) -> Marks:
        """Those who were forgotten, to be recognised in what is no row of the store."""
        with self.database.read() as connection:
            return Marks(connection)

    def note_learning(self, run: str, users: Iterable[str]) -> None:
        """Note before a training begins whose data it learns from, and so whose its adapter will have seen.

        Args:
            run: What the training is called until its version is known (`add_adapter`).
            users: Their ids.

        Raises:
            UsageError: One of the users has been forgotten while the examples were made.
        """
        now, wanted = int(time.time()), set(users)
        with self.database.write() as connection:
            if forgotten_among(connection, wanted):
                raise forgotten_meanwhile()
            connection.execute(delete(learned_from).where(learned_from.c.version == run))
            key = _key(self.database, connection)
            rows = [{"version": run, "mark": _mark(key, user), "learned_at": now} for user in wanted]
            if rows:
                connection.execute(self.database.insert(learned_from).on_conflict_do_nothing(), rows)

    def saw_forgotten(self, version: str) -> int:
        """How many users an adapter version, or a training, learned from who have since been forgotten."""
        query = select(func.count()).select_from(_seen()).where(learned_from.c.version == version)
        with self.database.read() as connection:
            return connection.execute(query).scalar_one()

    def saw(self, user_id: str) -> list[str]:
        """The adapter versions, and unfinished trainings, that learned from this user's data before the forgetting."""
        query = select(learned_from.c.version).select_from(_seen()).order_by(learned_from.c.version)
        with self.database.read() as connection:
            key = _known_key(connection)
            if key is None:
                return []
            return list(connection.execute(query.where(learned_from.c.mark == _mark(key, user_id))).scalars())

    def spoilt(self, runs: Iterable[str]) -> list[str]:
        """Those of the versions or trainings that learned from users who have since been forgotten."""
        query = select(learned_from.c.version).select_from(_seen()).distinct()
        found: list[str] = []
        with self.database.read() as connection:
            for chunk in chunks(runs):
                found += connection.execute(query.where(learned_from.c.version.in_(chunk))).scalars()
        return found

    def drop_learning(self, run: str) -> None:
        """Take out what was noted of a training that came to nothing."""
        with self.database.write() as connection:
            connection.execute(delete(learned_from).where(learned_from.c.version == run))


class Marks:
    """The users who were forgotten and have not come back, as a snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._key = _known_key(connection)
        self._marks = set(connection.execute(select(forgotten.c.mark).where(AWAY)).scalars())

    def __bool__(self) -> bool:
        return bool(self._marks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Marks) and self._marks == other._marks

    def __hash__(self) -> int:
        return hash(frozenset(self._marks))

    def __contains__(self, user_id: str) -> bool:
        return self._key is not None and _mark(self._key, user_id) in self._marks


def rest_on(connection: Connection, user_ids: Iterable[str | None], review_ids: Iterable[str]) -> bool:
    """Whether all that something was made from is still there: what a forgetting has overtaken is not to be kept."""
    return not forgotten_among(connection, filter(None, user_ids)) and not gone_among(connection, review_ids)


def gone_among(connection: Connection, review_ids: Iterable[str]) -> set[str]:
    """Those of the reviews that are not there any more; none where nobody was ever forgotten."""
    gone = set(review_ids)
    if gone and connection.execute(select(exists(select(forgotten.c.mark)))).scalar_one():
        for chunk in chunks(tuple(gone)):
            gone -= set(connection.execute(select(reviews.c.review_id).where(reviews.c.review_id.in_(chunk))).scalars())
        return gone
    return set()


def turned_away(when: int) -> str:
    """Why something of a user is not taken in, and what to do where it should be."""
    return (
        f"its user asked to be forgotten on {day(when)}; where the user wants to come "
        "back, run `whylike profile readmit --user U` first"
    )


def removed(when: int) -> str:
    """Why a review is not taken in again, and what to do where it should be."""
    return (
        f"this review was removed at its user's wish on {day(when)}; where the user wants it back, it has to be "
        "written anew with `whylike review add`"
    )


def admitted(connection: Connection, new: Iterable[W], left_out: Callable[[W, str], None] | None) -> list[W]:
    """Those of the records that are not of users who were forgotten, and are not reviews that were removed.

    Args:
        connection: An open write transaction.
        new: What is to be written.
        left_out: Told of each other one, and why; None where it is an error.

    Raises:
        UsageError: There is one, and nobody to tell.
    """
    given = list(new)
    away = forgotten_among(connection, {each.user_id for each in given})
    gone = forgotten_among(connection, filter(None, map(_of_review, given)))
    kept = []
    for each in given:
        here = gone.get(_of_review(each))
        if each.user_id not in away and here is None:
            kept.append(each)
            continue
        why = removed(here) if here is not None else turned_away(away[each.user_id])
        if left_out is None:
            raise UsageError(f"this cannot be taken in: {why}")
        left_out(each, why)
    return kept


def turn_away(connection: Connection, user_id: str) -> None:
    """Refuse what is of a user who asked to be forgotten. Raises `UsageError`."""
    for when in forgotten_among(connection, [user_id]).values():
        raise UsageError(f"this cannot be taken in: {turned_away(when)}")


def forgotten_meanwhile() -> UsageError:
    """The error where a training has learned from somebody who is then forgotten."""
    return UsageError(
        "a user whose data this training learns from has asked to be forgotten since it began; run the same command "
        "again, and it does without"
    )


def forgotten_among(connection: Connection, user_ids: Iterable[str]) -> Mapping[str, int]:
    """Those of the users who were forgotten and have not come back, each with the time of it."""
    if not connection.execute(select(exists(select(forgotten.c.mark).where(AWAY)))).scalar_one():
        return {}
    key = _known_key(connection)
    assert key is not None  # nobody is forgotten without one
    by_mark = {_mark(key, user_id): user_id for user_id in user_ids}
    query = select(forgotten.c.mark, forgotten.c.forgotten_at).where(AWAY)
    return {by_mark[mark]: when for mark, when in connection.execute(query) if mark in by_mark}


def adopt(database: Database, connection: Connection, run: str, version: str, ancestors: Iterable[str]) -> None:
    """Have a training's version stand for it, now that there is one; what its ancestors saw it has seen as well."""
    for ancestor in (*ancestors, run):  # of what was seen twice the first time counts
        seen = select(literal(version), learned_from.c.mark, learned_from.c.learned_at)
        seen = seen.where(learned_from.c.version == ancestor)
        into = database.insert(learned_from).from_select(["version", "mark", "learned_at"], seen)
        connection.execute(into.on_conflict_do_nothing())
    connection.execute(delete(learned_from).where(learned_from.c.version == run))


def _seen() -> Join:
    """What was learned joined with the forgettings that came after it."""
    return learned_from.join(
        forgotten,
        (forgotten.c.mark == learned_from.c.mark) & (forgotten.c.forgotten_at >= learned_from.c.learned_at),
    )


def _of_review(record: Review | RatedPair) -> str:
    """What stands for a review among the users who are marked, whose ids have no such character; empty of a pair."""
    return _named(record.review_id) if isinstance(record, Review) else ""


def _named(review_id: str) -> str:
    return f"\0{review_id}"


def _mark(key: bytes, user_id: str) -> str:
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def _key(database: Database, connection: Connection) -> bytes:
    """The store's key, drawn where there is none yet."""
    chosen = database.insert(meta).values(name=_KEY, value=secrets.token_hex(32)).on_conflict_do_nothing()
    connection.execute(chosen)
    key = _known_key(connection)
    assert key is not None
    return key


def _known_key(connection: Connection) -> bytes | None:
    """The store's key, where one was drawn."""
    found = connection.execute(select(meta.c.value).where(meta.c.name == _KEY)).scalar_one_or_none()
    return None if found is None else bytes.fromhex(found)
