"""The part of the store that takes a user out of it, or one review: what there is in SQL goes in one transaction.

Which tables hold something of a user is read off the schema: those that have a column `user_id`, and the few named
here. What rests on the user's reviews without being theirs goes too, since it may quote them: kept answers about the
items that they reviewed, these items' profiles, and what teachers wrote of the reviews. All of it is made anew when it
is next asked for, without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import chain

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, not_, or_, select

from whylike.memory.annotations import DECISION, KINDS, Occasion, summary_key
from whylike.memory.database import Database, chunks
from whylike.memory.importers.exp3rt import ADAPTER_VERSION as IMPORTED
from whylike.memory.quoting import Quoting, same_text
from whylike.memory.reviewed import DAY
from whylike.memory.schema import (
    INDEX,
    Collection,
    answers,
    forgotten,
    frozen_examples,
    items,
    meta,
    metadata,
    outbox,
    profiles,
    rating_totals,
    records,
    review_summaries,
    reviews,
    teacher_annotations,
    users,
)
from whylike.records import ReasonAnnotation, ReasonDecision, Review, Side, SummaryAnnotation

NAMES = {"review_summaries": "summaries", "answers": "kept answers", "frozen_examples": "examples to judge by"}
"""What tables are called to the user, where it is not their own name."""
ANNOTATIONS = "annotations"


class Erasing:
    """What there is of a user, and how it goes; a part of `Store`."""

    database: Database

    def held(self, user_id: str) -> dict[str, int]:
        """How much is stored about a user, by what it is; what rests on their reviews but is not theirs not counted."""
        with self.database.read() as connection:
            found = {
                NAMES.get(table.name, table.name.replace("_", " ")): connection.execute(
                    select(func.count()).select_from(table).where(theirs)
                ).scalar_one()
                for table, theirs in reversed(list(_rows(user_id)))
                if table is not users
            }
            return found | {ANNOTATIONS: len(_annotations(connection, _by(user_id), user_id, quoting=False))}

    def erase_review(self, review: Review) -> None:
        """Take out a review, and all that may quote it, in one transaction; `begin_removing` comes before."""
        this, user_id = reviews.c.review_id == review.review_id, review.user_id
        with self.database.write() as connection:
            _tell_index(connection, this, user_id)
            gone = _annotations(connection, this, None, quoting=True)
            for chunk in chunks(gone):
                connection.execute(delete(teacher_annotations).where(teacher_annotations.c.annotation_id.in_(chunk)))
            for chunk in chunks([*gone, review.review_id]):
                connection.execute(delete(frozen_examples).where(frozen_examples.c.key.in_(chunk)))
            about = or_(answers.c.item_id == review.item_id, answers.c.user_id == user_id)
            connection.execute(delete(answers).where(about))
            connection.execute(delete(profiles).where(or_(_of_items(this), _own_profile(user_id))))
            connection.execute(delete(review_summaries).where(review_summaries.c.review_id == review.review_id))
            connection.execute(delete(reviews).where(this))
            _total(connection, review.timestamp // DAY)

    def erase(self, user_id: str) -> None:
        """Take out all rows of a user, and those that may quote them, in one transaction.

        The index is told by the outbox. `begin_forgetting` comes before, so that nothing new arrives; when this is
        done, the user's id is kept no more.
        """
        theirs = _by(user_id)
        about = select(reviews.c.item_id).where(theirs)
        with self.database.write() as connection:
            _tell_index(connection, theirs, user_id)
            gone = _annotations(connection, theirs, user_id, quoting=True)
            for chunk in chunks(gone):
                connection.execute(delete(teacher_annotations).where(teacher_annotations.c.annotation_id.in_(chunk)))
                connection.execute(delete(frozen_examples).where(frozen_examples.c.key.in_(chunk)))  # nobody's by name
            connection.execute(delete(answers).where(answers.c.item_id.in_(about)))
            connection.execute(delete(profiles).where(_of_items(theirs)))
            days = {when // DAY for when in connection.execute(select(reviews.c.timestamp).where(theirs)).scalars()}
            for table, condition in _rows(user_id):
                connection.execute(delete(table).where(condition))
            for day in days:
                _total(connection, day)
            connection.execute(forgotten.update().where(forgotten.c.user_id == user_id).values(user_id=None))


def tables_of_users() -> list[Table]:
    """The tables that hold rows of users, those that others refer to last."""
    named = (review_summaries, profiles)
    return [
        table
        for table in reversed(metadata.sorted_tables)
        if table is not forgotten and (table in named or "user_id" in table.c)
    ]


def _rows(user_id: str) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Each table with rows of users, and which of its rows are this user's; in an order in which they can go."""
    written = select(reviews.c.review_id).where(reviews.c.user_id == user_id)
    for table in tables_of_users():
        if table is review_summaries:
            yield table, review_summaries.c.review_id.in_(written)
        elif table is profiles:
            yield table, _own_profile(user_id)
        else:
            yield table, table.c.user_id == user_id


def _by(user_id: str) -> ColumnElement[bool]:
    """The user's reviews."""
    return reviews.c.user_id == user_id


def _own_profile(user_id: str) -> ColumnElement[bool]:
    return (profiles.c.side == Side.USER) & (profiles.c.subject_id == user_id)


def _of_items(theirs: ColumnElement[bool]) -> ColumnElement[bool]:
    """The profiles of items that were drawn from reviews of which some are these; not those that were imported."""
    about = select(reviews.c.item_id).where(theirs)
    return (profiles.c.side == Side.ITEM) & (profiles.c.adapter_version != IMPORTED) & profiles.c.subject_id.in_(about)


def _tell_index(connection: Connection, theirs: ColumnElement[bool], user_id: str) -> None:
    """Have the index follow. Where none was ever made nobody would read these notes, and they would name the user."""
    written = select(reviews.c.review_id).where(theirs)
    mine = or_(
        (outbox.c.collection == Collection.SUMMARIES.value) & outbox.c.subject.in_(written),
        (outbox.c.collection == Collection.PROFILES.value) & (outbox.c.subject == user_id),
    )
    connection.execute(delete(outbox).where(mine))
    if connection.execute(select(meta.c.value).where(meta.c.name == INDEX)).first() is None:
        return
    summaries = select(review_summaries.c.review_id, review_summaries.c.adapter_version)
    summaries = summaries.where(review_summaries.c.review_id.in_(written))
    subjects = select(profiles.c.subject_id, profiles.c.side).where(or_(_own_profile(user_id), _of_items(theirs)))
    changed = chain(
        ((Collection.SUMMARIES, *row) for row in connection.execute(summaries).all()),
        ((Collection.PROFILES, *row) for row in connection.execute(subjects.distinct()).all()),
    )
    rows = [{"collection": kind.value, "subject": subject, "variant": variant} for kind, subject, variant in changed]
    if rows:
        connection.execute(insert(outbox), rows)


def _total(connection: Connection, day: int) -> None:
    """Add up a day's ratings anew."""
    within = reviews.c.timestamp.between(day * DAY, day * DAY + DAY - 1)
    count, total = connection.execute(select(func.count(), func.sum(reviews.c.rating)).where(within)).one()
    here = rating_totals.c.day == day
    if count:
        connection.execute(rating_totals.update().where(here).values(count=count, total=total))
    else:
        connection.execute(delete(rating_totals).where(here))


def _annotations(
    connection: Connection, theirs: ColumnElement[bool], user_id: str | None, *, quoting: bool
) -> list[str]:
    """What teachers wrote of some reviews, by key.

    Args:
        connection: Of the store.
        theirs: Which reviews these are.
        user_id: The user whose all they are, and for whom things were written as well; None where it is one review.
        quoting: Whether what quotes them is wanted too.
    """
    kinds = select(teacher_annotations.c.kind).distinct()
    if not connection.execute(kinds).first():
        return []
    mine = records(Review, connection.execute(select(reviews).where(theirs)).mappings())
    ids, about = {review.review_id for review in mine}, {review.item_id for review in mine}
    authors = {review.user_id for review in mine}
    texts = _own_texts(connection, theirs, mine)
    keys = {summary_key(review_id) for review_id in ids}
    found, reasons = [], {}
    columns = teacher_annotations.c
    rows = select(columns.annotation_id, columns.kind, columns.body, columns.occasion)
    for key, kind, body, occasion in connection.execute(rows.execution_options(yield_per=1000)):
        if occasion and _was_of(Occasion.model_validate_json(occasion), user_id, ids if quoting else set()):
            found.append(key)
            continue
        if kind == KINDS[SummaryAnnotation]:
            if key in keys or (texts and same_text(SummaryAnnotation.model_validate_json(body).text) in texts):
                found.append(key)
        elif kind == DECISION:
            decision = ReasonDecision.model_validate_json(body)
            # Of older decisions it is not known which reviews were told of.
            perhaps = decision.item_id in about or decision.user_id in authors
            read = not ids.isdisjoint({*decision.read, decision.review_id}) if decision.read else perhaps
            if decision.user_id == user_id or (quoting and read):
                found.append(key)
        elif quoting:
            reasons[key] = ReasonAnnotation.model_validate_json(body)
    return [*found, *_quoting(connection, theirs, mine, reasons)]


def _was_of(occasion: Occasion, user_id: str | None, review_ids: Set[str]) -> bool:
    """Whether a teacher wrote something for a user, or read one of these reviews for it."""
    return occasion.user_id == user_id or not review_ids.isdisjoint(occasion.reviews)


def _own_texts(connection: Connection, theirs: ColumnElement[bool], mine: list[Review]) -> set[str]:
    """What these say, by `same_text`, and no others: of two who wrote “Good.” only one is forgotten."""
    others: set[str] = set()
    for chunk in chunks({review.text for review in mine}):
        shared = select(reviews.c.text).where(reviews.c.text.in_(chunk), not_(theirs)).distinct()
        others.update(map(same_text, connection.execute(shared).scalars()))
    return {same_text(review.text) for review in mine} - others


def _quoting(
    connection: Connection, theirs: ColumnElement[bool], mine: list[Review], reasons: dict[str, ReasonAnnotation]
) -> list[str]:
    """The imported reasons, which name no user, that have the user's own words."""
    if not reasons or not mine:
        return []
    quoting = Quoting((f"{review.title}\n{review.text}" for review in mine), reasons)
    if quoting.suspected:
        others = select(reviews.c.title, reviews.c.text).where(not_(theirs))
        about = select(items.c.title, items.c.description)
        for query in (about, others):
            for title, text in connection.execute(query.execution_options(yield_per=1000)):
                quoting.discount(f"{title}\n{text}")
    return quoting.found()
