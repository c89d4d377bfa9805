"""The nodes of one pair's query. Each reads the state, does one step, and returns what it adds.

Expensive results are kept in the store under a hash of all that they were made from, so that a second query, or one
that goes on after a crash, reuses them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Literal, ParamSpec

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from whylike.agents import plans
from whylike.agents.calibration import Heard, readout
from whylike.agents.dossier import Dossier
from whylike.agents.grounding import ground, split_sentences
from whylike.agents.matching import Point
from whylike.agents.predictor import rate
from whylike.agents.reasoner import quoted
from whylike.agents.recipe import digest
from whylike.agents.router import Route, plan
from whylike.agents.standins import imported, rated
from whylike.agents.stated import replacing, shift
from whylike.explanation import Reason
from whylike.graph import sides
from whylike.graph.services import Services
from whylike.graph.state import Batch, Event, Json, PairState
from whylike.memory.history import general
from whylike.memory.nearest import not_found
from whylike.records import History, Preference, Profile, Side

AT_ONCE = 4
"""Reviews that one summarize node is sent; the engine joins what waits into larger batches."""

_log = logging.getLogger(__name__)

P = ParamSpec("P")


def timed(step: str) -> Callable[[Callable[P, Json]], Callable[P, Json]]:
    """Adds the seconds that a node took to those of its step."""

    def decorate(node: Callable[P, Json]) -> Callable[P, Json]:
        @wraps(node)
        def run(*args: P.args, **kwargs: P.kwargs) -> Json:
            start = time.perf_counter()
            return {**node(*args, **kwargs), "seconds": {step: time.perf_counter() - start}}

        return run

    return decorate


def recall(state: PairState, runtime: Runtime[Services]) -> Json:
    """Look up what is known of the pair before its time."""
    services = runtime.context
    store = services.store
    user_id, item_id = state["user_id"], state["item_id"]
    notes: list[str] = []
    now = services.now()
    as_of = state.get("as_of")
    own = store.review_of(user_id, item_id)
    if as_of is None:
        as_of = own.timestamp if own else now
        if own:
            notes.append(
                "The user has reviewed this item; the answer is as of just before, and does not use that review."
            )
    current = as_of >= now
    known = sides.recalled(services, user_id, item_id, as_of)
    stand_ins = imported(services.store, known)
    if stand_ins and not current:
        notes.append(
            "A profile was imported, but does not say when it was made: it is not used for a time in the past."
        )
        stand_ins = {}
    known = rated(known, stand_ins, services.settings.history)
    if supposed := [Preference.model_validate(each) for each in state.get("supposed", ())]:
        kept = replacing(known.stated, supposed, services.embedder)
        known = known.model_copy(update={"stated": (*supposed, *kept)})
    if state["with_reason"] and known.item_reviews and known.item_profile is not services.settings.item_profile:
        notes.append(
            "Nobody who reviewed the item before this time rated other items as the user did: "
            "in place of neighbours' reviews its newest ones were read."
        )
    read = (*known.user_reviews, *known.item_reviews) if state["with_reason"] or known.stated else ()
    found = store.summaries([review.review_id for review in read], services.summarizer.mark)
    return {
        "began": time.time(),
        "current": current,
        "as_of": as_of,
        "history": known.model_dump(mode="json"),
        "imported": {side.value: profile.model_dump(mode="json") for side, profile in stand_ins.items()},
        "summaries": {id_: summary.model_dump(mode="json") for id_, summary in found.items()},
        "notes": notes,
    }


def router(state: PairState, runtime: Runtime[Services]) -> Command[Literal["summarize", "reread", "predict"]]:
    """Choose the way by what is known, and send the query: to as many summarize nodes as needed, or past them."""
    services = runtime.context
    known = History.model_validate(state["history"])
    stand_ins = sides.profiles_of(state)
    read = (*known.user_reviews, *known.item_reviews) if state["with_reason"] else ()
    unread = [review.review_id for review in read if review.review_id not in state["summaries"]]
    way = plan(
        known,
        fresh=state["summaries"].keys(),
        summarized=services.store.summarized(unread) if unread else (),
        imported=stand_ins.keys(),
        with_reason=state["with_reason"],
    )
    _log.info("%s: %d reviews to summarize, %d of them again", way.route, len(way.missing), len(way.stale))
    goto: list[Send] | Literal["reread", "predict"]
    if not state["with_reason"]:
        goto = "predict"
    elif not way.missing:
        goto = "reread"
    else:
        starts = range(0, len(way.missing), AT_ONCE)
        goto = [Send("summarize", Batch(review_ids=list(way.missing[start : start + AT_ONCE]))) for start in starts]
    update = {
        "route": way.route.value,
        "missing": list(way.missing),
        "notes": _notes(services, known, way.route, stand_ins),
    }
    return Command(update=update, goto=goto)


def summarize(state: Batch, runtime: Runtime[Services]) -> Json:
    """Summarise reviews that have no summary yet, and keep the summaries."""
    services = runtime.context
    reviews = services.store.reviews(state["review_ids"])
    made = sides.summarize(services, reviews)
    tell(runtime, Event(node="summarize", done=len(made)))
    return {"summaries": {summary.review_id: summary.model_dump(mode="json") for summary in made}}


def profile(state: PairState, runtime: Runtime[Services]) -> Json:
    """Draw the summaries of either side together; a profile made from the same summaries is reused."""
    services = runtime.context
    known = History.model_validate(state["history"])
    stand_ins = sides.profiles_of(state)
    profiles = {}
    for side, _, reviews, _ in known.sides:
        made = sides.summaries_of(state, reviews)
        drawn = stand_ins.get(side) or sides.profile_of(services, known, side, made, keep=state["current"])
        profiles[side.value] = sides.drawn_with(services, known, drawn) if side is Side.USER else sides.plain(drawn)
    services.index.sync()
    return {"profiles": profiles, "seconds": {"summarize": time.time() - state["began"]}}


@timed("reason")
def reason(state: PairState, runtime: Runtime[Services]) -> Json:
    """Find where the two sides meet, and have the Reasoner say so; what a grammar holds streams out at once."""
    services = runtime.context
    known = History.model_validate(state["history"])
    if state["route"] == Route.NOTHING:
        return {"written": "", "told": "", "free": False, "points": []}
    asked = None
    said = sides.stated_of(services, state)
    if services.reasoner.taught and not state.get("held"):
        met = sides.meeting(services, known, *sides.evidence_of(services, state), said)
        plan = plans.drawn(met.item.title if met.item else "", met.points, met.stance, *sides.drawn_of(state))
        if plan.both:
            asked = plans.request(plan)
    if asked is None:
        met = sides.meeting(services, known, *sides.quoted_of(services, state), said)
        if not met.points:
            return {"written": "", "told": "", "free": False, "balance": met.balance, "points": []}
        newcomer = state["route"] == Route.NEW_USER
        names = sides.names_of(services, known)
        heeded = any(effect.shift for effect in said)
        asked = services.reasoner.request(met.points, met.stance, names, newcomer=newcomer, heeded=heeded)
    free = asked.grammar is None

    def say(text: str) -> None:
        tell(runtime, Event(node="draft" if free else "reason", text=text))

    key = _key("reason", services.reasoner.version, asked.model_dump(mode="json"))
    written = services.store.answer(key)
    if written is None:
        answer = services.reasoner.write(asked, say)
        written = plans.whole(answer.text) if free and answer.finish == "length" else answer.text
        whole = free or answer.finish == "stop"
        if whole and not state.get("supposed"):  # what the model's context cut off may come out whole another time
            written = services.store.keep_answer(
                key, "reason", written, known.user_id, known.item_id, made_of=sides.read_of(known)
            )
    else:
        say(written)
    return {
        "told": asked.prompt.messages[0].content,
        "free": free,
        "written": written,
        "balance": met.balance,
        "points": [] if free else [point.model_dump(mode="json") for point in met.points],
    }


@timed("reason")
def grounding(state: PairState, runtime: Runtime[Services]) -> Json:
    """Tie each sentence to the reviews it rests on; take out what states a rating or repeats the prompt."""
    if not state["written"]:
        return {"reason": None, "held": True}
    grounded = grounded_in(runtime.context, state, state["written"], state["told"], free=state["free"])
    if not grounded.sentences:
        return {"reason": None, "held": True}
    if state["free"]:
        tell(runtime, Event(node="reason", text=grounded.text))
    left_out = len(split_sentences(state["written"], sides.named(runtime.context, state))) - len(grounded.sentences)
    return {"reason": grounded.model_dump(mode="json"), "left_out": left_out}


def grounded_in(services: Services, state: PairState, written: str, told: str, *, free: bool) -> Reason:
    """What was written, with the reviews that each sentence rests on, without what may not be said.

    Args:
        services: The store and the index.
        state: What the query has read, and the points that a text was held to.
        written: The text.
        told: What its writer was asked, in words.
        free: Whether no grammar held it: then what rests on nothing is left out too.
    """
    known = History.model_validate(state["history"])
    user, item = (sides.evidence_of if free else sides.quoted_of)(services, state)
    ids = [review.review_id for review in (*known.user_reviews, *known.item_reviews)]

    def nearest(sentences: list[str]) -> list[list[tuple[str, float]]]:
        return services.index.nearest_summaries(
            services.embedder.embed(sentences), among=ids, adapter_version=services.summarizer.mark, k=len(ids)
        )

    about = services.store.item(known.item_id)
    return ground(
        written,
        [*user, *item],
        nearest,
        services.embedder,
        points=() if free else [Point.model_validate(point) for point in state["points"]],
        names=sides.names_of(services, known),
        about=quoted(about.title) if about else "",
        profiles=sides.stand_in_ids(state),
        prompt=told,
        strict=free,
    )


def after_ground(state: PairState) -> Literal["reason", "predict"]:
    """Where the query goes from `ground`: of what was written freely nothing was left, so a grammar has to hold it."""
    return "reason" if state["free"] and not state["reason"] else "predict"


@timed("predict")
def predict(state: PairState, runtime: Runtime[Services]) -> Json:
    """Rate, by the averages and by what the grounded reason says, calibrated where that was learned."""
    services = runtime.context
    known = History.model_validate(state["history"])
    grounded = state.get("reason")
    text = str(grounded["text"]) if grounded else None
    everything = general(services.store, known.user_id, known.item_id, known.before)
    scale = services.store.scale
    dossier = sides.dossier_of(services, known, text, sides.profiles_of(state))
    answered = heard(services, text, dossier, keep=not state.get("supposed"))
    said = sides.stated_of(services, state)
    found = readout(known, everything, scale, answered, state["balance"] if text else None).model_copy(
        update={"stated": shift(said, scale)}
    )
    tell(runtime, Event(node="predict", done=1, total=1))
    rating = rate(found, services.calibrator_as_of(known))
    return {
        "readout": found.model_dump(mode="json"),
        "rating": rating.model_dump(mode="json"),
        "stated": [each.model_dump(mode="json") for each in said],
    }


def heard(services: Services, text: str | None, known: Dossier, *, keep: bool = True) -> Heard | None:
    """What the model answers to a reason, from the store if it was asked before; None where it is not asked.

    Args:
        services: The store and the Predictor.
        text: The reason; without one only a taught Predictor is asked.
        known: What it is told of the pair (`sides.dossier_of`).
        keep: Whether to keep the answer in the store.
    """
    asked = services.predictor.requests(text, known, services.store.scale)
    if not asked:
        return None
    key = _key("readout", services.predictor.version, [each.model_dump(mode="json") for each in asked])
    kept = services.store.answer(key)
    if kept is None:
        answered = services.predictor.hear(asked)
        if not keep:
            return answered
        kept = services.store.keep_answer(
            key,
            "readout",
            answered.model_dump_json(),
            known.history.user_id,
            known.history.item_id,
            made_of=sides.read_of(known.history),
        )
    return Heard.model_validate_json(kept)


def tell(runtime: Runtime[Services], event: Event) -> None:
    """Stream what is going on."""
    runtime.stream_writer(event.model_dump(mode="json"))


def _key(kind: str, version: str, made_from: object) -> str:
    return digest([kind, version, made_from])


def _notes(services: Services, known: History, way: Route, imported: Mapping[Side, Profile]) -> list[str]:
    notes = []
    if way in {Route.NEW_USER, Route.NOTHING}:
        left = "the answer rests on what others say"
        if way is Route.NOTHING:
            rated = general(services.store, known.user_id, known.item_id, known.before).count
            left = "only the general mean is left" if rated else "there are no ratings to go by: any is as likely"
        own = services.store.review_of(known.user_id, known.item_id)
        others = "no reviews of anything else" if own and own.timestamp < known.before else "no reviews"
        told = f"The user has {others} before this time, so {left}"
        if not services.store.has_user(known.user_id):
            told += f" ({not_found(services.store, Side.USER, known.user_id)})"
        notes.append(f"{told}.")
    if services.store.item(known.item_id) is None:
        notes.append(f"Nothing is known about the item ({not_found(services.store, Side.ITEM, known.item_id)}).")
    elif way in {Route.NEW_ITEM, Route.NOTHING}:
        notes.append("Nobody else has reviewed the item before this time.")
    if imported:
        notes.append(
            "A profile was imported ready-made and does not say when it was made: it may know of later reviews. "
            "Sentences that rest on it name it, not a review."
        )
    scale = services.store.scale
    if not services.predictor.knows(scale):
        notes.append(
            f"The Predictor {services.predictor.version} was not taught on ratings from {scale.minimum:g} to "
            f"{scale.maximum:g}: the averages alone foretell. `whylike train predictor` teaches one on the store's own."
        )
    return notes
