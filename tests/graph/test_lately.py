"""The interval follows the ratings that come in, and only those that were there before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from whylike.agents.calibration import Calibrator, readout
from whylike.graph.lately import FEWEST, WINDOW, Lately
from whylike.memory.history import general, history, newest_ratings
from whylike.memory.store import Store
from whylike.records import Review
from whylike.settings import Settings

FITTED = Calibrator(
    predictor="",
    groups=(),
    intercept=0.0,
    terms={},
    histogram=(0.2,) * 5,
    sharpness=0.0,
    lower=0.3,
    upper=0.3,
    covered=0.8,
    pairs=100,
    tried=(),
)
"""Its interval is much too narrow for people who rate at random."""
COUNT = 420


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    chance = random.Random(3)
    rows = [
        Review(
            review_id=f"r{number}",
            user_id=f"u{chance.randrange(40)}",
            item_id=f"i{chance.randrange(25)}",
            rating=float(chance.randint(1, 5)),
            text="",
            timestamp=number,
        )
        for number in range(COUNT)
    ]
    with Store.open(Settings(store=tmp_path_factory.mktemp("lately"))) as opened:
        opened.add_reviews(rows)
        yield opened


def test_it_comes_to_hold_what_it_claims(store: Store):
    lately = Lately(store, 10, FITTED)
    held = {"fitted": 0, "lately": 0}
    tested = newest_ratings(store, "", "", COUNT, 150)
    for each in tested:
        pair = each.user_id, each.item_id, each.timestamp
        known = readout(history(store, *pair), general(store, *pair), store.scale)
        for name, own in (("fitted", FITTED), ("lately", lately.as_of(*pair))):
            low, high = own.interval(store.scale, own.distribution(known))
            held[name] += low <= each.rating <= high
    assert held["fitted"] < 0.45 * len(tested)
    assert abs(held["lately"] / len(tested) - 0.8) < 0.06


def test_only_earlier_ratings_and_none_of_the_pair_count(store: Store, tmp_path: Path):
    before = COUNT - 60
    expected = Lately(store, 10, FITTED).as_of("u1", "i1", before)
    assert expected.lower > FITTED.lower
    with Store.open(Settings(store=tmp_path)) as other:
        earlier = newest_ratings(store, "u1", "i1", before, COUNT)
        assert all(each.timestamp < before for each in earlier)
        later = [
            Review(review_id=f"x{number}", user_id="u1", item_id="i1", rating=1, text="", timestamp=number)
            for number in range(before - 20, before)
        ]
        later += [
            Review(review_id=f"y{number}", user_id=f"u{number % 9}", item_id="i2", rating=1, text="", timestamp=before)
            for number in range(30)
        ]
        other.add_reviews([*(Review(text="", **each.model_dump()) for each in earlier), *later])
        asked = newest_ratings(other, "u1", "i1", before, WINDOW)
        assert asked == earlier[:WINDOW]
        assert Lately(other, 10, FITTED).as_of("u9", "i9", before - 20) == Lately(store, 10, FITTED).as_of(
            "u9", "i9", before - 20
        )


def test_it_stays_as_it_was_fitted_until_there_are_some(store: Store):
    assert Lately(store, 10, FITTED).as_of("u1", "i1", FEWEST // 2) is FITTED
