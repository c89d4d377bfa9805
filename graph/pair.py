"""One pair, end to end: a user and an item in, an explained rating out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StreamMode

from whylike.agents.calibration import Readout
from whylike.explanation import (
    AspectLists,
    Effect,
    Evidence,
    Explanation,
    ItemAspects,
    Profiles,
    Rating,
    Reason,
    SummaryLists,
)
from whylike.graph import nodes, teaching
from whylike.graph.services import Services
from whylike.graph.state import Event, PairState
from whylike.records import History, Preference, Review

__all__ = ["Event", "Services", "compiled", "explain", "explain_fully"]


@cache
def compiled() -> CompiledStateGraph[Any, Any, Any, Any]:
    """The state machine of a query; the two nodes of the teacher do nothing where it may not be asked."""
    graph = StateGraph(PairState, context_schema=Services)
    graph.add_node("recall", nodes.recall)
    graph.add_node("router", nodes.router)
    graph.add_node("summarize", nodes.summarize)
    graph.add_node("reread", teaching.reread)
    graph.add_node("profile", nodes.profile)
    graph.add_node("reason", nodes.reason)
    graph.add_node("ground", nodes.grounding)
    graph.add_node("predict", nodes.predict)
    graph.add_node("teacher", teaching.teacher)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "router")
    graph.add_edge("summarize", "reread")
    graph.add_edge("reread", "profile")
    graph.add_edge("profile", "reason")
    graph.add_edge("reason", "ground")
    graph.add_conditional_edges("ground", nodes.after_ground, ["reason", "predict"])
    graph.add_conditional_edges("predict", teaching.after_predict, ["teacher", END])
    return graph.compile()


def explain(
    services: Services,
    user_id: str,
    item_id: str,
    *,
    as_of: int | None = None,
    with_reason: bool = True,
    supposing: Sequence[Preference] = (),
    teacher: bool | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Explanation:
    """What this user would rate this item, and why.

    Args:
        services: The store and the experts.
        user_id: Need not be known: the answer then comes from the item's side, and says so.
        item_id: Need not be known either.
        as_of: Seconds since 1970; only what is earlier is used. Without it: the time of the user's own review of the
            item if there is one, else now.
        with_reason: Whether to give a reason; without one only the averages speak.
        supposing: What the user is supposed to have said of their own taste; of such an answer nothing is kept.
        teacher: Whether a teacher may be asked where the student is unsure; without it as the setting `teacher_live`
            has it. Where the teacher fails the answer is the student's, and says so.
        on_event: Told of progress and of the reason's text as it is written.

    Raises:
        StoreError: The store failed.
        EngineError: The model failed.
    """
    live = services.settings.teacher_live if teacher is None else teacher
    return explain_fully(
        services,
        user_id,
        item_id,
        as_of=as_of,
        with_reason=with_reason,
        supposing=supposing,
        teacher=live,
        on_event=on_event,
    )[0]


def explain_fully(
    services: Services,
    user_id: str,
    item_id: str,
    *,
    as_of: int | None = None,
    with_reason: bool = True,
    supposing: Sequence[Preference] = (),
    teacher: bool = False,
    on_event: Callable[[Event], None] | None = None,
    on_node: Callable[[str, float], None] | None = None,
) -> tuple[Explanation, Readout]:
    """As `explain`, but by the student alone unless told otherwise; and what its rating was made from.

    `on_node` is told of each node that ran, with the seconds that it took.
    """
    start: PairState = {
        "user_id": user_id,
        "item_id": item_id,
        "with_reason": with_reason,
        "teacher": teacher and with_reason and not supposing,
    }
    if as_of is not None:
        start["as_of"] = as_of
    if supposing:
        start["supposed"] = [each.model_dump(mode="json") for each in supposing]
    state: Any = {}
    done = 0
    began: dict[str, float] = {}
    with services.query():
        modes: list[StreamMode] = ["custom", "values", "tasks"]
        part: Any
        for mode, part in compiled().stream(start, context=services, stream_mode=modes):
            if mode == "values":
                state = part
            elif mode == "tasks":
                if "input" in part:
                    began[part["id"]] = time.perf_counter()
                elif on_node:
                    on_node(part["name"], time.perf_counter() - began[part["id"]])
            elif on_event:
                event = Event.model_validate(part)
                if event.node == "summarize":
                    done += event.done
                    event = event.model_copy(update={"done": done, "total": len(state["missing"])})
                on_event(event)
        return _explanation(services, state), Readout.model_validate(state["readout"])


def _explanation(services: Services, state: PairState) -> Explanation:
    known = History.model_validate(state["history"])
    nothing: dict[str, list[str]] = {"likes": [], "dislikes": []}
    profiles = state.get("profiles", {})
    grounded = state.get("reason")
    seconds = state["seconds"]
    return Explanation(
        user_id=known.user_id,
        item_id=known.item_id,
        as_of=known.before,
        rating=Rating.model_validate(state["rating"]),
        reason=Reason.model_validate(grounded) if grounded else None,
        profiles=Profiles(
            user=AspectLists.model_validate(profiles.get("user", nothing)),
            item=ItemAspects.model_validate({**profiles.get("item", nothing), "strategy": known.item_profile}),
        ),
        evidence=[
            evidence
            for review in (*known.user_reviews, *known.item_reviews)
            if (evidence := _evidence(review, state)) is not None
        ],
        stated=[Effect.model_validate(each) for each in state["stated"]],
        adapters={
            "summarizer": services.summarizer.version,
            "reasoner": state.get("reason_by", services.reasoner.version),
            "predictor": services.predictor.version,
        },
        engine=services.engine.name,
        seconds={
            "summarize": round(seconds.get("summarize", 0.0), 3),
            "reason": round(seconds.get("reason", 0.0), 3),
            "predict": round(seconds.get("predict", 0.0), 3),
            **({"teacher": round(seconds["teacher"], 3)} if "teacher" in seconds else {}),
        },
        notes=state["notes"],
    )


def _evidence(review: Review, state: PairState) -> Evidence | None:
    summary = state["summaries"].get(review.review_id)
    if summary is None:
        return None
    return Evidence(
        id=review.review_id,
        user_id=review.user_id,
        item_id=review.item_id,
        rating=int(review.rating) if review.rating.is_integer() else review.rating,
        timestamp=review.timestamp,
        summary=SummaryLists.model_validate({name: summary[name] for name in SummaryLists.model_fields}),
    )
