"""What the Predictor and the reward expert are taught with: pairs of the store, with reasons that the Reasoner gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from pydantic import JsonValue

from whylike.adapters.training.examples import Example
from whylike.adapters.training.ratings import (
    EVER,
    imported_examples,
    profile_example,
    rating_examples,
    reason_key,
    training_pairs,
)
from whylike.adapters.training.teach import HELD_OUT
from whylike.errors import UsageError
from whylike.graph import sides
from whylike.graph.pair import explain
from whylike.graph.services import Services
from whylike.graph.together import at_once
from whylike.memory.splits import Pair
from whylike.records import Expert, RatingScale

Told = Callable[[int, int], None]
"""Told how many pairs are done, and how many there are."""


def examples(
    services: Services,
    expert: Expert,
    *,
    limit: int | None,
    reasons: int,
    seed: int,
    other: RatingScale | None = None,
    told: Told = lambda *_: None,
) -> list[Example]:
    """What pairs of the store teach an expert.

    Args:
        services: The store and the experts.
        expert: The Predictor or the reward expert.
        limit: Most pairs; None for all.
        reasons: Pairs for which the Predictor shall have a reason; those that the store has no reason for get one.
        seed: Which pairs.
        other: A scale of other stores that the Predictor shall serve too: some pairs are told on it instead, and each
            with a reason once more, with profiles in place of its reviews.
        told: Told of the reasons' progress.

    Raises:
        UsageError: There are too few reviews, or the other scale is the store's own.
        EngineError: The Reasoner failed.
    """
    if other == services.store.scale:
        raise UsageError(f"{other} is the store's own scale, on which all pairs are told; name another one")
    pairs = training_pairs(services.store, HELD_OUT, limit, seed)
    if expert is Expert.PREDICTOR:
        give_reasons(services, pairs[:reasons], told)
    found = rating_examples(
        services.store,
        expert,
        pairs,
        reasoner=reasoner_of(services),
        mark=services.summarizer.mark,
        limit=services.settings.history,
        profile=services.settings.item_profile,
        other=other,
    )
    if other:
        found += profile_examples(services, pairs[:reasons], other)
    return [*found, *imported_examples(services.store, expert, services.settings.history)]


def made_with(
    services: Services, expert: Expert, *, limit: int | None, reasons: int, start: str | None = None
) -> dict[str, JsonValue]:
    """What an adapter's card says of how `examples` were made: versions, limits, and how late the latest of them are.

    Args:
        services: The store and the experts.
        expert: The Predictor or the reward expert.
        limit: Most pairs; None for all.
        reasons: Pairs for which the Predictor shall have a reason.
        start: The adapter that the training goes on from: what it learned counts too.
    """
    settings = services.settings
    told: dict[str, JsonValue] = {"limit": limit, "history": settings.history, "item_profile": settings.item_profile}
    told["arrivals"] = services.store.arrivals()
    if expert is Expert.PREDICTOR:
        told |= {"reasons": reasons, "reasoner": services.reasoner.mark, "summarizer": services.summarizer.mark}
    times = [pair.timestamp for pair in training_pairs(services.store, HELD_OUT, None, 0)]
    if start:
        times.append(services.registry.learned_until(start) or EVER)
    if times and (until := max(times)) < EVER:  # or nobody knows
        told["learned_until"] = until
    return told


def profile_examples(services: Services, pairs: Sequence[Pair], other: RatingScale) -> list[Example]:
    """What pairs that have a reason teach the Predictor as pairs of a store that has but profiles, on another scale.

    The profiles are those that `whylike explain` would have drawn just before the pair's review.
    """
    limit, mark = services.settings.history, services.summarizer.mark
    made = []
    for pair in pairs:
        reason = services.store.answer(reason_key(pair, reasoner_of(services), mark))
        past = sides.recalled(services, pair.user_id, pair.item_id, pair.timestamp)
        profiles = {}
        for side, _, reviews, _ in past.sides:
            kept = services.store.summaries([review.review_id for review in reviews], mark)
            if kept:
                profiles[side] = sides.profile_of(services, past, side, list(kept.values()), keep=False)
        if reason and profiles:
            made.append(profile_example(services.store, pair, past, profiles, reason, limit=limit, other=other))
    return made


def reasoner_of(services: Services) -> str:
    """What tells a reason that was given in the same way: the Reasoner's mark, and what it was given to read."""
    return f"{services.reasoner.mark}+{services.settings.history}+{services.settings.item_profile}"


def give_reasons(services: Services, pairs: Sequence[Pair], told: Told = lambda *_: None) -> int:
    """Have the store keep the reason of each pair, as of just before its review: what `whylike explain` would say.

    Each is kept as soon as it is there, so that a run that was killed goes on where it was.

    Returns:
        How many were given now.

    Raises:
        EngineError: The model failed.
    """
    keys = [reason_key(pair, reasoner_of(services), services.summarizer.mark) for pair in pairs]
    missing = [(pair, key) for pair, key in zip(pairs, keys, strict=True) if services.store.answer(key) is None]

    def give(wanted: tuple[Pair, str]) -> None:
        pair, key = wanted
        answer = explain(services, pair.user_id, pair.item_id, as_of=pair.timestamp, teacher=False)
        text = answer.reason.text if answer.reason else ""
        read = (pair.review_id, *(each.id for each in answer.evidence))
        services.store.keep_answer(key, "pair reason", text, pair.user_id, pair.item_id, made_of=read)

    if missing:
        told(0, len(missing))
    with services.query(), closing(at_once(give, missing)) as given:
        for done, _ in enumerate(given, start=1):
            told(done, len(missing))
    return len(missing)
