"""Reviews of the store as a teacher summarizes them, for `whylike train summarizer` and to measure it by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Protocol

from pydantic import Field

from whylike.adapters.training.examples import place
from whylike.agents.aspects import Lists
from whylike.agents.budget import Paid
from whylike.agents.recipe import digest
from whylike.errors import BudgetError, EngineError, UsageError
from whylike.graph.nodes import AT_ONCE
from whylike.graph.together import at_once
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.records import RatingScale, Record, Review, SummaryAnnotation

TRIES = 3
"""How often a teacher is asked for a summary that can be read."""
FEWEST = 5
"""Words of a review that is worth a teacher's time, at least."""
IN_A_ROW = 5
"""Reviews in a row, or all there are, for which the teacher fails and the run ends: it is not there, or refuses."""

KIND = "teacher summary"
"""What the answers are called in the store."""

Told = Callable[[int, int], None]
"""Told how many reviews are read, and how many there are."""


class Reads(Protocol):
    """A teacher that summarizes. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """Who writes, for the record."""
        ...

    @property
    def summary_mark(self) -> str:
        """The same and by what recipe: an answer by another one is asked for anew."""
        ...

    def summarize(self, review: Review, scale: RatingScale, *, number: int = 0) -> Lists | None:
        """What a review says, None where the answer cannot be read; the `number` of it makes it another one.

        Raises `EngineError`.
        """
        ...


class Annotated(Record):
    """The document that `whylike annotate summaries --json` prints: of all chosen reviews, whenever they were read."""

    teacher: str
    reviews: int
    read_now: int
    summarized: int = Field(description="Reviews that have a summary by this teacher")
    empty: int = Field(description="Reviews in which the teacher found nothing liked or disliked")
    failed: int = Field(description="Reviews without an answer that can be read; another run tries them again")
    unread: list[str] = Field(description="Ids of the reviews whose answers could not be read now")
    left: int = Field(description="Reviews that were not asked about yet")
    stopped: str = Field(description="Why the run ended before all were asked about; empty where it did not")
    why: str = Field(description="How asking failed for the last of them; empty where all that were asked answered")
    paid: Paid | None = Field(default=None, description="What this run took and cost")


def annotate_summaries(
    store: Store,
    teacher: Reads,
    reviews: Iterable[Review],
    *,
    workers: int = AT_ONCE,
    told: Told = lambda *_: None,
) -> Annotated:
    """Have a teacher summarize reviews; each answer is kept as soon as it is there.

    Args:
        store: Has the reviews, and keeps the summaries.
        teacher: Who reads.
        reviews: Of the store, each worth a teacher's time (`readable`).
        workers: Reviews that it is asked about at once.
        told: Told of progress.

    Raises:
        EngineError: The teacher failed several times in a row, or no answer can be read.
    """
    keys = {key_of(review, teacher.summary_mark): review for review in reviews}

    def keep(key: str, body: str) -> None:
        review = keys[key]
        if body:
            occasion = Occasion.of(review, teacher.summary_mark, Purpose.SUMMARIES)
            store.keep_summary(review.review_id, SummaryAnnotation.model_validate_json(body), teacher.name, occasion)
        kept[key] = body

    kept: dict[str, str] = {}
    for key in keys:
        if (body := store.answer(key)) is not None:
            keep(key, body)  # again: a run may have been killed before, or asked another teacher
    missing = [key for key in keys if key not in kept]
    unread: list[str] = []

    def read(key: str) -> EngineError | None:
        review = keys[key]
        try:
            annotation = _annotation(teacher, review, store.scale)
        except EngineError as error:
            return error
        if annotation is None:
            unread.append(review.review_id)
            return None
        made = annotation.model_dump_json() if annotation.likes or annotation.dislikes else ""
        made_of = [review.review_id]
        keep(key, store.keep_answer(key, KIND, made, review.user_id, review.item_id, made_of=made_of))
        return None

    failed, in_a_row, why, stopped = 0, 0, "", ""
    if missing:
        told(0, len(missing))
    try:
        with closing(at_once(read, missing, workers)) as answers:
            for done, error in enumerate(answers, start=1):
                told(done, len(missing))
                failed, in_a_row, why = (failed + 1, in_a_row + 1, str(error)) if error else (failed, 0, why)
                if in_a_row == IN_A_ROW or (in_a_row == len(missing) and not kept):
                    raise EngineError(f"{error}; {in_a_row} in a row failed, the summaries made before are kept")
    except BudgetError as error:
        stopped = str(error)
    if unread and not kept:
        raise EngineError(
            f"no answer by {teacher.name} has the three lists that it was asked for, of {len(unread)} reviews; set "
            "teacher_model to another model"
        )
    failed += len(unread)
    return Annotated(
        teacher=teacher.name,
        reviews=len(keys),
        read_now=sum(key in kept for key in missing) + failed,
        summarized=sum(map(bool, kept.values())),
        empty=list(kept.values()).count(""),
        failed=failed,
        unread=sorted(unread),
        left=len(keys) - len(kept) - failed,
        stopped=stopped,
        why=why,
    )


def key_of(review: Review, mark: str) -> str:
    """What a teacher's answer about a review is kept under: all that it depends on.

    Args:
        review: What it reads.
        mark: Who it is and by what recipe (`Reads.summary_mark`).
    """
    return digest([KIND, review.review_id, review.title, review.text, review.rating, mark])


def older(store: Store, limit: int, seed: int) -> list[Review]:
    """Readable reviews of the oldest eight tenths, by chance; a larger limit adds to those of a smaller one.

    Reviews of items that no training learns from are among them: `whylike evaluate summaries` measures by these.

    Args:
        store: Has the reviews.
        limit: Most reviews.
        seed: Which come first.

    Raises:
        UsageError: There are too few reviews, or none says anything.
    """
    ordered = sorted(split(store).training, key=lambda pair: place(pair.review_id, seed))
    found: list[Review] = []
    for begin in range(0, len(ordered), limit):
        ids = [pair.review_id for pair in ordered[begin : begin + limit]]
        found += filter(readable, store.reviews(ids))
        if len(found) >= limit:
            break
    if not found:
        raise UsageError(
            f"none of the older reviews in {store.database.name} has {FEWEST} words for a teacher to read; ingest "
            "reviews with texts, or name another store with --store"
        )
    return found[:limit]


def readable(review: Review) -> bool:
    """Whether a review says enough to be worth a teacher's time."""
    return len(review.text.split()) >= FEWEST


def _annotation(teacher: Reads, review: Review, scale: RatingScale) -> SummaryAnnotation | None:
    """What the teacher says of a review, asked until it can be read."""
    for number in range(TRIES):
        if (lists := teacher.summarize(review, scale, number=number)) is not None:
            return annotated(review, lists, scale)
    return None


def annotated(review: Review, lists: Lists, scale: RatingScale) -> SummaryAnnotation:
    """A review with what a teacher says of it."""
    return SummaryAnnotation(
        item_id=review.item_id,
        title=review.title,
        text=review.text,
        rating=review.rating,
        scale=scale,
        **lists._asdict(),
    )
