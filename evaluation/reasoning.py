"""Reasons as `whylike explain` gives them for pairs whose rating is known, and what the Predictor makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from whylike.adapters.training.teach import held_out, reasons_to_learn
from whylike.agents import predictor
from whylike.agents.calibration import Readout
from whylike.agents.grounding import split_sentences
from whylike.agents.reasoner import quoted
from whylike.errors import UsageError
from whylike.evaluation.resampling import strangers
from whylike.explanation import Explanation, Reason
from whylike.graph import sides
from whylike.graph.pair import Event, explain_fully
from whylike.graph.services import Services
from whylike.memory.splits import sample, split
from whylike.memory.store import Store
from whylike.records import Review


class Reasoned(NamedTuple):
    """A review that was foretold."""

    review: Review
    written: tuple[str, ...]
    """The sentences that the Reasoner wrote, before any was taken out."""
    reason: Reason | None
    """As it is served."""
    titles: tuple[str, ...]
    """What the reason may call the items that it speaks of, the longest first."""
    evidence: tuple[str, ...]
    """The reviews that the reason could rest on."""
    readout: Readout
    """What its rating was made from."""
    own: frozenset[str] = frozenset()
    """The ids of those of them that the user wrote."""


class Readouts(NamedTuple):
    """What is read off the predicted distribution: its expectation, calibrated, and that of the model alone."""

    expectation: float
    uncalibrated_expectation: float


class Rated(NamedTuple):
    """What the Predictor makes of one pair with several reasons, everything else equal."""

    partner: int
    """The number of the other pair."""
    own: Readouts
    other: Readouts
    """With the reason of a pair of another user and another item."""
    reordered: Readouts | None
    """With the pair's own reason, its sentences the other way round; None where it has but one."""


def newest(store: Store, limit: int | None, seed: int) -> list[Review]:
    """The reviews with a text of the store's newest tenth (`splits.split`), or a sample of them, the same for one seed.

    Left out are items of which the store has reasons that a Reasoner may learn from.

    Raises:
        UsageError: The store has too few reviews, or none is left.
    """
    reasons = reasons_to_learn(store, store.told_reasons(), store.decisions().values())
    learned = {example.group for example in held_out(reasons)[0]}
    told = [review for review in store.reviews([pair.review_id for pair in split(store).test]) if review.text]
    if learned:  # by title, as a teacher's file has it, or by id
        items = {review.item_id: store.item(review.item_id) for review in told}
        titles = {item_id: item.title for item_id, item in items.items() if item}
        told = [each for each in told if not {each.item_id, titles.get(each.item_id)} & learned]
    if not told:
        raise UsageError(
            f"among the newest tenth of the reviews in {store.database.name} none has a text and is of an item that no "
            f"Reasoner may learn from ({len(learned)} items have reasons to learn from); ingest more reviews"
        )
    return told if limit is None else sample(told, limit, seed)


def reason_of(services: Services, review: Review) -> Reasoned:
    """What `whylike explain` says of the pair of a review, as of just before it was written.

    Raises `StoreError` or `EngineError`.
    """
    pieces: dict[str, str] = {"reason": "", "draft": ""}

    def heard(event: Event) -> None:
        if event.node in pieces:
            pieces[event.node] += event.text

    answer, readout = explain_fully(services, review.user_id, review.item_id, as_of=review.timestamp, on_event=heard)
    titles = _titles(services.store, review, answer)
    known = services.store.reviews([each.id for each in answer.evidence])
    return Reasoned(
        review=review,
        written=tuple(split_sentences(pieces["draft"] or pieces["reason"], titles)),
        reason=answer.reason if answer.reason and answer.reason.sentences else None,
        titles=titles,
        evidence=tuple(f"{each.title}. {each.text}" for each in known),
        readout=readout,
        own=frozenset(each.id for each in answer.evidence if each.user_id == review.user_id),
    )


def rate(
    services: Services, reasoned: Sequence[Reasoned], seed: int, told: Callable[[int, int], None]
) -> dict[int, Rated]:
    """Of each pair that has a reason the ratings with its own and with others, by its number; those with partners only.

    Raises `StoreError` or `EngineError`.
    """
    having = [number for number, each in enumerate(reasoned) if each.reason]
    keys = [key(reasoned[number].review) for number in having]
    partners = {having[row]: having[other] for row, other in strangers(keys, seed).items()}
    rated = {}
    for done, (number, partner) in enumerate(sorted(partners.items()), start=1):
        own, other = (_sentences(reasoned[each]) for each in (number, partner))
        each = reasoned[number]
        rated[number] = Rated(
            partner=partner,
            own=_readouts(services, each, " ".join(own)),
            other=_readouts(services, each, " ".join(other)),
            reordered=_readouts(services, each, " ".join(reversed(own))) if len(own) > 1 else None,
        )
        told(done, len(partners))
    return rated


def _sentences(each: Reasoned) -> list[str]:
    assert each.reason
    return [sentence.text for sentence in each.reason.sentences]


def key(review: Review) -> tuple[str, str]:
    """What two pairs of strangers do not share: the user, and the item."""
    return f"user {review.user_id}", f"item {review.item_id}"


def _readouts(services: Services, each: Reasoned, reason: str) -> Readouts:
    review, scale = each.review, services.store.scale
    known = sides.recalled(services, review.user_id, review.item_id, review.timestamp)
    answered = services.predictor.ask(reason, sides.dossier_of(services, known, reason), scale)
    rating = predictor.rate(each.readout.model_copy(update={"heard": answered}), services.calibrator())
    return Readouts(rating.expectation, rating.uncalibrated_expectation)


def _titles(store: Store, review: Review, answer: Explanation) -> tuple[str, ...]:
    items = {review.item_id, *(each.item_id for each in answer.evidence)}
    found = {quoted(item.title) for item_id in items if (item := store.item(item_id))}
    return tuple(sorted(found - {""}, key=lambda title: (-len(title), title)))
