"""The part of the store about `whylike learn`: its runs, what came in since the last, and what none learns from."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Column, ColumnElement, Row, exists, func, insert, select, update

from whylike.memory.annotations import KINDS, Annotation, Occasion
from whylike.memory.arrivals import latest
from whylike.memory.database import Database
from whylike.memory.quoting import same_text
from whylike.memory.schema import frozen_examples, learned_from, learning_runs, records, reviews, teacher_annotations
from whylike.records import Expert, ReasonAnnotation, Record, SummaryAnnotation

BEGINNING = -1
"""Before all arrivals: those of before they were numbered stand at 0."""
Outcome = Literal["under way", "promoting", "promoted", "kept", "failed"]
"""Of a run. `promoting`: it was decided to, and the pointer may have moved; `kept`: what was live before stays."""


class LearningRun(Record):
    """A run of `whylike learn` for one expert."""

    run_id: int
    expert: Expert
    began_at: int
    ended_at: int | None = None
    since: int
    """The number of the latest arrival that was no news to it."""
    until: int
    """The number of the latest one that was."""
    parent: str | None = None
    """What was live when it began."""
    version: str | None = None
    """What it trained, from when that is in the registry."""
    outcome: Outcome = "under way"
    report: str = ""
    """As JSON what came of it (`graph.choosing.Outcome`); of one under way the notes of what was made for it, once all
    that it learns from is."""


class Arrived(NamedTuple):
    """A review, or an annotation, in the order in which it came in."""

    key: str
    user_id: str
    """Empty where it is not known."""
    item_id: str
    position: int
    """Its number; 0 of all that came before they were numbered."""
    judges: bool = True
    """Whether an adapter can be judged by it; else it is only learned from."""


class Learned:
    """The runs of `whylike learn`, and what they learn from; a part of `Store`."""

    database: Database

    def arrivals(self) -> int:
        """The number of the latest arrival."""
        with self.database.read() as connection:
            return latest(connection)

    def arrived_reviews(self, since: int = BEGINNING, until: int | None = None) -> Iterator[Arrived]:
        """The reviews that came in after one arrival, up to another one or to the latest, the newest arrival first."""
        return (each for each, _ in self._reviews(since, until))

    def worded_reviews(self, words: int, since: int = BEGINNING) -> Iterator[Arrived]:
        """The reviews that came in after an arrival whose text has so many words, in the order of `arrived_reviews`."""
        return (each for each, _ in self._worded(words, since))

    def unread_reviews(self, words: int, since: int = BEGINNING) -> Iterator[Arrived]:
        """Those of them whose text no teacher has summarized."""
        read = self.read_texts()
        return (each for each, text in self._worded(words, since) if same_text(text) not in read)

    def read_texts(self) -> set[str]:
        """The texts that a teacher has summarized, by `same_text`."""
        return {same_text(each.text) for each in self.arrived_summaries().values()}

    def _worded(self, words: int, since: int) -> Iterator[tuple[Arrived, str]]:
        for each, [text] in self._reviews(since, None, reviews.c.text):
            if len(text.split()) >= words:
                yield each, text

    def _reviews(self, since: int, until: int | None, *more: Column[str]) -> Iterator[tuple[Arrived, Sequence[str]]]:
        """The same reviews, each with more of it; few of them are in memory at a time."""
        number = func.coalesce(reviews.c.position, 0)
        query = select(reviews.c.review_id, reviews.c.user_id, reviews.c.item_id, number, *more)
        query = query.where(_after(reviews.c.position, since)).order_by(number.desc(), reviews.c.review_id.desc())
        if until is not None:
            query = query.where(number <= until)
        with self.database.read() as connection:
            for key, user_id, item_id, place, *rest in connection.execute(query.execution_options(yield_per=1000)):
                yield Arrived(key, user_id, item_id, place), rest

    def arrived_reasons(self, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """The teachers' reasons of the same arrivals, for whom they were written and about what, as far as is known."""
        return [
            Arrived(key, occasion.user_id if occasion else "", occasion.item_id if occasion else made.title, place)
            for key, place, made, occasion in self._reasons(since, until)
        ]

    def told_reasons(self, keys: Collection[str] | None = None) -> list[tuple[ReasonAnnotation, Occasion | None]]:
        """Teachers' reasons, all or those with these keys, each with its occasion: none where it came in a file."""
        return [(made, occasion) for key, _, made, occasion in self._reasons() if keys is None or key in keys]

    def arrived_summaries(self, since: int = BEGINNING, until: int | None = None) -> dict[str, SummaryAnnotation]:
        """The teachers' summaries of the same arrivals by key, in the order in which they came in."""
        return {key: body for key, (_, body) in self.numbered_summaries(since, until).items()}

    def numbered_summaries(
        self, since: int = BEGINNING, until: int | None = None
    ) -> dict[str, tuple[int, SummaryAnnotation]]:
        """The same with their numbers."""
        found = self._annotated(SummaryAnnotation, since, until)
        return {key: (place, SummaryAnnotation.model_validate_json(body)) for key, place, body, _ in found}

    def _reasons(
        self, since: int = BEGINNING, until: int | None = None
    ) -> list[tuple[str, int, ReasonAnnotation, Occasion | None]]:
        """Teachers' reasons with their keys, numbers and occasions."""
        return [
            (
                key,
                place,
                ReasonAnnotation.model_validate_json(body),
                Occasion.model_validate_json(occasion) if occasion else None,
            )
            for key, place, body, occasion in self._annotated(ReasonAnnotation, since, until)
        ]

    def _annotated(
        self, kind: type[Annotation], since: int, until: int | None
    ) -> Sequence[Row[str, int, str, str | None]]:
        """What came in of a kind: keys, numbers, bodies and occasions, in the order in which it did."""
        table = teacher_annotations
        number = func.coalesce(table.c.position, 0)
        query = select(table.c.annotation_id, number, table.c.body, table.c.occasion)
        query = query.where(table.c.kind == KINDS[kind], _after(table.c.position, since))
        if until is not None:
            query = query.where(number <= until)
        with self.database.read() as connection:
            return connection.execute(query.order_by(number, table.c.annotation_id)).all()

    def learned_here(self, version: str) -> bool:
        """Whether an adapter version was trained in this store."""
        with self.database.read() as connection:
            return bool(connection.execute(select(exists().where(learned_from.c.version == version))).scalar_one())

    def learning_runs(self, expert: Expert | None = None) -> list[LearningRun]:
        """The runs of one expert, or of all, oldest first."""
        query = select(learning_runs).order_by(learning_runs.c.run_id)
        if expert is not None:
            query = query.where(learning_runs.c.expert == expert)
        with self.database.read() as connection:
            return records(LearningRun, connection.execute(query).mappings())

    def begin_learning(self, expert: Expert, *, since: int, until: int, parent: str | None) -> LearningRun:
        """Note that a run begins."""
        values = {"since": since, "until": until, "parent": parent, "outcome": "under way", "report": ""}
        values |= {"expert": expert, "began_at": int(time.time())}
        with self.database.write() as connection:
            run_id = connection.execute(
                insert(learning_runs).values(values).returning(learning_runs.c.run_id)
            ).scalar_one()
            return LearningRun.model_validate({"run_id": run_id, **values})

    def go_on_learning(
        self, run: LearningRun, outcome: Outcome, *, version: str | None = None, report: str = ""
    ) -> LearningRun:
        """Note how far a run is; any outcome but those that leave something to do ends it."""
        ended = None if outcome in {"under way", "promoting"} else int(time.time())
        values = {"outcome": outcome, "version": version, "report": report, "ended_at": ended}
        with self.database.write() as connection:
            connection.execute(update(learning_runs).where(learning_runs.c.run_id == run.run_id).values(values))
        return run.model_copy(update=values)

    def frozen(self, expert: Expert) -> list[str]:
        """What an expert is judged by and never learns from, by key; of users who were forgotten nothing is left."""
        query = select(frozen_examples.c.key).where(frozen_examples.c.expert == expert)
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(frozen_examples.c.key)).scalars())

    def freeze(self, expert: Expert, chosen: Mapping[str, str]) -> None:
        """Settle for good what an expert is judged by: keys, each with whose it is; a second time changes nothing."""
        rows = [{"expert": expert, "key": key, "user_id": user_id} for key, user_id in chosen.items()]
        with self.database.write() as connection:
            settled = select(exists().where(frozen_examples.c.expert == expert))
            if rows and not connection.execute(settled).scalar_one():
                connection.execute(insert(frozen_examples), rows)


def learned_ranges(runs: Iterable[LearningRun]) -> list[tuple[int, int]]:
    """Between which arrivals (after the first, up to the second) later runs may find old examples.

    Those of before the first run, and those of runs that were promoted: what did harm once is not learned again.
    """
    ended = [run for run in runs if run.outcome in {"promoted", "kept"}]
    before = [(BEGINNING, ended[0].since)] if ended else []
    return [*before, *((run.since, run.until) for run in ended if run.outcome == "promoted")]


def _after(position: ColumnElement[int], since: int) -> ColumnElement[bool]:
    """Whether something came in after an arrival; told so that the index on the numbers is used."""
    return position > since if since >= 0 else func.coalesce(position, 0) > since
