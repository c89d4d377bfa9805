"""Examples for the Predictor and the reward expert: pairs as they were just before the user's review.

The pairs are reviews of the training part of the split by time alone (`memory.splits`), so that nothing is learned
from a pair that calibrates or measures. All that is known of a pair comes from `memory.history`. The Predictor learns
with the Reasoner's own reason where the store keeps one, the reward expert with the review itself; a share of the pairs
is learned without either. Imported pairs with imported profiles are learned as they would be served. For an adapter
that shall serve other stores too, some pairs are retold as those would have them (`elsewhere`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whylike.adapters.training.elsewhere import Retelling, by_profiles, retold
from whylike.adapters.training.examples import Example, place
from whylike.agents import dossier
from whylike.agents.dossier import Dossier
from whylike.agents.recipe import digest
from whylike.agents.standins import imported, rated
from whylike.memory.history import history
from whylike.memory.splits import Pair, split
from whylike.memory.store import Store
from whylike.records import Expert, History, ItemProfile, Profile, RatingScale, Side

PLAIN = 0.25
"""Share of the pairs that are learned without a reason, though there is one: it may be missing when rating, too."""
ELSEWHERE = 0.5
"""Share of the pairs without a reason that are learned on the other scale, where there is one, not on their own."""
EVER = 2**62
"""Later than any review."""


def training_pairs(store: Store, held: float, limit: int | None, seed: int) -> list[Pair]:
    """Pairs to learn from, in an order by chance; a larger limit adds to those of a smaller one.

    Args:
        store: Has the reviews; of one that has none there are no pairs.
        held: Share of the items of which no pair is taken (`teach.held_out`).
        limit: Most pairs; None for all.
        seed: Another one puts others first.

    Raises:
        UsageError: There are too few reviews to be split.
    """
    if not store.mean_rating(EVER).count:
        return []
    learned = [pair for pair in split(store).training if place(pair.item_id, 0) >= held]
    return sorted(learned, key=lambda pair: place(pair.review_id, seed))[:limit]


def reason_key(pair: Pair, reasoner: str, mark: str) -> str:
    """What the store keeps the Reasoner's reason for a training pair under.

    Args:
        pair: As of just before its review.
        reasoner: What tells a reason that was given in the same way (`lessons.reasoner_of`).
        mark: That of the summaries that the reason rests on (`Summarizer.mark`).
    """
    return digest(["pair reason", pair.review_id, reasoner, mark])


def rating_examples(
    store: Store,
    expert: Expert,
    pairs: Sequence[Pair],
    *,
    reasoner: str,
    mark: str,
    limit: int,
    profile: ItemProfile = ItemProfile.ALL,
    other: RatingScale | None = None,
) -> list[Example]:
    """What pairs teach the Predictor, or the reward expert; pairs of one item form a group.

    Args:
        store: Has the reviews, the summaries and the reasons.
        expert: The Predictor reads reasons, the reward expert the reviews themselves.
        pairs: Of `training_pairs`.
        reasoner: Whose reasons are read (`lessons.reasoner_of`).
        mark: Whose summaries the Predictor reads (`Summarizer.mark`); the reward expert reads the reviews' words.
        limit: Most reviews of either side (`Settings.history`).
        profile: Which reviews of the item are read (`Settings.item_profile`).
        other: A scale that some of the pairs without a reason are told on.
    """
    made = []
    for pair in pairs:
        past = history(store, pair.user_id, pair.item_id, pair.timestamp, limit, item_profile=profile)
        reason: str | None = None
        if place(pair.review_id, -1) >= PLAIN:
            if expert is Expert.REWARD:
                reason = dossier.reviewed(*store.reviews([pair.review_id]))
            else:
                reason = store.answer(reason_key(pair, reasoner, mark))
        known = dossier.dossier(store, past, mark if reason and expert is Expert.PREDICTOR else "")
        if known.empty:
            continue
        if other and not reason and place(pair.review_id, -2) < ELSEWHERE:
            told = Retelling(store.scale, other, pair.review_id)
            known, rating, scale = retold(known, told), told.rating(pair.rating), other
        else:
            rating, scale = pair.rating, store.scale
        made.append(
            _example(expert, known, reason, rating, scale, group=pair.item_id, users=_users(pair.user_id, past))
        )
    return made


def profile_example(
    store: Store,
    pair: Pair,
    past: History,
    profiles: Mapping[Side, Profile],
    reason: str,
    *,
    limit: int,
    other: RatingScale,
) -> Example:
    """What a pair teaches the Predictor as one of a store that has profiles, no reviews, and another scale.

    Args:
        store: Has the reviews.
        pair: Of `training_pairs`.
        past: Its history.
        profiles: What the summaries of that add up to, of the sides that have any.
        reason: The Reasoner's.
        limit: Most reviews of either side (`Settings.history`).
        other: The scale.
    """
    told = Retelling(store.scale, other, pair.review_id)
    known = by_profiles(retold(dossier.dossier(store, past, ""), told), profiles, limit)
    heard = reason if place(pair.review_id, -1) >= PLAIN else None
    users = _users(pair.user_id, past)
    return _example(Expert.PREDICTOR, known, heard, told.rating(pair.rating), other, group=pair.item_id, users=users)


def imported_examples(store: Store, expert: Expert, limit: int) -> list[Example]:
    """What imported pairs teach that are known by nothing but imported profiles; those of one user form a group.

    A pair of which there are reviews is left out: it does not say when it was rated, so they may be later.
    """
    made = []
    for pair in store.rated_pairs():
        past = history(store, pair.user_id, pair.item_id, EVER, 1)
        profiles = imported(store, past)
        if profiles and not (past.user_reviews or past.item_reviews or store.review_of(pair.user_id, pair.item_id)):
            known = Dossier(rated(past, profiles, limit), dossier.dossier(store, past, "").titles, profiles=profiles)
            user = pair.user_id
            made.append(_example(expert, known, None, pair.rating, store.scale, group=user, users=frozenset({user})))
    return made


def _example(
    expert: Expert,
    known: Dossier,
    reason: str | None,
    rating: float,
    scale: RatingScale,
    *,
    group: str,
    users: frozenset[str],
) -> Example:
    asked = dossier.request(expert, known, scale, reason)
    return Example(prompt=asked.prompt, answer=dossier.label(rating, scale), group=group, users=users, scale=scale)


def _users(user_id: str, past: History) -> frozenset[str]:
    """Whose reviews a pair's example shows; in its averages there are all that rated either side."""
    return frozenset({user_id, *(review.user_id for review in past.item_reviews)})
