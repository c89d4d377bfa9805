"""The part of the store that the experts made: review summaries, profiles and the answers of expensive steps.

A write of a summary or a profile also notes in the outbox, in the same transaction, that the index has to follow it
(`index.py`).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from typing import TypeVar

from sqlalchemy import bindparam, delete, insert, select

from whylike.memory.database import Database, chunks
from whylike.memory.forgotten import forgotten_among, gone_among, rest_on
from whylike.memory.notice import notify
from whylike.memory.reviewed import add_missing
from whylike.memory.schema import Collection, answers, profiles, record, records, review_summaries, row
from whylike.records import Profile, Record, ReviewSummary, Side

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Record)


class Distilled:
    """What the experts made; a part of `Store`."""

    database: Database

    def add_summaries(self, new: Iterable[ReviewSummary]) -> None:
        """Add review summaries; the same adapter's later summary of a review replaces the earlier.

        One of a review that has been forgotten meanwhile is left out.

        Raises:
            StoreError: A summary's review is not in the store; none is added.
        """
        latest = {(each.review_id, each.adapter_version): each for each in new}
        if not latest:
            return
        upsert = self.database.insert(review_summaries)
        lists = {name: upsert.excluded[name] for name in ("likes", "dislikes", "preferences", "praise", "blame")}
        replace = upsert.on_conflict_do_update(index_elements=["review_id", "adapter_version"], set_=lists)
        with self.database.write() as connection:
            gone = gone_among(connection, {review_id for review_id, _ in latest})
            latest = {key: each for key, each in latest.items() if key[0] not in gone}
            for chunk in chunks({review_id for review_id, _ in latest}):
                query = select(review_summaries).where(review_summaries.c.review_id.in_(chunk))
                _drop_known(latest, records(ReviewSummary, connection.execute(query).mappings()))
            if latest:
                connection.execute(replace, [row(each) for each in latest.values()])
                notify(connection, Collection.SUMMARIES, latest)

    def summaries(self, review_ids: Iterable[str], adapter_version: str) -> dict[str, ReviewSummary]:
        """The adapter version's summaries of the reviews, by review id; reviews without one are left out."""
        version = review_summaries.c.adapter_version == adapter_version
        found: dict[str, ReviewSummary] = {}
        with self.database.read() as connection:
            for chunk in chunks(review_ids):
                query = select(review_summaries).where(review_summaries.c.review_id.in_(chunk), version)
                for summary in records(ReviewSummary, connection.execute(query).mappings()):
                    found[summary.review_id] = summary
        return found

    def summarized(self, review_ids: Iterable[str]) -> set[str]:
        """Those of the reviews that have a summary, by whatever adapter version."""
        found: set[str] = set()
        with self.database.read() as connection:
            for chunk in chunks(review_ids):
                query = select(review_summaries.c.review_id).where(review_summaries.c.review_id.in_(chunk)).distinct()
                found.update(connection.execute(query).scalars())
        return found

    def add_profiles(self, new: Iterable[Profile], made_of: Iterable[str] = ()) -> None:
        """Add profiles, with their users and items where these are missing.

        Those of users who were forgotten are left out, and all if one of the reviews that they were made of has gone.

        One whose side, subject, adapter version and source are there already replaces that and counts as the latest,
        but one that differs in nothing changes nothing.

        Args:
            new: The profiles.
            made_of: Ids of the reviews.
        """
        latest = {(each.side, each.subject_id, each.adapter_version, each.source): each for each in new}
        if not latest:
            return
        key = ("side", "subject_id", "adapter_version", "source")
        outdated = delete(profiles).where(*(profiles.c[name] == bindparam(f"old_{name}") for name in key))
        with self.database.write() as connection:
            if not rest_on(connection, [], made_of):
                return
            away = forgotten_among(connection, (subject for side, subject, *_ in latest if side is Side.USER))
            latest = {key: each for key, each in latest.items() if key[0] is Side.ITEM or key[1] not in away}
            for chunk in chunks({subject_id for _, subject_id, *_ in latest}):
                query = select(profiles).where(profiles.c.subject_id.in_(chunk))
                _drop_known(latest, records(Profile, connection.execute(query).mappings()))
            if latest:
                rows = [{**row(each), "created_at": int(time.time())} for each in latest.values()]
                subjects = {side: {each["subject_id"] for each in rows if each["side"] is side} for side in Side}
                add_missing(self.database, connection, subjects[Side.USER], subjects[Side.ITEM])
                connection.execute(outdated, [{f"old_{name}": each[name] for name in key} for each in rows])
                connection.execute(insert(profiles), rows)
                notify(connection, Collection.PROFILES, ((subject_id, side) for side, subject_id, *_ in latest))

    def profile(self, side: Side, subject_id: str, adapter_version: str, source: str) -> Profile | None:
        """The profile of this subject that this adapter version made from this source."""
        made = (profiles.c.adapter_version == adapter_version, profiles.c.source == source)
        query = select(profiles).where(profiles.c.side == side, profiles.c.subject_id == subject_id, *made)
        with self.database.read() as connection:
            found = connection.execute(query).mappings().first()
        return record(Profile, found) if found else None

    def latest_profile(self, side: Side, subject_id: str) -> Profile | None:
        """The profile of this subject that was added last, whatever made it."""
        query = select(profiles).where(profiles.c.side == side, profiles.c.subject_id == subject_id)
        with self.database.read() as connection:
            found = connection.execute(query.order_by(profiles.c.profile_id.desc()).limit(1)).mappings().first()
        return record(Profile, found) if found else None

    def profiles_of(self, side: Side, subject_id: str | None = None) -> list[Profile]:
        """All profiles of this subject, or of all on this side, the oldest first."""
        query = select(profiles).where(profiles.c.side == side).order_by(profiles.c.profile_id)
        if subject_id is not None:
            query = query.where(profiles.c.subject_id == subject_id)
        with self.database.read() as connection:
            return records(Profile, connection.execute(query).mappings())

    def answer(self, key: str) -> str | None:
        """The kept result of an expensive step, by its content's key."""
        with self.database.read() as connection:
            return connection.execute(select(answers.c.body).where(answers.c.key == key)).scalar_one_or_none()

    def keep_answer(
        self,
        key: str,
        kind: str,
        body: str,
        user_id: str | None = None,
        item_id: str | None = None,
        *,
        made_of: Iterable[str] = (),
    ) -> str:
        """Keep the result of an expensive step; of two results for one key the first stays, so that all agree on it.

        Args:
            key: The hash of all that it was made from.
            kind: Which step.
            body: The result.
            user_id: Whom it is about; of a user who has been forgotten meanwhile nothing is kept.
            item_id: What it is about.
            made_of: Ids of the reviews that it rests on; if one of them has gone meanwhile it is not kept.

        Returns:
            The result that stays.
        """
        values = {"key": key, "kind": kind, "user_id": user_id, "item_id": item_id, "body": body}
        with self.database.write() as connection:
            if not rest_on(connection, [user_id], made_of):
                return body
            connection.execute(
                self.database.insert(answers).values(created_at=int(time.time()), **values).on_conflict_do_nothing()
            )
            kept: str = connection.execute(select(answers.c.body).where(answers.c.key == key)).scalar_one()
        return kept


def _drop_known(new: dict[K, R], known: Iterable[R]) -> None:
    """Take out what is in the store just as it is: it need not be written or followed again."""
    same = set(known)
    for key in [key for key, each in new.items() if each in same]:
        del new[key]
