"""Splits of a store's reviews by time: what a model may be fitted on, what settles it, and what it is measured with.

The newest tenth is the test, the tenth before it the validation (8:1:1, as in the papers). Reviews of one second are
never on both sides of a cut. What is known of a pair is asked of `memory.history` as of the pair, whichever part it is
in, as serving does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import select

from whylike.errors import UsageError
from whylike.memory.schema import reviews
from whylike.memory.store import Store

T = TypeVar("T")

TENTHS = 10
"""Parts of the reviews; the last two are cut off."""


class Pair(NamedTuple):
    """A review whose rating is to be foretold."""

    review_id: str
    user_id: str
    item_id: str
    rating: float
    timestamp: int


class Split(NamedTuple):
    """All reviews of a store in three parts, oldest first."""

    training: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @property
    def earlier(self) -> tuple[Pair, ...]:
        """All that is earlier than the test."""
        return self.training + self.validation


def by_time(pairs: Sequence[Pair]) -> Split:
    """Split pairs at the times of the eighth and the ninth tenth; pairs of one time go to the later part together."""
    ordered = sorted(pairs, key=lambda pair: (pair.timestamp, pair.review_id))
    times = [pair.timestamp for pair in ordered]
    cuts = [times[len(times) * part // TENTHS] for part in (TENTHS - 2, TENTHS - 1)] if times else [0, 0]
    first, second = (next((n for n, time in enumerate(times) if time >= cut), len(times)) for cut in cuts)
    return Split(tuple(ordered[:first]), tuple(ordered[first:second]), tuple(ordered[second:]))


def split(store: Store) -> Split:
    """All reviews of a store, split by time.

    Raises:
        UsageError: A part of it is empty: there are too few reviews, or too few times.
    """
    query = select(*(reviews.c[name] for name in Pair._fields))
    with store.database.read() as connection:
        parts = by_time([Pair(*row) for row in connection.execute(query)])
    if not all(parts):
        raise UsageError(
            f"the store {store.database.name} has {sum(map(len, parts)):,} reviews, of too few different times to be "
            "split into eight tenths, one and one; ingest more reviews, or name another store with --store"
        )
    return parts


def sample(pairs: Sequence[T], limit: int, seed: int) -> list[T]:
    """At most `limit` of the pairs, the same for one seed, in the order in which they are."""
    if len(pairs) <= limit:
        return list(pairs)
    chosen = random.Random(seed).sample(range(len(pairs)), limit)  # noqa: S311 - for variety, not for secrets
    return [pairs[number] for number in sorted(chosen)]


def folds(groups: Sequence[str], count: int, seed: int) -> list[list[int]]:
    """Positions `[count][...]`, all of one group in the same fold; no fold is empty where there are enough groups."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)  # noqa: S311 - as above
    fold = {name: number % count for number, name in enumerate(names)}
    return [[place for place, name in enumerate(groups) if fold[name] == number] for number in range(count)]
