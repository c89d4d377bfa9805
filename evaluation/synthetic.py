"""Invented reviews in any number, to measure with: popularity as in shops, text that is a salad of made-up words.

What a seed gives is the same on every machine. Memory stays constant, however many rows are written.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from whylike.records import Record

START = 1_577_836_800
"""The first day of the dates: 1 January 2020, in seconds since 1970."""
SPAN = 5 * 365 * 86_400
"""Seconds from the first date to the last: five years."""
RATINGS = (0.06, 0.05, 0.09, 0.2, 0.6)
"""Shares of the ratings 1 to 5: skewed to the top, as in shops."""
USER_SKEW, ITEM_SKEW = 0.6, 0.8
"""Zipf's exponent: the n-th most popular one has n to the power of minus this as its share."""
WORDS = 40
"""Words of the median text; the longest have fifty times as many."""
_LONGEST = 50 * WORDS
_VOCABULARY = 20_000
_SALAD = 200_000
"""Words of the text that all reviews are pieces of."""
_BLOCK = 20_000
"""Rows made at once."""
_SYLLABLES = [
    f"{first}{vowel}{last}" for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "r", "s")
]


class Crowd(Record):
    """Who reviews what: users and items, each named by its rank in popularity, the first the most popular."""

    users: int = 200_000
    items: int = 50_000
    seed: int = 0

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Pairs of a user and an item, as likely as their reviews; others than those of the file, of the same crowd."""
        rng = np.random.default_rng((self.seed, 1))
        drawn = zip(_drawn(rng, self.users, USER_SKEW, count), _drawn(rng, self.items, ITEM_SKEW, count), strict=True)
        return [(user_id(int(user)), item_id(int(item))) for user, item in drawn]


def user_id(rank: int) -> str:
    """The user of this rank, from 0."""
    return f"user-{rank:06}"


def item_id(rank: int) -> str:
    """The item of this rank, from 0."""
    return f"item-{rank:06}"


def write_reviews(file: Path, rows: int, crowd: Crowd, progress: Callable[[int, int], None] | None = None) -> None:
    """Write invented reviews in whylike's own columns, in no order of time, user or item.

    Args:
        file: Where to; JSON Lines, gzip.
        rows: How many.
        crowd: Who reviews what.
        progress: Told now and then how many are written, and how many there will be.

    Raises:
        OSError: The file cannot be written.
    """
    # The lightest compression: it is not what is measured.
    with gzip.open(file, "wb", compresslevel=1) as out:
        for done, block in _blocks(rows, crowd):
            out.writelines(block)
            if progress:
                progress(done, rows)


def _blocks(rows: int, crowd: Crowd) -> Iterator[tuple[int, list[bytes]]]:
    """Lines, and how many there are with them."""
    rng = np.random.default_rng((crowd.seed, 0))
    salad, starts = _salad(rng)
    for begin in range(0, rows, _BLOCK):
        size = min(_BLOCK, rows - begin)
        words = np.clip(rng.lognormal(np.log(WORDS), 1.0, size), 1, _LONGEST).astype(np.int64)
        first = rng.integers(0, _SALAD - _LONGEST, size)
        title = rng.integers(0, _SALAD - _LONGEST, size)
        columns = zip(
            _drawn(rng, crowd.users, USER_SKEW, size).tolist(),
            _drawn(rng, crowd.items, ITEM_SKEW, size).tolist(),
            (1 + rng.choice(len(RATINGS), size, p=RATINGS)).tolist(),
            (START + rng.integers(0, SPAN, size)).tolist(),
            starts[first].tolist(),
            (starts[first + words] - 1).tolist(),
            starts[title].tolist(),
            (starts[title + 3] - 1).tolist(),
            strict=True,
        )
        yield (
            begin + size,
            [
                orjson.dumps(
                    {
                        "user_id": user_id(user),
                        "item_id": item_id(item),
                        "rating": rating,
                        "timestamp": timestamp,
                        "title": salad[title_from:title_to],
                        "text": salad[text_from:text_to],
                    },
                    option=orjson.OPT_APPEND_NEWLINE,
                )
                for user, item, rating, timestamp, text_from, text_to, title_from, title_to in columns
            ],
        )


def _drawn(rng: np.random.Generator, count: int, skew: float, size: int) -> NDArray[np.int64]:
    """Ranks from 0 to `count`, as likely as they are popular."""
    shares = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -skew)
    ranks: NDArray[np.int64] = np.searchsorted(shares, rng.random(size) * shares[-1]).astype(np.int64)
    return ranks


def _salad(rng: np.random.Generator) -> tuple[str, NDArray[np.int64]]:
    """A long text of made-up words, common ones more often, and where each of its words starts."""
    syllables = rng.integers(0, len(_SYLLABLES), (_VOCABULARY, 4))
    lengths = rng.integers(1, 5, _VOCABULARY)
    vocabulary = [
        "".join(_SYLLABLES[part] for part in parts[:length]) for parts, length in zip(syllables, lengths, strict=True)
    ]
    ends = rng.random(_SALAD) < 1 / 12
    words = [
        f"{vocabulary[rank]}." if end else vocabulary[rank]
        for rank, end in zip(_drawn(rng, _VOCABULARY, 1.0, _SALAD), ends, strict=True)
    ]
    starts = np.concatenate([[0], np.cumsum([len(word) + 1 for word in words])]).astype(np.int64)
    return " ".join(words), starts
