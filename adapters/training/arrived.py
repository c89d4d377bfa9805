"""Which of what came in is learned from, which is held back to judge by, and what is left out so that nobody floods it.

All is chosen by what arrived and nothing else, so that a run that was killed chooses the same again. One user, and one
text, however often it is written, fills no more than a few places. Judging comes after: what is wrong in another way
than by its number has to show there. What is judged by is not learned in another guise either (`Judged`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from whylike.adapters.training.examples import place
from whylike.adapters.training.teach import HELD_OUT
from whylike.memory.learned import Arrived
from whylike.settings import Settings

NEWEST = 0.2
"""Share of what came in, the newest, that a run is judged by and does not learn from."""
FEWEST, MOST = 20, 100
"""How many these are at least and at most."""
AMONG = 4
"""Times as many as a run may learn from, among which it chooses: of millions it reads no more texts than these."""
_WORD = re.compile(r"[^\W\d_]+")

Texts = Callable[[Sequence[str]], Mapping[str, str]]
"""Gives the texts of examples by their keys."""


class Judged(NamedTuple):
    """What a run is judged by, and so does not learn."""

    keys: frozenset[str] = frozenset()
    pairs: frozenset[tuple[str, str]] = frozenset()
    """Users and items: what a teacher told somebody about an item may rest on their review of it."""
    texts: frozenset[str] = frozenset()
    """What they say (`said`): one text may stand with several items."""

    def has(self, each: Arrived) -> bool:
        """Whether this is judged by, or was told of such a pair."""
        return each.key in self.keys or (not each.judges and (each.user_id, each.item_id) in self.pairs)


class Chosen(NamedTuple):
    """What a run learns from, by key."""

    new: list[str]
    newest: list[str]
    """Held back to judge by."""
    left_out: dict[str, int]
    """How many are in neither, by why."""
    judged: Judged = Judged()
    """The newest, and what is frozen."""

    @property
    def arrived(self) -> int:
        """How many came in."""
        return len(self.new) + len(self.newest) + sum(self.left_out.values())


def choose(arrived: Iterable[Arrived], frozen: Collection[str], texts: Texts, settings: Settings) -> Chosen:
    """Share out what came in.

    Args:
        arrived: The newest first; it is read once, and few of it are in memory at a time.
        frozen: Keys that no run learns from.
        texts: Looks up what was written.
        settings: How many of what, at most.
    """
    to_judge = more = older = 0
    read: list[Arrived] = []
    of_user, of_text = _room(settings.learn_of_user), _room(settings.learn_of_text)
    for each in arrived:
        if each.key in frozen:
            to_judge += 1
        elif not of_user(each.user_id):
            more += 1
        elif len(read) < AMONG * settings.learn_new:
            read.append(each)
        else:
            older += 1
    words = {key: said(text) for key, text in texts([*(each.key for each in read), *frozen]).items()}
    told = [each for each in read if of_text(words.get(each.key, ""))]
    held = min(max(int(len(told) * NEWEST), FEWEST), MOST)
    newest = [each for each in told if each.judges][:held]
    judging = frozenset([*frozen, *(each.key for each in newest)])
    judged = Judged(
        judging,
        frozenset((each.user_id, each.item_id) for each in newest),
        frozenset(filter(None, map(words.get, judging))),
    )
    others = [each for each in told if each.key not in judged.keys]
    apart = [each for each in others if not judged.has(each) and words.get(each.key) not in judged.texts]
    rest = [each for each in apart if learnable(each)]
    new = rest[: settings.learn_new]
    left_out = {
        "to judge every run by": to_judge,
        "more of one user": more,
        "more of one text": len(read) - len(told),
        "told of what is to judge by": len(others) - len(apart),
        "of items that nothing learns from": len(apart) - len(rest),
        "older than so many that a run takes": older + len(rest) - len(new),
    }
    return Chosen(
        [each.key for each in new],
        [each.key for each in newest],
        {why: count for why, count in left_out.items() if count},
        judged,
    )


def replayed(
    old: Iterable[Arrived], judged: Judged, texts: Texts, settings: Settings, *, count: int, seed: int
) -> list[str]:
    """The keys of a sample of what came in before, another one for each seed, capped in the same way."""
    drawn = sorted(
        (each for each in old if learnable(each) and not judged.has(each)), key=lambda each: place(each.key, seed)
    )
    of_user, of_text = _room(settings.learn_of_user), _room(settings.learn_of_text)
    of_few = (each for each in drawn if of_user(each.user_id))
    read = [*islice(of_few, AMONG * count)]
    words = {key: said(text) for key, text in texts([each.key for each in read]).items()}
    told = [each for each in read if of_text(words.get(each.key, ""))]
    return [each.key for each in told if words.get(each.key) not in judged.texts][:count]


def to_freeze(there: Iterable[Arrived], settings: Settings) -> dict[str, str]:
    """What an expert is to be judged by for good, by key, each with whose it is.

    Only of items that no training learns from (`teach.HELD_OUT`), so that no command ever does.
    """
    drawn = sorted((each for each in there if each.judges and not learnable(each)), key=lambda each: place(each.key, 0))
    of_user = _room(settings.learn_of_user)
    of_few = (each for each in drawn if of_user(each.user_id))
    return {each.key: each.user_id for each in islice(of_few, settings.learn_frozen)}


def learnable(each: Arrived) -> bool:
    """Whether anything of its item may be learned."""
    return place(each.item_id, 0) >= HELD_OUT


def said(text: str) -> str:
    """What copies of a text have in common: its words without figures and signs; empty where there are none."""
    return " ".join(_WORD.findall(text.casefold()))


def _room(most: int) -> Callable[[str], bool]:
    """Tells whether there is room for one more of a kind: for the first few there is, and for all of no kind."""
    seen: Counter[str] = Counter()

    def takes(kind: str) -> bool:
        seen[kind] += 1
        return not kind or seen[kind] <= most

    return takes
