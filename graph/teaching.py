"""The teacher in a query: where the student is unsure and the user allows it, it summarizes or gives the reason.

What it writes is checked as the student's is, serves this answer at once, and is kept as an annotation. Its answers are
kept by what was asked, so that nothing is paid twice. Whatever fails, the answer is the student's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from whylike.agents import unsure
from whylike.agents.aspects import Lists
from whylike.agents.grounding import split_sentences
from whylike.agents.oncall import UnheardError
from whylike.agents.ratings import leaks
from whylike.agents.recipe import digest
from whylike.agents.router import Route
from whylike.agents.teacher import Given, Teacher, asked
from whylike.agents.unsure import Doubt
from whylike.explanation import Rating, Reason
from whylike.graph import sides
from whylike.graph.annotating import KIND, annotated, key_of
from whylike.graph.nodes import grounded_in, tell, timed
from whylike.graph.services import Services
from whylike.graph.state import Event, Json, PairState
from whylike.graph.together import at_once
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.records import History, Review, ReviewSummary, SummaryAnnotation

MOST = 2
"""Reviews that a teacher summarizes for one answer at most, the newest first; it is asked about all at once."""
LEAST = 1.0
"""Seconds that a teacher must have left to be asked."""
REASON = "teacher reason"
"""What its reasons are called in the store."""
UNREADABLE = "teacher summary unreadable"
"""What is kept of an answer about a review that could not be read."""


UNHEARD = "The teacher could not help"
"""How the note begins that it was asked, or would have been, in vain."""


def reread(state: PairState, runtime: Runtime[Services]) -> Json:
    """Have the teacher summarize reviews in which the student found nothing."""
    if not state.get("teacher"):
        return {}
    known = History.model_validate(state["history"])
    summaries = {id_: ReviewSummary.model_validate(made) for id_, made in state["summaries"].items()}
    empty = unsure.unread((*known.user_reviews, *known.item_reviews), summaries)[:MOST]
    return _summarize(empty, runtime) if empty else {}


def after_predict(state: PairState) -> Literal["teacher", "__end__"]:
    """Where the query goes from `predict`: to the teacher once, where the student is unsure and the user allows it."""
    return "teacher" if state.get("teacher") and not state.get("consulted") and _doubts(state) else "__end__"


def teacher(state: PairState, runtime: Runtime[Services]) -> Command[Literal["predict", "__end__"]]:
    """Have the teacher give the reason; with one that holds the rating is predicted again."""
    found = _explain(state, runtime)
    return Command(update={**found, "consulted": True}, goto="predict" if "reason" in found else "__end__")


@timed("teacher")
def _summarize(reviews: Sequence[Review], runtime: Runtime[Services]) -> Json:
    services = runtime.context
    tell(runtime, Event(node="teacher"))
    made: dict[str, Json] = {}

    def read(review: Review) -> str:
        try:
            by = services.on_call.teacher()
            annotation = _annotation(services, by, review)
        except UnheardError as error:
            return _unheard(error)
        [summary] = services.summarizer.checked([review], [_lists(annotation)], services.store.scale, by.summary_mark)
        if not (summary.likes or summary.dislikes):
            return ""
        occasion = Occasion.of(review, by.summary_mark, Purpose.LIVE_SUMMARY, Doubt.EMPTY)
        services.store.keep_summary(review.review_id, annotation, by.name, occasion)
        made[review.review_id] = summary.model_dump(mode="json")
        return f"A review was summarized by the teacher {by.name}, since {Doubt.EMPTY}."

    with closing(at_once(read, reviews, MOST)) as told:
        return {"notes": [note for note in dict.fromkeys(told) if note], "summaries": made}


def _annotation(services: Services, by: Teacher, review: Review) -> SummaryAnnotation:
    """What the teacher says of a review, as `whylike annotate summaries` keeps it; nothing where it is not readable."""
    store = services.store
    nothing = annotated(review, Lists((), (), ()), store.scale)
    key = key_of(review, by.summary_mark)
    unreadable = digest([UNREADABLE, key])
    if store.answer(unreadable) is not None:
        return nothing
    kept = store.answer(key)
    if kept is None:
        seconds = services.settings.teacher_patience
        lists = services.on_call.ask(lambda one: one.summarize(review, store.scale, seconds=seconds))
        if lists is None:
            store.keep_answer(unreadable, UNREADABLE, "", review.user_id, review.item_id)
            return nothing
        says = annotated(review, lists, store.scale).model_dump_json() if lists.likes or lists.dislikes else ""
        kept = store.keep_answer(key, KIND, says, review.user_id, review.item_id)
    return SummaryAnnotation.model_validate_json(kept) if kept else nothing


@timed("teacher")
def _explain(state: PairState, runtime: Runtime[Services]) -> Json:
    services = runtime.context
    known = History.model_validate(state["history"])
    given = _given(services, state, known)
    prompt, why = asked(given), _doubts(state)
    tell(runtime, Event(node="teacher"))
    try:
        by = services.on_call.teacher()
        key = digest([REASON, by.mark, prompt.model_dump(mode="json")])
        written = services.store.answer(key)
        if written is None:
            seconds = services.settings.teacher_patience - state["seconds"].get("teacher", 0.0)
            if seconds < LEAST:
                raise UnheardError("the time that it has for an answer was taken by summaries")
            text = services.on_call.ask(lambda one: one.reason(prompt, seconds))
            written = services.store.keep_answer(key, REASON, text, known.user_id, known.item_id)
    except UnheardError as error:
        # Once is enough: a failure over a summary is told already.
        return {"notes": [] if any(note.startswith(UNHEARD) for note in state["notes"]) else [_unheard(error)]}
    names = sides.named(services, state)
    said = split_sentences(written, names)
    clean = " ".join(one for one in said if not leaks(one, services.store.scale, names))
    grounded = grounded_in(services, state, clean, prompt.messages[0].content, free=True)
    if not grounded.sentences:
        return {"notes": [f"{UNHEARD}: no review bears out what {by.name} wrote. The answer is the student's."]}
    earlier = state["reason"]
    occasion = Occasion(
        teacher=by.mark,
        purpose=Purpose.LIVE_REASON,
        user_id=known.user_id,
        item_id=known.item_id,
        reviews=tuple(review.review_id for review in (*known.user_reviews, *known.item_reviews)),
        why="; ".join(why),
        instead=Reason.model_validate(earlier).text if earlier else "",
    )
    services.store.keep_reason(key, given.annotation(grounded.text), by.name, occasion)
    out = len(said) - len(grounded.sentences)
    left = f"; sentences left out, which no review bears out or may not be said: {out} of {len(said)}"
    return {
        "reason": grounded.model_dump(mode="json"),
        "reason_by": by.mark,
        "notes": [f"The reason was written by the teacher {by.name}, since {why[0]}{left if out else ''}."],
    }


def _doubts(state: PairState) -> tuple[Doubt, ...]:
    reason = state.get("reason")
    return unsure.doubts(
        Reason.model_validate(reason) if reason else None,
        Rating.model_validate(state["rating"]),
        Route(state["route"]),
        left_out=state.get("left_out", 0),
    )


def _lists(annotation: SummaryAnnotation) -> Lists:
    return Lists(annotation.likes, annotation.dislikes, annotation.preferences)


def _given(services: Services, state: PairState, known: History) -> Given:
    """What the teacher is given: the reviews' summaries and the profiles, but not what stands in for reviews."""
    user, item = (sides.summaries_of(state, reviews) for _, _, reviews, _ in known.sides)
    names = sides.names_of(services, known)
    return Given(
        item=services.store.item(known.item_id),
        user=[(names[summary.review_id], summary) for summary in user],
        others=item,
        profiles=sides.drawn_of(state),
    )


def _unheard(error: UnheardError) -> str:
    return f"{UNHEARD}: {error}. The answer is the student's."
