"""The two sides of a pair in a query's state: whose they are, what is summarized of them, and their profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from whylike.agents import stated
from whylike.agents.calibration import readout
from whylike.agents.dossier import Dossier, dossier
from whylike.agents.matching import Point, Sides, balance, points
from whylike.agents.plans import Stance, leaning, led, stance
from whylike.agents.reasoner import called, quoted
from whylike.agents.recipe import digest
from whylike.explanation import AspectLists, Effect
from whylike.graph.services import Services
from whylike.graph.state import Json, PairState
from whylike.memory.history import general, history
from whylike.records import History, Item, ItemProfile, Profile, Review, ReviewSummary, Side


class Meeting(NamedTuple):
    """Where the two sides of a pair meet, and what a reason makes of that."""

    points: tuple[Point, ...]
    balance: float
    """How far the points speak for the item."""
    stance: Stance
    """The way that the reason goes."""
    item: Item | None
    """What is known of the item itself."""


def recalled(services: Services, user_id: str, item_id: str, before: int) -> History:
    """What may be known of a pair before a time, as the settings have it."""
    settings = services.settings
    return history(services.store, user_id, item_id, before, settings.history, item_profile=settings.item_profile)


def read_of(known: History) -> tuple[str, ...]:
    """The ids of the reviews that are known of a pair: what is made of them is not kept once one has been forgotten."""
    return tuple(review.review_id for review in (*known.user_reviews, *known.item_reviews))


def profiles_of(state: PairState) -> dict[Side, Profile]:
    """The imported profiles that stand in for reviews in this query."""
    return {Side(side): Profile.model_validate(profile) for side, profile in state["imported"].items()}


def summaries_of(state: PairState, reviews: Sequence[Review]) -> list[ReviewSummary]:
    """The summaries of these reviews, as far as the query has them."""
    made = state["summaries"]
    return [ReviewSummary.model_validate(made[review.review_id]) for review in reviews if review.review_id in made]


def evidence_of(services: Services, state: PairState) -> tuple[list[ReviewSummary], list[ReviewSummary]]:
    """What the user's side and the item's rest on: summaries of reviews, or an imported profile in their place.

    What the user said of their own taste is among it, and what that contradicts is not.
    """
    return _heeded(services, state, *_evidence(state))


def quoted_of(services: Services, state: PairState) -> tuple[list[ReviewSummary], list[ReviewSummary]]:
    """The same in the reviewers' own words, which alone may stand in quotation marks."""
    user, item = _evidence(state)
    return _heeded(services, state, *([summary.quoted() for summary in side] for side in (user, item)))


def stated_of(services: Services, state: PairState) -> list[Effect]:
    """What the user said of their own taste, and what it does to the rating of the item."""
    known = History.model_validate(state["history"])
    if not known.stated:
        return []
    user, _ = _evidence(state)
    own = [summary.quoted() for summary in user]
    about = described(services.store.item(known.item_id))
    scale, embedder = services.store.scale, services.embedder
    return stated.effects(known.stated, own, known.item_reviews, about, scale=scale, embedder=embedder)


def described(item: Item | None) -> str:
    """What is known of an item beside what reviews say."""
    return " ".join([*item.categories, item.description]) if item else ""


def drawn_with(services: Services, known: History, profile: Profile) -> Json:
    """A user's profile as it stands in the published document, what they said of their own taste first."""
    if not known.stated:
        return plain(profile)
    [said] = stated.heeded([_stand_in(Side.USER, profile)], known.stated, services.embedder, own=True)
    told = stated.tastes(known.stated)
    return {
        "likes": [*(like for each in told for like in each.likes), *said.likes],
        "dislikes": [*(dislike for each in told for dislike in each.dislikes), *said.dislikes],
    }


def dossier_of(
    services: Services, known: History, reason: str | None, imported: Mapping[Side, Profile] | None = None
) -> Dossier:
    """What the Predictor is told of a pair; of one that was not taught only the history is asked for.

    Where there is a reason the reviews have summaries; otherwise their words are shown, as in training.
    """
    if not services.predictor.taught:
        return Dossier(known)
    return dossier(services.store, known, services.summarizer.mark if reason else "", imported)


def meeting(
    services: Services,
    known: History,
    user: Sequence[ReviewSummary],
    item: Sequence[ReviewSummary],
    said: Sequence[Effect] = (),
) -> Meeting:
    """Where the two sides of a pair meet, as far as their summaries and what the user `said` of their taste tell."""
    items = {review.item_id for review in known.user_reviews} | {known.item_id}
    found = {item_id: known_item for item_id in items if (known_item := services.store.item(item_id))}
    texts = {
        item_id: ". ".join([*about.categories, about.description])
        for item_id, about in found.items()
        if about.categories or about.description
    }
    scale = services.store.scale
    titles = [about.title for about in found.values() if about.title]
    found_points = points(Sides(known, user, item, texts, scale, titles), services.embedder)
    weight = leaning(balance(found_points, item), found_points)
    everything = general(services.store, known.user_id, known.item_id, known.before)
    rated = everything.count or known.user_rated.count or known.item_rated.count
    foretold = readout(known, everything, scale).bias + stated.shift(said, scale)
    chosen, way = led(found_points, stance(weight, scale.place(foretold) if rated or said else None))
    return Meeting(chosen, weight, way, found.get(known.item_id))


def names_of(services: Services, known: History) -> dict[str, str]:
    """For each review by the user what a reason calls its item."""
    items = {review.item_id: services.store.item(review.item_id) for review in known.user_reviews}
    titles = {item_id: item.title for item_id, item in items.items() if item}
    return {review.review_id: called(titles.get(review.item_id, ""), review.timestamp) for review in known.user_reviews}


def named(services: Services, state: PairState) -> set[str]:
    """What a reason calls the items of this pair: the one that it is about, and those that the user reviewed."""
    known = History.model_validate(state["history"])
    about = services.store.item(known.item_id)
    return {*names_of(services, known).values(), quoted(about.title) if about else ""} - {""}


def drawn_of(state: PairState) -> tuple[AspectLists, AspectLists]:
    """The profiles of the user and the item."""
    user, item = (AspectLists.model_validate(state["profiles"][side.value]) for side in (Side.USER, Side.ITEM))
    return user, item


def stand_in_ids(state: PairState) -> dict[str, Side]:
    """The side of each id that stands for an imported profile where the ids of reviews stand otherwise."""
    return {stand_in_id(Side(side)): Side(side) for side in state["imported"]}


def stand_in_id(side: Side) -> str:
    """The id that an imported profile goes by; ids of reviews have no control characters."""
    return f"\x00{side}"


def summarize(services: Services, reviews: Sequence[Review]) -> list[ReviewSummary]:
    """Summarize reviews, and keep the summaries."""
    made = services.summarizer.summarize(reviews, services.store.scale)
    services.store.add_summaries(made)
    return made


def profile_of(
    services: Services, known: History, side: Side, summaries: Sequence[ReviewSummary], *, keep: bool
) -> Profile:
    """The profile that the summaries of a side's reviews add up to, from the store if it was made from the same before.

    A profile as of the past is not to be kept: the newest kept one stands for its subject in the index. Neither is one
    of chosen reviews of an item: it is kept as an answer, by how they were chosen.
    """
    _, subject_id, reviews, ratings = known.sides[0 if side is Side.USER else 1]
    summarizer, store = services.summarizer, services.store
    source = summarizer.source(summaries, ratings)
    if side is Side.ITEM and known.item_profile is not ItemProfile.ALL:
        key = digest(["profile", known.item_profile, subject_id, summarizer.mark, source])
        if (kept := store.answer(key)) is not None:
            return Profile.model_validate_json(kept)
        made = summarizer.profile(side, subject_id, reviews, summaries, ratings)
        user_id = known.user_id if known.item_profile is ItemProfile.NEIGHBOURS else None
        return Profile.model_validate_json(
            store.keep_answer(key, "profile", made.model_dump_json(), user_id, subject_id, made_of=read_of(known))
        )
    found = store.profile(side, subject_id, summarizer.mark, source)
    if found is None:
        found = summarizer.profile(side, subject_id, reviews, summaries, ratings)
        if summaries and keep:
            store.add_profiles([found], [summary.review_id for summary in summaries])
    return found


def plain(profile: Profile) -> Json:
    """A profile as it stands in the published document."""
    return {"likes": list(profile.likes), "dislikes": list(profile.dislikes)}


def _evidence(state: PairState) -> tuple[list[ReviewSummary], list[ReviewSummary]]:
    known = History.model_validate(state["history"])
    stand_ins = profiles_of(state)
    sides = [
        [_stand_in(side, stand_ins[side])] if side in stand_ins else summaries_of(state, reviews)
        for side, _, reviews, _ in known.sides
    ]
    return sides[0], sides[1]


def _heeded(
    services: Services, state: PairState, user: list[ReviewSummary], item: list[ReviewSummary]
) -> tuple[list[ReviewSummary], list[ReviewSummary]]:
    known = History.model_validate(state["history"])
    if not known.stated:
        return user, item
    own = stated.heeded(user, known.stated, services.embedder, own=True)
    return [*stated.tastes(known.stated), *own], stated.heeded(item, known.stated, services.embedder, own=False)


def _stand_in(side: Side, profile: Profile) -> ReviewSummary:
    return ReviewSummary(
        review_id=stand_in_id(side),
        likes=profile.likes,
        dislikes=profile.dislikes,
        adapter_version=profile.adapter_version,
    )
