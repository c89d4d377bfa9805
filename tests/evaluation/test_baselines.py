"""Matrix factorisation as a baseline: what it finds, and that nothing later than a pair tells it anything."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from whylike.agents.calibration import Readout
from whylike.evaluation.baselines import Factorised, factorise, of_readouts
from whylike.memory.splits import Pair, Split, split
from whylike.memory.store import Store
from whylike.records import Rated, RatingScale, Review
from whylike.settings import Settings

USERS, ITEMS = 40, 30
COUNT = 1000


def reviews(later: float | None = None) -> list[Review]:
    """Everybody likes the items of their own half and not the others: nothing that means could tell.

    `later`: the rating of the newest reviews instead.
    """
    chance = random.Random(5)
    every = [(user, item) for user in range(USERS) for item in range(ITEMS)]
    pairs = chance.sample(every, COUNT)
    return [
        Review(
            review_id=f"r{number:04}",
            user_id=f"u{user}",
            item_id=f"i{item}",
            rating=later if later and number >= COUNT - 20 else 5.0 if user % 2 == item % 2 else 1.0,
            text="Words.",
            timestamp=1_500_000_000 + number,
        )
        for number, (user, item) in enumerate(pairs)
    ]


@contextmanager
def opened(folder: Path, made: list[Review]) -> Iterator[tuple[Store, Split]]:
    with Store.open(Settings(store=folder)) as store:
        store.add_reviews(made)
        yield store, split(store)


def foretold(folder: Path, made: list[Review], test: slice = slice(None)) -> tuple[Factorised, list[Pair]]:
    with opened(folder, made) as (store, parts):
        measured = list(parts.test[test])
        return factorise(store, parts, parts.validation, measured), measured


def test_tastes_that_no_mean_tells_are_found(tmp_path: Path):
    found, measured = foretold(tmp_path, reviews())
    real = np.array([pair.rating for pair in measured])
    for each in (found.folded, found.trained):
        assert np.sqrt(np.mean((np.array(each) - real) ** 2)) < 1 < real.std()


def test_nothing_later_than_a_pair_tells_it_anything_and_what_is_earlier_does(tmp_path: Path):
    earlier = slice(0, COUNT // 10 - 20)
    found, measured = foretold(tmp_path / "as it was", reviews(), earlier)
    other, again = foretold(tmp_path / "other ratings later", reviews(later=3), earlier)
    assert measured == again
    assert (other.folded, other.trained) == (found.folded, found.trained)
    newest = slice(COUNT // 10 - 10, None)
    (one, _), (two, _) = (foretold(tmp_path / f"{later}", reviews(later=later), newest) for later in (2, 4))
    assert one.trained == two.trained, "trained once before the test, whatever comes in it"
    assert one.folded != two.folded, "of the newest pairs the ten before them are known"


def test_an_item_that_is_new_in_the_test_is_known_after_the_next_training(tmp_path: Path):
    made = reviews()
    fresh = [
        each.model_copy(update={"item_id": "fresh", "rating": 1.0, "user_id": f"v{number}"})
        if number >= COUNT - 90
        else each
        for number, each in enumerate(made)
    ]
    found, measured = foretold(tmp_path, fresh)
    assert measured[-1].item_id == "fresh"
    assert found.folded[-1] < found.trained[-1] - 0.5


def test_means_and_bias_are_those_worked_out_by_hand():
    known = [
        Readout(scale=RatingScale(), general=3.5, user=Rated(count=5, average=4.5), item=Rated(count=15, average=2.5)),
        Readout(scale=RatingScale(), general=3.5, user=Rated(), item=Rated()),
    ]
    assert of_readouts(known) == {
        "global": [3.5, 3.5],
        "user_mean": [4.5, 3.5],
        "item_mean": [2.5, 3.5],
        "bias": [pytest.approx(3.5 + 1 * 5 / 10 - 1 * 15 / 20), 3.5],
    }
