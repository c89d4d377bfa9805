"""The nodes of one pair's query. Each reads the state, does one step, and returns what it adds.

Expensive results are kept in the store under a hash of all that they were made from, so that a second query, or one
that goes on after a crash, reuses them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Literal, ParamSpec

from langgraph.runtime import Runtime
from langgraph.types import Send

from whylike.agents.grounding import ground
from whylike.agents.matching import Sides, balance, points
from whylike.agents.reasoner import quoted
from whylike.agents.router import Route, route
from whylike.graph.services import Services
from whylike.graph.state import Batch, Event, Json, PairState
from whylike.memory.history import general, history
from whylike.memory.nearest import not_found
from whylike.records import History, Profile, Rated, Review, ReviewSummary, Side

AT_ONCE = 4
"""Reviews that one summarize node is sent; the engine joins what waits into larger batches."""
READY_MADE = "imported:exp3rt"
"""Adapter version of profiles that came with imported data."""

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
    """Look up what is known of the pair before its time, and choose the way."""
    services = runtime.context
    store = services.store
    user_id, item_id = state["user_id"], state["item_id"]
    notes: list[str] = []
    as_of = state.get("as_of")
    own = store.review_of(user_id, item_id)
    if as_of is None:
        as_of = own.timestamp if own else services.now()
        if own:
            notes.append(
                "The user has reviewed this item; the answer is as of just before, and does not use that review."
            )
    known = history(store, user_id, item_id, as_of, services.settings.history)
    ready = {side: _ready_made(services, side, id_) for side, id_ in ((Side.USER, user_id), (Side.ITEM, item_id))}
    known = known.model_copy(
        update={
            "user_rated": _rated(known.user_rated, ready[Side.USER], services),
            "item_rated": _rated(known.item_rated, ready[Side.ITEM], services),
        }
    )
    way = route(known, user_profiled=ready[Side.USER] is not None, item_profiled=ready[Side.ITEM] is not None)
    notes += _notes(services, known, way, ready)
    reviews = [*known.user_reviews, *known.item_reviews] if state["with_reason"] else []
    found = store.summaries([review.review_id for review in reviews], services.summarizer.version)
    return {
        "began": time.perf_counter(),
        "current": as_of >= services.now(),
        "as_of": as_of,
        "route": way.value,
        "history": known.model_dump(mode="json"),
        "summaries": {id_: summary.model_dump(mode="json") for id_, summary in found.items()},
        "missing": [review.review_id for review in reviews if review.review_id not in found],
        "notes": notes,
    }


def spread(state: PairState) -> list[Send] | Literal["profile", "predict"]:
    """Where the query goes after recall: to as many summarize nodes as needed, or past them."""
    if not state["with_reason"]:
        return "predict"
    missing = state["missing"]
    if not missing:
        return "profile"
    return [
        Send("summarize", Batch(review_ids=missing[start : start + AT_ONCE]))
        for start in range(0, len(missing), AT_ONCE)
    ]


def summarize(state: Batch, runtime: Runtime[Services]) -> Json:
    """Summarise reviews that have no summary yet, and keep the summaries."""
    services = runtime.context
    reviews = services.store.reviews(state["review_ids"])
    made = services.summarizer.summarize(reviews, services.store.scale)
    services.store.add_summaries(made)
    _tell(runtime, Event(node="summarize", done=len(made)))
    return {"summaries": {summary.review_id: summary.model_dump(mode="json") for summary in made}}


def profile(state: PairState, runtime: Runtime[Services]) -> Json:
    """Draw the summaries of either side together; a profile made from the same summaries is reused."""
    services = runtime.context
    known = History.model_validate(state["history"])
    profiles = {}
    for side, subject_id, reviews in _both(known):
        if not reviews and (ready := _ready_made(services, side, subject_id)):
            made = ready
        else:
            made = _profile(services, side, subject_id, _summaries(state, reviews), keep=state["current"])
        profiles[side.value] = {"likes": list(made.likes), "dislikes": list(made.dislikes)}
    services.index.sync()
    return {"profiles": profiles, "seconds": {"summarize": time.perf_counter() - state["began"]}}


@timed("reason")
def reason(state: PairState, runtime: Runtime[Services]) -> Json:
    """Find where the two sides meet, and have the Reasoner say so; the text streams out as it is written."""
    services = runtime.context
    known = History.model_validate(state["history"])
    if state["route"] == Route.NOTHING:
        return {"written": "", "told": ""}
    user, item = _sides(state, services)
    items = {review.item_id for review in known.user_reviews} | {known.item_id}
    found = {item_id: known_item for item_id in items if (known_item := services.store.item(item_id))}
    texts = {
        item_id: ". ".join([*about.categories, about.description])
        for item_id, about in found.items()
        if about.categories or about.description
    }
    chosen = points(Sides(known, user, item, texts, services.store.scale), services.embedder)
    titles = {item_id: about.title for item_id, about in found.items()}
    weight = balance(chosen, item)
    asked = services.reasoner.request(chosen, weight, titles, newcomer=state["route"] == Route.NEW_USER)
    key = _key("reason", services.reasoner.version, asked.model_dump(mode="json"))
    written = services.store.answer(key)
    if written is None:
        answer = services.reasoner.write(asked, lambda text: _tell(runtime, Event(node="reason", text=text)))
        written = answer.text
        if answer.finish == "stop":  # what the model's context cut off may come out whole another time
            services.store.keep_answer(key, "reason", written, known.user_id, known.item_id)
    else:
        _tell(runtime, Event(node="reason", text=written))
    return {
        "told": asked.prompt.messages[0].content,
        "written": written,
    }


@timed("reason")
def grounding(state: PairState, runtime: Runtime[Services]) -> Json:
    """Tie each sentence to the reviews it rests on; take out what states a rating or repeats the prompt."""
    services = runtime.context
    if not state["written"]:
        return {"reason": None}
    known = History.model_validate(state["history"])
    user, item = _sides(state, services)
    ids = [review.review_id for review in (*known.user_reviews, *known.item_reviews)]

    def nearest(sentences: list[str]) -> list[list[tuple[str, float]]]:
        return services.index.nearest_summaries(
            services.embedder.embed(sentences), among=ids, adapter_version=services.summarizer.version, k=3
        )

    names = {
        review.review_id: quoted(found.title)
        for review in known.user_reviews
        if (found := services.store.item(review.item_id)) and found.title
    }
    grounded = ground(state["written"], [*user, *item], nearest, names=names, prompt=state["told"])
    return {"reason": grounded.model_dump(mode="json") if grounded.sentences else None}


@timed("predict")
def predict(state: PairState, runtime: Runtime[Services]) -> Json:
    """Rate, by the averages and by what the grounded reason says."""
    services = runtime.context
    known = History.model_validate(state["history"])
    grounded = state.get("reason")
    text = str(grounded["text"]) if grounded else None
    everything = general(services.store, known.user_id, known.item_id, known.before)
    scale = services.store.scale
    averages = [rated.model_dump() for rated in (known.user_rated, known.item_rated, everything)]
    key = _key("rating", services.predictor.version, [text, averages, str(scale), services.predictor.recipe])
    kept = services.store.answer(key)
    if kept is None:
        kept = services.predictor.predict(text, known, everything, scale).model_dump_json()
        services.store.keep_answer(key, "rating", kept, known.user_id, known.item_id)
    _tell(runtime, Event(node="predict", done=1, total=1))
    return {"rating": json.loads(kept)}


def _tell(runtime: Runtime[Services], event: Event) -> None:
    runtime.stream_writer(event.model_dump(mode="json"))


def _key(kind: str, version: str, made_from: object) -> str:
    told = json.dumps([kind, version, made_from], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _ready_made(services: Services, side: Side, subject_id: str) -> Profile | None:
    """The profile that came with imported data; one that was made since does not hide it from an earlier time."""
    return services.store.profile(side, subject_id, READY_MADE, "")


def _rated(rated: Rated, ready: Profile | None, services: Services) -> Rated:
    """The averages; where there are no ratings, the average that came with a ready-made profile."""
    if rated.count or ready is None or ready.average is None:
        return rated
    return Rated(count=services.settings.history, average=ready.average)


def _notes(services: Services, known: History, way: Route, ready: dict[Side, Profile | None]) -> list[str]:
    notes = []
    if way in {Route.NEW_USER, Route.NOTHING}:
        left = "the answer rests on what others say" if way is Route.NEW_USER else "only the general mean is left"
        told = f"The user has no reviews before this time, so {left}"
        if not services.store.has_user(known.user_id):
            told += f" ({not_found(services.store, Side.USER, known.user_id)})"
        notes.append(f"{told}.")
    if services.store.item(known.item_id) is None:
        notes.append(f"Nothing is known about the item ({not_found(services.store, Side.ITEM, known.item_id)}).")
    elif way in {Route.NEW_ITEM, Route.NOTHING}:
        notes.append("Nobody else has reviewed the item before this time.")
    reviewed = {Side.USER: known.user_reviews, Side.ITEM: known.item_reviews}
    if any(ready[side] and not reviewed[side] for side in reviewed):
        notes.append(
            "A profile came ready-made with the imported data, which does not say when it was made: it may know of "
            "later reviews. Sentences that rest on it name it, not a review."
        )
    return notes


def _both(known: History) -> tuple[tuple[Side, str, tuple[Review, ...]], ...]:
    """Either side of a pair: whose it is, and the reviews that are known of it."""
    return (Side.USER, known.user_id, known.user_reviews), (Side.ITEM, known.item_id, known.item_reviews)


def _summaries(state: PairState, reviews: Sequence[Review]) -> list[ReviewSummary]:
    made = state["summaries"]
    return [ReviewSummary.model_validate(made[review.review_id]) for review in reviews if review.review_id in made]


def _sides(state: PairState, services: Services) -> tuple[list[ReviewSummary], list[ReviewSummary]]:
    """The evidence of the user's side and of the item's; a ready-made profile stands in where there are no reviews."""
    known = History.model_validate(state["history"])
    sides = []
    for side, subject_id, reviews in _both(known):
        found = _summaries(state, reviews)
        if not reviews and (ready := _ready_made(services, side, subject_id)):
            stand_in = ReviewSummary(
                review_id=f"profile:{side}:{subject_id}",
                likes=ready.likes,
                dislikes=ready.dislikes,
                adapter_version=ready.adapter_version,
            )
            found = [stand_in]
        sides.append(found)
    return sides[0], sides[1]


def _profile(services: Services, side: Side, subject_id: str, made: Sequence[ReviewSummary], *, keep: bool) -> Profile:
    """The profile that these summaries add up to, from the store if they are the same as before.

    A profile as of the past is not kept: the newest kept one is what `whylike profile show` shows.
    """
    version = services.summarizer.version
    source = _key("profile", version, [summary.model_dump(mode="json") for summary in made])
    found = services.store.profile(side, subject_id, version, source)
    if found is None:
        found = services.summarizer.profile(side, subject_id, made, source)
        if made and keep:
            services.store.add_profiles([found])
    return found
