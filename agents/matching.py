"""Where a user's tastes meet an item's qualities: the points that a reason is made of.

What others liked, disliked and missed in the item is laid beside what this user liked and disliked in other items, and
the item beside the nearest one that the user knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whylike.agents.closeness import cosines
from whylike.agents.comparing import NO, alike, telling, wanting
from whylike.agents.ratings import leaks
from whylike.memory.embeddings import Embedder
from whylike.records import History, RatingScale, Record, ReviewSummary

FADE = 0.1
"""Part of its weight that a phrase loses for each one before it in its list, which is clearer in tone."""
LEAST = 0.5
"""Weight of blame in a review of the best rating; it grows to 1 at the other end, as that of praise does."""
MIDDLING = 0.5
"""Place of a rating on its scale from which praise in its review is meant; blame is no mere concession up to there."""
NEAR = 0.6
"""Cosine of two items' texts from which one is a precedent for the other."""
NEARER = 0.15
"""How much nearer than the mean of the user's other items it has to be: in a shop for one thing all are near."""
TELLING = 0.15
"""Part of the rating scale by which a precedent must differ from the user's mean to say something."""
ALIKE = 0.6
"""Cosine from which two phrases of the item would tell the reader the same."""
MOST = 4
"""Points of a reason."""
WORDS = 4
"""Words from which a phrase says something by itself, without what it meets."""
SCANT = 0.5
"""Weight of a shorter one, and of one that leans on what is not quoted, or speaks of its writer."""

_UNFIT = re.compile(
    r"https?:|\bwww\.|\b[\w-]+\.(?:com|net|org|info|shop|store|example)\b|[\w.]@[\w-]+\.\w"
    r"|\b(?:likes?|dislikes?|pros?|cons?|ratings?|system|user|assistant|reviewer)\s*:"
    r"|\b(?:but|although|however|though)\b(?=.*\w)"
    r"|\b(?:ignore|disregard|obey|override|print|reveal)\b[^.]{0,30}\b(?:prompts?|instructions?|orders)\b"
    r"|\bas\s+(?:the|an?)\s+(?:system|ai|assistant|language\s+model|admin\w*)\b"
    r"|<\||\|>|\bthe\s+user\s+(?:loves?|likes?|enjoys?|hates?|wants?|gives?|gave|rate[sd]?|will|would|should|must|is|has)\b"
    r"|\b(?:drop\s+table|delete\s+from|insert\s+into|select\s+\*)|</?[a-z]+[\s/>]",
    re.IGNORECASE | re.DOTALL,
)
"""What is not to be quoted: an address, a form filled in, what turns within, and so stands on neither side, and what
speaks to a machine, or of “the user”, which is harmless in quotation marks and of no use to a reader."""
_LEANS = re.compile(
    r"\b(?:that|this|those|these)\s+[\w'’-]+[.!?]?$"
    r"|^(?-i:is|are|was|were|has|have|had|will|would|can|could|does|did)\b"
    r"|^(?:when|after|since|before|until|where)\b[^,]*$"
    r"|^the\s+(?:\w+\s+)?thing\s+about\b(?!.*\b(?:is|was)\b)"
    r"|^I(?:['’]?m|\s+am|\s+was|['’]ve\s+been|\s+have\s+been)\b",
    re.IGNORECASE,
)
"""What stands less well by itself: what points back (“hangs on that mistake”), has lost its subject (“is a gem”), its
main clause (“when the smoke cleared”) or its end (“the sad thing about it”), or is about its writer (“I was ill”)."""


class Kind(StrEnum):
    """What a point says."""

    DRAW = "draw"
    """What others like in the item is close to what this user liked elsewhere."""
    CLASH = "clash"
    """What others dislike in the item is close to what this user disliked elsewhere."""
    LACK = "lack"
    """What others miss in the item is close to what this user liked elsewhere."""
    PRECEDENT_FOR = "precedent_for"
    """Of the items that the user reviewed last the nearest one pleased them more than others did."""
    PRECEDENT_AGAINST = "precedent_against"
    """Of the items that the user reviewed last the nearest one pleased them less than others did."""
    PRAISE = "praise"
    """Others like it; nothing that the user wrote and meant meets it."""
    FAULT = "fault"
    """Others dislike it; nothing that the user wrote and meant meets it."""


FOR = {Kind.DRAW, Kind.PRECEDENT_FOR}
AGAINST = {Kind.CLASH, Kind.LACK, Kind.PRECEDENT_AGAINST}
POSITIVE = FOR | {Kind.PRAISE}
TASTED_LIKED = FOR | {Kind.LACK}
"""Kinds that rest on something that the user liked."""


class Point(Record):
    """One cause for or against: what is said of the item, and what the user said elsewhere."""

    kind: Kind
    strength: float
    """Above 0: a cosine, less where the reviews do not mean their words in full."""
    quality: str = ""
    """What a reviewer of the item wrote, in the reviewer's words; empty for a precedent."""
    quality_review: str = ""
    """The review with it, or what stands for an imported profile."""
    imported: bool = False
    """Whether the quality is of an imported profile: no reviewer is known who wrote it."""
    taste_review: str = ""
    """The user's review that the point rests on, or what stands for an imported profile."""
    taste: str = ""
    """What the user wrote there, in the user's words, where that meets the quality; of a precedent, what made it so."""
    profiled: bool = False
    """Whether the taste is of an imported profile."""
    conceded: bool = False
    """Whether it is a fault within a review of a good rating."""


class Sides(NamedTuple):
    """What is known of a pair when its points are sought."""

    history: History
    user: Sequence[ReviewSummary]
    item: Sequence[ReviewSummary]
    texts: Mapping[str, str]
    """What each item is, in words: categories and description; items without either are left out."""
    scale: RatingScale
    titles: Collection[str] = ()
    """What the items are called: a number in a title is no rating."""


class _Aspect(NamedTuple):
    phrase: str
    liked: bool
    review_id: str
    imported: bool
    weight: float
    """How much the review meant it: blame within a good review is a concession, and what is said less clearly counts
    for less."""
    meant: bool
    """Whether it goes the way of its review's rating, or that rating is a middling one."""


class _Found(NamedTuple):
    point: Point
    vector: NDArray[np.float32]


def unfit(phrase: str) -> bool:
    """Whether a phrase is not to be quoted."""
    return bool(_UNFIT.search(phrase))


def stands(phrase: str) -> bool:
    """Whether a phrase says something by itself."""
    return len(phrase.split()) >= WORDS and not _LEANS.search(phrase)


def points(sides: Sides, embedder: Embedder) -> tuple[Point, ...]:
    """The strongest points, at most `MOST`: no two about the same thing, no review used twice.

    Points that meet the user's tastes come first; praise and faults that nothing meets only fill up.
    """
    tastes, taste_vectors = _aspects(sides, sides.user, embedder)
    qualities, quality_vectors = _aspects(sides, sides.item, embedder)
    met = _meetings(qualities, quality_vectors, tastes, embedder) + _precedent(
        sides, embedder, tastes, taste_vectors, quality_vectors
    )
    met.sort(key=lambda found: -found.point.strength)
    unmet = sorted(_unmet(qualities, quality_vectors, tastes, taste_vectors), key=lambda found: -found.point.strength)
    ranked = [*met, *_alternating(unmet)]
    chosen = _take(MOST - 1, ranked, [])
    heard = {found.point.kind in POSITIVE for found in chosen}
    if len(heard) == 1:  # the last place is the other side's, which has not been heard
        ranked.sort(key=lambda found: (found.point.kind in POSITIVE) in heard)
    return tuple(found.point for found in _take(MOST, ranked, chosen))


def _take(most: int, ranked: Sequence[_Found], taken: Sequence[_Found]) -> list[_Found]:
    """Those taken and as many more as there is room for, the first of the ranked first; no review is used twice."""
    chosen = list(taken)
    for found in ranked:
        ids = {found.point.quality_review, found.point.taste_review} - {""}
        used = {id_ for other in chosen for id_ in (other.point.quality_review, other.point.taste_review)}
        told = any(cosines(found.vector[None], other.vector[None]) >= ALIKE for other in chosen)
        if len(chosen) < most and not (ids & used) and not told:
            chosen.append(found)
    return chosen


def balance(chosen: Sequence[Point], item: Sequence[ReviewSummary]) -> float:
    """How far the points speak for (above 0) or against (below 0) the item, from about -2 to 2.

    What meets the user's tastes counts in full; what others say on the whole, a third.
    """
    met = sum(point.strength for point in chosen if point.kind in FOR)
    met -= sum(point.strength for point in chosen if point.kind in AGAINST)
    likes = sum(len(summary.likes) for summary in item)
    dislikes = sum(len(summary.dislikes) for summary in item)
    return met + (likes - dislikes) / max(likes + dislikes, 1) / 3


def _aspects(
    sides: Sides, summaries: Sequence[ReviewSummary], embedder: Embedder
) -> tuple[list[_Aspect], NDArray[np.float32]]:
    """The phrases that say what was good or bad and nothing that could be a rating, and their vectors [n, dimension].

    Praise in a review of a bad rating is left out: it is often mockery.
    """
    places = {
        review.review_id: sides.scale.place(review.rating)
        for review in (*sides.history.user_reviews, *sides.history.item_reviews)
    }
    found = []
    for summary in summaries:
        place = places.get(summary.review_id)
        for liked, listed in ((True, summary.likes), (False, summary.dislikes)):
            agrees = 1.0 if place is None else place if liked else 1 - place
            if liked and agrees < MIDDLING:
                continue
            weight = LEAST + (1 - LEAST) * agrees
            found += [
                _Aspect(
                    phrase, liked, summary.review_id, place is None, weight * (1 - FADE) ** number, agrees >= MIDDLING
                )
                for number, phrase in enumerate(listed)
                if not unfit(phrase) and not leaks(phrase, sides.scale, sides.titles)
            ]
    vectors = embedder.embed([aspect.phrase for aspect in found])
    says = telling(vectors, embedder)
    return [aspect for aspect, tells in zip(found, says, strict=True) if tells], vectors[says]


def _meetings(
    qualities: Sequence[_Aspect],
    quality_vectors: NDArray[np.float32],
    tastes: Sequence[_Aspect],
    embedder: Embedder,
) -> list[_Found]:
    """What others like beside the nearest of the user's likes, so dislikes; and what they miss beside the likes.

    What the user merely conceded meets nothing, for they did not mind it much. A pleased reviewer's complaint does: to
    a user who would not forgive it, it may matter more.
    """
    theirs, own = [quality.phrase for quality in qualities], [taste.phrase for taste in tastes]
    close, missed = alike(theirs, own, embedder), wanting(theirs, own, embedder)
    met = []
    for kind, there, liked in (
        (Kind.DRAW, close, True),
        (Kind.CLASH, close, False),
        (Kind.LACK, missed, True),
    ):
        columns = [column for column, taste in enumerate(tastes) if taste.liked is liked and taste.meant]
        for row, quality in enumerate(qualities):
            if quality.liked is not (kind in POSITIVE) or not columns:
                continue
            column = columns[int(there[row, columns].argmax())]
            if there[row, column] == NO:
                continue
            taste = tastes[column]
            point = Point(
                kind=kind,
                strength=float(there[row, column]) * quality.weight * taste.weight,
                quality=quality.phrase,
                quality_review=quality.review_id,
                imported=quality.imported,
                taste_review=taste.review_id,
                taste=taste.phrase,
                profiled=taste.imported,
            )
            met.append(_Found(point, quality_vectors[row]))
    return met


def _precedent(
    sides: Sides,
    embedder: Embedder,
    tastes: Sequence[_Aspect],
    taste_vectors: NDArray[np.float32],
    quality_vectors: NDArray[np.float32],
) -> list[_Found]:
    """The nearest of the items that the user reviewed last, where it stands out and its rating was not usual.

    With it goes what the user wrote there that is nearest to the item or to what others say of it; where the user wrote
    nothing on the side of the rating it would be a claim that the review does not bear out.
    """
    target = sides.texts.get(sides.history.item_id)
    past = [review for review in sides.history.user_reviews if review.item_id in sides.texts]
    usual = sides.history.user_rated.average
    if not target or not past or usual is None:
        return []
    vectors = embedder.embed([target, *(sides.texts[review.item_id] for review in past)])
    close = cosines(vectors[:1], vectors[1:])[0]
    nearest = int(close.argmax())
    others = close[[past_one.item_id != past[nearest].item_id for past_one in past]]
    if close[nearest] < NEAR or (others.size and close[nearest] - others.mean() < NEARER):
        return []
    review = past[nearest]
    away = (review.rating - usual) / (sides.scale.maximum - sides.scale.minimum)
    middle = (sides.scale.maximum + sides.scale.minimum) / 2
    # Less than a generous user's usual is no disappointment yet, nor more than a harsh one's a success.
    told = review.rating > middle if away > 0 else review.rating < middle
    if abs(away) < TELLING or not told:
        return []
    rows = [
        row for row, taste in enumerate(tastes) if taste.review_id == review.review_id and taste.liked is (away > 0)
    ]
    if not rows:
        return []
    about = cosines(taste_vectors[rows], np.concatenate([vectors[:1], quality_vectors])).max(axis=1)
    point = Point(
        kind=Kind.PRECEDENT_FOR if away > 0 else Kind.PRECEDENT_AGAINST,
        strength=float(close[nearest]),
        taste_review=review.review_id,
        taste=tastes[rows[int(about.argmax())]].phrase,
    )
    return [_Found(point, vectors[1 + nearest])]


def _unmet(
    qualities: Sequence[_Aspect],
    vectors: NDArray[np.float32],
    tastes: Sequence[_Aspect],
    taste_vectors: NDArray[np.float32],
) -> list[_Found]:
    """Every quality by itself: the more typical of its side and the nearer to what this user says, the stronger.

    A phrase of two or three words says little when nothing meets it (“second time”, “I kept waiting”), and so does one
    that leans on what is not quoted; in a review of a good rating such a one may be no fault at all, and is left out.
    """
    rows = [row for row, each in enumerate(qualities) if each.liked or each.meant or not _LEANS.search(each.phrase)]
    qualities, vectors = [qualities[row] for row in rows], vectors[rows]
    if not qualities:
        return []
    liked = np.array([aspect.liked for aspect in qualities])
    same_side = np.where(liked[:, None] == liked[None, :], cosines(vectors, vectors), 0.0)
    known = np.array([aspect.liked for aspect in tastes], dtype=bool)
    near = np.where(liked[:, None] == known[None, :], cosines(vectors, taste_vectors), 0.0).max(axis=1, initial=0.0)
    weights = np.array([aspect.weight for aspect in qualities])
    says = np.array([1.0 if stands(each.phrase) else SCANT for each in qualities])
    strength = (same_side.sum(axis=1) / len(qualities) + near) / 2 * weights * says
    return [
        _Found(
            Point(
                kind=Kind.PRAISE if aspect.liked else Kind.FAULT,
                strength=max(float(strength[row]), 0.0),
                quality=aspect.phrase,
                quality_review=aspect.review_id,
                imported=aspect.imported,
                conceded=not aspect.liked and not aspect.meant,
            ),
            vectors[row],
        )
        for row, aspect in enumerate(qualities)
    ]


def _alternating(found: Sequence[_Found]) -> list[_Found]:
    """Praise and faults in turn, beginning with the stronger side, so that neither side is hidden.

    What is not the strongest of its review on a side comes after all others: no review is used twice, and its side is
    not to lose a turn to it.
    """
    strongest: dict[tuple[Kind, str], _Found] = {}
    for each in found:
        strongest.setdefault((each.point.kind, each.point.quality_review), each)
    rest = [each for each in found if strongest[each.point.kind, each.point.quality_review] is not each]
    praised, faulted = (
        sum(each.point.strength for each in found if each.point.kind is kind) for kind in (Kind.PRAISE, Kind.FAULT)
    )
    order = (Kind.PRAISE, Kind.FAULT) if praised >= faulted else (Kind.FAULT, Kind.PRAISE)
    return [*_in_turn(list(strongest.values()), order), *_in_turn(rest, order)]


def _in_turn(found: Sequence[_Found], order: Sequence[Kind]) -> list[_Found]:
    """One of each kind after the other, in this order, as long as there are any."""
    sides = [[each for each in found if each.point.kind is kind] for kind in order]
    return [each for turn in zip_longest(*sides) for each in turn if each is not None]
