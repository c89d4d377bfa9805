"""What a taught Reasoner is asked: the parts of a reason, which it puts into sentences.

What the reason is made of is chosen before it is written (`agents.matching`), so that the student of 135M parameters
has to tell what it is given and not to find it; a teacher's reasons are laid out the same way to train it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.adapters.engines.base import Writing
from whylike.agents.aspects import NONE
from whylike.agents.matching import POSITIVE, Kind, Point
from whylike.agents.prompting import one_line, render
from whylike.agents.ratings import states_rating
from whylike.agents.stems import stems
from whylike.explanation import AspectLists
from whylike.records import Aspects, Expert, Record

NAMELESS = "this item"
"""What an item without a title is called."""
MOST = 6
"""Aspects of a list."""
LONGEST = 12
"""Words of an aspect."""
MAX_TOKENS = 200
CLEAR = 0.25
"""Balance of the points (`matching.balance`) from which they take a side."""
GOOD, POOR = 0.6, 0.55
"""Place on the scale of what the averages foretell from which on up a reason may speak for the item, and below which
against it: of 5, 3.4 and 3.2."""
FINE, BAD = 0.7, 0.4
"""Place from which on up it speaks for the item, and below which against it, where its points take no side: of 5, 3.8
and 2.6."""
PRO, CON = 4, 2
"""Aspects of a list that speaks for the item, and of one that speaks against it, at most."""

CLAIMLESS = """
certain certainly consider disappoint probably unlikely
additionally album align aligns although appear appreciate artist aspect aspects based both
captivating characteristic collection completely considering criticized described despite digital
disappointed dislike element elements engaging enjoy enjoyable enjoyed enjoyment enjoys enough
expect experience expressed fact fan features find focus found fully given good great highlighted
however includes including item key lack language like liked likely likes listen listening looking
love match mention mentioned mixed moreover music musical negative new offer offers overall past
performance piece positive positively possess possible potential potentially praised prefer
preference preferences prefers present previous prioritize prone quality receive received
recommended record resonate review reviewed reviews satisfied seek seeks seem seems showcase
showcases similar song songs sound specific standout strong style suggest suggests taste tastes tend
tends therefore track tracks type unique user users value values various want well while work works
"""
"""Words of which reasons are made whatever they speak of."""

_WORD = re.compile(r"[^\W\d_]+")
_END = re.compile(r"[.!?][\"”')]*(?=\s|$)")
_CLAIMLESS = frozenset(stems([*CLAIMLESS.split(), *ENGLISH_STOP_WORDS]))


class Stance(StrEnum):
    """Which way a reason goes."""

    FOR = "likely to enjoy"
    AGAINST = "unlikely to enjoy"
    MIXED = "mixed"


class Plan(Record):
    """The parts of a reason, the first of each list the first to be told."""

    title: str
    enjoys: Aspects = ()
    """What the user liked elsewhere."""
    minds: Aspects = ()
    """What the user disliked elsewhere."""
    praised: Aspects = ()
    """What others like in the item."""
    faulted: Aspects = ()
    """What others dislike in the item."""
    stance: Stance = Stance.MIXED

    @property
    def both(self) -> bool:
        """Whether there is something to tell of either side."""
        return bool(self.enjoys or self.minds) and bool(self.praised or self.faulted)


def stance(balance: float, foretold: float | None = None) -> Stance:
    """The way that a reason goes: its points', unless the averages foretell otherwise; then it may go either way.

    Where the points take no side, the averages decide if they foretell a rating near an end of the scale.

    Args:
        balance: How far its points speak for or against the item.
        foretold: Place on the scale (0 worst, 1 best) of the rating that the averages alone foretell; None where there
            is none, or none may be used.
    """
    if foretold is None:
        return Stance.FOR if balance >= CLEAR else Stance.AGAINST if balance <= -CLEAR else Stance.MIXED
    if abs(balance) < CLEAR:
        return Stance.FOR if foretold >= FINE else Stance.AGAINST if foretold < BAD else Stance.MIXED
    if balance > 0:
        return Stance.FOR if foretold >= GOOD else Stance.MIXED
    return Stance.AGAINST if foretold < POOR else Stance.MIXED


def leaning(balance: float, points: Sequence[Point]) -> float:
    """The balance of the points; where there are several and all go one way they take that side clearly."""
    sides = {point.kind in POSITIVE for point in points}
    if len(points) < 2 or len(sides) > 1:  # noqa: PLR2004
        return balance
    return max(balance, CLEAR) if sides == {True} else min(balance, -CLEAR)


def led(points: Sequence[Point], way: Stance) -> tuple[tuple[Point, ...], Stance]:
    """The points with the first that goes the way of the reason at their head; where none does, either way is open."""
    if way is Stance.MIXED:
        return tuple(points), way
    first = next((point for point in points if (point.kind in POSITIVE) is (way is Stance.FOR)), None)
    if first is None:
        return tuple(points), Stance.MIXED
    return (first, *(point for point in points if point is not first)), way


def drawn(title: str, points: Sequence[Point], way: Stance, user: AspectLists, item: AspectLists) -> Plan:
    """The plan of a reason: what the points say comes first, what is commonest on either side after it.

    Args:
        title: What the item is called, if anything.
        points: Where the user's tastes meet the item's qualities.
        way: The way that the reason goes.
        user: The user's profile.
        item: The item's profile.
    """
    tastes = {kind: [point.taste for point in points if point.kind is kind] for kind in Kind}
    qualities = {kind: [point.quality for point in points if point.kind is kind] for kind in Kind}
    return Plan(
        title=title,
        enjoys=_first(PRO, (*tastes[Kind.DRAW], *tastes[Kind.LACK], *user.likes)),
        minds=_first(CON, (*tastes[Kind.CLASH], *user.dislikes)),
        praised=_first(PRO, (*qualities[Kind.DRAW], *qualities[Kind.PRAISE], *item.likes)),
        faulted=_first(CON, (*qualities[Kind.CLASH], *qualities[Kind.LACK], *qualities[Kind.FAULT], *item.dislikes)),
        stance=way,
    )


def request(plan: Plan) -> Writing:
    """What the Reasoner is asked of a plan."""
    prompt = render(
        "taught_reason",
        title=one_line(plan.title, LONGEST) or NAMELESS,
        enjoys=_listed(plan.enjoys),
        minds=_listed(plan.minds),
        praised=_listed(plan.praised),
        faulted=_listed(plan.faulted),
        stance=plan.stance.value,
    )
    return Writing(expert=Expert.REASONER, prompt=prompt, max_tokens=MAX_TOKENS)


def whole(text: str) -> str:
    """A text that was cut off, without the sentence that it broke off in."""
    return text[: max((mark.end() for mark in _END.finditer(text)), default=0)]


def claims(text: str) -> set[str]:
    """The stems of the words by which a text says something that could be wrong."""
    return set(stems(_WORD.findall(text.lower()))) - _CLAIMLESS


def _listed(aspects: Sequence[str]) -> str:
    return "; ".join(one_line(aspect.replace(";", ","), LONGEST) for aspect in aspects[:MOST]) or NONE


def _first(most: int, aspects: Iterable[str]) -> Aspects:
    """The first of them, each once, whatever its case; none that states a rating."""
    kept: dict[str, str] = {}
    for aspect in aspects:
        if aspect and not states_rating(aspect):
            kept.setdefault(aspect.lower(), aspect)
    return tuple(kept.values())[:most]
